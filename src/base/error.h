// Errors of the house: what failed, where, and what the user can do next.
//
// Exceptions carry failures; absence is std::optional; what a check finds is a Finding. Everything
// here is a value and may be used from any thread.
#pragma once

#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace respaldo {

enum class ErrorKind {
  usage,        // the command line or the configuration is wrong
  not_found,    // a named thing does not exist
  busy,         // locked, mounted, open, or in use by another process
  wrong_key,    // no key opens the repository
  corrupt,      // foreign bytes are not what they claim to be
  io,           // the machine failed to read or write
  unsupported,  // a format or layout that respaldo does not handle
  no_space,     // the target, the volume group or a buffer is full
  overflow,     // a snapshot's COW store overflowed or died
  missing,      // a physical volume or a leg that the data needs is absent
  refused,      // would destroy something, and was not told to
  internal,     // a bug in respaldo
};

std::string_view to_string(ErrorKind kind);

// One failure. what() is "outermost context: ...: message".
class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, std::string hint = {},
        std::source_location where = std::source_location::current());

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  // What to do next; empty when there is nothing better than the message.
  const std::string& hint() const { return hint_; }
  // Innermost first.
  const std::vector<std::string>& context() const { return context_; }
  const std::source_location& where() const { return where_; }
  // errno when a system call failed, else 0.
  int error_number() const { return errno_; }

  Error& add_context(std::string text);
  Error& set_hint(std::string hint);
  Error& set_error_number(int number);
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  void compose();
  ErrorKind kind_;
  std::string message_, hint_, what_;
  std::vector<std::string> context_;
  std::source_location where_;
  int errno_ = 0;
};

// The user or a signal asked to stop. Not an Error: nothing went wrong.
class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

// Runs body; an Error that leaves it gets describe() as further context.
//   in_context([&] { return fmt::format("reading pack {}", id); }, [&] { ... });
template <class Describe, class Body>
decltype(auto) in_context(Describe&& describe, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (Error& error) {
    error.add_context(describe());
    throw;
  }
}

// Gives the exception being handled to who waits for `promise`. A copy: this thread may go on adding context to its
// own. (Waiters that add context copy it once more.)
template <class Promise>
void share_exception(Promise& promise) {
  try {
    throw;
  } catch (const Error& error) {
    promise.set_exception(std::make_exception_ptr(error));
  } catch (...) {
    promise.set_exception(std::current_exception());
  }
}

}  // namespace respaldo
