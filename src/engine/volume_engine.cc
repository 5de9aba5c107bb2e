#include "engine/volume_engine.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/printable.h"
#include "lvm/volume_group.h"

namespace respaldo::engine {

std::string_view to_string(EngineKind kind) { return kind == EngineKind::kernel ? "kernel" : "image"; }

VolumeName VolumeName::parse(std::string_view text) {
  const std::string_view given = text;
  const auto bad = [&] {
    return Error(ErrorKind::usage, fmt::format("'{}' does not name a volume", printable(given)),
                 "write VG/LV, for example vg0/root");
  };
  constexpr std::string_view kMapper = "/dev/mapper/", kDev = "/dev/";
  if (text.starts_with(kMapper)) {
    auto name = lvm::parse_dm_name(text.substr(kMapper.size()));
    if (!name || !name->layer.empty()) throw bad();
    return {name->vg, name->lv};
  }
  if (text.starts_with(kDev)) text.remove_prefix(kDev.size());
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size() ||
      text.find('/', slash + 1) != std::string_view::npos)
    throw bad();
  return {std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

SnapshotLease::Growth SnapshotLease::grow(std::uint64_t, const std::stop_token&) {
  return {0, "this snapshot cannot be extended"};
}

CleanReport VolumeEngine::clean(const CleanOptions&) { return {}; }

VolumeName VolumeEngine::create_snapshot(const VolumeName& origin, const std::string&, const AcquireOptions&) {
  throw Error(ErrorKind::unsupported, fmt::format("no snapshot of {} can be made here", origin.str()));
}

void VolumeEngine::remove_snapshot(const VolumeName& snapshot, const std::string&) {
  throw Error(ErrorKind::unsupported, fmt::format("{} cannot be removed here", snapshot.str()));
}

void require_same(const VolumeName& name, const std::string& uuid_spoken_of, const std::string& uuid) {
  if (uuid == uuid_spoken_of) return;
  throw Error(ErrorKind::refused,
              fmt::format("{} is another one by now: it was made anew meanwhile (UUID {}, it was {})",
                          printable(name.str()), uuid, uuid_spoken_of),
              "nothing was changed; look at it, and run this command again");
}

SnapshotLease::Growth VolumeEngine::extend_snapshot(const VolumeName& snapshot, std::uint64_t bytes) {
  return acquire_snapshot(snapshot, SnapshotUse::watching)->grow(bytes);
}

}  // namespace respaldo::engine
