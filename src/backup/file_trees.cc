#include "backup/file_trees.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "backup/account_names.h"
#include "backup/cutter.h"
#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "base/utf8.h"
#include "os/thread_group.h"
#include "view/zero_blob.h"

namespace respaldo::backup {

namespace {

constexpr std::size_t kFindingLimit = 1000;
constexpr std::uint64_t kAccountFileLimit = 4U << 20;
// Long holes are made of the longest blob, so that a file of 16 TiB has a list of two million ids. A folder,
// which is in memory as a whole, has room for one such file's, and a filesystem for eight: a damaged inode may
// claim any size.
constexpr std::uint32_t kHoleChunk = view::kLongZeroBlobLength;
constexpr std::uint64_t kHolesOfFolder = (2U << 20) + 1000, kHolesOfFilesystem = 16U << 20;
// Ids of hard-linked files' contents that are remembered for the other names.
constexpr std::uint64_t kRememberedIds = 1U << 20;

repo::NodeType type_of(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return repo::NodeType::dir;
    case S_IFLNK:
      return repo::NodeType::symlink;
    case S_IFBLK:
      return repo::NodeType::dev;
    case S_IFCHR:
      return repo::NodeType::chardev;
    case S_IFIFO:
      return repo::NodeType::fifo;
    case S_IFSOCK:
      return repo::NodeType::socket;
    default:
      return repo::NodeType::file;
  }
}

repo::Timestamp timestamp(const fs::FileTime& time) { return {time.seconds, time.nanoseconds, 0}; }

// Folders of one depth do not need one another: they are shared out among the workers.
class Builder {
 public:
  Builder(const FileTreeInput& input, repo::SnapshotSummary& counts, const std::stop_token& stop)
      : input_(input), reader_(*input.view.reader), counts_(counts), stop_(stop) {
    users_ = accounts("passwd");
    groups_ = accounts("group");
  }

  FileTreeResult run();

 private:
  struct Folder {
    fs::NodeIndex node = fs::kNoNode;
    std::optional<repo::BlobId> before;  // the parent backup's tree
    repo::BlobId tree;                   // once it is saved
  };

  class Worker;

  void save_folders(std::size_t begin, std::size_t end);

  AccountNames accounts(std::string_view name) const {
    const auto child = [&](fs::NodeIndex folder, std::string_view wanted) {
      if (folder == fs::kNoNode) return fs::kNoNode;
      for (std::size_t i = 0; i < reader_.entry_count(folder); ++i)
        if (const fs::DirectoryEntry entry = reader_.entry(folder, i); entry.name == wanted)
          return entry.node;
      return fs::kNoNode;
    };
    const fs::NodeIndex found = child(child(reader_.root(), "etc"), name);
    if (found == fs::kNoNode) return {};
    const fs::FileNode node = reader_.node(found);
    if (!S_ISREG(node.mode) || !node.readable || node.size > kAccountFileLimit) return {};
    Bytes text(node.size);
    try {
      reader_.read(found, 0, text);
    } catch (const Error&) {
      return {};  // the pass tells of what cannot be read
    }
    return AccountNames(as_text(text));
  }

  void collect_folders() {
    std::optional<repo::BlobId> before;
    if (input_.parent != nullptr) before = input_.parent->subtree;
    folders_.push_back({reader_.root(), before, {}});
    for (std::size_t next = 0; next < folders_.size(); ++next) {
      os::throw_if_stopped(stop_);
      if (depths_.empty() || next == depth_end_) {
        depths_.push_back(next);
        depth_end_ = folders_.size();
      }
      numbers_.emplace(folders_[next].node, next);
      const Folder folder = folders_[next];
      const auto old = load(folder.before);
      for (std::size_t i = 0; i < reader_.entry_count(folder.node); ++i) {
        const fs::DirectoryEntry entry = reader_.entry(folder.node, i);
        if (!S_ISDIR(reader_.node(entry.node).mode)) continue;
        const repo::Node* same = find(old, entry.name);
        folders_.push_back({entry.node, same != nullptr ? same->subtree : std::nullopt, {}});
      }
    }
  }

