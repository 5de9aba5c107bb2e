// Shared libraries that are loaded when they are first needed.
#pragma once

namespace respaldo::os {

// What few commands use need not slow the start of all of them: loading libcurl and what it stands on takes as long as
// all the rest. Stays loaded until the process ends, has nothing to destroy, and may be copied.
class Library {
 public:
  // `file` as the linker names it ("libcurl.so.4"), `package` as Debian does ("libcurl4"); both outlive this.
  // Error(unsupported) when it is not there.
  Library(const char* file, const char* package);

  // The function of that name, whose type the library's header tells. Error(unsupported) when the library has none.
  // Thread-safe.
  template <class Function>
  Function function(const char* name) const {
    return reinterpret_cast<Function>(symbol(name));
  }

 private:
  void* symbol(const char* name) const;

  const char* file_;
  const char* package_;
  void* handle_;
};

}  // namespace respaldo::os
