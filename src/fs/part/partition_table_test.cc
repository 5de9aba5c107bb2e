#include "fs/part/partition_table.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/endian.h"
#include "block/file_device.h"
#include "os/process.h"

namespace respaldo::fs {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kSize = 16U << 20;

// A disk that sfdisk partitioned.
Bytes disk_by_sfdisk(const std::string& script, const std::vector<std::string>& words = {}) {
  os::TemporaryFolder folder;
  const os::Path path = folder.path() / "disk.img";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, kSize);
  std::vector<std::string> command{"sfdisk", "-q"};
  command.insert(command.end(), words.begin(), words.end());
  command.push_back(path);
  os::CommandOptions options;
  options.input = script;
  const auto result = os::run_command(command, options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return block::read(block::FileDevice(path, block::FileDevice::Access::read_only), 0, kSize);
}

std::optional<PartitionTable> table_of(const Bytes& disk) {
  return read_partition_table(block::MemoryDevice(disk.view()));
}

void zero(Bytes& disk, std::uint64_t at, std::uint64_t length) { std::memset(disk.data() + at, 0, length); }

const std::string kGpt =
    "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n"
    "1: start=2048, size=4096, type=E6D6D379-F507-44C2-A23C-238F2A3DF928, name=\"LVM \xc3\xa4\", "
    "uuid=AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\n"
    "5: start=8192, size=2048, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n";
const std::string kMbr =
    "label: dos\nlabel-id: 0xcafe1234\n1: start=2048, size=4096, type=8e, bootable\n"
    "2: start=8192, size=20480, type=5\n5: start=10240, size=2048, type=83\n6: start=14336, size=4096, "
    "type=8e\n"
    "7: start=20480, size=1024, type=82\n";

void expect_gpt(const PartitionTable& table) {
  EXPECT_EQ(table.kind, "gpt");
  EXPECT_EQ(table.uuid, "11111111-2222-3333-4444-555555555555");
  ASSERT_EQ(table.partitions.size(), 2U);
  EXPECT_EQ(table.partitions[0].number, 1U);
  EXPECT_EQ(table.partitions[0].extent, (Extent{2048 * 512, 4096 * 512}));
  EXPECT_EQ(table.partitions[0].type, "e6d6d379-f507-44c2-a23c-238f2a3df928");
  EXPECT_EQ(table.partitions[0].type_name, "Linux LVM");
  EXPECT_EQ(table.partitions[0].name, "LVM \xc3\xa4");
  EXPECT_EQ(table.partitions[0].uuid, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
  EXPECT_EQ(table.partitions[1].number, 5U);
  EXPECT_EQ(table.partitions[1].type_name, "Linux filesystem");
}

TEST(PartitionTable, gpt_as_sfdisk_writes_it) {
  const auto table = table_of(disk_by_sfdisk(kGpt));
  ASSERT_TRUE(table);
  expect_gpt(*table);
  EXPECT_THAT(table->problems, IsEmpty());
}

TEST(PartitionTable, the_backup_steps_in_for_a_damaged_primary) {
  Bytes disk = disk_by_sfdisk(kGpt);
  Bytes header = disk.clone();
  zero(header, 512, 512);
  Bytes entry = disk.clone();
  entry.data()[2 * 512 + 40] ^= 1;
  Bytes field = disk.clone();
  field.data()[512 + 57] ^= 1;
  for (const Bytes* damaged : {&header, &entry, &field}) {
    const auto table = table_of(*damaged);
    ASSERT_TRUE(table);
    expect_gpt(*table);
    EXPECT_THAT(table->problems, ElementsAre(HasSubstr("primary GPT is damaged")));
  }
}

TEST(PartitionTable, a_gpt_of_which_nothing_is_left_is_told) {
  Bytes disk = disk_by_sfdisk(kGpt);
  zero(disk, 512, 512);
  disk.data()[kSize - 512 + 20] ^= 1;
  const auto table = table_of(disk);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->kind, "gpt");
  EXPECT_THAT(table->partitions, IsEmpty());
  EXPECT_THAT(table->problems, ElementsAre(HasSubstr("both copies are damaged")));
}

TEST(PartitionTable, a_gpt_survives_the_loss_of_sector_0) {
  Bytes disk = disk_by_sfdisk(kGpt);
  zero(disk, 0, 512);
  const auto table = table_of(disk);
  ASSERT_TRUE(table);
  expect_gpt(*table);
  EXPECT_THAT(table->problems, ElementsAre(HasSubstr("protective MBR")));
  // But a backup alone, left behind by another use of the disk, is no table.
  zero(disk, 512, 512);
  EXPECT_FALSE(table_of(disk));
}

TEST(PartitionTable, a_stale_gpt_behind_a_new_mbr_does_not_count) {
  Bytes disk = disk_by_sfdisk(kGpt);
  const Bytes mbr = disk_by_sfdisk("label: dos\nstart=2048, size=2048, type=83\n");
  std::memcpy(disk.data(), mbr.data(), 512);
  const auto table = table_of(disk);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->kind, "dos");
  ASSERT_EQ(table->partitions.size(), 1U);
  EXPECT_EQ(table->partitions[0].extent.length, 2048U * 512);
  // A FAT filesystem's first sector ends with 55aa too.
  zero(disk, 446, 64);
  EXPECT_FALSE(table_of(disk));
}

