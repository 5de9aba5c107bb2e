#include "lvm/pv_label.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/crc.h"
#include "base/endian.h"
#include "block/file_device.h"
#include "lvm/disk_format.h"
#include "lvm/texts_test.h"
#include "os/process.h"

namespace respaldo::lvm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kSize = 4U << 20;

PvLabel usual_label() {
  PvLabel label;
  label.id = *Uuid::parse("k4FCjQ-bpwW-1nk5-fcff-QEQC-7sBY-0efcaE");
  label.device_size = kSize;
  label.data_offset = 1U << 20;
  label.metadata_areas = {{4096, 1044480}, {3U << 20, 1U << 20}};
  label.in_use = true;
  return label;
}

void expect_same(const PvLabel& a, const PvLabel& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.label_sector, b.label_sector);
  EXPECT_EQ(a.device_size, b.device_size);
  EXPECT_EQ(a.data_offset, b.data_offset);
  EXPECT_EQ(a.metadata_areas, b.metadata_areas);
  EXPECT_EQ(a.bootloader_area, b.bootloader_area);
  EXPECT_EQ(a.extension_version, b.extension_version);
  EXPECT_EQ(a.in_use, b.in_use);
}

// A sound label again, after its bytes were changed.
void repair_crc(block::MemoryDevice& device, std::uint64_t sector) {
  Bytes label = block::read(device, sector * 512, 512);
  store_le32(label.data() + 16, lvm_crc(label.view(20, 492)));
  device.write_at(sector * 512, label);
}

TEST(PvLabel, what_is_written_is_read) {
  for (const std::uint64_t sector : {0, 1, 2, 3}) {
    block::MemoryDevice device(kSize);
    PvLabel label = usual_label();
    label.label_sector = sector;
    if (sector == 2) label.bootloader_area = Extent{1U << 20, 64U << 10};
    if (sector == 3) label.metadata_areas.clear();
    if (sector == 0) label.data_offset = 0;
    write_label(device, label);
    std::vector<std::string> problems;
    const auto read = read_label(device, &problems);
    ASSERT_TRUE(read);
    expect_same(*read, label);
    EXPECT_THAT(problems, ElementsAre());
  }
}

// The very bytes that pvcreate of lvm2 2.03.16 leaves for this PV.
TEST(PvLabel, the_bytes_are_those_of_lvm2) {
  block::MemoryDevice device(kSize);
  PvLabel label = usual_label();
  label.metadata_areas.resize(1);
  write_label(device, label);
  const Bytes sector = block::read(device, 512, 512);
  EXPECT_EQ(as_text(sector.view(0, 8)), "LABELONE");
  EXPECT_EQ(load_le64(sector.data() + 8), 1U);
  EXPECT_EQ(load_le32(sector.data() + 20), 32U);
  EXPECT_EQ(as_text(sector.view(24, 8)), "LVM2 001");
  EXPECT_EQ(as_text(sector.view(32, 32)), label.id.plain());
  const std::uint64_t words[] = {kSize, 1U << 20, 0, 0, 0, 4096, 1044480, 0, 0};
  for (std::size_t i = 0; i < std::size(words); ++i)
    EXPECT_EQ(load_le64(sector.data() + 64 + 8 * i), words[i]) << i;
  EXPECT_EQ(load_le32(sector.data() + 136), 2U);
  EXPECT_EQ(load_le32(sector.data() + 140), 1U);
  EXPECT_TRUE(is_zero(sector.view(144, 512 - 144)));
}

TEST(PvLabel, nothing_is_found_where_nothing_is) {
  EXPECT_FALSE(read_label(block::MemoryDevice(kSize)));
  EXPECT_FALSE(read_label(block::MemoryDevice(std::uint64_t{100})));
  EXPECT_FALSE(read_label(block::MemoryDevice(std::uint64_t{0})));
}

