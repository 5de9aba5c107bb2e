#include "backup/backup.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "backup/chunk_savers.h"
#include "backup/file_counts.h"
#include "backup/image_list.h"
#include "backup/pipeline.h"
#include "backup/tree_builder.h"
#include "base/error.h"
#include "base/hex.h"
#include "crypto/crypto.h"
#include "fs/probe/probe.h"
#include "os/thread_group.h"

namespace respaldo::backup {

namespace {

// A volume on its way into the backup.
struct Job {
  engine::VolumeName name;  // as it will be stored
  view::VolumeFacts facts;
  std::unique_ptr<engine::SnapshotLease> lease;  // null once released
  CutPlan plan;
  PassResult read;
  std::vector<ImageList::Part> parts;
};

std::string random_tag() {
  std::array<std::uint8_t, 8> bytes{};
  crypto::random_bytes(bytes);
  return "respaldo_run_" + to_hex(bytes);
}

view::VolumeFacts gather_facts(const engine::VolumeEngine& engine, const engine::VolumeInfo& info,
                               const engine::VolumeName& name, const engine::SnapshotLease& lease) {
  view::VolumeFacts facts;
  facts.vg = name.vg;
  facts.lv = name.lv;
  facts.vg_uuid = info.vg_uuid;
  facts.lv_uuid = info.uuid;
  facts.size = lease.device().size();
  facts.segment_type = info.kind;
  facts.engine = engine::to_string(engine.kind());
  facts.how = lease.how();
  facts.snapshot_name = lease.snapshot_name();
  try {
    if (const auto found = fs::probe(lease.device())) {
      facts.filesystem = found->type;
      facts.filesystem_label = found->label;
      facts.filesystem_uuid = found->uuid;
    }
  } catch (const Error&) {
    // A sector that cannot be read is met again by the pass, which tells of it.
  }
  return facts;
}

class Run {
 public:
  Run(engine::VolumeEngine& engine, const repo::IndexedRepository& repository, const BackupOptions& options,
      Progress& progress, const std::function<void()>& still_locked, std::stop_token stop)
      : engine_(engine),
        repository_(repository),
        options_(options),
        progress_(progress),
        still_locked_(still_locked),
        stop_(std::move(stop)),
        started_(repo::now()),
        trees_(started_, [this](repo::Tree tree) {
          return savers_->save(repo::BlobType::tree, as_bytes(repo::to_json(std::move(tree))));
        }) {}

  BackupSummary run() {
    const auto clock = std::chrono::steady_clock::now();
    acquire();
    open_savers();
    read_all();
    if (!options_.dry_run) commit();
    for (Job& job : jobs_) {
      summary_.incomplete |= !job.facts.lost.empty();
      summary_.volumes.push_back({std::move(job.facts), job.read.bytes_read, job.read.bytes_zero});
    }
    summary_.totals = savers_->totals();
    summary_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count();
    return std::move(summary_);
  }

 private:
  // All volumes are held still before the first is read, so that they belong together.
  void acquire() {
    if (options_.volumes.empty()) throw Error(ErrorKind::usage, "no volume to back up was named");
    const engine::AcquireOptions how{options_.cow_size, random_tag()};
    std::set<engine::VolumeName> names;
    for (const engine::VolumeName& asked : options_.volumes) {
      os::throw_if_stopped(stop_);
      const engine::VolumeInfo info = engine_.find(asked);
      Job job;
      job.name = asked;
      // What a given snapshot shows is its origin, and is stored under the origin's name.
      if (options_.from_snapshot && info.origin) job.name.lv = *info.origin;
      if (!names.insert(job.name).second)
        throw Error(ErrorKind::usage, fmt::format("{} is named twice", job.name.str()),
                    "each volume can be in a backup once");
      if (!configs_.contains(job.name.vg)) configs_[job.name.vg] = engine_.vg_config(job.name.vg);
      in_context([&] { return asked.str(); },
                 [&] {
                   job.lease =
                       options_.from_snapshot ? engine_.acquire_snapshot(asked) : engine_.acquire(asked, how);
                   job.facts = gather_facts(engine_, info, job.name, *job.lease);
                   job.plan = plan_image(job.lease->device());
                 });
      jobs_.push_back(std::move(job));
    }
  }

  void open_savers() {
    const unsigned threads =
        options_.threads != 0 ? options_.threads : std::max(1U, std::thread::hardware_concurrency());
    savers_ = options_.dry_run ? make_dry_savers(repository_, threads)
                               : make_repository_savers(repository_, options_.writer, threads);
  }

  void read_all() {
    std::uint64_t total = 0;
    for (const Job& job : jobs_) total += job.plan.bytes_to_read();
    const ProgressPhase phase(progress_, "backup", total);
    for (Job& job : jobs_) {
      ImageList list;
      const PassSource source{job.lease->device(), job.plan, job.name.str(), options_.on_read_error,
                              [&lease = *job.lease] { lease.require_valid(); }};
      job.read = run_pass(source, savers_->savers(), list, progress_, stop_);
      job.parts = list.take_parts();
      job.facts.lost = job.read.lost;
      if (const auto cow = job.lease->cow()) {
        job.facts.cow_size = cow->size;
        job.facts.cow_used = cow->used;
        job.facts.cow_chunk = cow->chunk;
      }
      release(job);
    }
  }

