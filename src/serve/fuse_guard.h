// The rim between libfuse's C callbacks and the house: exceptions become errno.
#pragma once

#include <cerrno>
#include <exception>
#include <new>

#include "base/error.h"

namespace respaldo::serve {

inline int errno_for(const Error& error) {
  if (error.error_number() != 0) return error.error_number();
  switch (error.kind()) {
    case ErrorKind::not_found:
      return ENOENT;
    case ErrorKind::busy:
      return EBUSY;
    case ErrorKind::no_space:
      return ENOSPC;
    case ErrorKind::refused:
      return EROFS;
    case ErrorKind::unsupported:
      return EOPNOTSUPP;
    case ErrorKind::usage:
      return EINVAL;
    default:
      return EIO;
  }
}

// Runs a callback's body; what it throws becomes a negative errno.
template <class Body>
int guarded(Body&& body) noexcept {
  try {
    return body();
  } catch (const Error& error) {
    return -errno_for(error);
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  } catch (...) {
    return -EIO;
  }
}

}  // namespace respaldo::serve