  std::vector<repo::Node> load(const std::optional<repo::BlobId>& id) const {
    if (!id) return {};
    try {
      return input_.repository.load_tree(*id).nodes;
    } catch (const Error&) {
      return {};  // a damaged parent only spoils the counts
    }
  }
  static const repo::Node* find(const std::vector<repo::Node>& nodes, std::string_view name) {
    const auto at = std::ranges::lower_bound(
        nodes, name, {}, [](const repo::Node& node) -> std::string_view { return node.name; });
    return at != nodes.end() && at->name == name ? &*at : nullptr;
  }

  void tell(fs::NodeIndex index, std::string what) {
    const std::lock_guard lock(mutex_);
    if (++result_.finding_count <= kFindingLimit)
      result_.findings.push_back({reader_.node(index).inode, reader_.path(index), std::move(what)});
  }

  const FileTreeInput& input_;
  const fs::FileReader& reader_;
  repo::SnapshotSummary& counts_;
  const std::stop_token& stop_;
  AccountNames users_, groups_;
  std::vector<Folder> folders_;      // by depth
  std::vector<std::size_t> depths_;  // where each begins
  std::size_t depth_end_ = 1;
  std::unordered_map<fs::NodeIndex, std::size_t> numbers_;  // of folders
  std::atomic<std::uint64_t> hole_blobs_ = 0, stored_ = 0;
  struct Content {
    std::vector<repo::BlobId> ids;
    std::uint64_t holes = 0;
  };
  std::mutex mutex_;  // for what follows
  std::unordered_map<fs::NodeIndex, Content> linked_;  // of files with several names
  std::uint64_t remembered_ = 0;                       // ids in it
  std::unordered_map<std::uint32_t, repo::BlobId> zeros_;
  FileTreeResult result_;
};

class Builder::Worker {
 public:
  Worker(Builder& all, unsigned number)
      : all_(all),
        number_(number),
        reader_(all.reader_),
        cutter_(make_cutter(CutKind::content, all.input_.content_cutter)) {}
  ~Worker() {
    const std::lock_guard lock(all_.mutex_);
    repo::SnapshotSummary& sum = all_.counts_;
    sum.dirs_new += counts_.dirs_new;
    sum.dirs_changed += counts_.dirs_changed;
    sum.dirs_unmodified += counts_.dirs_unmodified;
    sum.files_new += counts_.files_new;
    sum.files_changed += counts_.files_changed;
    sum.files_unmodified += counts_.files_unmodified;
    sum.total_files_processed += counts_.total_files_processed;
    sum.total_bytes_processed += counts_.total_bytes_processed;
  }

  void save_folder(Folder& folder) {
    repo::Tree tree;
    const std::size_t count = reader_.entry_count(folder.node);
    tree.nodes.reserve(count);
    folder_holes_ = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const fs::DirectoryEntry entry = reader_.entry(folder.node, i);
      if (!reader_.node(entry.node).readable) continue;  // the reader has told why
      repo::Node node = make_node(entry.node, entry.name);
      if (node.type != repo::NodeType::file || add_content(node, entry.node))
        tree.nodes.push_back(std::move(node));
    }
    const std::string json = fitting_json(tree, folder.node);
    count_files(tree, folder);
    const repo::BlobId id = save(repo::BlobType::tree, as_bytes(json));
    ++(!folder.before         ? counts_.dirs_new
       : *folder.before == id ? counts_.dirs_unmodified
                              : counts_.dirs_changed);
    folder.tree = id;
  }

