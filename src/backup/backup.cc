#include "backup/backup.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "backup/chunk_map.h"
#include "backup/chunk_savers.h"
#include "backup/cow_history.h"
#include "backup/cut_recorder.h"
#include "backup/file_counts.h"
#include "backup/file_facts.h"
#include "backup/file_trees.h"
#include "backup/measured_progress.h"
#include "backup/run_bases.h"
#include "backup/tree_builder.h"
#include "backup/volume_job.h"
#include "backup/volume_trees.h"
#include "backup/work_list.h"
#include "base/endian.h"
#include "base/error.h"
#include "crypto/crypto.h"
#include "fs/probe/probe.h"
#include "journal/names.h"
#include "os/crash_point.h"
#include "os/thread_group.h"

namespace respaldo::backup {

namespace {

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

// The repository's own secret, which its configuration keeps encrypted.
std::uint64_t cut_key(const repo::Config& config) {
  return load_le64(crypto::sha256(as_bytes("respaldo content cuts " + config.polynomial)).data());
}

class Sinks final : public ChunkSink {
 public:
  explicit Sinks(std::vector<ChunkSink*> sinks) : sinks_(std::move(sinks)) {}
  void add(ChunkSink& sink) { sinks_.push_back(&sink); }
  void take(const StoredChunk& chunk) override {
    for (ChunkSink* sink : sinks_) sink->take(chunk);
  }

 private:
  std::vector<ChunkSink*> sinks_;
};

class Run {
 public:
  Run(engine::VolumeEngine& engine, const repo::IndexedRepository& repository, const BackupOptions& options,
      Progress& progress, const std::function<void(LockLook)>& still_locked, std::stop_token stop)
      : engine_(engine),
        repository_(repository),
        options_(options),
        progress_(progress),
        still_locked_(still_locked),
        stop_(std::move(stop)),
        started_(repo::now()),
        cutter_name_(cutter_name(cut_key(repository.repository().config()))),
        content_cutter_(cut_key(repository.repository().config())),
        builder_(
            started_,
            [this](repo::Tree tree) {
              return savers_->save(repo::BlobType::tree, as_bytes(repo::to_json(std::move(tree))));
            },
            [this](const std::string& path) { return parent_folders_->find(path); }),
        guard_(options.guard, progress_, [this] { return progress_.seconds_left(); }),
        bases_({engine_, repository_, options_, known_, cutter_name_, started_, progress_, summary_.warnings, stop_}) {}

  BackupSummary run() {
    const auto clock = std::chrono::steady_clock::now();
    known_ = repository_.repository().snapshots(&damaged_);
    warn_of_clock();
    clean();
    acquire();
    look();
    describe();
    {
      const ProgressPhase phase(progress_, "see what changed", 0);
      bases_.choose(jobs_, parent_);
    }
    open_savers();
    read_all();
    for (const Job& job : jobs_)
      if (!job.facts.lost.empty()) lacks(fmt::format("{}: {}", job.name.str(), view::describe(job.facts.lost)));
    if (!options_.dry_run) {
      commit();
      for (Job& job : jobs_) {
        if (!job.token) continue;
        bases_.keep(job);
        release(job);
      }
    }
    for (Job& job : jobs_) {
      summary_.volumes.push_back({std::move(job.facts), job.read.bytes_read, job.read.bytes_zero,
                                  job.read.bytes_reused, std::move(job.record), job.base_kept});
    }
    summary_.totals = savers_->totals();
    summary_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count();
    return std::move(summary_);
  }

 private:
  // What earlier runs left behind never blocks this one.
  void clean() {
    try {
      // What users named is not removed without their asking for it.
      const engine::CleanReport report = engine_.clean({.named = false});
      for (const engine::CleanReport::Item& item : report.items)
        if (item.problem.empty())
          progress_.note(fmt::format("removed what an earlier run left behind: {}", item.what));
        else
          summary_.warnings.push_back(fmt::format(
              "an earlier run left {} behind, which cannot be removed: {}", item.what, item.problem));
      for (const std::string& what : report.left)
        progress_.note(fmt::format("a run that died left the unfinished {} behind: `respaldo clean` removes it", what));
    } catch (const Error& error) {
      summary_.warnings.push_back(
          fmt::format("what earlier runs may have left behind was not looked for: {}", error.what()));
    }
  }

  // All volumes are held still before the first is read, so that they belong together.
  void acquire() {
    if (options_.hooks == nullptr) {
      acquire_leases();
      return;
    }
    for (const engine::VolumeName& asked : options_.volumes)
      engine_.find(asked);  // nothing is frozen for a typo
    try {
      options_.hooks->before();
      acquire_leases();
    } catch (...) {
      try {
        options_.hooks->after();
      } catch (const Error& error) {
        progress_.note(error.what());  // the first failure is the one that is thrown
      }
      throw;
    }
    options_.hooks->after();
  }

