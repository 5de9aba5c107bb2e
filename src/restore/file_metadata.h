// What a stored file is besides its content, onto a file that was just made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "repo/tree.h"

namespace respaldo::restore {

struct Metadata {
  std::uint32_t mode = 0, uid = 0, gid = 0;
  repo::Timestamp mtime, atime;
  std::vector<repo::ExtendedAttribute> xattrs;

  static Metadata of(repo::Node&& node);
};

// What is not as stored.
struct MetadataOutcome {
  bool without_owner = false, without_xattrs = false;  // may not be set here
  std::string problem;  // anything else that went wrong; empty when nothing did
  bool nothing_to_tell() const { return !without_owner && !without_xattrs && problem.empty(); }
};

// Owner, then extended attributes, then mode, then times: each would undo what comes after it. Setuid and
// setgid are left out when the owner or group they stand for could not be set. `fd`: a regular file or a
// folder.
MetadataOutcome set_metadata(int fd, const Metadata& metadata);
// The same for what cannot be opened, or need not be: symbolic links, devices, pipes, sockets, files that stay. Never follows a
// link, and touches nothing of another kind or with further names.
MetadataOutcome set_metadata_at(int folder, const std::string& name, const Metadata& metadata);

}  // namespace respaldo::restore
