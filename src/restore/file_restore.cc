#include "restore/file_restore.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "os/file.h"
#include "os/thread_group.h"
#include "restore/beneath.h"
#include "restore/blob_reader.h"
#include "restore/file_metadata.h"
#include "restore/link_table.h"
#include "restore/path_selection.h"
#include "view/tree_walk.h"
#include "view/zero_blob.h"

namespace respaldo::restore {

namespace {

constexpr std::size_t kBatchMemory = 64 * kMiB;  // what is known of files whose content is not there yet
constexpr std::size_t kBatchFiles = 1U << 15;    // and how many
constexpr std::size_t kMostOpen = 256;           // files that wait open for more content
constexpr std::uint64_t kSparseUnit = 4 * kKiB;  // zeros of this size become holes

// The identity of something in the filesystem.
struct Place {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const Place&, const Place&) = default;
};
Place place_of(const struct stat& st) { return {st.st_dev, st.st_ino}; }

struct Folder {
  std::string path;    // below the target; "": the target
  bool fresh = false;  // made by this restore: whatever lies in it does, too
  Place place;
};
using FolderPtr = std::shared_ptr<const Folder>;

std::string path_in(const Folder& folder, const std::string& name) {
  return folder.path.empty() ? name : folder.path + "/" + name;
}

// Where an inode has its first name.
struct LinkSource {
  FolderPtr folder;
  std::string name;
  Place place;
};

// A file whose content is to be fetched.
struct FileWork {
  FolderPtr folder;
  std::string name;
  Metadata metadata;
  std::uint64_t size = 0;
  std::vector<repo::BlobId> content;
  std::optional<LinkKey> key;
  std::uint64_t digest = 0, links = 0;

  std::mutex mutex;  // of what follows
  std::string made;  // the name it has while it is written; empty: not made, or removed again
  Place place;       // of what was made
  std::shared_ptr<os::UniqueFd> fd;
  std::uint64_t left = 0;  // blobs that are not written yet
  bool failed = false, done = false;
  bool placing_failed = false;  // the content was fine, this name was not
};

// A further name of a file in the same batch.
struct PendingLink {
  FolderPtr folder;
  std::size_t primary = 0;
  repo::Node node;
};

// The names of one stored folder so far; trees are sorted, those of hostile repositories need not be.
class Names {
 public:
  // False when it was there before.
  bool add(const std::string& name) {
    const std::size_t hash = std::hash<std::string>()(name);
    if (hashes_.empty() || (set_.empty() && name > last_)) {
      hashes_.push_back(hash);
      last_ = name;
      return true;
    }
    if (set_.empty()) set_.insert(hashes_.begin(), hashes_.end());
    return set_.insert(hash).second;
  }

 private:
  std::string last_;
  std::vector<std::size_t> hashes_;
  std::unordered_set<std::size_t> set_;
};

// A folder that the walk is in.
struct Level {
  FolderPtr folder;
  std::optional<Metadata> metadata;  // set when everything below is done; absent: left as it is
  Names names;
};

std::string temporary_name() {
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value))
    throw Error(ErrorKind::io, "getrandom failed");
  return fmt::format(".respaldo-{:016x}", value);
}

