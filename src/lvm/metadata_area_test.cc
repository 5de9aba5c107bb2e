#include <gmock/gmock.h>

#include <fstream>
#include <map>
#include <random>

#include "base/crc.h"
#include "base/endian.h"
#include "block/file_device.h"
#include "lvm/disk_format.h"
#include "lvm/pv_label.h"
#include "lvm/texts_test.h"
#include "os/process.h"
#include "testing/temp.h"

namespace respaldo::lvm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Extent kArea{4096, 32768};

// A group's text of at least `size` bytes, that says its number.
std::string text_of(unsigned seqno, std::size_t size = 0) {
  std::string text = group_with(linear("a", 1, 10, "pv0", 0), seqno);
  const std::string head = "filler = \"", tail = "\"\n";
  if (text.size() + head.size() + tail.size() < size)
    text += head + std::string(size - text.size() - head.size() - tail.size(), 'x') + tail;
  return text;
}

void commit(block::WritableDevice& device, const std::string& text, Extent area = kArea) {
  commit_metadata({{&device, area}}, text);
}

std::uint64_t seqno_at(const block::Device& device, Extent area = kArea) {
  const auto state = read_metadata_area(device, area);
  return state.current ? VolumeGroup::parse(state.current->text).seqno : 0;
}

// Changes bytes of the header and makes its checksum right.
void patch_header(block::WritableDevice& device, std::size_t offset, ByteView bytes, Extent area = kArea) {
  device.write_at(area.offset + offset, bytes);
  Bytes header = block::read(device, area.offset, 512);
  store_le32(header.data(), lvm_crc(header.view(4, 508)));
  device.write_at(area.offset, header);
}
void patch_number(block::WritableDevice& device, std::size_t offset, std::uint64_t value) {
  std::uint8_t bytes[8];
  store_le64(bytes, value);
  patch_header(device, offset, bytes);
}

class MetadataArea : public ::testing::Test {
 protected:
  MetadataArea() { format_metadata_area(device, kArea); }
  block::MemoryDevice device{64U << 10};
};

TEST_F(MetadataArea, a_new_one_is_sound_and_empty) {
  const auto state = read_metadata_area(device, kArea);
  EXPECT_TRUE(state.header_valid);
  EXPECT_FALSE(state.current);
  EXPECT_FALSE(state.ignored);
  EXPECT_FALSE(state.precommitted);
  EXPECT_EQ(state.problem, "");
}

TEST_F(MetadataArea, the_first_text_lies_behind_the_header_and_ends_with_a_nul) {
  const std::string text = text_of(1);
  commit(device, text);
  const auto state = read_metadata_area(device, kArea);
  ASSERT_TRUE(state.current);
  EXPECT_EQ(state.current->text, text);
  EXPECT_EQ(state.current->offset, 512U);
  const Bytes raw = block::read(device, kArea.offset + 512, text.size() + 1);
  EXPECT_EQ(raw.data()[text.size()], 0);
  EXPECT_EQ(state.current->crc, lvm_crc(raw));
}

TEST_F(MetadataArea, texts_follow_each_other_round_the_buffer) {
  std::mt19937_64 random(7);
  bool wrapped = false;
  std::uint64_t before = 0;
  for (unsigned seqno = 1; seqno <= 200; ++seqno) {
    const std::string text = text_of(seqno, random() % 14000);
    commit(device, text);
    const auto state = read_metadata_area(device, kArea);
    ASSERT_TRUE(state.current) << seqno << ": " << state.problem;
    ASSERT_EQ(state.current->text, text);
    EXPECT_EQ(state.current->offset % 512, 0U);
    EXPECT_NE(state.current->offset, before) << "the committed text was overwritten";
    before = state.current->offset;
    wrapped = wrapped || state.current->offset + text.size() + 1 > kArea.length;
    EXPECT_TRUE(is_zero(block::read(device, 0, kArea.offset)));
    EXPECT_TRUE(is_zero(
        block::read(device, kArea.offset + kArea.length, device.size() - kArea.offset - kArea.length)));
  }
  EXPECT_TRUE(wrapped);
}

