// restic's default layout: which folder holds which objects. docs/formats/restic.md section "layout".
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "base/hex.h"
#include "store/backend.h"

namespace respaldo::store {

// Below the repository; "." for the configuration.
inline const char* folder_of(FileType type) {
  switch (type) {
    case FileType::key:
      return "keys";
    case FileType::lock:
      return "locks";
    case FileType::snapshot:
      return "snapshots";
    case FileType::index:
      return "index";
    case FileType::pack:
      return "data";
    case FileType::parity:
      return "parity/objects";
    case FileType::parity_group:
      return "parity/groups";
    case FileType::parity_settings:
      return "parity";
    case FileType::config:
      break;
  }
  return ".";
}

// Those in folders by the first two digits of their names.
inline bool is_sharded(FileType type) { return type == FileType::pack || type == FileType::parity; }
// Those of which there is one, with a name of its own; else null.
inline const char* only_name_of(FileType type) {
  return type == FileType::config ? "config" : type == FileType::parity_settings ? "settings" : nullptr;
}
inline bool is_object_name(std::string_view name) { return name.size() == 64 && is_hex(name); }

// What os::AtomicFile, and restic, have before a file gets its name.
inline bool is_unfinished(std::string_view name) {
  constexpr std::string_view kMark = "-tmp-";
  return name.size() > 64 + kMark.size() && is_object_name(name.substr(0, 64)) && name.substr(64).starts_with(kMark);
}
inline constexpr std::time_t kAbandoned = 3600;  // seconds without a write: nobody writes it any more

}  // namespace respaldo::store
