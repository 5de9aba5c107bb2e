#include "verify/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/hex.h"
#include "base/printable.h"
#include "base/units.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "repo/keys.h"
#include "store/damage.h"
#include "verify/findings.h"
#include "verify/losses.h"
#include "verify/pack_check.h"
#include "verify/parity_check.h"
#include "verify/tree_walk.h"
#include "verify/volume_check.h"

namespace respaldo::verify {

bool CheckReport::ok() const {
  return std::ranges::none_of(findings, [](const Finding& f) { return f.severity == Severity::error; });
}

namespace {

// A damaged key is not missed before the day when it is the only one that somebody has the password of.
void check_keys(repo::Repository& repository, const std::string& heal, Findings& findings) {
  constexpr std::uint64_t kLongestKey = 1U << 20;
  for (const store::FileInfo& file : repository.backend().list(store::FileType::key)) {
    const store::Handle key{store::FileType::key, file.name};
    std::string problem;
    try {
      const Bytes json = repository.backend().load_all(key, kLongestKey);
      if (to_hex(crypto::sha256(json)) != file.name) problem = "its contents do not match its name";
      repo::parse_key_file(json);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) continue;  // removed since it was listed
      if (!store::is_damage(error)) {
        findings.add(Severity::warning, "unread_key", fmt::format("{} cannot be read: {}", key.str(), error.what()), "");
        continue;
      }
      problem = error.what();
    }
    if (problem.empty()) continue;
    findings.damaged(key);
    findings.add(Severity::error, "bad_key",
                 fmt::format("{} is damaged: its password may open nothing any more ({})", key.str(), problem),
                 heal + fmt::format("while another password opens the repository, `respaldo key add` makes a key anew, and "
                                    "`respaldo key remove {}` removes this one",
                                    file.name.substr(0, 8)));
  }
}

}  // namespace

CheckReport check_repository(repo::Repository& repository, const CheckOptions& options, Progress& progress,
                             std::stop_token stop) {
  const unsigned threads =
      options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  Findings findings;
  CheckReport report;
  const std::string heal = parity::heal_first(repository.backend());

  check_keys(repository, heal, findings);
  std::vector<std::string> damaged;
  const repo::IndexedRepository indexed(repository, repository.load_index(progress, &damaged, stop));
  for (std::string& message : damaged)
    findings.add(Severity::error, "bad_index", std::move(message),
                 heal + "`respaldo repair index` makes it anew from the packs");
  const bool index_is_whole = damaged.empty();
  bool metadata_damaged = !index_is_whole;
  report.blobs = indexed.index().blob_count();
  report.packs = indexed.index().pack_count();
  os::throw_if_stopped(stop);
  DamagedPlaces places;
  const UnreferencedPacks unreferenced = check_pack_list(repository, indexed.index(), places, findings);
  report.unreferenced_packs = unreferenced.count;
  report.unreferenced_bytes = unreferenced.bytes;

  damaged.clear();
  const auto backups = repository.snapshots(&damaged);
  for (std::string& message : damaged)
    findings.add(Severity::error, "bad_backup", std::move(message),
                 heal + "the other backups do not need it; `respaldo repair snapshots --forget` removes it");
  metadata_damaged |= !damaged.empty();
  report.snapshots = backups.size();
  check_trees(indexed, backups, threads, findings, progress, stop);
  check_volumes(indexed, backups, threads, findings, stop);

  if (options.read_data)
    report.bytes_read = check_pack_data(indexed, options.subset, threads, places, findings, progress, stop);
  if (!places.empty()) tell_losses(indexed, backups, places, findings, stop);
  check_parity(repository, indexed.index(), index_is_whole, findings);
  if (options.read_data)
    report.bytes_read += check_parity_data(repository, options.subset, threads, findings, progress, stop);
  std::set<store::Handle> objects = findings.take_damaged();
  if (metadata_damaged)
    for (const store::FileType type : {store::FileType::index, store::FileType::snapshot})
      for (const store::FileInfo& file : repository.backend().list(type)) objects.insert({type, file.name});
  check_healing(repository, objects, findings, progress, stop);
  report.findings = findings.take();
  return report;
}

ReadSubset ReadSubset::parse(std::string_view text) {
  ReadSubset subset;
  const auto number = [&](std::string_view word, auto& value) {
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    return error == std::errc() && end == word.data() + word.size();
  };
  if (const auto slash = text.find('/'); slash != std::string_view::npos) {
    subset.kind = Kind::part;
    if (!number(text.substr(0, slash), subset.part) || !number(text.substr(slash + 1), subset.parts) ||
        subset.part < 1 || subset.part > subset.parts || subset.parts > 256)
      throw Error(ErrorKind::usage, fmt::format("{} is no part of the data", printable(text)),
                  "write 2/7 for the second of seven parts; at most 256 parts");
  } else if (text.ends_with('%')) {
    subset.kind = Kind::percent;
    if (!number(text.substr(0, text.size() - 1), subset.percent) ||
        !(subset.percent > 0 && subset.percent <= 100))
      throw Error(ErrorKind::usage, fmt::format("{} is no share of the data", printable(text)),
                  "write a share above 0% and up to 100%");
  } else {
    subset.kind = Kind::size;
    subset.bytes = parse_size(text, "--read-data-subset", kMiB);
  }
  return subset;
}

}  // namespace respaldo::verify
