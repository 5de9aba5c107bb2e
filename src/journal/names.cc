#include "journal/names.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/crc.h"
#include "base/error.h"
#include "base/hex.h"
#include "os/file.h"

namespace respaldo::journal {

namespace {

constexpr std::string_view kVolumePrefix = "respaldo_";
constexpr std::size_t kVolumeDigits = 16;

std::string text_of(const char* path) {
  try {
    return os::try_read_text(path, 4096).value_or("");
  } catch (const Error&) {
    return "";
  }
}

std::string short_name(std::string_view of) { return fmt::format("{:08x}", lvm_crc(as_bytes(of))); }

std::string machine_name() {
  std::string id = text_of("/etc/machine-id");
  if (id.empty()) {
    utsname names{};
    ::uname(&names);
    id = names.nodename;
  }
  return short_name(id);
}

std::string boot_name() { return short_name(text_of("/proc/sys/kernel/random/boot_id")); }

// Field 22 of /proc/PID/stat; the second one, the program's name, may hold anything.
std::optional<std::uint64_t> start_of(std::uint64_t pid) {
  const std::string stat = text_of(fmt::format("/proc/{}/stat", pid).c_str());
  std::size_t at = stat.rfind(')');
  if (at == std::string::npos) return std::nullopt;
  constexpr int kFieldsAfterName = 20;
  for (int field = 0; field < kFieldsAfterName; ++field) {
    at = stat.find(' ', at + 1);
    if (at == std::string::npos) return std::nullopt;
  }
  std::uint64_t start = 0;
  const auto parsed = std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), start);
  if (parsed.ec != std::errc()) return std::nullopt;
  return start;
}

}  // namespace

std::string random_hex(std::size_t digits) {
  Bytes bytes((digits + 1) / 2);
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw Error(ErrorKind::io, "the system gives no random bytes");
  return to_hex(bytes.view()).substr(0, digits);
}

std::string new_volume_name() { return std::string(kVolumePrefix) + random_hex(kVolumeDigits); }

bool is_volume_name(std::string_view name) {
  return name.starts_with(kVolumePrefix) && name.size() == kVolumePrefix.size() + kVolumeDigits &&
         is_hex(name.substr(kVolumePrefix.size()));
}

const Owner& Owner::self() {
  static const Owner me = [] {
    Owner owner{machine_name(), boot_name(), static_cast<std::uint64_t>(::getpid()), 0};
    owner.start = start_of(owner.pid).value_or(0);
    return owner;
  }();
  return me;
}

std::string Owner::tag() const {
  return fmt::format("{}{}_{}_{}_{}", kOwnerTagPrefix, machine, boot, pid, start);
}

std::optional<Owner> Owner::from_tag(std::string_view tag) {
  if (!tag.starts_with(kOwnerTagPrefix)) return std::nullopt;
  tag.remove_prefix(kOwnerTagPrefix.size());
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at <= tag.size();) {
    const std::size_t end = std::min(tag.find('_', at), tag.size());
    words.push_back(tag.substr(at, end - at));
    at = end + 1;
  }
  const auto number = [](std::string_view text, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  };
  Owner owner;
  if (words.size() != 4 || words[0].size() != 8 || words[1].size() != 8 || !is_hex(words[0]) ||
      !is_hex(words[1]) || !number(words[2], owner.pid) || !number(words[3], owner.start))
    return std::nullopt;
  owner.machine = words[0];
  owner.boot = words[1];
  return owner;
}

bool Owner::alive() const {
  if (!here() || boot != self().boot) return false;
  const auto now = start_of(pid);
  return now && *now == start;
}

}  // namespace respaldo::journal