TEST(PartitionTable, a_hybrid_mbr_is_read_by_its_gpt) {
  Bytes disk = disk_by_sfdisk(kGpt);
  // A second entry mirrors partition 1.
  std::uint8_t* entry = disk.data() + 446 + 16;
  entry[4] = 0x8e;
  store_le32(entry + 8, 2048);
  store_le32(entry + 12, 4096);
  const auto table = table_of(disk);
  ASSERT_TRUE(table);
  expect_gpt(*table);
}

TEST(PartitionTable, sectors_of_4096_bytes) {
  // sfdisk makes such a table only on such a disk: this one is moved by hand.
  const Bytes small = disk_by_sfdisk("label: gpt\nfirst-lba: 34\nstart=256, size=512\n");
  Bytes disk = Bytes::zeroed(kSize);
  std::memcpy(disk.data(), small.data(), 512);
  std::memcpy(disk.data() + 4096, small.data() + 512, 512);
  std::memcpy(disk.data() + 8192, small.data() + 1024, 128 * 128);
  const auto table = table_of(disk);
  ASSERT_TRUE(table);
  ASSERT_EQ(table->partitions.size(), 1U);
  EXPECT_EQ(table->partitions[0].extent, (Extent{256 * 4096, 512 * 4096}));
}

TEST(PartitionTable, mbr_with_logical_partitions_as_sfdisk_writes_it) {
  const auto table = table_of(disk_by_sfdisk(kMbr));
  ASSERT_TRUE(table);
  EXPECT_EQ(table->kind, "dos");
  EXPECT_EQ(table->uuid, "cafe1234");
  EXPECT_THAT(table->problems, IsEmpty());
  std::vector<unsigned> numbers;
  std::vector<std::string> types;
  for (const Partition& partition : table->partitions) {
    numbers.push_back(partition.number);
    types.push_back(partition.type);
  }
  EXPECT_THAT(numbers, ElementsAre(1, 2, 5, 6, 7));
  EXPECT_THAT(types, ElementsAre("0x8e", "0x05", "0x83", "0x8e", "0x82"));
  EXPECT_TRUE(table->partitions[0].bootable);
  EXPECT_EQ(table->partitions[0].type_name, "Linux LVM");
  EXPECT_EQ(table->partitions[3].extent, (Extent{14336 * 512, 4096 * 512}));
}

TEST(PartitionTable, a_chain_of_logical_partitions_that_loops_ends) {
  Bytes disk = disk_by_sfdisk(kMbr);
  // The second record (2048 sectors into partition 2's first gap) points back at the first.
  for (std::uint64_t at = 8192; at < 8192 + 20480; ++at) {
    std::uint8_t* record = disk.data() + at * 512;
    if (record[510] == 0x55 && record[511] == 0xaa && record[446 + 16 + 4] == 5)
      store_le32(record + 446 + 16 + 8, 0);
  }
  const auto table = table_of(disk);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->partitions.size(), 3U);
  EXPECT_THAT(table->problems, Contains(HasSubstr("bites its tail")));
}

TEST(PartitionTable, partitions_off_the_disk_are_left_out_and_told) {
  Bytes disk = disk_by_sfdisk(kMbr);
  store_le32(disk.data() + 446 + 12, 0xffffffff);
  const auto table = table_of(disk);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->partitions.front().number, 2U);
  EXPECT_THAT(table->problems, Contains(HasSubstr("partition 1 reaches past the end")));

  const Bytes whole = disk_by_sfdisk(kGpt);
  // The disk was cut; with it the backup is gone.
  const auto cut = read_partition_table(block::MemoryDevice(whole.view(0, 3U << 20)));
  ASSERT_TRUE(cut);
  ASSERT_EQ(cut->partitions.size(), 1U);
  EXPECT_THAT(cut->problems, Contains(HasSubstr("partition 5 reaches past the end")));
}

TEST(PartitionTable, overlaps_are_told) {
  Bytes disk = disk_by_sfdisk(kMbr);
  store_le32(disk.data() + 446 + 12, 9000);
  EXPECT_THAT(table_of(disk)->problems, Contains(HasSubstr("partitions 1 and 5 overlap")));
}

TEST(PartitionTable, what_is_no_table_is_none) {
  EXPECT_FALSE(table_of(Bytes::zeroed(kSize)));
  EXPECT_FALSE(table_of(Bytes::zeroed(0)));
  EXPECT_FALSE(table_of(Bytes::zeroed(512)));
  // The signature alone; entries that are code.
  Bytes disk = Bytes::zeroed(kSize);
  disk.data()[510] = 0x55;
  disk.data()[511] = 0xaa;
  EXPECT_FALSE(table_of(disk));
  std::memset(disk.data(), 0x90, 510);
  EXPECT_FALSE(table_of(disk));
}

}  // namespace
}  // namespace respaldo::fs
