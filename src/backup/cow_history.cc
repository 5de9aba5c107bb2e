#include "backup/cow_history.h"

#include <algorithm>

#include "base/error.h"

namespace respaldo::backup {

namespace {

constexpr std::size_t kMostAsked = 3;  // each costs a few small reads
constexpr std::uint64_t kMostRead = 16U << 20;

}  // namespace

std::optional<view::VolumeFacts> recorded_facts(const repo::IndexedRepository& repository,
                                                const repo::Snapshot& backup, const engine::VolumeName& volume) {
  const auto node =
      view::find_node(repository, backup, "/" + volume.str() + "/" + std::string(view::kFactsName));
  if (!node || node->size > kMostRead) return std::nullopt;
  std::string text;
  for (const repo::BlobId& id : node->content)
    text += as_text(repository.load_blob(repo::BlobType::data, id));
  return view::VolumeFacts::parse(text);
}

std::optional<std::uint64_t> cow_peak(const repo::IndexedRepository& repository,
                                      const std::vector<repo::NamedSnapshot>& backups,
                                      const engine::VolumeName& volume, const std::string& uuid) {
  const std::string path = "/dev/" + volume.str();
  std::vector<const repo::Snapshot*> of_volume;
  for (const repo::NamedSnapshot& backup : backups)
    if (std::ranges::find(backup.snapshot.paths, path) != backup.snapshot.paths.end())
      of_volume.push_back(&backup.snapshot);
  std::ranges::sort(of_volume, [](const repo::Snapshot* a, const repo::Snapshot* b) {
    return std::pair(a->time.seconds, a->time.nanoseconds) > std::pair(b->time.seconds, b->time.nanoseconds);
  });
  std::optional<std::uint64_t> peak;
  for (std::size_t i = 0; i < std::min(of_volume.size(), kMostAsked); ++i) {
    try {
      const auto facts = recorded_facts(repository, *of_volume[i], volume);
      // Another host may have a volume of this name.
      if (facts && facts->how == "snapshot" && facts->lv_uuid == uuid && facts->cow_used)
        peak = std::max(peak.value_or(0), *facts->cow_used);
    } catch (const Error&) {
      // check tells of damage.
    }
  }
  return peak;
}

}  // namespace respaldo::backup
