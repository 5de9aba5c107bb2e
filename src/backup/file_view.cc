#include "backup/file_view.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/error.h"
#include "block/layers.h"
#include "fs/ext/ext_reader.h"
#include "fs/part/partition_table.h"

namespace respaldo::backup {

namespace {

class Opener {
 public:
  Opener(const block::Device& device, std::stop_token stop)
      // A share without ownership: the caller keeps the device.
      : device_(std::shared_ptr<void>(), const_cast<block::Device*>(&device)) {
    options_.stop = std::move(stop);
  }

  FileViews run() {
    if (open(device_, "files", 0)) return std::move(result_);
    std::optional<fs::PartitionTable> table;
    try {
      table = fs::read_partition_table(*device_);
    } catch (const Error&) {
      // A sector that cannot be read is met again by the pass, which tells of it.
    }
    if (!table) return std::move(result_);
    ExtentSet taken;
    for (const fs::Partition& partition : table->partitions) {
      if (taken.intersects(partition.extent)) continue;  // extended partitions hold others
      const auto part = block::slice(device_, partition.extent,
                                     fmt::format("{} partition {}", device_->describe(), partition.number));
      if (open(part, fmt::format("part{}/files", partition.number), partition.extent.offset))
        taken.add(partition.extent);
    }
    return std::move(result_);
  }

 private:
  bool open(const block::DevicePtr& device, std::string folder, std::uint64_t base) {
    try {
      auto reader = fs::try_open_ext(device, options_);
      if (!reader) return false;
      result_.views.push_back({std::move(folder), base, std::move(reader)});
      return true;
    } catch (const Error& error) {
      result_.warnings.push_back(fmt::format("no file view: {}", error.what()));
      result_.damaged |= error.kind() != ErrorKind::unsupported;
      return false;
    }
  }

  const block::DevicePtr device_;
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

FileViews open_file_views(const block::Device& device, std::stop_token stop) {
  return Opener(device, std::move(stop)).run();
}

VolumeMap map_of(const std::vector<FileView>& views, bool all_blocks) {
  VolumeMap map;
  for (std::uint32_t number = 0; number < views.size(); ++number) {
    add_runs(views[number], number, map.files);
    if (all_blocks) continue;
    for (const Extent& extent : views[number].reader->space().free.extents())
      map.free.add({views[number].base + extent.offset, extent.length});
  }
  std::ranges::sort(map.files, {}, [](const FileRun& run) { return run.extent.offset; });
  std::uint64_t end = 0;
  std::erase_if(map.files, [&](const FileRun& run) {
    if (run.extent.offset < end) return true;
    end = run.extent.end() + run.slack;
    return false;
  });
  return map;
}

}  // namespace respaldo::backup