TEST_F(MetadataArea, the_largest_text_fits_again_and_again_and_one_byte_more_never) {
  const std::size_t most = (kArea.length - 512) / 2 - 512;
  for (unsigned seqno = 1; seqno <= 10; ++seqno) {
    commit(device, text_of(seqno, most - 1));
    ASSERT_EQ(seqno_at(device), seqno);
  }
  const Bytes all = block::read(device, 0, device.size());
  EXPECT_EQ(error_of([&] { commit(device, text_of(11, most)); }).kind(), ErrorKind::no_space);
  EXPECT_TRUE(std::ranges::equal(all.view(), block::read(device, 0, device.size()).view()))
      << "something was written";
}

TEST_F(MetadataArea, a_tiny_area_takes_nothing) {
  for (const std::uint64_t length : {1024U, 1025U, 1535U, 1536U, 2047U}) {
    const Extent tiny{40960, length};
    format_metadata_area(device, tiny);
    const Bytes all = block::read(device, 0, device.size());
    EXPECT_EQ(error_of([&] { commit(device, text_of(1), tiny); }).kind(), ErrorKind::no_space) << length;
    EXPECT_TRUE(std::ranges::equal(all.view(), block::read(device, 0, device.size()).view())) << length;
  }
  EXPECT_EQ(error_of([&] { commit(device, text_of(1), {0, 100}); }).kind(), ErrorKind::corrupt);
}

// Another writer may have left a text that is larger than what we would write, or one at an odd place.
TEST_F(MetadataArea, a_committed_text_is_never_overwritten_wherever_it_lies) {
  for (const std::uint64_t offset : {512, 700, 5000, 20000, 32000}) {
    for (const std::uint64_t length : {100, 15000, 20000, 31000, 32200, 32256}) {
      block::MemoryDevice other(64U << 10);
      format_metadata_area(other, kArea);
      Bytes text = Bytes::zeroed(length);
      std::memset(text.data(), 'y', length - 1);
      const std::uint64_t first = std::min(length, kArea.length - offset);
      other.write_at(kArea.offset + offset, text.view().first(first));
      if (first < length) other.write_at(kArea.offset + 512, text.view().subspan(first));
      RawLocationDisk slot{};
      slot.offset.set(offset);
      slot.size.set(length);
      slot.crc.set(lvm_crc(text));
      patch_header(other, 40, {reinterpret_cast<const std::uint8_t*>(&slot), sizeof slot});
      ASSERT_TRUE(read_metadata_area(other, kArea).current) << offset << " " << length;
      try {
        commit_metadata({{&other, kArea}}, text_of(2, 6000), [&](std::string_view) {
          EXPECT_TRUE(read_metadata_area(other, kArea).current) << offset << " " << length;
        });
        EXPECT_EQ(seqno_at(other), 2U);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::no_space);
        EXPECT_GE(length, 15000U) << "there was room";
        EXPECT_TRUE(read_metadata_area(other, kArea).current) << offset << " " << length;
      }
    }
  }
}

TEST(MetadataCommit, every_step_leaves_a_readable_group) {
  for (int killed = 0; killed < 7; ++killed) {
    block::MemoryDevice a(64U << 10, "a"), b(64U << 10, "b");
    const std::vector<CommitTarget> targets{{&a, kArea}, {&b, kArea}};
    for (auto* device : {&a, &b}) format_metadata_area(*device, kArea);
    commit_metadata(targets, text_of(1, 9000));
    int step = 0;
    std::vector<std::string> steps;
    try {
      commit_metadata(targets, text_of(2, 9000), [&](std::string_view what) {
        if (step++ == killed) throw Error(ErrorKind::io, "killed");
        steps.emplace_back(what);
      });
      EXPECT_EQ(killed, 6);
      EXPECT_THAT(steps, ElementsAre("text", "text", "precommit", "precommit", "commit", "commit"));
    } catch (const Error&) {
    }
    EXPECT_EQ(seqno_at(a), killed < 5 ? 1U : 2U) << killed;
    EXPECT_EQ(seqno_at(b), killed < 6 ? 1U : 2U) << killed;
    EXPECT_EQ(read_metadata_area(a, kArea).precommitted, killed == 3 || killed == 4) << killed;
    // Whoever comes next goes on.
    commit_metadata(targets, text_of(3, 9000));
    EXPECT_EQ(seqno_at(a), 3U);
    EXPECT_EQ(seqno_at(b), 3U);
    EXPECT_FALSE(read_metadata_area(a, kArea).precommitted);
  }
}

