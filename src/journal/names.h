// Every name and tag that respaldo gives to the system, minted in one place: what we left behind is
// recognised by them, even when no journal is left to tell.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace respaldo::journal {

// On every logical volume that a run makes for itself.
inline constexpr std::string_view kTag = "respaldo";
// + 16 hexadecimal digits: which run made it.
inline constexpr std::string_view kRunTagPrefix = "respaldo_run_";
// + Owner: which process will remove it. Without this tag a volume is nobody's leftover and is never cleaned.
inline constexpr std::string_view kOwnerTagPrefix = "respaldo_owner_";
// Kept for the next backup (a base). Takes the place of the owner's tag, in one change of the group.
inline constexpr std::string_view kBaseTag = "respaldo_base";
// + the token that the backup recorded.
inline constexpr std::string_view kBaseTokenTagPrefix = "respaldo_base_";
// On a base: + the UUID of its volume. lvm2 forgets the origin of a thin snapshot when another one is merged.
inline constexpr std::string_view kBaseOfTagPrefix = "respaldo_of_";
// Made by hand with `snapshot create`.
inline constexpr std::string_view kManualTag = "respaldo_manual";

// On a volume that is the copy of another one, until it takes its place: + the other one's UUID.
inline constexpr std::string_view kCopyOfTagPrefix = "respaldo_copy_of_";
// + the token of the base that tells what was written to the other one since.
inline constexpr std::string_view kCopyBaseTagPrefix = "respaldo_copy_base_";
// On a volume whose place another one has taken: + the other one's UUID.
inline constexpr std::string_view kMovedTagPrefix = "respaldo_moved_to_";

std::string random_hex(std::size_t digits);
inline std::string new_run_tag() { return std::string(kRunTagPrefix) + random_hex(16); }
// "respaldo_0123456789abcdef": 64 random bits, so that names do not collide.
std::string new_volume_name();
bool is_volume_name(std::string_view name);  // one of new_volume_name()'s

// A process of a machine, such that a later process with the same number is not taken for it.
struct Owner {
  std::string machine;               // of /etc/machine-id or the host's name, as 8 hexadecimal digits
  std::string boot;                  // this running of the kernel, likewise
  std::uint64_t pid = 0, start = 0;  // start: clock ticks since boot, as in /proc/PID/stat

  static const Owner& self();
  std::string tag() const;  // "respaldo_owner_..."
  static std::optional<Owner> from_tag(std::string_view tag);
  // Error-free: whether that process still runs. Another machine's processes cannot be seen: those are not
  // `here`.
  bool here() const { return machine == self().machine; }
  bool alive() const;
  friend bool operator==(const Owner&, const Owner&) = default;
};

}  // namespace respaldo::journal