  repo::Node make_node(fs::NodeIndex index, std::string_view name) {
    const fs::FileNode source = reader_.node(index);
    repo::Node node;
    node.name = name;
    node.type = type_of(source.mode);
    node.mode = source.mode;
    node.mtime = timestamp(source.mtime);
    node.atime = timestamp(source.atime);
    node.ctime = timestamp(source.ctime);
    node.uid = source.uid;
    node.gid = source.gid;
    node.user = all_.users_.find(source.uid);
    node.group = all_.groups_.find(source.gid);
    node.inode = source.inode;
    node.device_id = all_.input_.device_id + source.subvolume;
    try {
      for (fs::FileXattr& xattr : reader_.xattrs(index)) {
        if (is_utf8(xattr.name))
          node.xattrs.push_back({std::move(xattr.name), std::move(xattr.value)});
        else
          tell(index, fmt::format("its extended attribute {}: the repository's format has no place for names "
                                  "that are not UTF-8; the image has it",
                                  printable(xattr.name)));
      }
    } catch (const Error& error) {
      tell(index, fmt::format("its extended attributes: {}", error.what()));
    }
    switch (node.type) {
      case repo::NodeType::dir:
        if (const auto at = all_.numbers_.find(index); at != all_.numbers_.end())
          node.subtree = all_.folders_[at->second].tree;
        break;
      case repo::NodeType::symlink:
        node.links = source.links;
        node.link_target = reader_.link_target(index);
        break;
      case repo::NodeType::dev:
      case repo::NodeType::chardev:
        node.links = source.links;
        node.device = source.device;
        break;
      case repo::NodeType::file:
        node.links = source.links;
        node.size = source.size;
        break;
      case repo::NodeType::fifo:
      case repo::NodeType::socket:
        // One name is what restic stores, too; a tree with none of several names stays what it was.
        if (source.links > 1) node.links = source.links;
        break;
      default:
        break;
    }
    return node;
  }

 private:
  std::string fitting_json(repo::Tree& tree, fs::NodeIndex folder) {
    const std::size_t all = tree.nodes.size();
    std::vector<std::string> left_out;
    std::string json = repo::to_json(tree, all_.input_.longest_tree, left_out);
    if (!left_out.empty())
      tell(folder,
           fmt::format(
               "{} of its {} entries, the first of them {}, are left out: with them it would have more "
               "than {}, which is all that one folder of a backup can hold; the image has them",
               left_out.size(), all, printable(left_out.front()), format_size(all_.input_.longest_tree)));
    return json;
  }

  void count_files(const repo::Tree& tree, const Folder& folder) {
    const auto old = all_.load(folder.before);
    for (const repo::Node& node : tree.nodes) {
      if (node.type != repo::NodeType::file) continue;
      const repo::Node* before = Builder::find(old, node.name);
      const bool known = before != nullptr && before->type == repo::NodeType::file;
      const bool same = known && before->content == node.content && before->size == node.size &&
                        before->mtime.seconds == node.mtime.seconds &&
                        before->mtime.nanoseconds == node.mtime.nanoseconds;
      ++(same ? counts_.files_unmodified : known ? counts_.files_changed : counts_.files_new);
      ++counts_.total_files_processed;
      counts_.total_bytes_processed += node.size;
    }
  }

  // False when the content cannot be had: such a file is left out, since part of it could be taken for the
  // whole.
  bool add_content(repo::Node& node, fs::NodeIndex index) {
    try {
      const std::uint64_t before = folder_holes_;
      if (node.links > 1 && recall(index, node.content)) return true;
      make_content(node, index);
      if (node.links > 1) remember(index, {node.content, folder_holes_ - before});
      return true;
    } catch (const Error& error) {
      tell(index, fmt::format("its content: {}", error.what()));
      return false;
    }
  }

