#include "engine/kernel/tools/dm_status.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/kernel/tools/dm_control.h"
#include "os/file.h"

namespace respaldo::engine {
namespace {

TEST(SnapshotStatus, counts_bytes_and_shows_percents_as_lvs_does) {
  const auto fresh = parse_snapshot_status("16/24576 16");
  ASSERT_TRUE(fresh);
  EXPECT_EQ(fresh->state, SnapshotState::valid);
  EXPECT_EQ(fresh->used, 8192U);
  EXPECT_EQ(fresh->total, 12582912U);
  EXPECT_EQ(fresh->percent_x100(), 0U);
  EXPECT_EQ(parse_snapshot_status("12352/16384 64")->percent_x100(), 7539U);
  EXPECT_EQ(parse_snapshot_status("24/24576000 16")->percent_x100(), 1U);
  EXPECT_EQ(parse_snapshot_status("24576/24576 16")->percent_x100(), 10000U);
}

TEST(SnapshotStatus, dead_ones_are_told) {
  EXPECT_EQ(parse_snapshot_status("Invalid")->state, SnapshotState::invalid);
  EXPECT_EQ(parse_snapshot_status("Overflow")->state, SnapshotState::overflow);
  EXPECT_EQ(parse_snapshot_status("Merge failed")->state, SnapshotState::merge_failed);
  EXPECT_EQ(parse_snapshot_status("Invalid")->percent_x100(), 10000U);
  for (const char* strange : {"", "16", "a/b 3", "16/x 16", "18446744073709551615/18446744073709551615 0"})
    EXPECT_FALSE(parse_snapshot_status(strange)) << strange;
}

TEST(PoolStatus, modes_and_room) {
  const auto pool = parse_pool_status("2 112/1024 80/512 - rw no_discard_passdown queue_if_no_space - 256");
  ASSERT_TRUE(pool);
  EXPECT_EQ(pool->mode, PoolMode::read_write);
  EXPECT_EQ(pool->used_metadata_blocks, 112U);
  EXPECT_EQ(pool->total_data_blocks, 512U);
  EXPECT_FALSE(pool->held_root);
  EXPECT_FALSE(pool->error_if_no_space);
  const auto full = parse_pool_status(
      "2 112/1024 512/512 17 out_of_data_space discard_passdown error_if_no_space needs_check 256");
  EXPECT_EQ(full->mode, PoolMode::out_of_data_space);
  EXPECT_EQ(full->held_root, 17U);
  EXPECT_TRUE(full->needs_check);
  EXPECT_EQ(parse_pool_status("Fail")->mode, PoolMode::failed);
  for (const char* strange : {"", "1", "1 2/3 4", "1 2/3 4/5 -"})
    EXPECT_FALSE(parse_pool_status(strange)) << strange;
}

TEST(ThinStatus, mapped_or_failed) {
  EXPECT_EQ(parse_thin_status("10240 10239")->mapped, 10240U * 512);
  EXPECT_EQ(parse_thin_status("0 -")->mapped, 0U);
  EXPECT_TRUE(parse_thin_status("Fail")->failed);
  EXPECT_FALSE(parse_thin_status(""));
}

// Every line that `dmsetup status` said of real snapshots, pools and thin volumes is understood.
TEST(RecordedStatus, is_understood) {
  const std::string text = os::read_text(RESPALDO_TEST_DATA "/kernel/data/dmsetup_status.txt");
  std::size_t seen = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const auto words_after = [&](const char* target) {
      const std::size_t found = line.find(target);
      return found == std::string::npos ? std::string() : line.substr(found + std::string(target).size());
    };
    if (const auto words = words_after(" snapshot "); !words.empty()) {
      EXPECT_TRUE(parse_snapshot_status(words));
      ++seen;
    }
    if (const auto words = words_after(" thin-pool "); !words.empty()) {
      EXPECT_TRUE(parse_pool_status(words));
      ++seen;
    }
    if (const auto words = words_after(" thin "); !words.empty()) {
      EXPECT_TRUE(parse_thin_status(words));
      ++seen;
    }
  }
  EXPECT_EQ(seen, 5U);
}

TEST(DmUuid, is_lvm2s) {
  EXPECT_EQ(
      dm_uuid("4KRndw-Mek2-Ojl7-tdr5-Noe0-8Hif-Gto7ec", "xs6ZiO-2CGU-fgqt-c4XL-BTd6-YyQu-wu1lxe", "tpool"),
      "LVM-4KRndwMek2Ojl7tdr5Noe08HifGto7ecxs6ZiO2CGUfgqtc4XLBTd6YyQuwu1lxe-tpool");
}

TEST(MirrorStatus, tells_how_far_a_move_is_and_whether_a_side_failed) {
  const auto half = parse_mirror_status("2 254:1 254:2 12/50 1 AA 1 core");
  ASSERT_TRUE(half);
  EXPECT_EQ(half->done, 12U);
  EXPECT_EQ(half->total, 50U);
  EXPECT_FALSE(half->failed);
  EXPECT_TRUE(parse_mirror_status("2 254:1 254:2 12/50 1 AD 3 disk 254:3 A").value().failed);
  for (const char* bad : {"", "2", "2 254:1 254:2", "2 254:1 254:2 12/50 1", "2 254:1 254:2 51/50 1 AA 1 core",
                          "2 254:1 254:2 0/0 1 AA 1 core", "2 254:1 254:2 12/50 1 A 1 core",
                          "18446744073709551615 254:1 254:2 12/50 1 AA 1 core", "x 254:1 254:2 12/50 1 AA"})
    EXPECT_FALSE(parse_mirror_status(bad)) << bad;
}

// Where there is no device-mapper (this workstation, a container) it says so; where there is, an unknown
// device is absent.
TEST(KernelDeviceMapper, a_device_that_does_not_exist_is_absent) {
  try {
    EXPECT_FALSE(kernel_device_mapper()->info(DmRef::by_name("respaldo-no-such-device")));
  } catch (const Error& error) {
    EXPECT_TRUE(error.kind() == ErrorKind::unsupported || error.kind() == ErrorKind::refused ||
                error.kind() == ErrorKind::io)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("device-mapper"), std::string::npos);
  }
}

}  // namespace
}  // namespace respaldo::engine
