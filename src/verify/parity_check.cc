#include "verify/parity_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "parity/repair.h"
#include "parity/upkeep.h"
#include "verify/pack_check.h"

namespace respaldo::verify {

namespace {

constexpr const char* kUpdate = "respaldo parity update";

std::string first_of(const std::vector<store::Handle>& objects) {
  return objects.size() == 1 ? objects.front().str() : fmt::format("{} and others", objects.front().str());
}

}  // namespace

void check_parity(repo::Repository& repository, const repo::Index& index, bool whole, Findings& findings) {
  const parity::ParityBackend* parity = parity::parity_of(repository.backend());
  if (parity == nullptr) {
    if (parity::is_left_behind(repository.backend()))
      findings.add(Severity::warning, "parity_settings",
                   "there is parity, but its settings are lost (or `parity disable` was cut off): it is not kept up, and "
                   "nothing is healed out of it",
                   parity::kTakeUp);
    return;
  }
  // As they are now: `check --repair` has written them anew since the repository was opened.
  if (const auto now = parity::load_settings(repository.backend()); !now || now->damaged)
    findings.add(Severity::warning, "parity_settings", "the settings of parity are lost or damaged",
                 "respaldo check --repair");
  parity::NamedPacks named{.known = whole};
  for (const repo::PackId& pack : index.packs()) named.packs.insert(pack.hex());
  const parity::Coverage coverage = parity::look_at_coverage(repository.backend(), named);
  // Only an index that can be read tells what was lost and what another program removed.
  const std::string heal = whole ? "" : "respaldo check --repair, as an index cannot be read; then: ";
  if (!coverage.without_parity.empty())
    findings.add(
        Severity::warning, "parity_missing",
        fmt::format(
            "{} of {} objects have no parity ({}): stored by another program or a run that was killed, or "
            "parity was lost",
            coverage.without_parity.size(), coverage.objects, first_of(coverage.without_parity)),
        kUpdate);
  if (!coverage.stale.empty())
    findings.add(
        Severity::warning, "parity_stale",
        fmt::format("{} parity files belong to objects that do not exist ({}): removed by another "
                    "program, left by a run that was killed, or lost",
                    coverage.stale.size(), first_of(coverage.stale)),
        heal +
            "when they were lost: respaldo parity restore; else: respaldo parity update (which also ends "
            "that a removed password's key could be brought back)");
  if (!parity->settings().has_groups()) return;
  if (!coverage.without_group.empty())
    findings.add(
        Severity::warning, "parity_group_missing",
        fmt::format("{} packs are in no group with all its members: they could not be brought back whole",
                    coverage.without_group.size()),
        heal + kUpdate);
  if (!coverage.stale_groups.empty())
    findings.add(Severity::warning, "parity_group_stale",
                 fmt::format("{} groups of packs are damaged, or miss members", coverage.stale_groups.size()),
                 heal + kUpdate);
}

std::uint64_t check_parity_data(repo::Repository& repository, const ReadSubset& subset, unsigned threads,
                                Findings& findings, Progress& progress, const std::stop_token& stop) {
  store::Backend& backend = repository.backend();
  if (parity::parity_of(backend) == nullptr) return 0;
  std::vector<std::pair<store::Handle, std::uint64_t>> files;
  std::uint64_t total = 0;
  for (const store::FileType type : {store::FileType::parity, store::FileType::parity_group}) {
    std::unordered_map<repo::PackId, std::uint64_t> sizes;
    for (const store::FileInfo& file : backend.list(type))
      sizes.emplace(*repo::PackId::parse(file.name), file.size);
    for (const auto& [id, size] : select(std::move(sizes), subset)) {
      files.emplace_back(store::Handle{type, id.hex()}, size);
      total += size;
    }
  }
  const ProgressPhase phase(progress, "check parity", total);
  std::mutex mutex;
  std::vector<store::Handle> damaged;
  std::atomic<std::size_t> next = 0;
  os::ThreadGroup workers(stop);
  for (unsigned i = 0; i < threads; ++i)
    workers.spawn([&](const std::stop_token& token) {
      for (std::size_t at = next++; at < files.size(); at = next++) {
        os::throw_if_stopped(token);
        const bool sound = parity::is_sound(backend, files[at].first);
        progress.advance(files[at].second);
        if (sound) continue;
        std::lock_guard lock(mutex);
        damaged.push_back(files[at].first);
      }
    });
  workers.join();
  for (const store::Handle& file : damaged)
    findings.add(Severity::warning, "parity_damaged",
                 fmt::format("{} is damaged: what it protects could not be healed with it", file.str()),
                 "`respaldo check --repair` makes it anew while what it protects is whole");
  return total;
}

void check_healing(repo::Repository& repository, const std::set<store::Handle>& damaged, Findings& findings,
                   Progress& progress, const std::stop_token& stop) {
  if (damaged.empty() || parity::parity_of(repository.backend()) == nullptr) return;
  for (const parity::RepairItem& item :
       parity::look_for_healing(repository.backend(), damaged, progress, stop).items) {
    if (item.outcome == parity::Outcome::healed)
      findings.add(Severity::warning, "can_be_healed", item.message, "respaldo check --repair");
    else if (item.outcome == parity::Outcome::beyond)
      findings.add(Severity::error, "cannot_be_healed", item.message);
  }
}

}  // namespace respaldo::verify
