#include "verify/medium_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "base/hex.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "parity/repair.h"
#include "parity/sidecar_format.h"
#include "parity/upkeep.h"

namespace respaldo::verify {

namespace {

using store::FileType;
using store::Handle;

bool has_proof(const Handle& object) {
  return parity::object_type_of(object.type).has_value() && parity::is_named_by_hash(object.type);
}

bool is_whole(const Handle& object, const Bytes& bytes) {
  return has_proof(object) ? to_hex(crypto::sha256(bytes)) == object.name
                           : parity::is_sound(object, Bytes::copy_of(bytes));
}

// The page cache may still have what the medium has not: into a new file with it, elsewhere on the medium.
bool write_again(store::Backend& outer, const Handle& object) {
  store::Backend& backend = parity::plain(outer);
  try {
    const Bytes bytes = backend.load_all(object);
    if (!is_whole(object, bytes)) return false;
    const ByteView whole = bytes;
    backend.save(object, {&whole, 1}, store::Durability::proven);
    return true;
  } catch (const Error&) {
    return false;  // not healed: the caller tells the first problem
  }
}

bool is_parity(const Handle& object) { return object.type >= FileType::parity; }

// A group that was replaced meanwhile is not there any more.
void check_parity_on_medium(store::Backend& outer, const std::vector<Handle>& written, MediumReport& report,
                            Progress& progress, const std::stop_token& stop) {
  store::Backend& backend = parity::plain(outer);
  std::vector<std::pair<Handle, std::uint64_t>> files;
  std::uint64_t total = 0;
  for (const Handle& file : std::set<Handle>(written.begin(), written.end())) {
    if (!is_parity(file)) continue;
    if (const auto info = backend.stat(file)) {
      files.emplace_back(file, info->size);
      total += info->size;
    }
  }
  if (files.empty()) return;
  const ProgressPhase phase(progress, "verify parity on the medium", total);
  for (const auto& [file, size] : files) {
    os::throw_if_stopped(stop);
    std::string problem = "does not read back as it was written";
    try {
      Bytes bytes(size);
      std::uint64_t at = 0;
      const store::Medium medium = backend.read_from_medium(file, [&](ByteView piece) {
        if (piece.size() <= size - at) std::ranges::copy(piece, bytes.data() + at);
        at = std::min(size, at + piece.size());
        progress.advance(piece.size());
      });
      report.medium = std::max(report.medium, medium);
      if (at == size && parity::is_sound(file, std::move(bytes))) continue;
    } catch (const Error& error) {
      problem = fmt::format("cannot be read back: {}", error.what());
    }
    if (write_again(backend, file))
      report.healed.push_back(fmt::format("{}: written again", file.str()));
    else
      report.parity_problems.push_back(fmt::format("{} {}; `respaldo check --repair` makes it anew", file.str(), problem));
  }
}

}  // namespace

MediumReport check_on_medium(repo::Repository& repository, const std::vector<Handle>& written,
                             Progress& progress, const std::stop_token& stop) {
  store::Backend& backend = repository.backend();
  MediumReport report;
  std::vector<std::pair<Handle, std::uint64_t>> objects;
  std::uint64_t total = 0;
  for (const Handle& object : written) {
    if (!has_proof(object)) continue;
    const auto info = backend.stat(object);
    objects.emplace_back(object, info ? info->size : 0);
    total += objects.back().second;
  }
  std::mutex mutex;
  {
    const ProgressPhase phase(progress, "verify on the medium", total);
    std::atomic<std::size_t> next{0};
    os::ThreadGroup workers(stop);
    for (unsigned i = 0; i < std::max(1U, std::thread::hardware_concurrency()); ++i)
      workers.spawn([&](const std::stop_token& token) {
        for (std::size_t n = next++; n < objects.size(); n = next++) {
          os::throw_if_stopped(token);
          const Handle& object = objects[n].first;
          std::string problem;
          crypto::Sha256 hash;
          store::Medium medium = store::Medium::direct;
          std::uint64_t bytes = 0;
          try {
            medium = backend.read_from_medium(object, [&](ByteView piece) {
              hash.update(piece);
              bytes += piece.size();
              progress.advance(piece.size());
            });
            if (to_hex(hash.finish()) != object.name)
              problem = fmt::format("{} does not read back as it was written", object.str());
          } catch (const Error& error) {
            problem = fmt::format("{} cannot be read back: {}", object.str(), error.what());
          }
          std::lock_guard lock(mutex);
          report.medium = std::max(report.medium, medium);
          report.bytes += bytes;
          if (problem.empty()) continue;
          report.damaged.push_back(object);
          report.problems.push_back(std::move(problem));
        }
      });
    workers.join();
  }
  report.objects = objects.size();
  check_parity_on_medium(backend, written, report, progress, stop);
  if (report.damaged.empty()) return report;

  std::set<Handle> whole;
  parity::RepairOptions options;
  for (const Handle& object : report.damaged) {
    if (write_again(backend, object)) {
      whole.insert(object);
      report.healed.push_back(fmt::format("{}: written again", object.str()));
    } else {
      options.only.push_back(object);
    }
  }
  if (!options.only.empty() && parity::parity_of(backend) != nullptr)
    for (const parity::RepairItem& item : parity::repair(backend, options, progress, stop).items)
      if (item.outcome == parity::Outcome::healed) {
        whole.insert(item.object);
        report.healed.push_back(item.message);
      }
  std::vector<Handle> damaged;
  std::vector<std::string> problems;
  for (std::size_t i = 0; i < report.damaged.size(); ++i)
    if (!whole.contains(report.damaged[i])) {
      damaged.push_back(report.damaged[i]);
      problems.push_back(report.problems[i]);
    }
  report.damaged = std::move(damaged);
  report.problems = std::move(problems);
  return report;
}

void forget_damaged(repo::Repository& repository, const std::vector<Handle>& written,
                    const std::vector<Handle>& damaged) {
  std::set<std::string> bad_packs, bad_indexes;
  for (const Handle& object : damaged) {
    if (object.type == FileType::pack) bad_packs.insert(object.name);
    if (object.type == FileType::index) bad_indexes.insert(object.name);
  }
  std::vector<Handle> old;
  for (const Handle& object : written) {
    if (object.type != FileType::index) continue;
    if (bad_indexes.contains(object.name)) {
      // Its packs are in no index then: they wait for prune.
      old.push_back(object);
      continue;
    }
    std::vector<repo::PackContents> packs =
        repo::parse_index(repository.load_unpacked(FileType::index, object.name));
    const auto is_bad = [&](const repo::PackContents& pack) { return bad_packs.contains(pack.pack.hex()); };
    if (std::ranges::none_of(packs, is_bad)) continue;
    std::erase_if(packs, is_bad);
    if (!packs.empty())
      repository.save_unpacked(FileType::index, repo::to_json(packs), store::Durability::now);
    old.push_back(object);
  }
  repository.backend().remove_many(old);
}

}  // namespace respaldo::verify