TEST(PvLabel, damaged_labels_are_told_and_the_next_good_one_is_taken) {
  block::MemoryDevice device(kSize);
  PvLabel label = usual_label();
  for (const std::uint64_t sector : {0, 1, 2, 3}) {
    label.label_sector = sector;
    write_label(device, label);
  }
  device.write_at(100, as_bytes("x"));              // sector 0: its checksum
  Bytes other = block::read(device, 3 * 512, 512);  // sector 1: a copy of another sector's
  device.write_at(512, other);
  device.write_at(2 * 512 + 24, as_bytes("LVM1 001"));  // sector 2: another type
  repair_crc(device, 2);
  std::vector<std::string> problems;
  const auto read = read_label(device, &problems);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->label_sector, 3U);
  EXPECT_THAT(problems,
              ElementsAre(HasSubstr("checksum"), HasSubstr("lives in sector 3"), HasSubstr("type")));
}

TEST(PvLabel, lists_that_do_not_end_are_damage) {
  block::MemoryDevice device(kSize);
  write_label(device, usual_label());
  Bytes full(512 - 72);
  std::memset(full.data(), 1, full.size());
  device.write_at(512 + 72, full);
  repair_crc(device, 1);
  std::vector<std::string> problems;
  EXPECT_FALSE(read_label(device, &problems));
  EXPECT_THAT(problems, ElementsAre(HasSubstr("do not end")));
}

TEST(PvLabel, a_uuid_that_is_none_is_damage) {
  block::MemoryDevice device(kSize);
  write_label(device, usual_label());
  device.write_at(512 + 32, as_bytes("/"));
  repair_crc(device, 1);
  std::vector<std::string> problems;
  EXPECT_FALSE(read_label(device, &problems));
  EXPECT_THAT(problems, ElementsAre(HasSubstr("UUID")));
}

TEST(PvLabel, an_area_off_the_device_is_told_but_the_label_counts) {
  block::MemoryDevice device(kSize);
  PvLabel label = usual_label();
  label.metadata_areas[1] = {kSize - 512, 1U << 20};
  write_label(device, label);
  std::vector<std::string> problems;
  const auto read = read_label(device, &problems);
  ASSERT_TRUE(read);
  EXPECT_THAT(problems, ElementsAre(HasSubstr("does not lie on the device")));
  EXPECT_THAT(read_metadata_area(device, read->metadata_areas[1]).problem,
              HasSubstr("does not lie on the device"));
}

TEST(PvLabel, labels_without_extension_are_old_ones) {
  block::MemoryDevice device(kSize);
  write_label(device, usual_label());
  const std::size_t extension = 512 + 32 + 40 + 2 * 16 + 3 * 16;
  device.write_at(extension, Bytes::zeroed(8));
  repair_crc(device, 1);
  const auto read = read_label(device);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->extension_version, 0U);
  EXPECT_FALSE(read->in_use);
}

TEST(PvLabel, too_many_areas_are_not_written) {
  block::MemoryDevice device(kSize);
  PvLabel label = usual_label();
  label.metadata_areas.assign(40, {4096, 4096});
  EXPECT_EQ(error_of([&] { write_label(device, label); }).kind(), ErrorKind::internal);
  EXPECT_TRUE(is_zero(block::read(device, 0, 4096)));
}

// lvm2's own reader of plain files.
TEST(PvLabel, pvck_finds_nothing_to_complain_about) {
  os::TemporaryFolder folder;
  const os::Path path = folder.path() / "pv.img";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, kSize);
  {
    block::FileDevice device(path, block::FileDevice::Access::read_write);
    const PvLabel label = usual_label();
    write_label(device, label);
    for (const Extent& area : label.metadata_areas) format_metadata_area(device, area);
  }
  auto result = os::run_command({"pvck", "--dump", "headers", path});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("pv_header.pv_uuid k4FCjQbpwW1nk5fcffQEQC7sBY0efcaE"));
  EXPECT_THAT(result.out, HasSubstr("pv_header.disk_locn[0].offset 1048576"));
  EXPECT_THAT(result.out, HasSubstr("pv_header.disk_locn[3].size 1048576"));
  EXPECT_THAT(result.out, HasSubstr("pv_header_extension.flags 1"));
  EXPECT_EQ(result.out.find("CHECK"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace respaldo::lvm
