#include "base/error.h"

namespace respaldo {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage: return "usage";
    case ErrorKind::not_found: return "not_found";
    case ErrorKind::busy: return "busy";
    case ErrorKind::wrong_key: return "wrong_key";
    case ErrorKind::corrupt: return "corrupt";
    case ErrorKind::io: return "io";
    case ErrorKind::unsupported: return "unsupported";
    case ErrorKind::no_space: return "no_space";
    case ErrorKind::overflow: return "overflow";
    case ErrorKind::missing: return "missing";
    case ErrorKind::refused: return "refused";
    case ErrorKind::internal: return "internal";
  }
  return "internal";
}

Error::Error(ErrorKind kind, std::string message, std::string hint, std::source_location where)
    : kind_(kind), message_(std::move(message)), hint_(std::move(hint)), where_(where) {
  compose();
}

Error& Error::add_context(std::string text) {
  context_.push_back(std::move(text));
  compose();
  return *this;
}

Error& Error::set_hint(std::string hint) {
  hint_ = std::move(hint);
  return *this;
}

Error& Error::set_error_number(int number) {
  errno_ = number;
  return *this;
}

void Error::compose() {
  what_.clear();
  for (auto it = context_.rbegin(); it != context_.rend(); ++it) what_ += *it + ": ";
  what_ += message_;
}

}  // namespace respaldo
