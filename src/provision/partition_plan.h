// Where the one partition of a backup disk goes. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "machine/picture.h"

namespace respaldo::provision {

enum class TableKind { gpt, mbr };
std::string_view to_string(TableKind kind);  // "GPT", "MBR"

struct PartitionPlan {
  TableKind kind = TableKind::gpt;
  std::uint64_t start = 0, length = 0;  // bytes; multiples of the logical sector
  std::uint64_t alignment = 0;          // bytes: of the partition, and of the PV's data in it
  std::vector<std::string> notes{};     // what the disk says that cannot be true
};

// Aligned to the larger of the disk's optimal transfer size, its physical sector, and 1 MiB. What cannot be
// true is not believed and told in `notes`: USB bridges report 33553920 bytes (65535 sectors) as the optimal
// size, which would put everything between two physical sectors. Error(no_space) for a disk that is too
// small; Error(unsupported) for an MBR on a disk of more than 2^32 sectors.
PartitionPlan plan_partition(const machine::Device& disk, TableKind kind);

// "/dev/sdb1", "/dev/nvme0n1p1", "/dev/loop0p1".
std::string partition_path(const std::string& disk_path, unsigned number);

}  // namespace respaldo::provision
