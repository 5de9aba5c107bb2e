#include "backup/quick.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "backup/image_list.h"
#include "base/error.h"
#include "os/thread_group.h"

namespace respaldo::backup {

namespace {

// A disk whose filesystem nobody stopped (a guest's) may have the new times before the new data: Linux writes times with
// the journal every 5 s, and overwritten blocks, in no order with it, after 30 s, looked for every 5 s. The rest is for
// slow disks and clocks. A guest may stand still for a night, too, with data in its memory: the time counts back from the
// last that its filesystem did.
constexpr std::int64_t kUnsettledSeconds = 120;
constexpr std::uint32_t kHoleChunk = view::kLongZeroBlobLength;  // as file_trees.cc makes them

bool same_time(const repo::Timestamp& a, const fs::FileTime& b) {
  return a.seconds == b.seconds && a.nanoseconds == b.nanoseconds;
}

// Blobs of the old image by their place.
class OldChunks {
 public:
  explicit OldChunks(std::vector<view::ImageChunk> chunks) : chunks_(std::move(chunks)) {}

  // Goes along `content` from `at` on while it names exactly the chunks of `extent`; false when it does not.
  bool match(Extent extent, const std::vector<repo::BlobId>& content, std::size_t& at) const {
    auto blob = std::ranges::upper_bound(chunks_, extent.offset, {}, &view::ImageChunk::offset);
    if (blob != chunks_.begin()) --blob;
    std::uint64_t done = extent.offset;
    for (; done < extent.end(); ++at) {
      if (blob == chunks_.end() || at == content.size()) return false;
      const view::ImageChunk chunk = chunk_of_pass(*blob, done);
      if (chunk.offset != done || chunk.id != content[at]) return false;
      done += chunk.length;
      if (done == blob->offset + blob->length) ++blob;
    }
    return done == extent.end();
  }

 private:
  std::vector<view::ImageChunk> chunks_;
};

class Truster {
 public:
  Truster(const repo::IndexedRepository& repository, std::int64_t last_life, const OldChunks& chunks,
          const FileView& view, const std::stop_token& stop)
      : repository_(repository),
        newest_(last_life - kUnsettledSeconds),
        chunks_(chunks),
        view_(view),
        stop_(stop) {}

  // Below the root folder, whose tree was `tree`.
  void run(const repo::BlobId& tree, std::vector<Extent>& trusted) {
    std::vector<std::pair<fs::NodeIndex, repo::BlobId>> folders{{view_.reader->root(), tree}};
    while (!folders.empty()) {
      os::throw_if_stopped(stop_);
      const auto [folder, id] = folders.back();
      folders.pop_back();
      const repo::Tree old = repository_.load_tree(id);
      for (std::size_t i = 0; i < view_.reader->entry_count(folder); ++i) {
        const fs::DirectoryEntry entry = view_.reader->entry(folder, i);
        const auto before = std::ranges::lower_bound(
            old.nodes, entry.name, {}, [](const repo::Node& node) -> std::string_view { return node.name; });
        if (before == old.nodes.end() || before->name != entry.name) continue;
        const fs::FileNode node = view_.reader->node(entry.node);
        if (S_ISDIR(node.mode)) {
          if (before->type == repo::NodeType::dir && before->subtree)
            folders.emplace_back(entry.node, *before->subtree);
        } else if (S_ISREG(node.mode) && looks_alike(node, *before)) {
          trust(entry.node, node, *before, trusted);
        }
      }
    }
  }

 private:
  bool looks_alike(const fs::FileNode& now, const repo::Node& before) const {
    return before.type == repo::NodeType::file && now.readable && !now.has_inline_data &&
           now.inode == before.inode && now.size == before.size && same_time(before.mtime, now.mtime) &&
           same_time(before.ctime, now.ctime) && now.ctime.seconds < newest_;
  }

  // All extents or none: one of them elsewhere means that the file is another one.
  void trust(fs::NodeIndex index, const fs::FileNode& node, const repo::Node& before,
             std::vector<Extent>& trusted) {
    const std::uint64_t block = view_.reader->facts().block_size;
    const std::size_t count = trusted.size();
    std::size_t at = 0;
    std::uint64_t done = 0;
    bool same = true;
    for (const fs::FileExtent& extent : view_.reader->extents(index)) {
      if (extent.unwritten) continue;
      const Extent bytes{view_.base + extent.physical, extent.length};
      same = same && match_hole(extent.logical - done, before.content, at) &&
             chunks_.match(bytes, before.content, at);
      if (!same) break;
      trusted.push_back({bytes.offset, (bytes.length + block - 1) / block * block});
      done = extent.logical + extent.length;
    }
    same = same && match_hole(node.size - done, before.content, at) && at == before.content.size();
    if (!same) trusted.resize(count);
  }

