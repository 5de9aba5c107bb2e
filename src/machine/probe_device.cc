#include "machine/probe_device.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>
#include <memory>

#include "fs/part/partition_table.h"

namespace respaldo::machine {

namespace {

struct FreeProbe {
  void operator()(blkid_probe p) const { blkid_free_probe(p); }
};
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe>;

std::string value(blkid_probe probe, const char* name) {
  const char* data = nullptr;
  std::size_t length = 0;
  if (blkid_probe_lookup_value(probe, name, &data, &length) != 0 || data == nullptr) return {};
  std::string text(data, length);
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

std::string text(const char* value) { return value == nullptr ? std::string() : std::string(value); }

std::vector<PartitionFacts> partitions_of(blkid_probe probe, const std::string& table) {
  std::vector<PartitionFacts> all;
  const blkid_partlist list = blkid_probe_get_partitions(probe);
  const int count = list == nullptr ? 0 : blkid_partlist_numof_partitions(list);
  for (int i = 0; i < count; ++i) {
    const blkid_partition one = blkid_partlist_get_partition(list, i);
    PartitionFacts facts;
    facts.number = static_cast<unsigned>(blkid_partition_get_partno(one));
    facts.type = text(blkid_partition_get_type_string(one));
    if (facts.type.empty()) facts.type = fmt::format("0x{:02x}", blkid_partition_get_type(one));
    facts.type_name = fs::partition_type_name(table, facts.type);
    facts.name = text(blkid_partition_get_name(one));
    facts.uuid = text(blkid_partition_get_uuid(one));
    all.push_back(std::move(facts));
  }
  return all;
}

}  // namespace

DiskContent probe_device(const os::Path& path) {
  DiskContent result;
  Content& content = result.content;
  const os::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    content.unreadable = std::strerror(errno);
    return result;
  }
  const Probe probe(blkid_new_probe());
  if (!probe || blkid_probe_set_device(probe.get(), fd.get(), 0, 0) != 0) {
    content.unreadable = "libblkid cannot look at it";
    return result;
  }
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_TYPE |
                                                     BLKID_SUBLKS_USAGE | BLKID_SUBLKS_VERSION);
  blkid_probe_enable_partitions(probe.get(), 1);
  errno = 0;
  const int found = blkid_do_safeprobe(probe.get());
  if (found == -2) {
    content.ambivalent = true;
  } else if (found < 0) {
    content.unreadable = errno == 0 ? "it cannot be read" : std::strerror(errno);
  } else if (found == 0) {
    content.type = value(probe.get(), "TYPE");
    content.usage = value(probe.get(), "USAGE");
    content.label = value(probe.get(), "LABEL");
    content.uuid = value(probe.get(), "UUID");
    content.version = value(probe.get(), "VERSION");
    content.partition_table = value(probe.get(), "PTTYPE");
    if (!content.partition_table.empty())
      result.partitions = partitions_of(probe.get(), content.partition_table);
  }
  return result;
}

}  // namespace respaldo::machine
