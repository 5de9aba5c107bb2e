#include "restore/file_restore.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "os/file.h"
#include "os/thread_group.h"
#include "restore/file_batch.h"
#include "restore/file_metadata.h"
#include "restore/folder_names.h"
#include "restore/hard_link.h"
#include "restore/link_table.h"
#include "restore/path_selection.h"
#include "restore/restore_tally.h"
#include "restore/standing.h"
#include "restore/target_folder.h"
#include "view/tree_walk.h"

namespace respaldo::restore {

namespace {

constexpr std::size_t kBatchMemory = 64 * kMiB;  // what is known of files whose content is not there yet
constexpr std::size_t kBatchFiles = 1U << 15;    // and how many

// A further name of a file in the same batch.
struct PendingLink {
  FolderPtr folder;
  std::size_t primary = 0;
  repo::Node node;
  bool stands = false;  // as a file of its own, that is the same
};

// A name of an inode of which another name may stand, further on.
struct LaterName {
  FolderPtr folder;
  repo::Node node;
};

// A folder that the walk is in.
struct Level {
  FolderPtr folder;
  std::optional<Metadata> metadata;  // set when everything below is done; absent: left as it is
  FolderNames names;
  bool late = false;  // something in it, or below, comes after the walk
};

// One restore.
class FileRestore {
 public:
  FileRestore(const repo::IndexedRepository& repository, const repo::Node& root, PathSelection selection,
              const std::string& target, const FileRestoreOptions& options, Progress& progress,
              std::stop_token stop)
      : repository_(repository),
        root_(root),
        options_(options),
        selection_(std::move(selection)),
        progress_(progress),
        stop_(std::move(stop)),
        target_(target),
        batch_(repository, target_, tally_, progress, threads_of(options), stop_) {
    Level level;
    level.folder = target_.top();
    if (S_ISDIR(root_.mode) && selection_.all()) {
      if (gets_metadata(*level.folder))
        level.metadata = Metadata::of(repo::Node(root_));
      else
        keep_top();
    }
    target_.tidy(level.folder, current_);
    levels_.push_back(std::move(level));
  }

  FileRestoreResult run() {
    const auto clock = std::chrono::steady_clock::now();
    {
      const ProgressPhase phase(progress_, "restore files", 0);
      walk();
    }
    try {
      target_.sync();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::no_space) throw;
      tally_.out_of_room("", error.what());
    }
    FileRestoreResult result = tally_.take();
    result.kept_top = kept_top_;
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count();
    return result;
  }

 private:
  static unsigned threads_of(const FileRestoreOptions& options) {
    return options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  }

  // ---- the target itself ----

  // An empty mount point does: mkfs, mount, restore is how a lost volume comes back. One that holds something may
  // be /tmp.
  bool gets_metadata(const Folder& top) const {
    if (top.fresh) return true;
    if (!target_.was_bare() || options_.overwrite == Overwrite::never) return false;
    return ::geteuid() == 0 || target_.status().st_uid == ::geteuid();
  }

  void keep_top() {
    const struct stat st = target_.status();
    const std::uint32_t mode = st.st_mode & 07777, stored = root_.mode & 07777;
    if (st.st_uid != root_.uid || st.st_gid != root_.gid || mode != stored)
      kept_top_ = KeptTop{st.st_uid, st.st_gid, mode, root_.uid, root_.gid, stored};
  }

  // ---- the walk: folders and everything without content are made here, files are collected ----

  void walk() {
    view::TreeWalk walk(repository_, root_, "", view::kToRestore);
    const auto path = [&] { return std::string_view(walk.entry().path).substr(1); };
    while (!tally_.is_full()) {
      os::throw_if_stopped(stop_);
      try {
        if (!walk.next()) break;
      } catch (const Error& error) {
        tally_.problem(walk.entry().depth == 0 ? "" : path(), error.what());
        continue;
      }
      while (levels_.size() > walk.entry().depth) leave();
      if (!take(walk.node(), path(), walk.entry().depth)) walk.skip();
      if (batch_is_full()) flush();
    }
    while (!levels_.empty()) leave();
    flush();
    walking_ = false;
    take_later();
  }

  bool batch_is_full() {
    return batch_.files().size() >= kBatchFiles || finished_.size() >= kBatchFiles || batch_memory_ >= kBatchMemory;
  }

