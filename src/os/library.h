// Shared libraries that are loaded when they are first needed.
#pragma once

#include <string>

namespace respaldo::os {

// What few commands use need not slow the start of all of them: loading libcurl and what it stands on takes as long as
// all the rest. Stays loaded until the process ends, and may be copied.
class Library {
 public:
  // `file` as the linker names it ("libcurl.so.4"). Error(unsupported) when it is not there.
  explicit Library(const char* file);

  // The function of that name, whose type the library's header tells. Error(unsupported) when the library has none.
  // Thread-safe.
  template <class Function>
  Function function(const char* name) const {
    return reinterpret_cast<Function>(symbol(name));
  }

 private:
  void* symbol(const char* name) const;

  std::string file_;
  void* handle_;
};

}  // namespace respaldo::os
