// Extended attributes as ext stores them, and as getxattr(2) gives them.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "fs/ext/ext_format.h"
#include "fs/ext/node_table.h"

namespace respaldo::fs::ext {

// Pure. The entries that begin at `entries` of `bytes`, whose values lie `value_base` and their offset into
// it. Calls `take` for each. Returns what is wrong, or null.
const char* parse_xattrs(ByteView bytes, std::size_t entries, std::size_t value_base,
                         const std::function<void(const StoredXattr&)>& take);

// "user.x"; absent for what a mount does not show (inline data, encryption contexts, unknown namespaces).
std::optional<std::string> xattr_name(const StoredXattr& xattr);

// An access control list from ext4's form (version 1, short entries) into that of getxattr(2) (version 2).
// Absent when it is damaged.
std::optional<std::string> acl_from_disk(std::string_view stored);

}  // namespace respaldo::fs::ext
