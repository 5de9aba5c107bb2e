// What an error says of the object that was asked for.
#pragma once

#include <cerrno>

#include "base/error.h"

namespace respaldo::store {

// The object is not there, is not what it claims to be, or lies where its medium gives nothing back. Whatever else failed
// (a link that is down, rights that are missing) says nothing of it: it may be whole.
inline bool is_damage(const Error& error) {
  const int number = error.error_number();
  return error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::not_found || number == EIO ||
         number == EUCLEAN || number == EBADMSG;
}

}  // namespace respaldo::store
