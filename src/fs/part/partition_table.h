// Partition tables of a disk: GPT (either header) and MBR with logical partitions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/device.h"

namespace respaldo::fs {

struct Partition {
  unsigned number = 0;    // as the kernel numbers it
  Extent extent;          // bytes of the disk
  std::string type;       // GPT GUID in lower case, or "0x8e"
  std::string type_name;  // "Linux LVM", "Linux filesystem", ...; empty when not known
  std::string name, uuid;
  bool bootable = false;
};
struct PartitionTable {
  std::string kind;  // "gpt" or "dos"
  std::string uuid;
  std::vector<Partition> partitions;  // ascending by number; every extent lies within the disk
  std::vector<std::string> problems;  // overlaps, entries past the end (dropped), damaged primary GPT
};

// Absent when the disk has none. As the kernel judges: a GPT needs a protective MBR (or, so that a disk whose
// sector 0 was wiped can still be read, no MBR at all and a sound primary GPT); an MBR with a protective
// entry and no sound GPT gives a table without partitions and with the problem. Hostile tables cost bounded
// work. (Own reader: the disk is any Device.)
std::optional<PartitionTable> read_partition_table(const block::Device& disk);

// "Linux LVM" for "e6d6d379-..." in "gpt" or "0x8e" in "dos"; empty when not known.
std::string partition_type_name(std::string_view table_kind, std::string_view type);

}  // namespace respaldo::fs
