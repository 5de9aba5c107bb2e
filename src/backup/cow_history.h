// What earlier backups tell of a volume's snapshots.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/volume_engine.h"
#include "repo/repository.h"
#include "view/volume_view.h"

namespace respaldo::backup {

// What the backup recorded of the volume; absent when it holds none, or is not ours. Error(corrupt).
std::optional<view::VolumeFacts> recorded_facts(const repo::IndexedRepository& repository,
                                                const repo::Snapshot& backup, const engine::VolumeName& volume);

// The most that the COW stores of the volume's last backups used, bytes; absent when none had one. Damaged
// backups tell nothing, nor do those of another volume of this name (`uuid`: of the LV).
std::optional<std::uint64_t> cow_peak(const repo::IndexedRepository& repository,
                                      const std::vector<repo::NamedSnapshot>& backups,
                                      const engine::VolumeName& volume, const std::string& uuid);

}  // namespace respaldo::backup
