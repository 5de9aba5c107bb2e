#include "backup/backup.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "backup/chunk_map.h"
#include "backup/chunk_savers.h"
#include "backup/file_counts.h"
#include "backup/file_trees.h"
#include "backup/file_view.h"
#include "backup/image_list.h"
#include "backup/pipeline.h"
#include "backup/tree_builder.h"
#include "base/endian.h"
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
  FileViews files;
  VolumeMap map;
  CutPlan plan;
  PassResult read;
  std::vector<std::pair<std::string, repo::Node>> file_roots;  // folder, root node
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

// The repository's own secret, which its configuration keeps encrypted.
std::uint64_t cut_key(const repo::Config& config) {
  return load_le64(crypto::sha256(as_bytes("respaldo content cuts " + config.polynomial)).data());
}

std::string without_creation_time(std::string_view text) {
  constexpr std::string_view kField = "\ncreation_time = ";
  const std::size_t at = text.find(kField);
  if (at == text.npos) return std::string(text);
  const std::size_t end = std::min(text.find('\n', at + 1), text.size());
  return std::string(text.substr(0, at)).append(text.substr(end));
}

class BothSinks final : public ChunkSink {
 public:
  BothSinks(ChunkSink& first, ChunkSink& second) : first_(first), second_(second) {}
  void take(const StoredChunk& chunk) override {
    first_.take(chunk);
    second_.take(chunk);
  }

