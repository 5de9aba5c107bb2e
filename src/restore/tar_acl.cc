#include "restore/tar_acl.h"

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <optional>
#include <string>
#include <vector>

#include "base/endian.h"
#include "restore/archive_library.h"

namespace respaldo::restore {

namespace {

constexpr std::string_view kAccess = "system.posix_acl_access", kDefault = "system.posix_acl_default";

struct Kind {
  int number, tag;
  const char* word;
  bool named = false;
};
constexpr Kind kKinds[] = {
    {0x01, ARCHIVE_ENTRY_ACL_USER_OBJ, "user"},   {0x02, ARCHIVE_ENTRY_ACL_USER, "user", true},
    {0x04, ARCHIVE_ENTRY_ACL_GROUP_OBJ, "group"}, {0x08, ARCHIVE_ENTRY_ACL_GROUP, "group", true},
    {0x10, ARCHIVE_ENTRY_ACL_MASK, "mask"},       {0x20, ARCHIVE_ENTRY_ACL_OTHER, "other"}};

struct AclEntry {
  const Kind& kind;
  int permissions;
  std::uint32_t id;
};

// The binary form of getxattr(2). Absent when it is damaged.
std::optional<std::vector<AclEntry>> parse(std::string_view value) {
  constexpr std::size_t kHead = 4, kEntry = 8;
  const ByteView bytes = as_bytes(value);
  if (bytes.size() < kHead || load_le32(bytes.data()) != 2 || (bytes.size() - kHead) % kEntry != 0)
    return std::nullopt;
  std::vector<AclEntry> entries;
  for (std::size_t at = kHead; at < bytes.size(); at += kEntry) {
    const auto* kind = std::ranges::find(kKinds, bytes[at] | bytes[at + 1] << 8, &Kind::number);
    if (kind == std::end(kKinds)) return std::nullopt;
    entries.push_back({*kind, bytes[at + 2] & 7, load_le32(bytes.data() + at + 4)});
  }
  return entries;
}

// "user::rw-,user:4000000000:r-x,group::r--"
std::string text_of(const std::vector<AclEntry>& entries) {
  std::string text;
  for (const AclEntry& entry : entries)
    text += fmt::format("{}{}:{}:{}{}{}", text.empty() ? "" : ",", entry.kind.word,
                        entry.kind.named ? std::to_string(entry.id) : "",
                        (entry.permissions & 4) != 0 ? 'r' : '-', (entry.permissions & 2) != 0 ? 'w' : '-',
                        (entry.permissions & 1) != 0 ? 'x' : '-');
  return text;
}

}  // namespace

bool is_acl(const repo::ExtendedAttribute& attribute) {
  return attribute.name == kAccess || attribute.name == kDefault;
}

bool add_acl(archive_entry* entry, const repo::ExtendedAttribute& attribute) {
  const auto entries = parse(attribute.value);
  if (!entries) return false;
  // libarchive has an int for them, and would write 0.
  const auto too_large = [](const AclEntry& one) { return one.kind.named && one.id > INT_MAX; };
  if (std::ranges::any_of(*entries, too_large)) {
    const std::string text = text_of(*entries);
    libarchive().entry_xattr_add_entry(entry, attribute.name.c_str(), text.data(), text.size());
    return true;
  }
  const int type = attribute.name == kAccess ? ARCHIVE_ENTRY_ACL_TYPE_ACCESS : ARCHIVE_ENTRY_ACL_TYPE_DEFAULT;
  for (const AclEntry& one : *entries)
    libarchive().entry_acl_add_entry(entry, type, one.permissions, one.kind.tag,
                                one.kind.named ? static_cast<int>(one.id) : -1, nullptr);
  return true;
}

}  // namespace respaldo::restore