  // All that stands is known now.
  void take_later() {
    for (LaterName& later : std::exchange(later_, {})) {
      if (tally_.is_full()) break;
      os::throw_if_stopped(stop_);
      const std::string path = path_in(*later.folder, later.node.name);
      try {
        if (later.node.type == repo::NodeType::file) {
          take_file(later.folder, std::move(later.node), true);
        } else {
          take_other(later.folder, std::move(later.node));
        }
      } catch (const Error& error) {
        failed(path, error);
      }
      if (batch_is_full()) flush();
    }
    flush();
    finished_ = std::exchange(finished_late_, {});
    flush();
  }

  void failed(std::string_view path, const Error& error) {
    if (error.kind() == ErrorKind::no_space) {
      tally_.out_of_room(path, error.what());
    } else {
      tally_.problem(path, error.what());
    }
  }

  // True when the walk may go into it.
  bool take(repo::Node& node, std::string_view path, std::size_t depth) {
    using Part = PathSelection::Part;
    const Part part = selection_.part(node, path, depth);
    if (part == Part::none) return false;
    if (const char* why = name_problem(node.name)) {
      tally_.problem(path, why);
      return false;
    }
    Level& level = levels_.back();
    if (!level.names.add(node.name)) {
      tally_.problem(path, "its folder holds this name twice");
      return false;
    }
    try {
      switch (node.type) {
        case repo::NodeType::dir:
          return enter(level.folder, std::move(node), path, part == Part::way);
        case repo::NodeType::file:
          take_file(level.folder, std::move(node), true);
          break;
        case repo::NodeType::unknown:
          tally_.problem(path, "it is of a kind that is not known");
          break;
        default:
          take_other(level.folder, std::move(node));
      }
    } catch (const Error& error) {
      failed(path, error);
    }
    return false;
  }

