#include "fs/ext/xattr_format.h"

namespace respaldo::fs::ext {

namespace {

constexpr std::size_t kEnd = 4;  // four zero bytes end the entries

std::size_t padded(std::size_t name_length) { return (sizeof(XattrEntryDisk) + name_length + 3) / 4 * 4; }

std::uint16_t load_le16(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(static_cast<std::uint8_t>(bytes[at]) |
                                    static_cast<std::uint8_t>(bytes[at + 1]) << 8);
}

}  // namespace

const char* parse_xattrs(ByteView bytes, std::size_t entries, std::size_t value_base,
                         const std::function<void(const StoredXattr&)>& take) {
  for (std::size_t at = entries;;) {
    if (at + kEnd > bytes.size()) return "has a list of extended attributes without an end";
    if (load_le32(bytes.data() + at) == 0) return nullptr;
    if (at + sizeof(XattrEntryDisk) > bytes.size()) return "has a list of extended attributes without an end";
    XattrEntryDisk entry;
    std::memcpy(&entry, bytes.data() + at, sizeof entry);
    if (at + sizeof entry + entry.name_length > bytes.size())
      return "has an extended attribute with a name past its end";
    StoredXattr xattr;
    xattr.index = entry.name_index;
    xattr.name = as_text(bytes.subspan(at + sizeof entry, entry.name_length));
    xattr.value_size = entry.value_size.get();
    xattr.value_inode = entry.value_inode.get();
    xattr.hash = entry.hash.get();
    if (xattr.value_size > kXattrValueLimit) return "has an extended attribute that is too long";
    if (xattr.value_inode == 0 && xattr.value_size > 0) {
      const std::size_t begin = value_base + entry.value_offset.get();
      if (begin > bytes.size() || xattr.value_size > bytes.size() - begin)
        return "has an extended attribute with a value past its end";
      xattr.value = as_text(bytes.subspan(begin, xattr.value_size));
    }
    take(xattr);
    at += padded(entry.name_length);
  }
}

std::optional<std::string> xattr_name(const StoredXattr& xattr) {
  switch (xattr.index) {
    case kXattrUser:
      return "user." + std::string(xattr.name);
    case kXattrAclAccess:
      return "system.posix_acl_access";
    case kXattrAclDefault:
      return "system.posix_acl_default";
    case kXattrTrusted:
      return "trusted." + std::string(xattr.name);
    case kXattrSecurity:
      return "security." + std::string(xattr.name);
    default:
      return std::nullopt;
  }
}

std::optional<std::string> acl_from_disk(std::string_view stored) {
  constexpr std::uint16_t kUser = 2, kGroup = 8;
  if (stored.size() < 4 || load_le32(as_bytes(stored).data()) != 1) return std::nullopt;
  std::string result("\2\0\0\0", 4);
  for (std::size_t at = 4; at < stored.size();) {
    if (stored.size() - at < 4) return std::nullopt;
    const std::uint16_t tag = load_le16(stored, at);
    result.append(stored.substr(at, 4));
    at += 4;
    if (tag == kUser || tag == kGroup) {
      if (stored.size() - at < 4) return std::nullopt;
      result.append(stored.substr(at, 4));
      at += 4;
    } else {
      result.append("\xff\xff\xff\xff");
    }
  }
  return result;
}

}  // namespace respaldo::fs::ext