  void acquire_leases() {
    if (options_.volumes.empty()) throw Error(ErrorKind::usage, "no volume to back up was named");
    engine::AcquireOptions how;
    how.cow_size = options_.cow_size;
    how.cow_share = options_.cow_share;
    how.keep_free = options_.keep_free;
    how.min_pool_free = options_.guard.min_pool_free;
    how.run_tag = journal::new_run_tag();
    std::set<engine::VolumeName> names;
    for (const engine::VolumeName& asked : options_.volumes) {
      os::throw_if_stopped(stop_);
      const engine::VolumeInfo info = engine_.find(asked);
      Job job;
      job.name = asked;
      // What a given snapshot shows is its origin, and is stored under the origin's name.
      if (options_.from_snapshot && info.origin) job.name.lv = *info.origin;
      job.is_snapshot = info.origin.has_value();
      if (!names.insert(job.name).second)
        throw Error(ErrorKind::usage, fmt::format("{} is named twice", job.name.str()),
                    "each volume can be in a backup once");
      if (!configs_.contains(job.name.vg)) configs_[job.name.vg] = engine_.vg_config(job.name.vg);
      in_context([&] { return asked.str(); },
                 [&] {
                   how.cow_expected = cow_peak(repository_, known_, job.name, info.uuid);
                   job.lease = options_.from_snapshot ? engine_.acquire_snapshot(asked) : bases_.hold(asked, how);
                   job.facts = gather_facts(engine_, info, job.name, *job.lease);
                 });
      jobs_.push_back(std::move(job));
      guard_.watch(*jobs_.back().lease, jobs_.back().name.str());
    }
    os::crash_point("snapshots watched");
  }

  ForeignFilesystems foreign() const {
    const bool always = options_.mounting == Mounting::always;
    const bool here =
        options_.mounting == Mounting::automatic && engine_.kind() == engine::EngineKind::kernel;
    return {.mount = always || here, .mount_partitions = always};
  }

  // What lies where: only metadata is read.
  void look() {
    const ProgressPhase phase(progress_, "look at the filesystems", 0);
    for (Job& job : jobs_) {
      const block::Device& device = job.lease->device();
      in_context([&] { return job.name.str(); },
                 [&] {
                   if (!options_.raw) {
                     job.files = open_file_views(device, foreign(), stop_);
                     job.map = map_of(job.files.views, options_.all_blocks);
                   }
                   job.plan = plan_volume(device, job.map);
                 });
      job.facts.free_bytes = job.map.free.total();
      if (job.files.damaged)
        for (const std::string& warning : job.files.warnings) lacks(fmt::format("{}: {}", job.name.str(), warning));
      for (const std::string& note : job.files.notes)
        summary_.notes.push_back(fmt::format("{}: {}", job.name.str(), note));
      for (const std::string& warning : job.files.warnings)
        summary_.warnings.push_back(fmt::format("{}: {}", job.name.str(), warning));
    }
  }

  // The data matters more than its date: it is saved all the same, and forget knows what to think of it.
  void warn_of_clock() {
    if (repo::is_before_first_release(started_)) {
      summary_.warnings.push_back(fmt::format("the clock says {}: it is wrong, and the backup gets that date. `forget` will "
                                              "keep it and count it for nothing; set the clock",
                                              day_of(started_)));
      return;
    }
    const auto latest = std::ranges::max_element(known_, {}, [this](const repo::NamedSnapshot& backup) {
      return backup.snapshot.hostname == options_.hostname ? backup.snapshot.time.seconds : INT64_MIN;
    });
    if (latest == known_.end() || latest->snapshot.hostname != options_.hostname ||
        latest->snapshot.time.seconds - started_.seconds <= repo::kClockTolerance)
      return;
    summary_.warnings.push_back(fmt::format("the clock says {}, but backup {} of this host is of {}: either it is behind now, "
                                            "or it was ahead then. Set it, or `forget {}`",
                                            day_of(started_), latest->id.short_hex(), day_of(latest->snapshot.time),
                                            latest->id.short_hex()));
  }
  static std::string day_of(const repo::Timestamp& time) { return repo::format_time(time).substr(0, 10); }

  // The backup's object, as far as it is known before anything is read; and its parent.
  void describe() {
    snapshot_.time = started_;
    for (const Job& job : jobs_) snapshot_.paths.push_back("/dev/" + job.name.str());
    std::ranges::sort(snapshot_.paths);
    snapshot_.hostname = options_.hostname;
    snapshot_.username = options_.username;
    snapshot_.tags = options_.tags;
    snapshot_.program_version = options_.program_version;
    parent_ = find_parent(known_, snapshot_);
    if (parent_) snapshot_.parent = parent_->id;
    parent_folders_.emplace(repository_, parent_ ? &parent_->snapshot : nullptr);
    if (parent_)
      for (const Job& job : jobs_) warn_of_namesake(job);
  }