 private:
  ChunkSink &first_, &second_;
};

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
        content_cutter_(cut_key(repository.repository().config())),
        trees_(
            started_,
            [this](repo::Tree tree) {
              return savers_->save(repo::BlobType::tree, as_bytes(repo::to_json(std::move(tree))));
            },
            [this](const std::string& path) { return parent_node(path); }) {}

  BackupSummary run() {
    const auto clock = std::chrono::steady_clock::now();
    acquire();
    look();
    describe();
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
    if (options_.hooks == nullptr) {
      acquire_leases();
      return;
    }
    for (const engine::VolumeName& asked : options_.volumes) engine_.find(asked);  // nothing is frozen for a typo
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
                 });
      jobs_.push_back(std::move(job));
    }
  }

  // What lies where: only metadata is read.
  void look() {
    const ProgressPhase phase(progress_, "look at the filesystems", 0);
    for (Job& job : jobs_) {
      const block::Device& device = job.lease->device();
      in_context([&] { return job.name.str(); },
                 [&] {
                   if (!options_.raw) {
                     job.files = open_file_views(device, stop_);
                     job.map = map_of(job.files.views, options_.all_blocks);
                   }
                   job.plan = plan_volume(device, job.map);
                 });
      job.facts.free_bytes = job.map.free.total();
      summary_.incomplete |= job.files.damaged;
      for (const std::string& warning : job.files.warnings)
        summary_.warnings.push_back(fmt::format("{}: {}", job.name.str(), warning));
    }
  }

  // The backup's object, as far as it is known before anything is read; and its parent.
  void describe() {
    snapshot_.time = started_;
    for (const Job& job : jobs_) snapshot_.paths.push_back("/dev/" + job.name.str());
    std::ranges::sort(snapshot_.paths);
    snapshot_.hostname = options_.hostname;
    snapshot_.username = options_.username;
    snapshot_.tags = options_.tags;
    snapshot_.program_version = options_.program_version;
    std::vector<std::string> damaged;  // told by check
    parent_ = find_parent(repository_.repository().snapshots(&damaged), snapshot_);
    if (parent_) snapshot_.parent = parent_->id;
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
      ChunkMap chunks(job.map.files);
      BothSinks sinks(list, chunks);
      const PassSource source{job.lease->device(),    job.plan,
                              job.name.str(),         content_cutter_,
                              options_.on_read_error, [&lease = *job.lease] { lease.require_valid(); }};
      job.read = run_pass(source, savers_->savers(), sinks, progress_, stop_);
      job.plan = {};
      job.parts = list.take_parts();
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

  void save_files(Job& job, const FileView& view, const ChunkMap& chunks) {
    const fs::ExtFacts& filesystem = view.reader->facts();
    view::FileViewFacts facts;
    facts.folder = view.folder;
    facts.filesystem = filesystem.type;
    facts.uuid = filesystem.uuid;
    facts.label = filesystem.label;
    if (filesystem.journal == fs::JournalState::replayed) facts.journal = "replayed";
    facts.encrypted_folders = filesystem.encrypted_directories;
    add_findings(facts, view.reader->findings(), view.reader->finding_count());
    if (view.reader->root() == fs::kNoNode) {
      add_findings(facts, {{fs::Finding{2, "/", "the root directory is damaged: there is no file view"}}}, 1);
    } else {
      const std::string path = "/" + job.name.str() + "/" + view.folder;
      const auto parent = parent_node(path);
      const FileTreeInput input{view,
                                chunks,
                                synthetic_inode(job.facts.lv_uuid + "/" + view.folder),
                                [this](unsigned worker, repo::BlobType type, ByteView plain) {
                                  return savers_->save(worker, type, plain);
                                },
                                static_cast<unsigned>(savers_->savers().size()),
                                repository_,
                                parent ? &*parent : nullptr};
      FileTreeResult result = save_file_trees(input, counts_, stop_);
      add_findings(facts, result.findings, result.finding_count);
      job.file_roots.emplace_back(view.folder, std::move(result.root));
    }
    add_lost_files(job, view, facts);
    summary_.incomplete |= facts.finding_count > 0;
    job.facts.file_views.push_back(std::move(facts));
  }

  static void add_findings(view::FileViewFacts& facts, const std::vector<fs::Finding>& findings,
                           std::uint64_t count) {
    constexpr std::size_t kMostTold = 100;
    facts.finding_count += count;
    for (const fs::Finding& finding : findings) {
      if (facts.findings.size() == kMostTold) return;
      std::string path = finding.path;
      if (path.empty() && finding.inode != 0) path = fmt::format("inode {}", finding.inode);
      facts.findings.push_back({std::move(path), finding.what});
    }
  }

  // Ranges that could not be read, told by the names of the files that have them.
  static void add_lost_files(const Job& job, const FileView& view, view::FileViewFacts& facts) {
    const auto number = static_cast<std::uint32_t>(&view - job.files.views.data());
    for (const view::LostRange& lost : job.facts.lost) {
      auto run = std::ranges::lower_bound(job.map.files, lost.extent.offset, {},
                                          [](const FileRun& one) { return one.extent.end() - 1; });
      for (; run != job.map.files.end() && run->extent.offset < lost.extent.end(); ++run) {
        if (run->view != number) continue;
        const Extent both = intersect(run->extent, lost.extent);
        add_findings(facts,
                     {{view.reader->node(run->node).inode, view.reader->path(run->node),
                       fmt::format("{} bytes at byte {} of the file could not be read and are zeros",
                                   both.length, run->logical + (both.offset - run->extent.offset))}},
                     1);
      }
    }
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
    snapshot_.tree = save_trees();
    os::throw_if_stopped(stop_);
    savers_->finish();

    repo::Repository& repository = repository_.repository();
    count_files(counts_, trees_.made(), repository_, parent_ ? &parent_->snapshot : nullptr);
    const repo::WriterTotals totals = savers_->totals();
    counts_.data_blobs = totals.data_blobs;
    counts_.tree_blobs = totals.tree_blobs;
    counts_.data_added = totals.new_bytes;
    counts_.data_added_packed = totals.packed_bytes;
    counts_.backup_start = started_;
    counts_.backup_end = repo::now();
    snapshot_.summary = counts_;

    os::throw_if_stopped(stop_);
    still_locked_();
    summary_.id = repo::save_snapshot(repository, snapshot_);
  }

  repo::BlobId save_trees() {
    std::map<std::string, repo::Tree> groups;
    for (Job& job : jobs_) {
      const std::string path = "/" + job.name.str();
      repo::Tree tree;
      add_image(tree, path, std::move(job.parts));
      add_files(tree, path, std::move(job.file_roots));
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
        tree.nodes.push_back(group_config(path + "/" + std::string(view::kGroupConfigName), configs_.at(vg)));
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

  // "files", or "part1/files": the filesystem's root folder keeps its own metadata.
  void add_files(repo::Tree& tree, const std::string& path,
                 std::vector<std::pair<std::string, repo::Node>> roots) {
    for (auto& [folder, root] : roots) {
      root.name = view::kFilesName;
      const std::size_t slash = folder.find('/');
      if (slash == folder.npos) {
        tree.nodes.push_back(std::move(root));
      } else {
        repo::Tree inside;
        inside.nodes.push_back(std::move(root));
        tree.nodes.push_back(trees_.folder(path + "/" + folder.substr(0, slash), std::move(inside)));
      }
    }
  }

  // Of a group that has not changed the parent's text is kept: only the time when it was written would
  // differ.
  repo::Node group_config(const std::string& path, const std::string& text) {
    constexpr std::uint64_t kMostCompared = 16U << 20;
    if (const auto old = parent_node(path); old && old->size <= kMostCompared) {
      try {
        std::string before;
        for (const repo::BlobId& id : old->content)
          before += as_text(repository_.load_blob(repo::BlobType::data, id));
        if (without_creation_time(before) == without_creation_time(text)) return text_file(path, before);
      } catch (const Error&) {
        // A damaged parent is no reason to fail.
      }
    }
    return text_file(path, text);
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
  const chunk::ContentCutter content_cutter_;
  TreeBuilder trees_;
  repo::Snapshot snapshot_;
  repo::SnapshotSummary counts_;
  std::optional<repo::NamedSnapshot> parent_;
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
