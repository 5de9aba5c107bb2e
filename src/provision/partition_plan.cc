#include "provision/partition_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/units.h"

namespace respaldo::provision {

namespace {

constexpr std::uint64_t kSmallestDisk = 32 * kMiB;
// Wider stripes than this are not built; what claims more does not know.
constexpr std::uint64_t kLargestOptimal = 64 * kMiB;
constexpr std::uint64_t kAdvancedFormat = 4 * kKiB;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

std::uint64_t believable_sector(const machine::Topology& topology, std::vector<std::string>& notes) {
  const std::uint64_t said = topology.physical_sector, logical = topology.logical_sector;
  if (std::has_single_bit(said) && said >= logical && said <= kMiB) return said;
  notes.push_back(
      fmt::format("the disk reports physical sectors of {} bytes, which cannot be; {} are assumed", said,
                  std::max(logical, kAdvancedFormat)));
  return std::max(logical, kAdvancedFormat);
}

std::uint64_t believable_optimal(const machine::Topology& topology, std::uint64_t sector,
                                 std::vector<std::string>& notes) {
  const std::uint64_t said = topology.optimal_io;
  if (said == 0 || (said <= kMiB && kMiB % said == 0)) return 0;  // 1 MiB serves it, too
  // Bridges put the largest transfer of their chip there. A multiple of a physical sector is the least.
  if (said % std::max(sector, kAdvancedFormat) == 0 && said <= kLargestOptimal) return said;
  notes.push_back(fmt::format(
      "the disk reports an optimal transfer size of {} bytes, which fits no sectors; it is ignored", said));
  return 0;
}

}  // namespace

std::string_view to_string(TableKind kind) { return kind == TableKind::gpt ? "GPT" : "MBR"; }

PartitionPlan plan_partition(const machine::Device& disk, TableKind kind) {
  PartitionPlan plan;
  plan.kind = kind;
  if (disk.size < kSmallestDisk)
    throw Error(ErrorKind::no_space, fmt::format("{} has only {}", disk.path, format_size(disk.size)),
                fmt::format("a backup disk needs at least {}", format_size(kSmallestDisk)));
  const machine::Topology& topology = disk.topology;
  const std::uint64_t sector = believable_sector(topology, plan.notes);
  const std::uint64_t optimal = believable_optimal(topology, sector, plan.notes);
  plan.alignment = optimal == 0 ? std::max(sector, kMiB) : round_up(kMiB, optimal);
  // A disk whose first physical sector begins before its first byte says where the next one does.
  std::uint64_t shift = 0;
  if (topology.alignment_offset > 0) {
    const auto said = static_cast<std::uint64_t>(topology.alignment_offset);
    if (said < sector && said % topology.logical_sector == 0)
      shift = said;
    else
      plan.notes.push_back(fmt::format(
          "the disk reports an alignment offset of {} bytes, which cannot be; it is ignored", said));
  } else if (topology.alignment_offset < 0) {
    plan.notes.push_back(
        "the kernel says that what lies below this disk is misaligned; no partition can mend that");
  }
  plan.start = plan.alignment + shift;
  // Behind the partition lies the second GPT (33 sectors, 5 of 4 KiB).
  const std::uint64_t reserve = kind == TableKind::gpt ? kMiB : 0;
  const std::uint64_t unit = std::max(kMiB, sector);
  if (disk.size <= plan.start + reserve + unit)
    throw Error(ErrorKind::no_space, fmt::format("{} has only {}, and its partition would start at {}",
                                                 disk.path, format_size(disk.size), format_size(plan.start)));
  plan.length = (disk.size - reserve - plan.start) / unit * unit;
  if (kind == TableKind::mbr && (plan.start + plan.length) / topology.logical_sector > UINT32_MAX)
    throw Error(ErrorKind::unsupported,
                fmt::format("{} is too large ({}) for an MBR", disk.path, format_size(disk.size)),
                "leave --mbr out: a GPT has no such limit");
  return plan;
}

std::string partition_path(const std::string& disk_path, unsigned number) {
  const bool digit = !disk_path.empty() && disk_path.back() >= '0' && disk_path.back() <= '9';
  return fmt::format("{}{}{}", disk_path, digit ? "p" : "", number);
}

}  // namespace respaldo::provision
