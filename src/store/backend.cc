#include "store/backend.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"

namespace respaldo::store {

std::string_view to_string(FileType type) {
  switch (type) {
    case FileType::config:
      return "config";
    case FileType::key:
      return "key";
    case FileType::lock:
      return "lock";
    case FileType::snapshot:
      return "snapshot";
    case FileType::index:
      return "index";
    case FileType::pack:
      return "pack";
    case FileType::parity:
      return "parity";
    case FileType::parity_group:
      return "parity group";
    case FileType::parity_settings:
      return "parity settings";
  }
  return "file";
}

std::string Handle::str() const {
  const std::string_view kind = type == FileType::snapshot ? "backup" : to_string(type);  // as it is called here
  if (name.empty()) return std::string(kind);
  return fmt::format("{} {}", kind, printable(name.substr(0, 8)));
}

std::vector<FileInfo> each_once(std::vector<FileInfo> listed) {
  if (!std::ranges::is_sorted(listed, {}, &FileInfo::name)) std::ranges::stable_sort(listed, {}, &FileInfo::name);
  const auto repeated = std::ranges::unique(listed, {}, &FileInfo::name);
  listed.erase(repeated.begin(), repeated.end());
  return listed;
}

void Backend::remove_many(std::span<const Handle> handles) {
  for (const Handle& handle : handles) remove(handle);
}

Medium Backend::read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) {
  piece(load_all(handle));
  return Medium::unknown;
}

}  // namespace respaldo::store
