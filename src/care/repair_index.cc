#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "care/healing.h"
#include "care/prune_plan.h"
#include "care/repair.h"
#include "os/thread_group.h"
#include "repo/references.h"
#include "store/damage.h"

namespace respaldo::care {

namespace {

using repo::PackContents;
using repo::PackedBlob;
using repo::PackId;

bool same_blobs(const std::vector<PackedBlob>& a, const std::vector<PackedBlob>& b) {
  const auto key = [](const PackedBlob& blob) {
    return std::tie(blob.offset, blob.type, blob.id, blob.length, blob.uncompressed_length);
  };
  return std::ranges::equal(a, b, [&](const PackedBlob& x, const PackedBlob& y) { return key(x) == key(y); });
}

std::vector<std::string> unreadable_index_files(repo::Repository& repository) {
  std::vector<std::string> names;
  for (const store::FileInfo& file : repository.backend().list(store::FileType::index)) {
    try {
      repo::parse_index(repository.load_unpacked(store::FileType::index, file.name));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      names.push_back(file.name);
    }
  }
  return names;
}

// Packs whose own headers must be asked, and those that are not there.
struct Questions {
  std::vector<PackId> read, missing;
};
Questions questions(const repo::Index& index, StoredPacks stored, bool all) {
  Questions q;
  index.for_each_pack([&](const PackContents& pack) {
    const auto found = stored.find(pack.pack);
    if (found == stored.end()) {
      q.missing.push_back(pack.pack);
      return;
    }
    if (all || found->second != repo::Index::expected_pack_size(pack)) q.read.push_back(pack.pack);
    stored.erase(found);
  });
  for (const auto& [id, size] : stored) q.read.push_back(id);
  std::ranges::sort(q.missing);
  return q;
}

}  // namespace

RepairIndexReport repair_index(repo::Repository& repository, const RepairIndexOptions& options,
                               repo::RepoLock* lock, Progress& progress, const std::stop_token& stop) {
  const unsigned threads =
      options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  RepairIndexReport report;
  std::vector<std::string> damaged;
  const repo::Index index = repository.load_index(progress, &damaged, stop);
  if (!damaged.empty()) report.unreadable_files = unreadable_index_files(repository);
  StoredPacks stored;
  for (const store::FileInfo& file : repository.backend().list(store::FileType::pack))
    stored.emplace(*PackId::parse(file.name), file.size);
  Questions asked = questions(index, stored, options.read_all_packs);
  report.missing = asked.missing;
  report.packs_read = asked.read.size();
  std::set<store::Handle> dropped;
  for (const PackId& id : report.missing) dropped.insert({store::FileType::pack, id.hex()});
  for (const std::string& name : report.unreadable_files) dropped.insert({store::FileType::index, name});
  require_beyond_healing(repository, dropped, progress, stop);

  std::vector<PackContents> headers;
  {
    const ProgressPhase phase(progress, "reading headers of packs", 0);
    std::mutex mutex;
    std::atomic<std::size_t> next = 0;
    os::ThreadGroup workers(stop);
    for (unsigned i = 0; i < threads; ++i)
      workers.spawn([&](const std::stop_token& token) {
        for (std::size_t at = next++; at < asked.read.size(); at = next++) {
          os::throw_if_stopped(token);
          const PackId& id = asked.read[at];
          try {
            PackContents pack = repository.read_pack_header(id, stored.at(id));
            std::lock_guard guard(mutex);
            headers.push_back(std::move(pack));
          } catch (Error& error) {
            // A store that cannot be reached says nothing of its packs.
            if (!store::is_damage(error)) {
              error.add_context("nothing was changed");
              throw;
            }
            std::lock_guard guard(mutex);
            report.unreadable_packs.emplace_back(error.what());
          }
        }
      });
    workers.join();
  }
  std::ranges::sort(report.unreadable_packs);
  std::ranges::sort(headers, {}, &PackContents::pack);
  const auto header_of = [&](const PackId& id) {
    const auto at = std::ranges::lower_bound(headers, id, {}, &PackContents::pack);
    return at != headers.end() && at->pack == id ? at : headers.end();
  };
  std::vector<bool> known(headers.size());
  index.for_each_pack([&](const PackContents& pack) {
    const auto header = header_of(pack.pack);
    if (header == headers.end()) return;
    known[static_cast<std::size_t>(header - headers.begin())] = true;
    if (!same_blobs(header->blobs, pack.blobs)) report.corrected.push_back(pack.pack);
  });
  for (std::size_t i = 0; i < headers.size(); ++i)
    if (!known[i]) report.added.push_back(headers[i].pack);
  std::ranges::sort(report.corrected);
  if (options.dry_run || !report.changed()) return report;

  IndexChange change{.drop = report.missing, .replace = {}, .discard_unreadable = true};
  for (PackContents& pack : headers)
    if (std::ranges::binary_search(report.added, pack.pack) ||
        std::ranges::binary_search(report.corrected, pack.pack))
      change.replace.push_back(std::move(pack));
  report.index = rewrite_index(repository, index, change, lock, progress, stop);
  return report;
}

}  // namespace respaldo::care