  bool match_hole(std::uint64_t length, const std::vector<repo::BlobId>& content, std::size_t& at) {
    const auto take = [&](std::uint32_t chunk) {
      if (at == content.size() || content[at] != zeros(chunk)) return false;
      ++at;
      length -= chunk;
      return true;
    };
    while (length >= kHoleChunk)
      if (!take(kHoleChunk)) return false;
    while (length >= kZeroChunk)
      if (!take(kZeroChunk)) return false;
    return length == 0 || take(static_cast<std::uint32_t>(length));
  }
  const repo::BlobId& zeros(std::uint32_t length) {
    const auto [at, is_new] = zeros_.try_emplace(length);
    if (is_new) at->second = view::zero_blob_id(length);
    return at->second;
  }

  const repo::IndexedRepository& repository_;
  const std::int64_t newest_;
  const OldChunks& chunks_;
  const FileView& view_;
  const std::stop_token& stop_;
  std::unordered_map<std::uint32_t, repo::BlobId> zeros_;
};

bool names_option(std::string_view options, std::string_view wanted) {
  while (!options.empty()) {
    const std::size_t end = std::min(options.find(','), options.size());
    if (options.substr(0, end) == wanted) return true;
    options.remove_prefix(std::min(end + 1, options.size()));
  }
  return false;
}

bool is_ext(const FileView& view) {
  return view.reader->facts().type.starts_with("ext") && view.reader->root() != fs::kNoNode;
}

// Seconds; absent when the backup does not tell.
std::optional<std::int64_t> last_life(const repo::Snapshot& backup, const view::VolumeFacts& facts,
                                      const std::string& folder) {
  const auto before = std::ranges::find(facts.file_views, folder, &view::FileViewFacts::folder);
  if (before == facts.file_views.end() || !before->newest_ctime) return std::nullopt;
  return static_cast<std::int64_t>(
      std::min(*before->newest_ctime, static_cast<std::uint64_t>(std::max<std::int64_t>(backup.time.seconds, 0))));
}

}  // namespace

QuickTrust trust_inodes(const repo::IndexedRepository& repository, const repo::NamedSnapshot& backup,
                        const std::string& tree_path, const std::string& lv_uuid, const FileViews& files,
                        const CutPlan& plan, const std::stop_token& stop) {
  ParentImage parent;
  for (view::StoredVolume& volume : view::stored_volumes(repository, backup.snapshot))
    if (volume.tree_path == tree_path) parent.volume = std::move(volume);
  // A snapshot that was given may be older than its backup: times tell nothing then of what was written since.
  if (!parent.volume.facts || parent.volume.facts->lv_uuid != lv_uuid || parent.volume.facts->how == "given" ||
      parent.volume.image_size != plan.size)
    return {};
  const OldChunks chunks(view::image_chunks(repository, parent.volume));
  std::vector<Extent> trusted;
  for (const FileView& view : files.views) {
    if (!is_ext(view)) continue;
    if (names_option(view.reader->facts().mount_options, "lazytime"))
      return {std::nullopt, fmt::format("the filesystem in {} is mounted with lazytime: its times tell too late of a change "
                                        "(--quick)",
                                        view.folder)};
    const auto root = view::find_node(repository, backup.snapshot, tree_path + "/" + view.folder);
    if (!root || !root->subtree) continue;
    const auto lived = last_life(backup.snapshot, *parent.volume.facts, view.folder);
    if (!lived)
      return {std::nullopt, fmt::format("backup {} does not tell until when the filesystem in {} was in use (--quick)",
                                        backup.id.short_hex(), view.folder)};
    Truster(repository, *lived, chunks, view, stop).run(*root->subtree, trusted);
  }
  if (trusted.empty()) return {};
  std::ranges::sort(trusted, {}, &Extent::offset);
  ExtentSet same;
  for (const Extent& extent : trusted) same.add(intersect(extent, {0, plan.size}));
  for (const view::LostRange& lost : parent.volume.facts->lost) same.remove(lost.extent);
  parent.changed = same.complement({0, plan.size});
  // What lies as it lay is cut as it was cut: the spans of its long files were those of now.
  parent.cuts.complete_to = plan.size;
  for (const Span& span : plan.spans)
    if (span.kind == SpanKind::read && span.cut == CutKind::content && same.contains(span.extent))
      parent.cuts.content.push_back(span.extent);
  return {std::move(parent), ""};
}

// Times that are to come tell nothing: the clock was ahead.
std::optional<std::uint64_t> newest_ctime(const fs::FileReader& reader, const repo::Timestamp& backup_began) {
  std::optional<std::uint64_t> newest;
  for (std::size_t i = 0; i < reader.node_count(); ++i) {
    const std::int64_t time = reader.node(static_cast<fs::NodeIndex>(i)).ctime.seconds;
    if (time >= 0 && time <= backup_began.seconds)
      newest = std::max(newest.value_or(0), static_cast<std::uint64_t>(time));
  }
  return newest;
}

}  // namespace respaldo::backup
