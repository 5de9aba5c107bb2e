// Access control lists of files, for tar.
#pragma once

#include <archive_entry.h>

#include "repo/tree.h"

namespace respaldo::restore {

// True for what getxattr(2) has lists in: system.posix_acl_access and _default.
bool is_acl(const repo::ExtendedAttribute& attribute);
// Adds the list to an entry, whose head goes through plain_pax_header(). False when it is damaged.
bool add_acl(archive_entry* entry, const repo::ExtendedAttribute& attribute);

}  // namespace respaldo::restore