  // The bytes are safe: a snapshot that stays behind is no reason to throw the backup away.
  void release(Job& job) {
    try {
      job.lease->release();
    } catch (const Error& error) {
      summary_.warnings.push_back(
          fmt::format("the snapshot {} could not be removed: {}", job.lease->snapshot_name(), error.what()));
    }
    job.lease.reset();
  }

  void commit() {
    repo::Snapshot snapshot;
    snapshot.time = started_;
    for (const Job& job : jobs_) snapshot.paths.push_back("/dev/" + job.name.str());
    std::ranges::sort(snapshot.paths);
    snapshot.hostname = options_.hostname;
    snapshot.username = options_.username;
    snapshot.tags = options_.tags;
    snapshot.program_version = options_.program_version;
    snapshot.tree = save_trees();
    os::throw_if_stopped(stop_);
    savers_->finish();

    repo::Repository& repository = repository_.repository();
    std::vector<std::string> damaged;  // told by check
    const auto parent = find_parent(repository.snapshots(&damaged), snapshot);
    repo::SnapshotSummary counts;
    count_files(counts, trees_.made(), repository_, parent ? &parent->snapshot : nullptr);
    if (parent) snapshot.parent = parent->id;
    const repo::WriterTotals totals = savers_->totals();
    counts.data_blobs = totals.data_blobs;
    counts.tree_blobs = totals.tree_blobs;
    counts.data_added = totals.new_bytes;
    counts.data_added_packed = totals.packed_bytes;
    counts.backup_start = started_;
    counts.backup_end = repo::now();
    snapshot.summary = counts;

    os::throw_if_stopped(stop_);
    still_locked_();
    summary_.id = repo::save_snapshot(repository, snapshot);
  }

  repo::BlobId save_trees() {
    std::map<std::string, repo::Tree> groups;
    for (Job& job : jobs_) {
      const std::string path = "/" + job.name.str();
      repo::Tree tree;
      add_image(tree, path, std::move(job.parts));
      tree.nodes.push_back(text_file(path + "/" + std::string(view::kFactsName), job.facts.to_json()));
      groups[job.name.vg].nodes.push_back(trees_.folder(path, std::move(tree)));
    }
    repo::Tree root;
    for (auto& [vg, tree] : groups) {
      const std::string path = "/" + vg;
      const auto same_name = [](const repo::Node& node) { return node.name == view::kGroupConfigName; };
      if (std::ranges::any_of(tree.nodes, same_name)) {
        summary_.warnings.push_back(fmt::format("the metadata of {} is not saved: a volume has the name {}",
                                                vg, view::kGroupConfigName));
      } else {
        tree.nodes.push_back(text_file(path + "/" + std::string(view::kGroupConfigName), configs_.at(vg)));
      }
      root.nodes.push_back(trees_.folder(path, std::move(tree)));
    }
    return trees_.root(std::move(root));
  }

  void add_image(repo::Tree& tree, const std::string& path, std::vector<ImageList::Part> parts) {
    if (parts.size() == 1) {
      tree.nodes.push_back(trees_.file(path + "/" + std::string(view::kImageName), parts.front().size,
                                       std::move(parts.front().content)));
      return;
    }
    const std::string folder = path + "/" + std::string(view::kImageFolder);
    repo::Tree inside;
    for (std::size_t i = 0; i < parts.size(); ++i)
      inside.nodes.push_back(
          trees_.file(folder + "/" + view::part_name(i), parts[i].size, std::move(parts[i].content)));
    tree.nodes.push_back(trees_.folder(folder, std::move(inside)));
  }

  repo::Node text_file(const std::string& path, std::string_view text) {
    std::vector<repo::BlobId> content;
    for (std::string_view rest = text; !rest.empty();
         rest.remove_prefix(std::min<std::size_t>(rest.size(), kImageChunk)))
      content.push_back(savers_->save(repo::BlobType::data, as_bytes(rest.substr(0, kImageChunk))));
    return trees_.file(path, text.size(), std::move(content));
  }

  engine::VolumeEngine& engine_;
  const repo::IndexedRepository& repository_;
  const BackupOptions& options_;
  Progress& progress_;
  const std::function<void()>& still_locked_;
  const std::stop_token stop_;
  const repo::Timestamp started_;
  std::unique_ptr<ChunkSavers> savers_;
  TreeBuilder trees_;
  std::vector<Job> jobs_;  // their leases, where they are left, are released when this goes
  std::map<std::string, std::string> configs_;
  BackupSummary summary_;
};

}  // namespace

BackupSummary run_backup(engine::VolumeEngine& engine, const repo::IndexedRepository& repository,
                         const BackupOptions& options, Progress& progress,
                         const std::function<void()>& still_locked, std::stop_token stop) {
  return Run(engine, repository, options, progress, still_locked, std::move(stop)).run();
}

}  // namespace respaldo::backup