  // The other names of a file cost nothing.
  bool recall(fs::NodeIndex index, std::vector<repo::BlobId>& content) {
    std::uint64_t holes = 0;
    {
      const std::lock_guard lock(all_.mutex_);
      const auto at = all_.linked_.find(index);
      if (at == all_.linked_.end()) return false;
      holes = at->second.holes;
      content = at->second.ids;
    }
    count_holes(holes);
    return true;
  }
  void remember(fs::NodeIndex index, Content content) {
    const std::lock_guard lock(all_.mutex_);
    if (all_.remembered_ + content.ids.size() > kRememberedIds) return;
    const std::size_t ids = content.ids.size();
    if (all_.linked_.emplace(index, std::move(content)).second) all_.remembered_ += ids;
  }

  void make_content(repo::Node& node, fs::NodeIndex index) {
    if (reader_.node(index).has_inline_data) {
      store({0, node.size}, index, node.content);
      return;
    }
    std::uint64_t done = 0;
    for (const fs::FileExtent& extent : reader_.extents(index)) {
      if (extent.unwritten) continue;
      add_hole(extent.logical - done, node.content);
      const Extent bytes{all_.input_.view.base + extent.physical, extent.length};
      if (extent.physical == fs::kNoPlace || !all_.input_.chunks.append(bytes, node.content))
        store({extent.logical, extent.length}, index, node.content);
      done = extent.logical + extent.length;
    }
    add_hole(node.size - done, node.content);
  }

  void count_holes(std::uint64_t chunks) {
    if (folder_holes_ + chunks > kHolesOfFolder)
      throw Error(ErrorKind::unsupported,
                  fmt::format("with it the files of its folder have more than {} of holes, which is more than "
                              "one folder of a backup can list; the image has it",
                              format_size(kHolesOfFolder * kHoleChunk)));
    folder_holes_ += chunks;
  }

  void add_hole(std::uint64_t length, std::vector<repo::BlobId>& content) {
    count_holes(length / kHoleChunk);
    if ((all_.hole_blobs_ += length / kHoleChunk) > kHolesOfFilesystem)
      throw Error(ErrorKind::unsupported,
                  fmt::format("with it the files have more than {} of holes, which is more than one backup can "
                              "list; the image has it",
                              format_size(kHolesOfFilesystem * kHoleChunk)));
    for (; length >= kHoleChunk; length -= kHoleChunk) content.push_back(zeros(kHoleChunk));
    for (; length >= kZeroChunk; length -= kZeroChunk) content.push_back(zeros(kZeroChunk));
    if (length > 0) content.push_back(zeros(static_cast<std::uint32_t>(length)));
  }

  repo::BlobId zeros(std::uint32_t length) {
    const std::lock_guard lock(all_.mutex_);
    const auto [at, is_new] = all_.zeros_.try_emplace(length);
    if (is_new) at->second = save(repo::BlobType::data, Bytes::zeroed(length));
    return at->second;
  }

  // Content that lies in no chunk of the image. In a sound filesystem that is little; in a damaged one, files
  // may claim the same blocks again and again.
  void store(Extent range, fs::NodeIndex index, std::vector<repo::BlobId>& content) {
    if ((all_.stored_ += range.length) > reader_.facts().size && !reader_.facts().may_exceed_device)
      throw Error(ErrorKind::corrupt, "it claims blocks that other files claim, too");
    if (range.length > kWholeFile) {
      store_cut(range, index, content);
    } else if (!range.empty()) {
      buffer_.resize(range.length);
      read(index, range.offset, buffer_);
      content.push_back(save(repo::BlobType::data, buffer_));
    }
  }

