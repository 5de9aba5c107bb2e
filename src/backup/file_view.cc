#include "backup/file_view.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "block/layers.h"
#include "fs/ext/ext_reader.h"
#include "fs/mounted/mounted_reader.h"
#include "fs/part/partition_table.h"
#include "fs/probe/probe.h"

namespace respaldo::backup {

namespace {

class Opener {
 public:
  Opener(const block::Device& device, const ForeignFilesystems& foreign, std::stop_token stop)
      // A share without ownership: the caller keeps the device.
      : device_(std::shared_ptr<void>(), const_cast<block::Device*>(&device)), foreign_(foreign) {
    options_.stop = std::move(stop);
  }

  FileViews run() {
    const bool whole = open(device_, "files", 0, foreign_.mount);
    std::optional<fs::PartitionTable> table;
    try {
      table = fs::read_partition_table(*device_);
    } catch (const Error&) {
      // A sector that cannot be read is met again by the pass, which tells of it.
    }
    if (!table || table->partitions.empty()) return std::move(result_);
    ExtentSet taken;
    for (const fs::Partition& partition : table->partitions) {
      if (taken.intersects(partition.extent)) continue;  // extended partitions hold others
      const auto part = block::slice(device_, partition.extent,
                                     fmt::format("{} partition {}", device_->describe(), partition.number));
      if (open(part, fmt::format("part{}/files", partition.number), partition.extent.offset,
               foreign_.mount_partitions))
        taken.add(partition.extent);
    }
    if (whole) tell_apart(!taken.empty());
    return std::move(result_);
  }

 private:
  // Tools that make partitions, or filesystems, do not always wipe what was there before: a superblock of the
  // whole disk beside a partition table is one of the two too many.
  void tell_apart(bool has_partitions) {
    if (has_partitions) {
      result_.warnings.push_back(fmt::format(
          "there is a partition table with filesystems, and a superblock ({}) that claims the whole: it is "
          "taken for a leftover; free space is stored as it is",
          result_.views.front().reader->facts().type));
      result_.views.erase(result_.views.begin());
    } else {
      result_.notes.push_back(
          "files: there is a partition table, too: free space is stored as it is, since partitions may be in it");
    }
    for (FileView& view : result_.views) view.sole = false;
  }

  bool open(const block::DevicePtr& device, std::string folder, std::uint64_t base, bool may_mount) {
    try {
      std::unique_ptr<fs::FileReader> reader = fs::try_open_ext(device, options_);
      if (!reader) reader = open_foreign(device, folder, may_mount);
      if (!reader) return false;
      result_.views.push_back({.folder = std::move(folder), .base = base, .reader = std::move(reader)});
      return true;
    } catch (const Error& error) {
      result_.warnings.push_back(fmt::format("no file view: {}", error.what()));
      result_.damaged |= error.kind() != ErrorKind::unsupported && error.kind() != ErrorKind::busy;
      return false;
    }
  }

  std::unique_ptr<fs::FileReader> open_foreign(const block::DevicePtr& device, const std::string& folder,
                                               bool may_mount) {
    std::optional<fs::ProbeResult> found;
    try {
      found = fs::probe(*device);
    } catch (const Error&) {
      // A sector that cannot be read is met again by the pass, which tells of it.
    }
    if (!found || !fs::is_mountable(*found)) return nullptr;
    if (!may_mount) {
      result_.notes.push_back(fmt::format("{}: {} is in the image view alone; --mount reads its files, too",
                                          folder, found->type));
      return nullptr;
    }
    try {
      return fs::open_mounted(device, *found, {.stop = options_.stop});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unsupported && error.kind() != ErrorKind::refused) throw;
      result_.notes.push_back(
          fmt::format("{}: {} is in the image view alone: {}", folder, found->type, error.what()));
      return nullptr;
    }
  }

  const block::DevicePtr device_;
  const ForeignFilesystems foreign_;
  fs::ExtOptions options_;
  FileViews result_;
};

void add_runs(const FileView& view, std::uint32_t number, std::vector<FileRun>& runs) {
  const fs::FileReader& reader = *view.reader;
  const std::uint32_t block = reader.facts().block_size;
  const ExtentSet& recovered = reader.space().recovered;
  for (fs::NodeIndex i = 0; i < reader.node_count(); ++i) {
    if (!reader.is_named(i)) continue;
    const fs::FileNode node = reader.node(i);
    if (!S_ISREG(node.mode) || !node.readable) continue;
    for (const fs::FileExtent& extent : reader.extents(i)) {
      const Extent bytes{extent.physical, extent.length};
      if (extent.unwritten || extent.physical == fs::kNoPlace || recovered.intersects(bytes)) continue;
      const auto slack = static_cast<std::uint32_t>((block - bytes.length % block) % block);
      runs.push_back({{view.base + bytes.offset, bytes.length}, extent.logical, slack, number, i});
    }
  }
}

}  // namespace

FileViews open_file_views(const block::Device& device, const ForeignFilesystems& foreign,
                          std::stop_token stop) {
  return Opener(device, foreign, std::move(stop)).run();
}

VolumeMap map_of(const std::vector<FileView>& views, bool all_blocks) {
  VolumeMap map;
  for (std::uint32_t number = 0; number < views.size(); ++number) {
    add_runs(views[number], number, map.files);
    if (all_blocks || !views[number].sole) continue;
    for (const Extent& extent : views[number].reader->space().free.extents())
      map.free.add({views[number].base + extent.offset, extent.length});
  }
  // Of pieces that files share the longest is a run: the others are, with luck, some of its chunks.
  std::ranges::sort(map.files, [](const FileRun& a, const FileRun& b) {
    return std::tuple(a.extent.offset, b.extent.length, a.view, a.node) <
           std::tuple(b.extent.offset, a.extent.length, b.view, b.node);
  });
  std::uint64_t end = 0;
  std::erase_if(map.files, [&](const FileRun& run) {
    if (run.extent.offset < end) return true;
    end = run.extent.end() + run.slack;
    return false;
  });
  return map;
}

}  // namespace respaldo::backup
