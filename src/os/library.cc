#include "os/library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::os {

Library::Library(const char* file, const char* package)
    : file_(file), package_(package), handle_(::dlopen(file, RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ == nullptr)
    throw Error(ErrorKind::unsupported, fmt::format("{} cannot be loaded: {}", file_, printable(::dlerror())),
                fmt::format("install it, or again: Debian's package is {}", package_));
}

void* Library::symbol(const char* name) const {
  void* const found = ::dlsym(handle_, name);
  if (found == nullptr)
    throw Error(ErrorKind::unsupported, fmt::format("{} has no {}: is it of an older version?", file_, name),
                fmt::format("install a newer one: Debian's package is {}", package_));
  return found;
}

}  // namespace respaldo::os