TEST(MetadataCommit, one_area_that_cannot_take_part_stops_all) {
  block::MemoryDevice a(64U << 10, "a"), b(64U << 10, "b");
  format_metadata_area(a, kArea);
  const Error error = error_of([&] { commit_metadata({{&a, kArea}, {&b, kArea}}, text_of(1)); });
  EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  EXPECT_THAT(error.what(), HasSubstr("b: "));
  EXPECT_FALSE(read_metadata_area(a, kArea).current);
}

TEST_F(MetadataArea, a_damaged_header_is_told) {
  commit(device, text_of(1));
  device.write_at(kArea.offset + 300, as_bytes("x"));
  EXPECT_THAT(read_metadata_area(device, kArea).problem, HasSubstr("checksum"));
  EXPECT_FALSE(read_metadata_area(device, kArea).header_valid);
  device.write_at(kArea.offset + 4, as_bytes("x"));
  EXPECT_THAT(read_metadata_area(device, kArea).problem, HasSubstr("magic"));
}

TEST_F(MetadataArea, a_header_from_elsewhere_is_told) {
  commit(device, text_of(1));
  const Bytes header = block::read(device, kArea.offset, 512);
  device.write_at(40960, header);
  EXPECT_THAT(read_metadata_area(device, {40960, kArea.length - 16384}).problem, HasSubstr("another place"));
  patch_number(device, 20, 2);
  EXPECT_FALSE(read_metadata_area(device, kArea).header_valid);
}

TEST_F(MetadataArea, a_damaged_text_is_told) {
  commit(device, text_of(1));
  device.write_at(kArea.offset + 600, as_bytes("\x7f"));
  const auto state = read_metadata_area(device, kArea);
  EXPECT_TRUE(state.header_valid);
  EXPECT_FALSE(state.current);
  EXPECT_THAT(state.problem, HasSubstr("checksum of its text"));
}

TEST_F(MetadataArea, locations_outside_the_buffer_are_told) {
  const std::uint64_t big = ~std::uint64_t{0};
  for (const auto& [offset, size] : {std::pair<std::uint64_t, std::uint64_t>{0, 100},
                                     {511, 100},
                                     {kArea.length, 1},
                                     {big, 100},
                                     {512, big},
                                     {512, kArea.length},
                                     {512, 0}}) {
    patch_number(device, 40, offset);
    patch_number(device, 48, size);
    const auto state = read_metadata_area(device, kArea);
    EXPECT_FALSE(state.current);
    EXPECT_THAT(state.problem, HasSubstr("outside its buffer")) << offset << " " << size;
    // They do not keep a commit from happening.
    commit(device, text_of(1));
    EXPECT_EQ(seqno_at(device), 1U);
  }
}

TEST_F(MetadataArea, a_claim_of_a_gigantic_text_costs_nothing) {
  class Huge final : public block::Device {
   public:
    explicit Huge(const block::Device& head) : head_(head) {}
    std::uint64_t size() const override { return std::uint64_t{1} << 50; }
    void read_at(std::uint64_t offset, MutableBytes out) const override {
      ASSERT_LE(out.size(), 1U << 20);
      head_.read_at(offset, out);
    }
    std::string describe() const override { return "huge"; }

   private:
    const block::Device& head_;
  };
  const Extent area{4096, std::uint64_t{1} << 49};
  format_metadata_area(device, kArea);
  patch_number(device, 32, area.length);
  patch_number(device, 40, 512);
  patch_number(device, 48, std::uint64_t{1} << 48);
  EXPECT_THAT(read_metadata_area(Huge(device), area).problem, HasSubstr("longer than any"));
  EXPECT_TRUE(find_old_copies(Huge(device), area).empty());
}