  // Of two disks with the same names, in turn, retention would take the backups of one for old ones of the other. Snapshots
  // are another volume each time.
  void warn_of_namesake(const Job& job) {
    try {
      const auto before = recorded_facts(repository_, parent_->snapshot, job.name);
      if (!before || job.is_snapshot || before->how == "given" || before->lv_uuid.empty() || job.facts.lv_uuid.empty() ||
          before->lv_uuid == job.facts.lv_uuid)
        return;
      summary_.warnings.push_back(fmt::format(
          "{}: backup {} of this host is of another volume of this name (its UUID is another), and `forget` counts both as one. "
          "If the other one is still in use, tell them apart with --host; else nothing is to be done",
          job.name.str(), parent_->id.short_hex()));
    } catch (const Error&) {
      // A damaged parent: check tells of it.
    }
  }

  const ParentImage* parent_image(const Job& job) const {
    return job.base.parent ? &*job.base.parent : nullptr;
  }

  std::uint64_t bytes_to_read(const Job& job) const {
    if (!job.base.parent) return job.plan.bytes_to_read();
    return WorkList(job.plan, repository_, parent_image(job)).count_bytes_to_read();
  }

  void open_savers() {
    const unsigned threads =
        options_.threads != 0 ? options_.threads : std::max(1U, std::thread::hardware_concurrency());
    savers_ = options_.dry_run ? make_dry_savers(repository_, threads)
                               : make_repository_savers(repository_, options_.writer, threads);
  }

  void read_all() {
    std::uint64_t total = 0;
    for (const Job& job : jobs_) total += bytes_to_read(job);
    const ProgressPhase phase(progress_, "backup", total);
    for (Job& job : jobs_) {
      ImageList list(options_.limits);
      ChunkMap chunks(job.map.files);
      Sinks sinks({&list, &chunks});
      std::optional<CutRecorder> recorder;
      if (job.token) sinks.add(recorder.emplace(job.plan, !job.map.free.empty(), cutter_name_));
      const PassSource source{job.lease->device(),
                              job.plan,
                              job.name.str(),
                              content_cutter_,
                              options_.on_read_error,
                              [this, &lease = *job.lease] {
                                guard_.check();
                                if (repo::now().seconds - started_.seconds > 2) still_locked_(LockLook::known);
                                lease.require_valid();
                              },
                              [&job](std::uint64_t offset) { return file_at(job, offset); },
                              &repository_,
                              parent_image(job)};
      job.read = run_pass(source, savers_->savers(), sinks, progress_, stop_);
      if (recorder) job.cuts = recorder->take_record().to_json();
      job.plan = {};
      if (job.record.used) job.record.used->reused_bytes = job.read.bytes_reused;
      job.base = {};
      job.parts = list.take_parts();
      job.parts_are_long = list.is_long();
      if (list.has_long_zeros()) save_long_zeros();
      job.facts.lost = job.read.lost;
      for (const FileView& view : job.files.views) save_files(job, view, chunks);
      job.lease->require_valid();  // trees may have read from it, too
      job.map = {};
      job.files = {};
      if (const auto cow = job.lease->cow()) {
        job.facts.cow_size = cow->size;
        job.facts.cow_used = cow->used;
        job.facts.cow_chunk = cow->chunk;
      }
      if (const auto pool = job.lease->pool()) {
        job.facts.pool_size = pool->data_size;
        job.facts.pool_used = pool->data_used;
        job.facts.pool_metadata_size = pool->metadata_size;
        job.facts.pool_metadata_used = pool->metadata_used;
      }
      os::crash_point("volume read");
      if (!job.token) release(job);
    }
  }

  void save_long_zeros() {
    if (std::exchange(long_zeros_saved_, true)) return;
    savers_->save(repo::BlobType::data, Bytes::zeroed(view::kLongZeroBlobLength));
  }

  // The bytes are safe: a snapshot that stays behind is no reason to throw the backup away.
  void release(Job& job) {
    guard_.forget(*job.lease);
    try {
      job.lease->release();
    } catch (const Error& error) {
      warn_of_stray(job, error);
    } catch (const Cancelled& stop) {
      if (!summary_.id) throw;
      warn_of_stray(job, stop);
    }
    job.bases.clear();
    job.lease.reset();
  }

  void warn_of_stray(const Job& job, const std::exception& why) {
    summary_.warnings.push_back(
        fmt::format("the snapshot {} could not be removed: {}", job.lease->snapshot_name(), why.what()));
  }

