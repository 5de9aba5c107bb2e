#include "fs/part/partition_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "base/crc.h"
#include "base/endian.h"
#include "base/error.h"
#include "base/units.h"

namespace respaldo::fs {

namespace {

// CRC-32 of GPT: LVM2's polynomial, but with the usual start and a final inversion.
std::uint32_t gpt_crc(ByteView bytes) { return ~lvm_crc(bytes, 0xffffffffU); }

struct TypeName {
  std::string_view type, name;
};
constexpr TypeName kGptTypes[] = {
    {"e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM"},
    {"0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux filesystem"},
    {"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap"},
    {"a19d880f-05fc-4d3b-a006-743f0f84911e", "Linux RAID"},
    {"c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI System"},
    {"21686148-6449-6e6f-744e-656564454649", "BIOS boot"},
    {"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data"},
    {"4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "Linux root (x86-64)"},
    {"933ac7e1-2eb4-4f13-b844-0e14e2aef915", "Linux home"},
    {"ca7d7ccb-63ed-4c53-861c-1742536059cc", "Linux LUKS"},
};
constexpr TypeName kMbrTypes[] = {
    {"0x05", "Extended"},           {"0x0f", "W95 Ext'd (LBA)"},
    {"0x85", "Linux extended"},     {"0x07", "HPFS/NTFS/exFAT"},
    {"0x0b", "W95 FAT32"},          {"0x0c", "W95 FAT32 (LBA)"},
    {"0x82", "Linux swap"},         {"0x83", "Linux"},
    {"0x8e", "Linux LVM"},          {"0xee", "GPT"},
    {"0xef", "EFI (FAT-12/16/32)"}, {"0xfd", "Linux raid autodetect"},
};

template <std::size_t N>
std::string name_of(const TypeName (&types)[N], std::string_view type) {
  for (const TypeName& entry : types)
    if (entry.type == type) return std::string(entry.name);
  return {};
}

std::string guid_text(const std::uint8_t* g) {
  return fmt::format(
      "{:02x}{:02x}{:02x}{:02x}-{:02x}{:02x}-{:02x}{:02x}-{:02x}{:02x}-{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}",
      g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
}

// UTF-16LE to UTF-8; what is not a character becomes '?'.
std::string utf16_name(ByteView bytes) {
  std::string text;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    const unsigned unit = bytes[i] | bytes[i + 1] << 8;
    if (unit == 0) break;
    if (unit < 0x80) {
      text += static_cast<char>(unit);
    } else if (unit < 0x800) {
      text += static_cast<char>(0xc0 | unit >> 6);
      text += static_cast<char>(0x80 | (unit & 0x3f));
    } else if (unit >= 0xd800 && unit < 0xe000) {
      text += '?';
    } else {
      text += static_cast<char>(0xe0 | unit >> 12);
      text += static_cast<char>(0x80 | (unit >> 6 & 0x3f));
      text += static_cast<char>(0x80 | (unit & 0x3f));
    }
  }
  return text;
}

struct GptHeaderDisk {
  std::uint8_t signature[8];
  Le32 revision, header_size, crc, reserved;
  Le64 my_lba, alternate_lba, first_usable, last_usable;
  std::uint8_t disk_guid[16];
  Le64 entries_lba;
  Le32 entry_count, entry_size, entries_crc;
};
static_assert(sizeof(GptHeaderDisk) == 92);

struct GptEntryDisk {
  std::uint8_t type[16], unique[16];
  Le64 first, last, attributes;
  std::uint8_t name[72];
};
static_assert(sizeof(GptEntryDisk) == 128);

struct MbrEntryDisk {
  std::uint8_t status, chs_first[3], type, chs_last[3];
  Le32 first, count;
};
static_assert(sizeof(MbrEntryDisk) == 16);

std::optional<PartitionTable> read_gpt_at(const block::Device& disk, std::uint64_t lba, std::uint64_t sector,
                                          std::string& problem) {
  if ((lba + 1) * sector > disk.size()) return std::nullopt;
  const Bytes block = block::read(disk, lba * sector, sector);
  GptHeaderDisk header;
  std::memcpy(&header, block.data(), sizeof header);
  if (std::memcmp(header.signature, "EFI PART", 8) != 0) return std::nullopt;
  const std::uint32_t size = header.header_size.get();
  if (size < sizeof header || size > sector) {
    problem = fmt::format("its header claims {} bytes", size);
    return std::nullopt;
  }
  Bytes checked = Bytes::copy_of(block.view(0, size));
  std::memset(checked.data() + offsetof(GptHeaderDisk, crc), 0, 4);
  if (gpt_crc(checked) != header.crc.get() || header.my_lba.get() != lba) {
    problem = "its header's checksum is wrong";
    return std::nullopt;
  }
  const std::uint64_t count = header.entry_count.get(), entry = header.entry_size.get();
  if (entry < sizeof(GptEntryDisk) || entry > 4096 || count > 4096 || count * entry > 4 * kMiB) {
    problem = fmt::format("it claims {} entries of {} bytes", count, entry);
    return std::nullopt;
  }
  const std::uint64_t at = header.entries_lba.get();
  if (at > disk.size() / sector || count * entry > disk.size() - at * sector) {
    problem = "its entries lie past the end of the disk";
    return std::nullopt;
  }
  const Bytes entries = block::read(disk, at * sector, count * entry);
  if (gpt_crc(entries) != header.entries_crc.get()) {
    problem = "the checksum of its entries is wrong";
    return std::nullopt;
  }
  PartitionTable table;
  table.kind = "gpt";
  table.uuid = guid_text(header.disk_guid);
  for (std::uint64_t i = 0; i < count; ++i) {
    GptEntryDisk e;
    std::memcpy(&e, entries.data() + i * entry, sizeof e);
    if (is_zero({e.type, sizeof e.type})) continue;
    const std::uint64_t first = e.first.get(), last = e.last.get();
    if (first > last || last >= disk.size() / sector) {
      table.problems.push_back(
          fmt::format("partition {} reaches past the end of the disk and is left out", i + 1));
      continue;
    }
    Partition partition;
    partition.number = static_cast<unsigned>(i + 1);
    partition.extent = {first * sector, (last - first + 1) * sector};
    partition.type = guid_text(e.type);
    partition.type_name = name_of(kGptTypes, partition.type);
    partition.name = utf16_name({e.name, sizeof e.name});
    partition.uuid = guid_text(e.unique);
    table.partitions.push_back(std::move(partition));
  }
  return table;
}

// What sector 0 says about a GPT. As in the kernel, a GPT counts only where a protective entry announces it:
// an old one may have survived a new MBR, or a filesystem made over it.
enum class Announced { yes, no, unreadable };

Announced gpt_announced(ByteView mbr) {
  if (mbr[510] != 0x55 || mbr[511] != 0xaa) return Announced::unreadable;
  for (std::size_t i = 0; i < 4; ++i) {
    MbrEntryDisk entry;
    std::memcpy(&entry, mbr.data() + 446 + i * sizeof entry, sizeof entry);
    if (entry.type == 0xee && entry.first.get() == 1) return Announced::yes;
  }
  return Announced::no;
}

std::optional<PartitionTable> read_gpt(const block::Device& disk, Announced announced) {
  std::string problem, backup_problem;
  // 4096-byte sectors put the header elsewhere.
  for (const std::uint64_t sector : {std::uint64_t{512}, std::uint64_t{4096}}) {
    if (auto table = read_gpt_at(disk, 1, sector, problem)) {
      if (announced != Announced::yes) table->problems.emplace_back("the protective MBR is damaged");
      return table;
    }
    if (announced != Announced::yes || disk.size() < 4 * sector) continue;
    if (auto table = read_gpt_at(disk, disk.size() / sector - 1, sector, backup_problem)) {
      table->problems.push_back(
          fmt::format("the primary GPT is damaged{}; its backup at the end of the disk is used",
                      problem.empty() ? "" : " (" + problem + ")"));
      return table;
    }
  }
  if (announced != Announced::yes) return std::nullopt;
  PartitionTable table;
  table.kind = "gpt";
  table.problems.push_back(
      fmt::format("the disk's MBR announces a GPT, but both copies are damaged or missing{}{}",
                  problem.empty() ? "" : "; the primary: " + problem,
                  backup_problem.empty() ? "" : "; the backup: " + backup_problem));
  return table;
}

bool is_extended(std::uint8_t type) { return type == 0x05 || type == 0x0f || type == 0x85; }

class MbrReader {
 public:
  explicit MbrReader(const block::Device& disk) : disk_(disk) { table_.kind = "dos"; }

  // REQUIRES the signature.
  std::optional<PartitionTable> read(ByteView mbr) {
    std::array<MbrEntryDisk, 4> entries;
    std::memcpy(entries.data(), mbr.data() + 446, sizeof entries);
    bool any = false;
    for (const MbrEntryDisk& e : entries) {
      // A boot sector of a filesystem ends with 55aa too; its bytes here are code.
      if (e.status != 0 && e.status != 0x80) return std::nullopt;
      any = any || (e.type != 0 && e.count.get() != 0);
    }
    if (!any) return std::nullopt;
    table_.uuid = fmt::format("{:08x}", load_le32(mbr.data() + 440));
    unsigned number = 0;
    std::optional<std::uint64_t> extended;
    for (const MbrEntryDisk& e : entries) {
      ++number;
      if (e.type == 0 || e.count.get() == 0) continue;
      add(e, number, e.first.get());
      if (is_extended(e.type) && !extended) extended = e.first.get();
    }
    if (extended) read_logical(*extended);
    return std::move(table_);
  }

 private:
  void add(const MbrEntryDisk& e, unsigned number, std::uint64_t first) {
    const std::uint64_t sectors = disk_.size() / kSector;
    if (first >= sectors || e.count.get() > sectors - first) {
      table_.problems.push_back(
          fmt::format("partition {} reaches past the end of the disk and is left out", number));
      return;
    }
    Partition partition;
    partition.number = number;
    partition.extent = {first * kSector, std::uint64_t{e.count.get()} * kSector};
    partition.type = fmt::format("0x{:02x}", e.type);
    partition.type_name = name_of(kMbrTypes, partition.type);
    partition.bootable = e.status == 0x80;
    table_.partitions.push_back(std::move(partition));
  }

  // The chain of extended boot records; a hostile chain may loop, so its length is bounded.
  void read_logical(std::uint64_t extended) {
    std::uint64_t at = extended;
    unsigned number = 5;
    std::set<std::uint64_t> seen;
    for (int links = 0; links < 256; ++links) {
      if (at >= disk_.size() / kSector) {
        table_.problems.emplace_back("the chain of logical partitions leaves the disk");
        return;
      }
      if (!seen.insert(at).second) {
        table_.problems.emplace_back("the chain of logical partitions bites its tail");
        return;
      }
      const Bytes record = block::read(disk_, at * kSector, 512);
      if (record.data()[510] != 0x55 || record.data()[511] != 0xaa) return;
      std::array<MbrEntryDisk, 2> entries;
      std::memcpy(entries.data(), record.data() + 446, sizeof entries);
      if (entries[0].type != 0 && entries[0].count.get() != 0)
        add(entries[0], number++, at + entries[0].first.get());
      if (!is_extended(entries[1].type) || entries[1].count.get() == 0) return;
      at = extended + entries[1].first.get();
    }
    table_.problems.emplace_back("the chain of logical partitions is too long; what follows is left out");
  }

  const block::Device& disk_;
  PartitionTable table_;
};

void find_overlaps(PartitionTable& table) {
  std::vector<const Partition*> sorted;
  for (const Partition& p : table.partitions)
    if (!p.type_name.starts_with("Extended") && p.type != "0x0f" && p.type != "0x85") sorted.push_back(&p);
  std::sort(sorted.begin(), sorted.end(),
            [](const Partition* a, const Partition* b) { return a->extent.offset < b->extent.offset; });
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i]->extent.offset < sorted[i - 1]->extent.end())
      table.problems.push_back(
          fmt::format("partitions {} and {} overlap", sorted[i - 1]->number, sorted[i]->number));
}

}  // namespace

std::optional<PartitionTable> read_partition_table(const block::Device& disk) {
  if (disk.size() < 1024) return std::nullopt;
  const Bytes mbr = block::read(disk, 0, 512);
  const Announced announced = gpt_announced(mbr);
  std::optional<PartitionTable> table;
  if (announced == Announced::no) {
    table = MbrReader(disk).read(mbr);
  } else {
    table = read_gpt(disk, announced);
  }
  if (table) find_overlaps(*table);
  return table;
}

std::string partition_type_name(std::string_view table_kind, std::string_view type) {
  return table_kind == "gpt" ? name_of(kGptTypes, type) : name_of(kMbrTypes, type);
}

}  // namespace respaldo::fs