TEST_F(MetadataArea, one_that_is_marked_as_ignored_is_neither_read_nor_written) {
  commit(device, text_of(1));
  std::uint8_t flag[4];
  store_le32(flag, 1);
  patch_header(device, 60, flag);
  const auto state = read_metadata_area(device, kArea);
  EXPECT_TRUE(state.ignored);
  EXPECT_FALSE(state.current);
  EXPECT_EQ(state.problem, "");
  EXPECT_THAT(error_of([&] { commit(device, text_of(2)); }).what(), HasSubstr("not to be used"));
}

TEST_F(MetadataArea, a_cleared_one_is_empty_but_its_texts_can_be_rescued) {
  for (unsigned seqno = 1; seqno <= 3; ++seqno) commit(device, text_of(seqno, 3000));
  clear_metadata_area(device, kArea);
  EXPECT_FALSE(read_metadata_area(device, kArea).current);
  std::vector<std::uint64_t> found;
  for (const MetadataCopy& copy : find_old_copies(device, kArea))
    found.push_back(VolumeGroup::parse(copy.text).seqno);
  EXPECT_THAT(found, ElementsAre(3, 2, 1));
}

TEST_F(MetadataArea, old_copies_are_whole_and_newest_first_even_where_they_wrap) {
  std::map<unsigned, std::string> texts;
  for (unsigned seqno = 1; seqno <= 21; ++seqno) {
    texts[seqno] = text_of(seqno, 7000 + 13 * seqno);
    commit(device, texts[seqno]);
    const auto copies = find_old_copies(device, kArea);
    ASSERT_FALSE(copies.empty());
    EXPECT_EQ(copies[0].text, texts[seqno]);
    EXPECT_EQ(copies[0].crc, read_metadata_area(device, kArea).current->crc);
    EXPECT_EQ(copies[0].offset, read_metadata_area(device, kArea).current->offset);
    EXPECT_GE(copies.size(), std::min<std::size_t>(seqno, 2));
    for (std::size_t i = 1; i < copies.size(); ++i) EXPECT_EQ(copies[i].text, texts[seqno - i]) << seqno;
  }
}

TEST_F(MetadataArea, reading_failures_are_told_not_thrown) {
  EXPECT_FALSE(read_metadata_area(device, {60U << 10, 1U << 20}).header_valid);
  EXPECT_THAT(read_metadata_area(device, {~std::uint64_t{0}, 4096}).problem,
              HasSubstr("does not lie on the device"));
  EXPECT_TRUE(find_old_copies(device, {~std::uint64_t{0}, 4096}).empty());
}

// lvm2's own reader, after every commit, with a real group's text.
TEST_F(MetadataArea, pvck_reads_every_commit) {
  os::TemporaryFolder folder;
  const os::Path path = folder.path() / "pv.img";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 4U << 20);
  const Extent area{4096, 124928 - 4096};
  block::FileDevice file(path, block::FileDevice::Access::read_write);
  VolumeGroup vg = VolumeGroup::parse(real_text("six.vg"));
  PvLabel label;
  label.id = vg.pvs.at(0).id;
  label.device_size = file.size();
  label.data_offset = 1U << 20;
  label.metadata_areas = {area};
  write_label(file, label);
  format_metadata_area(file, area);
  for (int i = 0; i < 30; ++i) {
    ++vg.seqno;
    commit_metadata({{&file, area}}, vg.text(TextStyle::on_disk, "test", 1700000000 + i));
    const auto headers = os::run_command({"pvck", "--dump", "headers", path});
    EXPECT_EQ(headers.exit_code, 0) << headers.out << headers.err;
    EXPECT_EQ(headers.out.find("CHECK"), std::string::npos) << headers.out;
    if (i % 10 != 9) continue;
    const auto dump = os::run_command({"pvck", "--dump", "metadata", path});
    EXPECT_EQ(dump.exit_code, 0) << dump.err;
    EXPECT_THAT(dump.out, HasSubstr("seqno " + std::to_string(vg.seqno)));
    // What follows pvck's own lines is our text.
    const std::size_t at = dump.out.find("six {"), end = dump.out.rfind("\n  ---");
    ASSERT_LT(at, end) << dump.out;
    EXPECT_EQ(VolumeGroup::parse(dump.out.substr(at, end - at)).text(TextStyle::on_disk, "x", 1),
              vg.text(TextStyle::on_disk, "x", 1));
  }
}

}  // namespace
}  // namespace respaldo::lvm