  void save_files(Job& job, const FileView& view, const ChunkMap& chunks) {
    view::FileViewFacts facts = filesystem_facts(view, started_);
    add_findings(facts, view.reader->findings(), view.reader->finding_count());
    if (view.reader->root() == fs::kNoNode) {
      add_findings(facts, {{fs::Finding{2, "/", "the root directory is damaged: there is no file view"}}}, 1);
    } else {
      const std::string path = "/" + job.name.str() + "/" + view.folder;
      const auto parent = parent_node(path);
      const FileTreeInput input{view,
                                chunks,
                                content_cutter_,
                                options_.on_read_error == OnReadError::skip,
                                synthetic_inode(job.facts.lv_uuid + "/" + view.folder),
                                [this](unsigned worker, repo::BlobType type, ByteView plain) {
                                  return savers_->save(worker, type, plain);
                                },
                                static_cast<unsigned>(savers_->savers().size()),
                                repository_,
                                parent ? &*parent : nullptr,
                                options_.limits.folder_bytes};
      FileTreeResult result = save_file_trees(input, counts_, stop_);
      add_findings(facts, result.findings, result.finding_count);
      job.file_roots.emplace_back(view.folder, std::move(result.root));
    }
    add_lost_files(job, view, facts);
    if (facts.finding_count > 0) lacks(fmt::format("{}/{}: {}", job.name.str(), facts.folder, first_finding(facts)));
    job.facts.file_views.push_back(std::move(facts));
  }

  void lacks(std::string what) {
    summary_.incomplete = true;
    summary_.missing.push_back(std::move(what));
  }

  std::optional<repo::Node> parent_node(const std::string& path) const {
    if (!parent_) return std::nullopt;
    try {
      return view::find_node(repository_, parent_->snapshot, path);
    } catch (const Error&) {
      return std::nullopt;  // a damaged parent only spoils the counts
    }
  }

  void commit() {
    for (Job& job : jobs_)
      if (job.token && !bases_.still_possible(job)) release(job);
    VolumeTrees trees(builder_, *savers_, repository_, configs_, [this](const std::string& path) { return parent_node(path); },
                      summary_.warnings);
    snapshot_.tree = trees.save(jobs_);
    os::throw_if_stopped(stop_);
    // The store is asked for the lock beside the last packs and their index: far away that takes a round trip.
    auto locked = std::async([this] { still_locked_(LockLook::asked); });
    savers_->finish();
    locked.get();

    repo::Repository& repository = repository_.repository();
    count_files(counts_, builder_.made(), *parent_folders_);
    const repo::WriterTotals totals = savers_->totals();
    counts_.data_blobs = totals.data_blobs;
    counts_.tree_blobs = totals.tree_blobs;
    counts_.data_added = totals.new_bytes;
    counts_.data_added_packed = totals.packed_bytes;
    counts_.backup_start = started_;
    counts_.backup_end = repo::now();
    snapshot_.summary = counts_;
    snapshot_.incomplete = summary_.incomplete;

    if (options_.before_commit && !options_.dry_run) options_.before_commit();
    os::throw_if_stopped(stop_);
    repository.backend().will_save(store::FileType::snapshot);
    still_locked_(LockLook::recent);
    os::crash_point("before the backup is listed");
    try {
      summary_.id = repo::save_snapshot(repository, snapshot_);
    } catch (const Cancelled&) {
      throw ListingCancelled();
    }
  }

  engine::VolumeEngine& engine_;
  const repo::IndexedRepository& repository_;
  const BackupOptions& options_;
  MeasuredProgress progress_;
  std::vector<repo::NamedSnapshot> known_;
  std::vector<std::string> damaged_;  // told by check
  const std::function<void(LockLook)>& still_locked_;
  const std::stop_token stop_;
  const repo::Timestamp started_;
  std::unique_ptr<ChunkSavers> savers_;
  const std::string cutter_name_;
  const chunk::ContentCutter content_cutter_;
  TreeBuilder builder_;
  repo::Snapshot snapshot_;
  repo::SnapshotSummary counts_;
  std::optional<repo::NamedSnapshot> parent_;
  std::optional<ParentFolders> parent_folders_;  // of it; from describe() on
  bool long_zeros_saved_ = false;
  std::vector<Job> jobs_;        // their leases, where they are left, are released when this goes
  engine::SnapshotGuard guard_;  // goes before them
  std::map<std::string, std::string> configs_;  // of the groups, from before the snapshots
  BackupSummary summary_;
  RunBases bases_;
};

}  // namespace

BackupSummary run_backup(engine::VolumeEngine& engine, const repo::IndexedRepository& repository,
                         const BackupOptions& options, Progress& progress,
                         const std::function<void(LockLook)>& still_locked, std::stop_token stop) {
  return Run(engine, repository, options, progress, still_locked, std::move(stop)).run();
}

}  // namespace respaldo::backup