  // Cut by content, as the pass does with long files.
  void store_cut(Extent range, fs::NodeIndex index, std::vector<repo::BlobId>& content) {
    buffer_.resize(kLongestChunk);
    const MutableBytes buffer(buffer_);
    cutter_->begin({range, SpanKind::read, CutKind::content});
    std::uint64_t at = range.offset;  // what the buffer begins with
    std::size_t filled = 0;
    while (at < range.end()) {
      os::throw_if_stopped(all_.stop_);
      const bool last = at + filled == range.end();
      const Cut cut = filled == 0 ? Cut{} : cutter_->next(at, buffer.first(filled), last);
      if (cut.length == 0) {
        const std::size_t more = std::min({kImageChunk, range.end() - (at + filled), buffer.size() - filled});
        read(index, at + filled, buffer.subspan(filled, more));
        filled += more;
        continue;
      }
      content.push_back(cut.zero ? zeros(kZeroChunk) : save(repo::BlobType::data, buffer.first(cut.length)));
      std::memmove(buffer.data(), buffer.data() + cut.length, filled - cut.length);
      at += cut.length;
      filled -= cut.length;
    }
  }

  void read(fs::NodeIndex index, std::uint64_t offset, MutableBytes out) {
    try {
      reader_.read(index, offset, out);
    } catch (const Error& error) {
      if (!all_.input_.skip_unreadable || error.kind() != ErrorKind::io) throw;
      read_pieces(index, offset, out);
    }
  }

  // What can be read; zeros for the rest.
  void read_pieces(fs::NodeIndex index, std::uint64_t offset, MutableBytes out) {
    constexpr std::size_t kPiece = 4096;
    std::uint64_t lost_at = 0, lost = 0;
    const auto tell_lost = [&] {
      if (lost > 0)
        tell(index,
             fmt::format("{} bytes at byte {} of the file could not be read and are zeros", lost, lost_at));
      lost = 0;
    };
    for (std::size_t done = 0; done < out.size();) {
      const MutableBytes piece =
          out.subspan(done, std::min(kPiece - (offset + done) % kPiece, out.size() - done));
      try {
        reader_.read(index, offset + done, piece);
        tell_lost();
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::io) throw;
        std::ranges::fill(piece, std::uint8_t{0});
        if (lost == 0) lost_at = offset + done;
        lost += piece.size();
      }
      done += piece.size();
    }
    tell_lost();
  }

  repo::BlobId save(repo::BlobType type, ByteView plain) { return all_.input_.save(number_, type, plain); }
  void tell(fs::NodeIndex index, std::string what) { all_.tell(index, std::move(what)); }

  Builder& all_;
  const unsigned number_;
  const fs::FileReader& reader_;
  repo::SnapshotSummary counts_;  // of this worker
  const std::unique_ptr<Cutter> cutter_;
  Bytes buffer_;
  std::uint64_t folder_holes_ = 0;  // chunks of holes in the folder at hand
};

FileTreeResult Builder::run() {
  collect_folders();
  // Folders were found from the root down, one depth after another: from the back, children come first.
  for (std::size_t depth = depths_.size(); depth-- > 0;) {
    const std::size_t end = depth + 1 < depths_.size() ? depths_[depth + 1] : folders_.size();
    save_folders(depths_[depth], end);
  }
  result_.root = Worker(*this, 0).make_node(reader_.root(), "");
  return std::move(result_);
}

void Builder::save_folders(std::size_t begin, std::size_t end) {
  constexpr std::size_t kWorthAThread = 16;
  std::atomic<std::size_t> next = begin;
  const auto work = [&](unsigned number, const std::stop_token& stop) {
    Worker worker(*this, number);
    for (std::size_t i = next++; i < end; i = next++) {
      os::throw_if_stopped(stop);
      worker.save_folder(folders_[i]);
    }
  };
  if (end - begin < kWorthAThread || input_.workers < 2) {
    work(0, stop_);
    return;
  }
  os::ThreadGroup threads(stop_);
  for (unsigned i = 0; i < input_.workers; ++i)
    threads.spawn([&work, i](const std::stop_token& stop) { work(i, stop); });
  threads.join();
}

}  // namespace

FileTreeResult save_file_trees(const FileTreeInput& input, repo::SnapshotSummary& counts,
                               const std::stop_token& stop) {
  return Builder(input, counts, stop).run();
}

}  // namespace respaldo::backup
