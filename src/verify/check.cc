#include "verify/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <thread>

#include "base/error.h"
#include "os/thread_group.h"
#include "verify/findings.h"
#include "verify/pack_check.h"
#include "verify/parity_check.h"
#include "verify/tree_walk.h"
#include "verify/volume_check.h"

namespace respaldo::verify {

bool CheckReport::ok() const {
  return std::ranges::none_of(findings, [](const Finding& f) { return f.severity == Severity::error; });
}

CheckReport check_repository(repo::Repository& repository, const CheckOptions& options, Progress& progress,
                             std::stop_token stop) {
  const unsigned threads =
      options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  Findings findings;
  CheckReport report;

  std::vector<std::string> damaged;
  const repo::IndexedRepository indexed(repository, repository.load_index(progress, &damaged, stop));
  for (std::string& message : damaged)
    findings.add(Severity::error, "bad_index", std::move(message),
                 "the index can be made anew from the packs: restic rebuild-index");
  bool metadata_damaged = !damaged.empty();
  report.blobs = indexed.index().blob_count();
  report.packs = indexed.index().pack_count();
  os::throw_if_stopped(stop);
  check_pack_list(repository, indexed.index(), findings);

  damaged.clear();
  const auto backups = repository.snapshots(&damaged);
  for (std::string& message : damaged)
    findings.add(Severity::error, "bad_backup", std::move(message), "the other backups do not need it");
  metadata_damaged |= !damaged.empty();
  report.snapshots = backups.size();
  check_trees(indexed, backups, threads, findings, progress, stop);
  check_volumes(indexed, backups, threads, findings, stop);

  if (options.read_data) report.bytes_read = check_pack_data(indexed, threads, findings, progress, stop);
  check_parity(repository, findings);
  std::set<store::Handle> objects = findings.take_damaged();
  if (metadata_damaged)
    for (const store::FileType type : {store::FileType::index, store::FileType::snapshot})
      for (const store::FileInfo& file : repository.backend().list(type)) objects.insert({type, file.name});
  check_healing(repository, objects, findings, progress, stop);
  report.findings = findings.take();
  return report;
}

}  // namespace respaldo::verify
