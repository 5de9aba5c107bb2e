#include "verify/volume_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "base/printable.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "view/volume_view.h"

namespace respaldo::verify {

namespace {

constexpr const char* kOlderBackup = "another backup of this volume may be whole";

// A repair takes a record away that was lost, and says so by the backup's tag.
enum class Origin { foreign, ours, repaired };

void check_facts(const view::StoredVolume& volume, const std::string& name, Origin origin,
                 bool has_facts_file, Findings& findings) {
  if (!volume.facts) {
    if (has_facts_file) {
      findings.add(Severity::error, "bad_facts",
                   fmt::format("{}: its {} cannot be read", name, view::kFactsName),
                   "the image can be restored without it");
    } else if (origin != Origin::foreign) {
      findings.add(origin == Origin::repaired ? Severity::warning : Severity::error, "bad_facts",
                   fmt::format("{}: it has no {}", name, view::kFactsName),
                   "the image can be restored without it");
    }
    return;
  }
  const view::VolumeFacts& facts = *volume.facts;
  if (facts.vg != volume.vg || facts.lv != volume.lv)
    findings.add(Severity::error, "facts_disagree",
                 fmt::format("{}: its {} is about {}/{}", name, view::kFactsName, printable(facts.vg),
                             printable(facts.lv)));
  if (volume.has_image && facts.size != volume.image_size)
    findings.add(Severity::error, "facts_disagree",
                 fmt::format("{}: its image has {} bytes, {} says {}", name, volume.image_size,
                             view::kFactsName, facts.size),
                 kOlderBackup);
  for (const view::LostRange& range : facts.lost) {
    if (range.extent.end() > facts.size)
      findings.add(Severity::error, "facts_disagree",
                   fmt::format("{}: {} tells of a lost range past its end", name, view::kFactsName));
  }
  if (!facts.lost.empty())
    findings.add(Severity::warning, "lost_ranges", fmt::format("{}: {}", name, view::describe(facts.lost)),
                 kOlderBackup);
}

void check_backup(const repo::IndexedRepository& repository, const repo::NamedSnapshot& backup,
                  Findings& findings, const std::stop_token& stop) {
  const std::string advice = parity::heal_first(repository.repository().backend()) +
                             "`respaldo repair index` brings back what only the index lost; else " + kOlderBackup;
  const std::string id = backup.id.short_hex();
  const bool ours = backup.snapshot.program_version.starts_with("respaldo");
  const bool repaired = std::ranges::find(backup.snapshot.tags, "repaired") != backup.snapshot.tags.end();
  const Origin origin = !ours ? Origin::foreign : repaired ? Origin::repaired : Origin::ours;
  std::vector<view::StoredVolume> volumes;
  try {
    volumes = view::stored_volumes(repository, backup.snapshot);
  } catch (const Error& failure) {
    findings.add(Severity::error, "bad_backup",
                 fmt::format("backup {}: its volumes cannot be found: {}", id, failure.what()), advice);
    return;
  }
  for (const view::StoredVolume& volume : volumes) {
    os::throw_if_stopped(stop);
    const std::string name = fmt::format("backup {}, {}", id, printable(volume.str()));
    try {
      if (volume.has_image) view::image_chunks(repository, volume);
    } catch (const Error& failure) {
      findings.add(Severity::error, "bad_image", fmt::format("backup {}, {}", id, failure.what()), advice);
    }
    bool has_facts_file = false;
    try {
      const std::string path = volume.tree_path + "/" + std::string(view::kFactsName);
      has_facts_file = volume.facts || view::find_node(repository, backup.snapshot, path).has_value();
    } catch (const Error&) {
      // The walk over the trees tells of it.
    }
    check_facts(volume, name, origin, has_facts_file, findings);
  }
}

}  // namespace

void check_volumes(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
                   unsigned threads, Findings& findings, const std::stop_token& stop) {
  std::atomic<std::size_t> next = 0;
  os::ThreadGroup workers(stop);
  for (unsigned i = 0; i < threads; ++i)
    workers.spawn([&](const std::stop_token& token) {
      for (std::size_t at = next++; at < backups.size(); at = next++) {
        os::throw_if_stopped(token);
        check_backup(repository, backups[at], findings, token);
      }
    });
  workers.join();
}

}  // namespace respaldo::verify