  bool enter(const FolderPtr& parent, repo::Node&& node, std::string_view path, bool on_the_way) {
    const int in = target_.open(parent, current_);
    const char* name = node.name.c_str();
    bool fresh = ::mkdirat(in, name, 0700) == 0;
    struct stat st {};
    if (!fresh) {
      if (errno != EEXIST) throw os::system_error(errno, "mkdir", node.name);
      if (::fstatat(in, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        throw os::system_error(errno, "stat", node.name);
      if (!S_ISDIR(st.st_mode)) {
        if (options_.overwrite == Overwrite::never) {
          tally_.count(&FileRestoreResult::kept);
          tally_.problem(path, "something that is not a folder is in its place, and stays");
          return false;
        }
        if (::unlinkat(in, name, 0) != 0) throw os::system_error(errno, "unlink", node.name);
        if (::mkdirat(in, name, 0700) != 0) throw os::system_error(errno, "mkdir", node.name);
        fresh = true;
      }
    }
    if (::fstatat(in, name, &st, AT_SYMLINK_NOFOLLOW) != 0) throw os::system_error(errno, "stat", node.name);
    if (!S_ISDIR(st.st_mode)) throw Error(ErrorKind::io, "somebody else works in the target");
    Level level;
    level.folder = std::make_shared<const Folder>(parent, node.name, fresh, place_of(st));
    // Folders that are only passed, or that shall stay as they are, keep their metadata when they were there.
    if (fresh || (!on_the_way && options_.overwrite != Overwrite::never)) {
      if (!fresh && (st.st_mode & 0700) != 0700) make_writable(level.folder);
      level.metadata = Metadata::of(std::move(node));
    } else if (!on_the_way) {
      tally_.kept(path, owner_or_mode_differs(node, st));
    }
    if (!fresh) target_.tidy(level.folder, current_);
    levels_.push_back(std::move(level));
    return true;
  }

  // An ordinary user's folder that an earlier restore made read-only.
  void make_writable(const FolderPtr& folder) {
    if (::geteuid() == 0) return;
    try {
      ::chmod(fmt::format("/proc/self/fd/{}", target_.open(folder, current_)).c_str(), 0700);
    } catch (const Error&) {
      // What cannot be made in it will say so.
    }
  }

  void leave() {
    Level& level = levels_.back();
    const bool late = level.late;
    if (level.metadata) {
      std::size_t& memory = late ? later_memory_ : batch_memory_;
      for (const auto& attribute : level.metadata->xattrs) memory += attribute.value.size() + 64;
      memory += level.folder->name.size() + sizeof(Folder);
      (late ? finished_late_ : finished_).emplace_back(std::move(level.folder), std::move(*level.metadata));
    }
    levels_.pop_back();
    if (late && !levels_.empty()) levels_.back().late = true;
  }

  enum class Standing { nothing, replace, keep, keep_same };

  // What there is under a name, and what becomes of it.
  Standing standing(const FolderPtr& folder, const repo::Node& node, struct stat& st) {
    if (folder->fresh) return Standing::nothing;
    const int in = target_.open(folder, current_);
    if (::fstatat(in, node.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return Standing::nothing;
      throw os::system_error(errno, "stat", node.name);
    }
    if (options_.overwrite == Overwrite::never) return Standing::keep;
    if (options_.overwrite == Overwrite::if_changed && node.type == repo::NodeType::file && !differs(node, st))
      return Standing::keep_same;
    return Standing::replace;
  }

  // `linked`: as a further name of what was restored before, when it is one.
  void take_file(const FolderPtr& folder, repo::Node&& node, bool linked) {
    const auto path = [&] { return path_in(*folder, node.name); };
    struct stat st {};
    const Standing there = standing(folder, node, st);
    std::optional<LinkKey> key = linked ? link_key(node) : std::nullopt;
    const std::uint64_t digest = key ? link_digest(node) : 0;
    if (there == Standing::keep || there == Standing::keep_same) {
      const bool other = differs(node, st);
      if (key && !other) return keep_name(folder, std::move(node), *key, st);
      return other ? tally_.kept(path(), true) : stays(folder, std::move(node), st);
    }
    if (key) {
      const auto* known = sources_.find(*key);
      const auto pending = primaries_.find(*key);
      const std::uint64_t other = known != nullptr              ? known->digest
                                  : pending != primaries_.end() ? batch_.files()[pending->second].digest
                                                                : digest;
      if (other != digest) {
        tally_.problem(path(),
                       "it claims to be a hard link, with other content: restored as a file of its own");
        key.reset();
      } else if (known != nullptr) {
        if (link(known->source, folder, node)) {
          sources_.came(*key);
          tally_.count(&FileRestoreResult::files);
          return;
        }
        key.reset();
      } else if (pending != primaries_.end()) {
        batch_memory_ += FileBatch::memory_of(node);
        pending_.push_back({folder, pending->second, std::move(node)});
        return;
      } else if (put_off(folder, node)) {
        return;
      }
    }
    std::uint64_t total = 0;
    for (const repo::BlobId& id : node.content) {
      const auto location = repository_.index().find(repo::BlobType::data, id);
      if (!location) return tally_.problem(path(), fmt::format("its blob {} is in no index", id.short_hex()));
      total += location->plain_length();
    }
    if (total != node.size)
      return tally_.problem(
          path(), fmt::format("its blobs add up to {} bytes, but its size is {}", total, node.size));
    batch_memory_ += FileBatch::memory_of(node);
    FileWork& work = batch_.files().emplace_back();
    if (key) primaries_.emplace(*key, batch_.files().size() - 1);
    work.folder = folder;
    work.size = node.size;
    work.content = std::move(node.content);
    work.key = key;
    work.digest = digest;
    work.links = node.links;
    work.name = std::move(node.name);
    work.metadata = Metadata::of(std::move(node));
  }

  // Symbolic links, devices, pipes, sockets.
  void take_other(const FolderPtr& folder, repo::Node&& node) {
    struct stat st {};
    const Standing there = standing(folder, node, st);
    const auto key = link_key(node);
    if (there == Standing::keep) {
      if (key && is_same(node, st, target_.open(folder, current_))) return keep_name(folder, std::move(node), *key, st);
      return tally_.kept(path_in(*folder, node.name), differs(node, st));
    }
    const std::uint64_t digest = link_digest(node);
    if (key) {
      const auto* known = sources_.find(*key);
      if (known != nullptr && known->digest == digest && link(known->source, folder, node)) {
        sources_.came(*key);
        tally_.count(&FileRestoreResult::others);
        return;
      }
      // With if_changed nothing of the kind stays.
      if (known == nullptr && options_.overwrite == Overwrite::never && put_off(folder, node)) return;
    }
    const int in = target_.open(folder, current_);
    const std::string made = folder->fresh ? node.name : name_while_made();
    if (!make_other(in, made, node)) return;
    const std::string name = node.name;
    const std::uint64_t links = node.links;
    try {
      const MetadataOutcome outcome = set_metadata_at(in, made, Metadata::of(std::move(node)));
      if (!outcome.nothing_to_tell()) tally_.metadata(path_in(*folder, name), outcome);
      if (::fstatat(in, made.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        throw os::system_error(errno, "stat", name);
      put_in_place(*folder, in, made, name);
    } catch (const Error&) {
      ::unlinkat(in, made.c_str(), 0);
      throw;
    }
    tally_.count(&FileRestoreResult::others);
    if (key) sources_.remember(*key, {folder, name, place_of(st)}, digest, links);
  }

  // False when it may not be made here.
  bool make_other(int in, const std::string& made, const repo::Node& node) {
    if (node.type == repo::NodeType::symlink) {
      if (node.link_target.find('\0') != std::string::npos)
        throw Error(ErrorKind::corrupt, "a NUL byte in the link's target");
      if (::symlinkat(node.link_target.c_str(), in, made.c_str()) != 0)
        throw os::system_error(errno, "symlink", node.name);
      return true;
    }
    const bool device = node.type == repo::NodeType::dev || node.type == repo::NodeType::chardev;
    if (::mknodat(in, made.c_str(), kind_of(node.type) | 0600, device ? static_cast<dev_t>(node.device) : 0) == 0)
      return true;
    if (device && errno == EPERM) {
      tally_.count(&FileRestoreResult::without_device);
      return false;
    }
    throw os::system_error(errno, "mknod", node.name);
  }

  // False when that cannot be; the problem says what becomes of the name `instead`.
  bool link(const LinkSource& source, const FolderPtr& folder, const repo::Node& node,
            const char* instead = "restored on its own") {
    const std::string why = make_hard_link(target_, current_, source, folder, node.name);
    if (why.empty()) return true;
    tally_.problem(path_in(*folder, node.name),
                   fmt::format("no hard link to {} could be made ({}): {}",
                               printable(path_in(*source.folder, source.name)), why, instead));
    return false;
  }

  // What stands under a name of an inode, and is the same, stays. Where another inode is known for it, it is one that a
  // killed restore or somebody else has split: it becomes a link to that, unless nothing may be replaced.
  void keep_name(const FolderPtr& folder, repo::Node&& node, const LinkKey& key, const struct stat& st) {
    const std::string path = path_in(*folder, node.name);
    const std::uint64_t digest = link_digest(node);
    const bool joins = options_.overwrite != Overwrite::never;
    if (const auto* known = sources_.find(key)) {
      const bool of_it = known->digest == digest;
      const bool split = of_it && known->source.place != place_of(st);
      const bool joined = split && joins && link(known->source, folder, node, "left as it is");
      if (of_it) sources_.came(key);
      if (joined) return tally_.count(&FileRestoreResult::files);
      return split ? tally_.kept(path, !joins) : stays(folder, std::move(node), st);
    }
    const auto pending = primaries_.find(key);
    const bool split = pending != primaries_.end() && batch_.files()[pending->second].digest == digest;
    if (split && joins) {
      batch_memory_ += FileBatch::memory_of(node);
      pending_.push_back({folder, pending->second, std::move(node), true});
      return;
    }
    if (split) return tally_.kept(path, true);
    sources_.remember(key, {folder, node.name, place_of(st)}, digest, node.links);
    stays(folder, std::move(node), st);
  }

  // What is the same as far as differs() can see, and is no other inode's, keeps its content.
  void stays(const FolderPtr& folder, repo::Node&& node, const struct stat& st) {
    const std::string path = path_in(*folder, node.name);
    const bool other = node.type == repo::NodeType::file && owner_or_mode_differs(node, st);
    if (!other || options_.overwrite == Overwrite::never || !may_be_given(node, st)) return tally_.kept(path, other);
    const std::string name = node.name;
    const MetadataOutcome outcome =
        set_metadata_at(target_.open(folder, current_), name, Metadata::of(std::move(node)));
    if (!outcome.nothing_to_tell()) tally_.metadata(path, outcome);
    tally_.kept(path, false);
  }

  // True when it waits until the walk has seen whether another name of its inode stands.
  bool put_off(const FolderPtr& folder, repo::Node& node) {
    if (!walking_ || target_.was_bare() || options_.overwrite == Overwrite::always || later_memory_ >= kBatchMemory)
      return false;
    later_memory_ += FileBatch::memory_of(node);
    later_.push_back({folder, std::move(node)});
    levels_.back().late = true;
    return true;
  }

  // ---- the end of a batch ----

  void flush() {
    if (!tally_.is_full()) batch_.write();
    current_ = {};
    finish_links();
    // Those that were to be links and could not.
    if (!batch_.files().empty()) {
      if (!tally_.is_full()) batch_.write();
      batch_.files().clear();
    }
    for (const auto& [folder, metadata] : finished_) {
      os::throw_if_stopped(stop_);
      finish_folder(folder, metadata);
    }
    finished_.clear();
    current_ = {};
    batch_memory_ = 0;
  }

  void finish_links() {
    for (FileWork& work : batch_.files())
      if (work.key && work.done && work.links > 1)
        sources_.remember(*work.key, {work.folder, work.name, work.place}, work.digest, work.links);
    std::vector<bool> lost(batch_.files().size());
    for (std::size_t i = 0; i < batch_.files().size(); ++i)
      lost[i] = batch_.files()[i].failed && !batch_.files()[i].placing_failed;
    batch_.files().clear();
    primaries_.clear();
    auto links = std::exchange(pending_, {});
    for (PendingLink& later : links) {
      if (tally_.is_full()) break;
      os::throw_if_stopped(stop_);
      const std::string path = path_in(*later.folder, later.node.name);
      if (lost[later.primary] && !later.stands) {
        tally_.problem(path,
                       "its content cannot be read (it is a hard link to a file that has this problem)");
        continue;
      }
      try {
        const LinkKey key = *link_key(later.node);
        const auto* known = sources_.find(key);
        if (known != nullptr &&
            link(known->source, later.folder, later.node, later.stands ? "left as it is" : "restored on its own")) {
          sources_.came(key);
          tally_.count(&FileRestoreResult::files);
        } else {
          take_file(later.folder, std::move(later.node), false);
        }
      } catch (const Error& error) {
        failed(path, error);
      }
    }
    current_ = {};
  }

  void finish_folder(const FolderPtr& folder, const Metadata& metadata) {
    try {
      const os::UniqueFd fd = target_.open_whole(folder, current_);
      const MetadataOutcome outcome = set_metadata(fd.get(), metadata);
      if (!outcome.nothing_to_tell()) tally_.metadata(path_of(*folder), outcome);
      tally_.count(&FileRestoreResult::folders);
    } catch (const Error& error) {
      tally_.problem(path_of(*folder), error.what());
    }
  }

  const repo::IndexedRepository& repository_;
  const repo::Node& root_;
  const FileRestoreOptions& options_;
  PathSelection selection_;
  Progress& progress_;
  const std::stop_token stop_;
  const TargetFolder target_;
  RestoreTally tally_;
  std::optional<KeptTop> kept_top_;

  // Where the walk is.
  bool walking_ = true;
  std::vector<Level> levels_;
  OpenFolder current_;
  LinkTable<LinkSource> sources_;

  // The batch.
  FileBatch batch_;
  std::unordered_map<LinkKey, std::size_t, LinkKeyHash> primaries_;
  std::vector<PendingLink> pending_;
  std::vector<std::pair<FolderPtr, Metadata>> finished_;
  std::size_t batch_memory_ = 0;

  // After the walk.
  std::vector<LaterName> later_;
  std::vector<std::pair<FolderPtr, Metadata>> finished_late_;
  std::size_t later_memory_ = 0;
};

}  // namespace

FileRestoreResult restore_files(const repo::IndexedRepository& repository, const repo::Node& root,
                                const std::string& target, const FileRestoreOptions& options,
                                Progress& progress, std::stop_token stop) {
  PathSelection selection(options.paths);
  selection.require(repository, root);
  return FileRestore(repository, root, std::move(selection), target, options, progress, std::move(stop))
      .run();
}

}  // namespace respaldo::restore
