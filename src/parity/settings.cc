#include "parity/settings.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/printable.h"
#include "parity/sidecar.h"

namespace respaldo::parity {

namespace {

constexpr std::uint32_t kLeast = 10, kMost = 1000;
constexpr std::uint32_t kMostMembers = 200, kMostParity = 8;
constexpr std::uint64_t kLongestText = 4096;
const store::Handle kHandle{store::FileType::parity_settings, ""};

bool is_sensible(const Settings& settings) {
  if (settings.overhead_permille < kLeast || settings.overhead_permille > kMost) return false;
  if (!settings.has_groups()) return settings.group_parity == 0;
  return settings.group_members >= 2 && settings.group_members <= kMostMembers &&
         settings.group_parity >= 1 && settings.group_parity <= kMostParity;
}

std::uint32_t parse_overhead(const std::string& text) {
  char* end = nullptr;
  const double percent = std::strtod(text.c_str(), &end);
  if (*end == '%') ++end;
  if (text.empty() || end == text.c_str() || *end != '\0' || !(percent >= 1) || percent > 100)
    throw Error(ErrorKind::usage, fmt::format("'{}' is no overhead for parity", printable(text)),
                "write a percentage from 1% to 100%, for example 5%");
  return static_cast<std::uint32_t>(std::lround(percent * 10));
}

}  // namespace

Settings parse_settings(std::string_view overhead, std::string_view groups) {
  Settings settings;
  settings.overhead_permille = parse_overhead(std::string(overhead));
  if (groups.empty() || groups == "off") return settings;
  unsigned members = 0, parity = 0;
  int used = 0;
  const std::string text(groups);
  if (std::sscanf(text.c_str(), "%3u+%2u%n", &members, &parity, &used) == 2 &&
      static_cast<std::size_t>(used) == text.size()) {
    settings.group_members = members;
    settings.group_parity = parity;
    if (members != 0 && is_sensible(settings)) return settings;
  }
  throw Error(ErrorKind::usage, fmt::format("'{}' is no size of groups", printable(text)),
              fmt::format("write MEMBERS+PARITY, for example 20+1 (2 to {} packs, 1 to {} of parity), or off",
                          kMostMembers, kMostParity));
}

std::string describe(const Settings& settings) {
  std::string text = settings.overhead_permille % 10 == 0
                         ? fmt::format("{}% of each pack", settings.overhead_permille / 10)
                         : fmt::format("{:.1f}% of each pack", settings.overhead_permille / 10.0);
  if (settings.has_groups())
    text += fmt::format(", groups of {}+{}", settings.group_members, settings.group_parity);
  return text;
}

std::string to_text(const Settings& settings) {
  const std::string line =
      fmt::format(R"({{"version":1,"overhead_permille":{},"group_members":{},"group_parity":{}}})",
                  settings.overhead_permille, settings.group_members, settings.group_parity);
  return fmt::format("{}\n{:016x}\n", line, crc64(as_bytes(line)));
}

std::optional<Settings> from_text(std::string_view text) {
  Settings settings;
  const std::string copy(text.substr(0, kLongestText));
  if (std::sscanf(copy.c_str(),
                  R"({"version":1,"overhead_permille":%4u,"group_members":%3u,"group_parity":%2u})",
                  &settings.overhead_permille, &settings.group_members, &settings.group_parity) != 3)
    return std::nullopt;
  // One way to write them: the checksum, and anything else, is compared at once.
  if (!is_sensible(settings) || to_text(settings) != text) return std::nullopt;
  return settings;
}

std::optional<FoundSettings> load_settings(store::Backend& backend) {
  const bool there = backend.stat(kHandle).has_value();
  if (!there && !backend.stat(sidecar_of(kHandle))) return std::nullopt;
  const auto attempt = [](auto body) -> std::optional<Settings> {
    try {
      return body();
    } catch (const Error&) {
      return std::nullopt;  // unreadable is damaged
    }
  };
  if (there)
    if (auto settings = attempt([&] { return from_text(as_text(backend.load_all(kHandle, kLongestText))); }))
      return FoundSettings{*settings, false};
  const auto from_sidecar = attempt([&]() -> std::optional<Settings> {
    const auto sidecar = Sidecar::parse(backend.load_all(sidecar_of(kHandle), 1U << 20));
    if (!sidecar || sidecar->header().type != ObjectType::settings) return std::nullopt;
    const HealResult result = heal(*sidecar, {});
    return result.healed ? from_text(as_text(*result.healed)) : std::nullopt;
  });
  // A sidecar that tells nothing is no word that there is parity.
  if (!there && !from_sidecar) return std::nullopt;
  return FoundSettings{from_sidecar.value_or(Settings{}), true};
}

void save_settings(store::Backend& backend, const Settings& settings) {
  const std::string text = to_text(settings);
  const ByteView bytes = as_bytes(text);
  const Bytes sidecar = make_sidecar(kHandle, bytes, settings);
  const ByteView whole = sidecar;
  backend.save(sidecar_of(kHandle), {&whole, 1}, store::Durability::now);
  backend.save(kHandle, {&bytes, 1}, store::Durability::now);
}

void remove_settings(store::Backend& backend) {
  // The other way round, what a power cut leaves would switch parity on again.
  backend.remove(sidecar_of(kHandle));
  backend.sync();
  backend.remove(kHandle);
  backend.sync();
}

}  // namespace respaldo::parity
