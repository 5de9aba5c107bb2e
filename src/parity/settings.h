// Whether a repository has parity, and how much. Found without a key. docs/formats/parity.md "settings".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/backend.h"

namespace respaldo::parity {

struct Settings {
  std::uint32_t overhead_permille = 50;  // parity of a pack in thousandths of it; 10 .. 1000
  // A whole lost pack comes back out of its group: so many packs share so many files of parity. 0: no groups.
  std::uint32_t group_members = 0;  // 2 .. 200
  std::uint32_t group_parity = 0;   // 1 .. 8
  bool has_groups() const { return group_members != 0; }
  friend bool operator==(const Settings&, const Settings&) = default;
};

// "5%" or "5", "2.5%"; groups "20+1", "off" or empty. Error(usage).
Settings parse_settings(std::string_view overhead, std::string_view groups);
std::string describe(const Settings& settings);  // "5% of each pack, groups of 20+1"

// The settings file's text, both ways. Absent when it is not one, or its checksum does not match.
std::string to_text(const Settings& settings);
std::optional<Settings> from_text(std::string_view text);

struct FoundSettings {
  Settings settings;
  bool damaged = false;  // the file is lost or cannot be read: these are out of its parity, or else the defaults
};
// Absent: this repository has no parity. (A file that is lost does not switch it off, its sidecar has it.)
std::optional<FoundSettings> load_settings(store::Backend& backend);
// Durable.
void save_settings(store::Backend& backend, const Settings& settings);
// Durable. Cut off in the middle, there still is parity.
void remove_settings(store::Backend& backend);

}  // namespace respaldo::parity
