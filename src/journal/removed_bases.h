// Tokens of the bases that this host removed: old metadata of a group (vgcfgrestore) brings such a base back, and what was
// written in between it does not know.
#pragma once

#include <string>

#include "os/file.h"

namespace respaldo::journal {

// STATE/removed_bases: a token on each line, the newest last. Other runs may read and write it meanwhile.
class RemovedBases {
 public:
  // Of an empty path: remembers nothing.
  explicit RemovedBases(os::Path state) : state_(std::move(state)) {}

  // Durable when it returns; call it before the base goes. The oldest are forgotten. Error(io, no_space, refused).
  void add(const std::string& token) const;
  // A file that this user may not read tells nothing. Error(io).
  bool holds(const std::string& token) const;

 private:
  os::Path state_;
};

}  // namespace respaldo::journal
