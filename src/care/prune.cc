#include "care/prune.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/hex.h"
#include "care/kept_copies.h"
#include "care/repack.h"
#include "care/used_blobs.h"
#include "crypto/crypto.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "parity/upkeep.h"

namespace respaldo::care {

namespace {

StoredPacks stored_packs(repo::Repository& repository) {
  StoredPacks packs;
  for (const store::FileInfo& file : repository.backend().list(store::FileType::pack))
    if (const auto id = repo::PackId::parse(file.name)) packs.emplace(*id, file.size);
  return packs;
}

void require_lock(repo::RepoLock* lock, const std::stop_token& stop) {
  os::throw_if_stopped(stop);
  if (lock != nullptr) lock->require();
}

std::vector<std::string> names(const std::vector<repo::PackId>& packs) {
  std::vector<std::string> list;
  list.reserve(packs.size());
  for (const repo::PackId& pack : packs) list.push_back(pack.hex());
  return list;
}

}  // namespace

namespace {

// What is not seen is removed: so every backup that is listed must be there, and when none is listed somebody must
// have said so.
void require_all(repo::Repository& repository, const std::vector<repo::NamedSnapshot>& backups) {
  std::set<std::string> loaded;
  for (const repo::NamedSnapshot& backup : backups) loaded.insert(backup.id.hex());
  for (const store::FileInfo& file : repository.backend().list(store::FileType::snapshot))
    if (!loaded.contains(file.name))
      throw Error(ErrorKind::io,
                  fmt::format("backup {} is listed, but it was not found when it was read: nothing was removed",
                              file.name.substr(0, 8)),
                  "the store gives answers that contradict each other: run again, and `respaldo check` first");
}

// A backup that this program forgot leaves no parity: what parity still knows was lost, or removed by another
// one.
void require_none_lost(repo::Repository& repository, Progress& progress, const std::stop_token& stop) {
  if (parity::parity_of(repository.backend()) == nullptr) return;
  const auto lost = parity::lost_objects(repository.backend(), store::FileType::snapshot, progress, stop);
  if (lost.empty()) return;
  throw Error(
      ErrorKind::refused,
      fmt::format("parity knows {} backup{} not there ({}{}): nothing was removed", lost.size(),
                  lost.size() == 1 ? " that is" : "s that are", lost.front().name.substr(0, 8),
                  lost.size() == 1 ? "" : " and others"),
      fmt::format("`respaldo parity restore {}` brings it back, without an ID it lists them; if it was "
                  "forgotten, by another program: `respaldo parity update`, then prune again",
                  lost.front().name.substr(0, 8)));
}

std::vector<std::string> told(const BadCopies& bad) {
  std::vector<std::string> warnings;
  for (auto first = bad.begin(); first != bad.end();) {
    const auto last = std::find_if(first, bad.end(), [&](const auto& copy) { return copy.first != first->first; });
    const auto count = std::distance(first, last);
    warnings.push_back(
        fmt::format("pack {} is damaged: {} of its blobs that backups need cannot be read, and {} kept out of other packs; "
                    "`respaldo check --read-data` tells what else is damaged, and what helps",
                    first->first.short_hex(), count, count == 1 ? "is" : "are"));
    first = last;
  }
  return warnings;
}

// What a server will not let go in the end is not to be stored a second time before. One that only appends refuses this
// before it looks whether there is such an index.
void require_removal(repo::Repository& repository) {
  if (!repository.backend().location().starts_with("rest:")) return;
  std::array<std::uint8_t, 32> nothing;
  crypto::random_bytes(nothing);
  try {
    repository.backend().remove({store::FileType::index, to_hex(nothing)});
  } catch (Error& error) {
    error.add_context("nothing was changed");
    throw;
  }
}

}  // namespace

PruneReport prune(repo::Repository& repository, const PruneOptions& options, repo::RepoLock* lock,
                  Progress& progress, const std::stop_token& stop) {
  // Large buffers go back to the system when they are freed. Left to itself, the allocator soon keeps those
  // of up to 32 MiB in each thread's heap, and the peak is twice what is in use; a prune has few buffers, so
  // this costs little.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 8 << 20);
  const unsigned threads =
      options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  if (repository.config().version < 2 && options.repack_uncompressed)
    throw Error(ErrorKind::unsupported, "a repository of format version 1 cannot hold compressed data",
                "restic's `migrate upgrade_repo_v2` makes it version 2");
  // A removed backup that comes back after a power cut must find its packs.
  if (!options.dry_run) repository.backend().sync();
  std::vector<repo::NamedSnapshot> backups = repository.snapshots();
  require_all(repository, backups);
  require_none_lost(repository, progress, stop);
  const bool none = backups.empty();
  std::erase_if(backups, [&](const repo::NamedSnapshot& backup) {
    return std::ranges::find(options.without, backup.id) != options.without.end();
  });
  const repo::IndexedRepository indexed(repository, repository.load_index(progress, nullptr, stop));
  if (none && !options.no_backups && !indexed.index().packs().empty())
    throw Error(ErrorKind::refused, "the store lists no backup at all, and prune would remove everything",
                "if every backup was really forgotten, remove the repository's folder or bucket there; else look with "
                "`respaldo list` what the store says, and run `respaldo check`");
  BadCopies bad;
  PrunePlan plan = [&] {
    const BlobBits used = find_used_blobs(indexed, backups, threads, progress, stop);
    const StoredPacks stored = stored_packs(repository);
    const PruneLimits limits{.max_unused = options.max_unused,
                             .max_repack_size = options.max_repack_size,
                             .cacheable_only = options.repack_cacheable_only,
                             .uncompressed = options.repack_uncompressed,
                             .may_compress = repository.config().version >= 2,
                             .heal_first = parity::heal_first(repository.backend())};
    for (;;) {
      PrunePlan one = plan_prune(indexed.index(), used, stored, limits, bad);
      if (prove_kept_copies(indexed, used, one, threads, bad, progress, stop)) return one;
    }
  }();
  PruneReport report;
  report.stats = plan.stats;
  report.warnings = told(bad);
  const std::vector<repo::PackId> packs = indexed.index().packs();
  std::vector<repo::PackId> gone, remove;  // out of the index; of those, the files to remove
  for (std::size_t i = 0; i < packs.size(); ++i) {
    if (plan.fates[i] == PackFate::keep) continue;
    gone.push_back(packs[i]);
    if (plan.present[i])
      remove.push_back(packs[i]);
    else
      ++report.missing_packs;
  }
  if (options.dry_run) return report;

  require_lock(lock, stop);
  if (!gone.empty() || !plan.unreferenced.empty()) require_removal(repository);
  if (plan.stats.packs.repack > 0)
    repack(indexed, plan,
           {.threads = threads, .pack_size = options.pack_size, .compress = options.repack_uncompressed},
           progress, stop);
  require_lock(lock, stop);
  // Not before: such a pack may hold the only whole copy of a blob that could not be moved.
  remove_files(repository, store::FileType::pack, names(plan.unreferenced), lock, progress);
  std::ranges::sort(gone);
  report.index = rewrite_index(repository, indexed.index(), {.drop = std::move(gone)}, lock, progress, stop);
  os::throw_if_stopped(stop);
  remove_files(repository, store::FileType::pack, names(remove), lock, progress);
  repository.backend().sync();
  return report;
}

}  // namespace respaldo::care