// One restore.
class FileRestore {
 public:
  FileRestore(const repo::IndexedRepository& repository, const repo::Node& root, const std::string& target,
              const FileRestoreOptions& options, Progress& progress, std::stop_token stop)
      : repository_(repository),
        root_(root),
        options_(options),
        selection_(options.paths),
        threads_(options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency())),
        progress_(progress),
        stop_(std::move(stop)) {
    selection_.require(repository_, root_);
    open_target(target);
  }

  ~FileRestore() {
    // Interrupted: what is not whole goes.
    for (FileWork& work : files_)
      if (!work.done) remove_made(work);
  }

  FileRestoreResult run() {
    const auto clock = std::chrono::steady_clock::now();
    {
      const ProgressPhase phase(progress_, "restore files", 0);
      walk();
    }
    // What the system has not written yet may still fail.
    if (::syncfs(whole_.get()) != 0) throw os::system_error(errno, "syncfs", "the target");
    result_.bytes_written = written_;
    result_.bytes_zero = zero_;
    result_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count();
    return std::move(result_);
  }

 private:
  // A folder opened lately, for one thread.
  struct OpenFolder {
    FolderPtr folder;
    os::UniqueFd fd;
  };

  void open_target(const std::string& target) {
    struct stat st {};
    bool fresh = false;
    if (::stat(target.c_str(), &st) != 0) {
      if (errno != ENOENT) throw os::system_error(errno, "stat", target);
      std::error_code failed;
      const os::Path parent = os::Path(target).parent_path();
      if (!parent.empty()) std::filesystem::create_directories(parent, failed);
      if (::mkdir(target.c_str(), 0777) != 0 && errno != EEXIST)
        throw os::system_error(errno, "mkdir", target);
      fresh = true;
    }
    os::UniqueFd fd = os::open_file(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (::fstat(fd.get(), &st) != 0) throw os::system_error(errno, "stat", target);
    whole_ = os::open_file(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    beneath_.emplace(std::move(fd));
    Level level;
    level.folder = std::make_shared<Folder>(Folder{"", fresh, place_of(st)});
    // A folder that was there keeps its owner and mode: it may be a mount point, or /tmp.
    if (fresh && S_ISDIR(root_.mode) && selection_.all()) {
      repo::Node copy = root_;
      level.metadata = Metadata::of(std::move(copy));
    }
    levels_.push_back(std::move(level));
  }

  // ---- the walk: folders and everything without content are made here, files are collected ----

  void walk() {
    view::TreeWalk walk(repository_, root_, "");
    std::string path;
    while (true) {
      os::throw_if_stopped(stop_);
      try {
        if (!walk.next()) break;
      } catch (const Error& error) {
        problem(path, error.what());
        continue;
      }
      while (levels_.size() > walk.entry().depth) leave();
      path = walk.entry().path.substr(1);
      if (!take(walk.entry().node, path, walk.entry().depth)) walk.skip();
      if (files_.size() >= kBatchFiles || finished_.size() >= kBatchFiles || batch_memory_ >= kBatchMemory)
        flush();
    }
    while (!levels_.empty()) leave();
    flush();
  }

  // True when the walk may go into it.
  bool take(repo::Node& node, const std::string& path, std::size_t depth) {
    using Part = PathSelection::Part;
    const Part part = selection_.part(node, path, depth);
    if (part == Part::none) return false;
    if (const char* why = name_problem(node.name)) {
      problem(path, why);
      return false;
    }
    Level& level = levels_.back();
    if (!level.names.add(node.name)) {
      problem(path, "its folder holds this name twice");
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
          problem(path, "it is of a kind that is not known");
          break;
        default:
          take_other(level.folder, std::move(node));
      }
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::no_space) throw;
      problem(path, error.what());
    }
    return false;
  }

  bool enter(const FolderPtr& parent, repo::Node&& node, const std::string& path, bool on_the_way) {
    const int in = open(parent, current_);
    const char* name = node.name.c_str();
    bool fresh = ::mkdirat(in, name, 0700) == 0;
    struct stat st {};
    if (!fresh) {
      if (errno != EEXIST) throw os::system_error(errno, "mkdir", node.name);
      if (::fstatat(in, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        throw os::system_error(errno, "stat", node.name);
      if (!S_ISDIR(st.st_mode)) {
        if (options_.overwrite == Overwrite::never) {
          ++result_.kept;
          problem(path, "something that is not a folder is in its place, and stays");
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
    level.folder = std::make_shared<Folder>(Folder{path, fresh, place_of(st)});
    // Folders that are only passed, or that shall stay as they are, keep their metadata when they were there.
    if (fresh || (!on_the_way && options_.overwrite != Overwrite::never)) {
      if (!fresh && (st.st_mode & 0700) != 0700) make_writable(level.folder);
      level.metadata = Metadata::of(std::move(node));
    } else if (!on_the_way) {
      ++result_.kept;
    }
    levels_.push_back(std::move(level));
    return true;
  }

  // An ordinary user's folder that an earlier restore made read-only.
  void make_writable(const FolderPtr& folder) {
    if (::geteuid() == 0) return;
    try {
      OpenFolder opened;
      ::chmod(fmt::format("/proc/self/fd/{}", open(folder, opened)).c_str(), 0700);
    } catch (const Error&) {
      // What cannot be made in it will say so.
    }
  }

  void leave() {
    Level& level = levels_.back();
    if (level.metadata) {
      for (const auto& attribute : level.metadata->xattrs) batch_memory_ += attribute.value.size() + 64;
      batch_memory_ += level.folder->path.size();
      finished_.emplace_back(std::move(level.folder), std::move(*level.metadata));
    }
    levels_.pop_back();
  }

  enum class Standing { nothing, replace, keep, keep_same };

  // What there is under a name, and what becomes of it.
  Standing standing(const FolderPtr& folder, const repo::Node& node, struct stat& st) {
    if (folder->fresh) return Standing::nothing;
    const int in = open(folder, current_);
    if (::fstatat(in, node.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return Standing::nothing;
      throw os::system_error(errno, "stat", node.name);
    }
    if (options_.overwrite == Overwrite::never) return Standing::keep;
    if (options_.overwrite == Overwrite::if_changed && node.type == repo::NodeType::file &&
        S_ISREG(st.st_mode) && static_cast<std::uint64_t>(st.st_size) == node.size &&
        st.st_mtim.tv_sec == node.mtime.seconds &&
        static_cast<std::uint64_t>(st.st_mtim.tv_nsec) == node.mtime.nanoseconds)
      return Standing::keep_same;
    return Standing::replace;
  }

  // `linked`: as a further name of what was restored before, when it is one.
  void take_file(const FolderPtr& folder, repo::Node&& node, bool linked) {
    const std::string path = path_in(*folder, node.name);
    struct stat st {};
    const Standing there = standing(folder, node, st);
    std::optional<LinkKey> key = linked ? link_key(node) : std::nullopt;
    const std::uint64_t digest = key ? link_digest(node) : 0;
    if (there == Standing::keep || there == Standing::keep_same) {
      ++result_.kept;
      if (key && there == Standing::keep_same)
        sources_.remember(*key, {folder, node.name, place_of(st)}, digest, node.links);
      return;
    }
    if (key) {
      const auto* known = sources_.find(*key);
      const auto pending = primaries_.find(*key);
      const std::uint64_t other = known != nullptr              ? known->digest
                                  : pending != primaries_.end() ? files_[pending->second].digest
                                                                : digest;
      if (other != digest) {
        problem(path, "it claims to be a hard link, with other content: restored as a file of its own");
        key.reset();
      } else if (known != nullptr) {
        if (link(known->source, folder, node)) {
          sources_.came(*key);
          ++result_.files;
          return;
        }
        key.reset();
      } else if (pending != primaries_.end()) {
        batch_memory_ += memory_of(node);
        pending_.push_back({folder, pending->second, std::move(node)});
        return;
      }
    }
    std::uint64_t total = 0;
    for (const repo::BlobId& id : node.content) {
      const auto location = repository_.index().find(repo::BlobType::data, id);
      if (!location) return problem(path, fmt::format("its blob {} is in no index", id.short_hex()));
      total += location->plain_length();
    }
    if (total != node.size)
      return problem(path, fmt::format("its blobs add up to {} bytes, but its size is {}", total, node.size));
    batch_memory_ += memory_of(node);
    FileWork& work = files_.emplace_back();
    if (key) primaries_.emplace(*key, files_.size() - 1);
    work.folder = folder;
    work.size = node.size;
    work.content = std::move(node.content);
    work.key = key;
    work.digest = digest;
    work.links = node.links;
    work.name = std::move(node.name);
    work.metadata = Metadata::of(std::move(node));
  }

  static std::size_t memory_of(const repo::Node& node) {
    std::size_t bytes = sizeof(FileWork) + node.name.size() + node.link_target.size() +
                        node.content.size() * (sizeof(repo::BlobId) + sizeof(Piece));
    for (const auto& attribute : node.xattrs) bytes += attribute.name.size() + attribute.value.size() + 64;
    return bytes;
  }

  // Symbolic links, devices, pipes, sockets.
  void take_other(const FolderPtr& folder, repo::Node&& node) {
    struct stat st {};
    const Standing there = standing(folder, node, st);
    if (there == Standing::keep) {
      ++result_.kept;
      return;
    }
    const auto key = link_key(node);
    const std::uint64_t digest = link_digest(node);
    if (key) {
      const auto* known = sources_.find(*key);
      if (known != nullptr && known->digest == digest && link(known->source, folder, node)) {
        sources_.came(*key);
        ++result_.others;
        return;
      }
    }
    const int in = open(folder, current_);
    const std::string made = folder->fresh ? node.name : temporary_name();
    if (!make_other(in, made, node)) return;
    const std::string name = node.name, path = path_in(*folder, name);
    const std::uint64_t links = node.links;
    try {
      tell(path, set_metadata_at(in, made, Metadata::of(std::move(node))));
      if (::fstatat(in, made.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        throw os::system_error(errno, "stat", name);
      put(in, made, name);
    } catch (const Error&) {
      ::unlinkat(in, made.c_str(), 0);
      throw;
    }
    ++result_.others;
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
    const mode_t type = node.type == repo::NodeType::dev       ? S_IFBLK
                        : node.type == repo::NodeType::chardev ? S_IFCHR
                        : node.type == repo::NodeType::fifo    ? S_IFIFO
                                                               : S_IFSOCK;
    if (::mknodat(in, made.c_str(), type | 0600, device ? static_cast<dev_t>(node.device) : 0) == 0)
      return true;
    if (device && errno == EPERM) {
      const std::lock_guard lock(mutex_);
      ++result_.without_device;
      return false;
    }
    throw os::system_error(errno, "mknod", node.name);
  }

  // False when the first name is not what it was, or does not let itself be linked: then it is restored once
  // more.
  bool link(const LinkSource& source, const FolderPtr& folder, const repo::Node& node) {
    const std::string path = path_in(*folder, node.name);
    const auto instead = [&](const char* why) {
      problem(path, fmt::format("no hard link to {} could be made ({}): restored on its own",
                                printable(path_in(*source.folder, source.name)), why));
      return false;
    };
    OpenFolder from_folder;
    int from = -1;
    try {
      from = open(source.folder, from_folder);
    } catch (const Error& error) {
      return instead(error.what());
    }
    struct stat st {};
    if (::fstatat(from, source.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return instead(std::strerror(errno));
    if (place_of(st) != source.place) return instead("it was replaced meanwhile");
    const int in = open(folder, current_);
    const std::string made = folder->fresh ? node.name : temporary_name();
    if (::linkat(from, source.name.c_str(), in, made.c_str(), 0) != 0) return instead(std::strerror(errno));
    if (::fstatat(in, made.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || place_of(st) != source.place) {
      ::unlinkat(in, made.c_str(), 0);
      return instead("it was replaced meanwhile");
    }
    try {
      put(in, made, node.name);
    } catch (const Error&) {
      ::unlinkat(in, made.c_str(), 0);
      throw;
    }
    // Renamed onto a name of the same inode, the old one stays.
    if (made != node.name) ::unlinkat(in, made.c_str(), 0);
    return true;
  }

  // Gives what was made its name, in place of what had it.
  static void put(int in, const std::string& made, const std::string& name) {
    if (made == name) return;
    if (::renameat(in, made.c_str(), in, name.c_str()) == 0) return;
    if (errno != EISDIR && errno != ENOTEMPTY && errno != EEXIST)
      throw os::system_error(errno, "rename", name);
    if (::unlinkat(in, name.c_str(), AT_REMOVEDIR) != 0)
      throw Error(ErrorKind::refused,
                  fmt::format("a folder is in its place and cannot be removed: {}", std::strerror(errno)));
    if (::renameat(in, made.c_str(), in, name.c_str()) != 0) throw os::system_error(errno, "rename", name);
  }

  // O_PATH, and sure to be the folder that it was.
  int open(const FolderPtr& folder, OpenFolder& cache) const {
    if (cache.folder == folder) return cache.fd.get();
    cache.folder.reset();
    cache.fd = beneath_->open_folder(folder->path);
    struct stat st {};
    if (::fstat(cache.fd.get(), &st) != 0) throw os::system_error(errno, "stat", folder->path);
    if (place_of(st) != folder->place)
      throw Error(ErrorKind::io, fmt::format("the folder {} was replaced by another one meanwhile",
                                             printable(folder->path)));
    cache.folder = folder;
    return cache.fd.get();
  }

  // ---- the content of a batch, pack by pack ----

  struct Piece {
    std::uint32_t pack = 0;    // in order of first need
    std::uint32_t offset = 0;  // in the pack
    std::uint32_t file = 0, number = 0;
    std::uint64_t at = 0;  // in the file
  };
  // Blobs of one stretch of a pack, and the pieces each one is.
  struct Job {
    std::vector<WantedBlob> blobs;
    std::vector<std::size_t> first;  // for each blob: its first piece
    std::size_t end = 0;
  };

  void flush() {
    plan();
    run_workers();
    pieces_ = {};
    current_ = {};
    finish_links();
    // Those that were to be links and could not.
    if (!files_.empty()) {
      plan();
      run_workers();
      pieces_ = {};
      files_.clear();
    }
    for (const auto& [folder, metadata] : finished_) {
      os::throw_if_stopped(stop_);
      finish_folder(*folder, metadata);
    }
    finished_.clear();
    batch_memory_ = 0;
  }

  void plan() {
    pieces_.clear();
    std::unordered_map<repo::PackId, std::uint32_t> packs;
    for (std::uint32_t f = 0; f < files_.size(); ++f) {
      FileWork& work = files_[f];
      std::uint64_t at = 0;
      for (std::uint32_t i = 0; i < work.content.size(); ++i) {
        const repo::BlobLocation location = *repository_.index().find(repo::BlobType::data, work.content[i]);
        const std::uint32_t length = location.plain_length();
        if (zeros_.contains(work.content[i])) {
          zero_ += length;
        } else if (length > 0) {
          const auto pack = packs.try_emplace(location.pack, static_cast<std::uint32_t>(packs.size()));
          pieces_.push_back({pack.first->second, location.offset, f, i, at});
          ++work.left;
        }
        at += length;
      }
    }
    std::ranges::sort(pieces_, [](const Piece& a, const Piece& b) {
      return std::tie(a.pack, a.offset, a.file, a.number) < std::tie(b.pack, b.offset, b.file, b.number);
    });
    next_piece_ = next_file_ = 0;
  }

  const repo::BlobId& id_of(const Piece& piece) const { return files_[piece.file].content[piece.number]; }

  std::optional<Job> next_job() {
    const std::lock_guard lock(jobs_mutex_);
    if (next_piece_ == pieces_.size()) return std::nullopt;
    Job job;
    const Piece first = pieces_[next_piece_];
    for (; next_piece_ < pieces_.size() && pieces_[next_piece_].pack == first.pack; ++next_piece_) {
      const repo::BlobId& id = id_of(pieces_[next_piece_]);
      if (!job.blobs.empty() && job.blobs.back().id == id) continue;
      const repo::BlobLocation location = *repository_.index().find(repo::BlobType::data, id);
      if (!job.blobs.empty() && !same_stretch(job.blobs.back().location, location, first.offset)) break;
      job.blobs.push_back({id, location});
      job.first.push_back(next_piece_);
    }
    job.end = next_piece_;
    return job;
  }

  // Files that hold nothing but zeros, or nothing.
  FileWork* next_empty() {
    const std::lock_guard lock(jobs_mutex_);
    while (next_file_ < files_.size()) {
      FileWork& work = files_[next_file_++];
      if (empty_of_data(work)) return &work;
    }
    return nullptr;
  }
  bool empty_of_data(const FileWork& work) const {
    return std::ranges::all_of(work.content, [&](const repo::BlobId& id) {
      return zeros_.contains(id) || repository_.index().find(repo::BlobType::data, id)->plain_length() == 0;
    });
  }

  void run_workers() {
    if (files_.empty()) return;
    os::ThreadGroup workers(stop_);
    for (unsigned i = 0; i < threads_; ++i)
      workers.spawn([&](const std::stop_token& stop) {
        BlobReader reader(repository_);
        OpenFolder folder;
        while (const auto job = next_job()) fetch(*job, reader, folder, stop);
        while (FileWork* work = next_empty()) {
          os::throw_if_stopped(stop);
          attempt(*work, [&] { finish_file(*work, *opened(*work, folder), folder); });
        }
      });
    workers.join();
  }

  void fetch(const Job& job, BlobReader& reader, OpenFolder& folder, const std::stop_token& stop) {
    std::size_t taken = 0;
    bool writing = false;
    const auto take = [&](const Bytes& plain) {
      writing = true;
      os::throw_if_stopped(stop);
      const std::size_t end = taken + 1 < job.blobs.size() ? job.first[taken + 1] : job.end;
      for (std::size_t i = job.first[taken]; i < end; ++i)
        write_piece(pieces_[i], job.blobs[taken], plain, folder);
      ++taken;
      writing = false;
    };
    std::size_t length = job.blobs.size();  // to read at once
    while (taken < job.blobs.size()) {
      os::throw_if_stopped(stop);
      try {
        reader.read(std::span(job.blobs).subspan(taken, std::min(length, job.blobs.size() - taken)),
                    [&](std::size_t, const Bytes& plain) { take(plain); });
      } catch (const Error& error) {
        if (writing) throw;
        // This one is lost; the rest one by one.
        const std::size_t end = taken + 1 < job.blobs.size() ? job.first[taken + 1] : job.end;
        for (std::size_t i = job.first[taken]; i < end; ++i)
          fail(files_[pieces_[i].file], error.what(), false);
        ++taken;
        length = 1;
      }
    }
  }

  // What goes wrong with one file is its problem.
  template <class Body>
  void attempt(FileWork& work, Body body) {
    try {
      body();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::no_space) throw;
      fail(work, error.what(), true);
    }
  }

  void write_piece(const Piece& piece, const WantedBlob& blob, ByteView plain, OpenFolder& folder) {
    FileWork& work = files_[piece.file];
    attempt(work, [&] {
      if (plain.size() != blob.location.plain_length())
        throw Error(ErrorKind::corrupt,
                    fmt::format("blob {} is {} bytes long, the index says {}", blob.id.short_hex(),
                                plain.size(), blob.location.plain_length()));
      std::shared_ptr<os::UniqueFd> fd;
      {
        const std::lock_guard lock(work.mutex);
        if (work.failed) return;
        fd = opened(work, folder);
      }
      write_sparse(fd->get(), piece.at, plain, work.name);
      progress_.advance(plain.size());
      bool last = false;
      {
        const std::lock_guard lock(work.mutex);
        last = --work.left == 0 && !work.failed;
      }
      if (last) finish_file(work, *fd, folder);
    });
  }

  // The file being written; made when it is not there yet. Under work.mutex, or alone.
  std::shared_ptr<os::UniqueFd> opened(FileWork& work, OpenFolder& folder) {
    if (work.fd) return work.fd;
    const int in = open(work.folder, folder);
    auto fd = std::make_shared<os::UniqueFd>();
    struct stat st {};
    if (work.made.empty()) {
      const std::string made = work.folder->fresh ? work.name : temporary_name();
      fd->reset(::openat(in, made.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!*fd || ::fstat(fd->get(), &st) != 0) throw os::system_error(errno, "create", work.name);
      work.made = made;
      work.place = place_of(st);
      if (work.size > INT64_MAX || ::ftruncate(fd->get(), static_cast<off_t>(work.size)) != 0)
        throw os::system_error(work.size > INT64_MAX ? EFBIG : errno, "ftruncate", work.name);
    } else {
      fd->reset(::openat(in, work.made.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      if (!*fd || ::fstat(fd->get(), &st) != 0) throw os::system_error(errno, "open", work.name);
      if (place_of(st) != work.place) throw Error(ErrorKind::io, "it was replaced while it was written");
    }
    if (work.left > 1) {
      if (open_files_ < kMostOpen) {
        ++open_files_;
        work.fd = fd;
      }
    }
    return fd;
  }

  void write_sparse(int fd, std::uint64_t offset, ByteView plain, const std::string& name) {
    std::size_t pending = 0;  // bytes before `at` that wait to be written
    std::size_t at = 0;
    const auto write = [&] {
      if (pending == 0) return;
      os::write_all_at(fd, offset + at - pending, plain.subspan(at - pending, pending), name);
      written_ += pending;
      pending = 0;
    };
    while (at < plain.size()) {
      const std::size_t n =
          std::min<std::size_t>(plain.size() - at, kSparseUnit - (offset + at) % kSparseUnit);
      if (is_zero(plain.subspan(at, n))) {
        write();
        zero_ += n;
      } else {
        pending += n;
      }
      at += n;
    }
    write();
  }

  void finish_file(FileWork& work, const os::UniqueFd& fd, OpenFolder& folder) {
    const MetadataOutcome outcome = set_metadata(fd.get(), work.metadata);
    put(open(work.folder, folder), work.made, work.name);
    tell(path_in(*work.folder, work.name), outcome);
    const std::lock_guard lock(work.mutex);
    close(work);
    work.done = true;
    const std::lock_guard counting(mutex_);
    ++result_.files;
  }

  void close(FileWork& work) {
    if (!work.fd) return;
    work.fd.reset();
    --open_files_;
  }

  void fail(FileWork& work, const std::string& why, bool placing) {
    const std::lock_guard lock(work.mutex);
    if (std::exchange(work.failed, true)) return;
    work.placing_failed = placing;
    close(work);
    remove_made(work);
    problem(path_in(*work.folder, work.name), why);
  }

  void remove_made(FileWork& work) const {
    if (work.made.empty()) return;
    try {
      OpenFolder folder;
      const int in = open(work.folder, folder);
      struct stat st {};
      if (::fstatat(in, work.made.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && place_of(st) == work.place)
        ::unlinkat(in, work.made.c_str(), 0);
    } catch (const Error&) {
      // It cannot be reached any more.
    }
    work.made.clear();
  }

  // ---- after the content ----

  void finish_links() {
    for (FileWork& work : files_)
      if (work.key && work.done && work.links > 1)
        sources_.remember(*work.key, {work.folder, work.name, work.place}, work.digest, work.links);
    std::vector<bool> lost(files_.size());
    for (std::size_t i = 0; i < files_.size(); ++i) lost[i] = files_[i].failed && !files_[i].placing_failed;
    files_.clear();
    primaries_.clear();
    auto links = std::exchange(pending_, {});
    for (PendingLink& later : links) {
      os::throw_if_stopped(stop_);
      const std::string path = path_in(*later.folder, later.node.name);
      if (lost[later.primary]) {
        problem(path, "its content cannot be read (it is a hard link to a file that has this problem)");
        continue;
      }
      try {
        const LinkKey key = *link_key(later.node);
        const auto* known = sources_.find(key);
        if (known != nullptr && link(known->source, later.folder, later.node)) {
          sources_.came(key);
          ++result_.files;
        } else {
          take_file(later.folder, std::move(later.node), false);
        }
      } catch (const Error& error) {
        if (error.kind() == ErrorKind::no_space) throw;
        problem(path, error.what());
      }
    }
    current_ = {};
  }

  void finish_folder(const Folder& folder, const Metadata& metadata) {
    try {
      const os::UniqueFd fd = beneath_->open_folder(folder.path, O_RDONLY);
      struct stat st {};
      if (::fstat(fd.get(), &st) != 0 || place_of(st) != folder.place)
        throw Error(ErrorKind::io, "it was replaced by another folder meanwhile");
      tell(folder.path, set_metadata(fd.get(), metadata));
      ++result_.folders;
    } catch (const Error& error) {
      problem(folder.path, error.what());
    }
  }

  void tell(const std::string& path, const MetadataOutcome& outcome) {
    if (!outcome.problem.empty()) problem(path, outcome.problem);
    if (!outcome.without_owner && !outcome.without_xattrs) return;
    const std::lock_guard lock(mutex_);
    result_.without_owner += outcome.without_owner ? 1 : 0;
    result_.without_xattrs += outcome.without_xattrs ? 1 : 0;
  }

  void problem(const std::string& path, const std::string& why) {
    const std::lock_guard lock(mutex_);
    ++result_.problem_count;
    if (result_.problems.size() < kMostProblems)
      result_.problems.push_back(
          {path.size() > kLongestTold ? path.substr(0, kLongestTold) + "..." : path, why});
  }
  static constexpr std::size_t kLongestTold = 4096;

  const repo::IndexedRepository& repository_;
  const repo::Node& root_;
  const FileRestoreOptions& options_;
  PathSelection selection_;
  const unsigned threads_;
  Progress& progress_;
  const std::stop_token stop_;
  const view::ZeroBlobs zeros_;
  os::UniqueFd whole_;  // the target again, to tell of what could not be written
  std::optional<Beneath> beneath_;

  // Of the walk's thread.
  std::vector<Level> levels_;
  OpenFolder current_;
  LinkTable<LinkSource> sources_;

  // The batch.
  std::deque<FileWork> files_;
  std::unordered_map<LinkKey, std::size_t, LinkKeyHash> primaries_;
  std::vector<PendingLink> pending_;
  std::vector<std::pair<FolderPtr, Metadata>> finished_;
  std::size_t batch_memory_ = 0;
  std::vector<Piece> pieces_;
  std::mutex jobs_mutex_;
  std::size_t next_piece_ = 0, next_file_ = 0;
  std::atomic<std::size_t> open_files_ = 0;

  std::atomic<std::uint64_t> written_ = 0, zero_ = 0;
  std::mutex mutex_;  // of result_ while workers run
  FileRestoreResult result_;
};

}  // namespace

FileRestoreResult restore_files(const repo::IndexedRepository& repository, const repo::Node& root,
                                const std::string& target, const FileRestoreOptions& options,
                                Progress& progress, std::stop_token stop) {
  return FileRestore(repository, root, target, options, progress, std::move(stop)).run();
}

}  // namespace respaldo::restore
