#include "fs/ext/journal.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/endian.h"
#include "base/error.h"
#include "block/file_device.h"
#include "fs/ext/ext_reader.h"
#include "os/file.h"
#include "os/process.h"

namespace respaldo::fs::ext {
namespace {

using ::testing::HasSubstr;

constexpr std::uint32_t kMagic = 0xC03B3998, kUnit = 1024, kFirst = 1;
constexpr std::uint64_t kJournalAt = 100, kBlocks = 400;  // of the device

void put32(std::uint8_t* p, std::uint32_t value) {
  Be32 be;
  be.set(value);
  std::memcpy(p, be.bytes, 4);
}
std::uint32_t crc(std::uint32_t start, ByteView bytes) {
  return ext2fs_crc32c_le(start, bytes.data(), bytes.size());
}

struct Tag {
  std::uint64_t block = 0;
  std::uint8_t fill = 0;
  bool starts_with_magic = false;
};

// A device whose block n is full of the byte n, with a journal made by hand.
class HandMade : public ::testing::Test {
 protected:
  HandMade() : bytes_(kBlocks * kUnit) {
    for (std::uint64_t i = 0; i < kBlocks; ++i) std::memset(block(i), static_cast<int>(i & 0xff), kUnit);
    for (std::uint32_t i = 0; i < length_; ++i) std::memset(block(kJournalAt + i), 0, kUnit);
  }
  std::uint8_t* block(std::uint64_t number) { return bytes_.data() + number * kUnit; }
  std::uint8_t* log(std::uint32_t number) { return block(kJournalAt + number); }
  std::uint32_t seed() { return crc(~0U, ByteView(uuid_, 16)); }
  bool v2() const { return (incompat_ & 8) != 0; }
  bool v3() const { return (incompat_ & 16) != 0; }
  std::uint32_t next() {
    const std::uint32_t here = at_;
    at_ = at_ + 1 < last_ ? at_ + 1 : kFirst;
    return here;
  }
  std::uint8_t* head(std::uint32_t type) {
    std::uint8_t* p = log(next());
    std::memset(p, 0, kUnit);
    put32(p, kMagic);
    put32(p + 4, type);
    put32(p + 8, sequence_);
    return p;
  }
  void seal(std::uint8_t* p) {
    if (!v2() && !v3()) return;
    put32(p + kUnit - 4, 0);
    put32(p + kUnit - 4, crc(seed(), ByteView(p, kUnit)));
  }
  void describe(const std::vector<Tag>& tags) {
    std::uint8_t* p = head(1);
    std::size_t at = 12;
    for (std::size_t i = 0; i < tags.size(); ++i) {
      std::uint8_t* data = log(next());
      std::memset(data, tags[i].fill, kUnit);
      if (tags[i].starts_with_magic) std::memset(data, 0, 4);
      const std::uint32_t flags =
          (tags[i].starts_with_magic ? 1U : 0U) | (i > 0 ? 2U : 0U) | (i + 1 == tags.size() ? 8U : 0U);
      std::uint8_t number[4];
      put32(number, sequence_);
      const std::uint32_t sum = crc(crc(seed(), number), ByteView(data, kUnit));
      put32(p + at, static_cast<std::uint32_t>(tags[i].block));
      if (v3()) {
        put32(p + at + 4, flags);
        put32(p + at + 12, sum);
      } else {
        put32(p + at + 4, flags | (v2() ? sum << 16 : 0));
      }
      if ((incompat_ & 2) != 0) put32(p + at + 8, static_cast<std::uint32_t>(tags[i].block >> 32));
      at += v3() ? 16 : ((incompat_ & 2) != 0 ? 12 : 8) + (v2() ? 2 : 0);
      if (i == 0) at += 16;  // a UUID of its own
    }
    seal(p);
  }
  void revoke(const std::vector<std::uint64_t>& blocks) {
    std::uint8_t* p = head(5);
    std::size_t at = 16;
    for (const std::uint64_t number : blocks) {
      if ((incompat_ & 2) != 0) {
        put32(p + at, static_cast<std::uint32_t>(number >> 32));
        at += 4;
      }
      put32(p + at, static_cast<std::uint32_t>(number));
      at += 4;
    }
    put32(p + 12, static_cast<std::uint32_t>(at));
    seal(p);
  }
  std::uint8_t* commit() {
    std::uint8_t* p = head(2);
    if (v2() || v3()) put32(p + 16, crc(seed(), ByteView(p, kUnit)));
    ++sequence_;
    return p;
  }
  void write_super() {
    std::uint8_t* p = log(0);
    std::memset(p, 0, kUnit);
    put32(p, kMagic);
    put32(p + 4, 4);
    put32(p + 12, kUnit);
    put32(p + 16, length_);
    put32(p + 20, kFirst);
    put32(p + 24, first_sequence_);
    put32(p + 28, start_);
    put32(p + 36, compat_);
    put32(p + 40, incompat_);
    std::memcpy(p + 48, uuid_, 16);
    if (v2() || v3()) p[80] = 4;
    put32(p + 84, fast_blocks_);
    if (v2() || v3()) put32(p + 0xFC, crc(~0U, ByteView(p, 1024)));
  }
  Replay replay() {
    write_super();
    return replay_journal(std::make_shared<block::MemoryDevice>(ByteView(bytes_)),
                          {kUnit, kBlocks, {{kJournalAt, 10}, {kJournalAt + 10, length_ - 10}}});
  }
  std::string read(const Replay& result, std::uint64_t number) {
    const Bytes got = block::read(*result.device, number * kUnit, kUnit);
    return std::string(as_text(got));
  }
  static std::string full_of(std::uint8_t fill) { return std::string(kUnit, static_cast<char>(fill)); }

  Bytes bytes_;
  std::uint8_t uuid_[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  std::uint32_t length_ = 40, last_ = 40, compat_ = 0, incompat_ = 1, fast_blocks_ = 0;
  std::uint32_t first_sequence_ = 7, sequence_ = 7, start_ = kFirst, at_ = kFirst;
};

TEST_F(HandMade, an_empty_one_changes_nothing) {
  start_ = 0;
  const Replay result = replay();
  EXPECT_TRUE(result.written.empty());
  EXPECT_EQ(result.transactions, 0U);
  EXPECT_EQ(read(result, 5), full_of(5));
}

class EveryFeature : public HandMade, public ::testing::WithParamInterface<std::uint32_t> {};

TEST_P(EveryFeature, later_transactions_win_and_revokes_count) {
  incompat_ = 1 | GetParam();
  describe({{5, 0xA1}, {6, 0xA2}, {7, 0xA3}});
  commit();
  revoke({6});
  describe({{5, 0xB1, true}});
  commit();
  describe({{8, 0xC1}});
  revoke({8});  // of the same transaction: gone
  commit();
  const Replay result = replay();
  EXPECT_FALSE(result.problem) << *result.problem;
  EXPECT_EQ(result.transactions, 3U);
  std::string escaped = full_of(0xB1);
  escaped.replace(0, 4, "\xC0\x3B\x39\x98");
  EXPECT_EQ(read(result, 5), escaped);
  EXPECT_EQ(read(result, 6), full_of(6));
  EXPECT_EQ(read(result, 7), full_of(0xA3));
  EXPECT_EQ(read(result, 8), full_of(8));
  EXPECT_EQ(result.written, (ExtentSet{{5 * kUnit, kUnit}, {7 * kUnit, kUnit}}));
  // Reads that begin and end anywhere.
  const std::string all = full_of(4) + escaped + full_of(6) + full_of(0xA3) + full_of(8);
  for (const auto& [from, length] : {std::pair{0, 5120}, {1023, 3}, {1025, 2000}, {1027, 1}, {3000, 1100}}) {
    const Bytes got = block::read(*result.device, 4 * kUnit + static_cast<std::uint64_t>(from),
                                  static_cast<std::size_t>(length));
    EXPECT_TRUE(as_text(got) == all.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(length)))
        << from;
  }
}

TEST_P(EveryFeature, a_transaction_that_is_torn_never_happened) {
  incompat_ = 1 | GetParam();
  describe({{5, 0xA1}});
  commit();
  describe({{6, 0xA2}});  // and no commit
  const Replay result = replay();
  EXPECT_FALSE(result.problem) << *result.problem;
  EXPECT_EQ(result.transactions, 1U);
  EXPECT_EQ(read(result, 6), full_of(6));
}

TEST_P(EveryFeature, the_log_goes_round) {
  incompat_ = 1 | GetParam();
  at_ = start_ = last_ - 2;
  describe({{5, 0xA1}, {6, 0xA2}, {7, 0xA3}});
  commit();
  const Replay result = replay();
  EXPECT_EQ(result.transactions, 1U);
  EXPECT_EQ(read(result, 7), full_of(0xA3));
}

INSTANTIATE_TEST_SUITE_P(Journal, EveryFeature, ::testing::Values(0U, 2U, 8U, 8U | 2U, 16U, 16U | 2U),
                         [](const auto& param) { return "incompat" + std::to_string(param.param); });

TEST_F(HandMade, damage_before_the_end_is_told) {
  incompat_ = 1 | 16;
  describe({{5, 0xA1}});
  commit();
  const std::uint32_t data_at = at_ + 1;
  describe({{6, 0xA2}, {7, 0xA3}});
  commit();
  log(data_at)[100] ^= 1;
  const Replay result = replay();
  ASSERT_TRUE(result.problem);
  EXPECT_THAT(*result.problem, HasSubstr("copy of block 6 has a wrong checksum"));
  EXPECT_EQ(read(result, 6), full_of(6));
  EXPECT_EQ(read(result, 7), full_of(0xA3));
}

TEST_F(HandMade, a_damaged_commit_in_the_middle_is_told_one_at_the_end_is_not) {
  incompat_ = 1 | 16;
  describe({{5, 0xA1}});
  std::uint8_t* first = commit();
  describe({{6, 0xA2}});
  std::uint8_t* second = commit();
  second[40] ^= 1;
  Replay result = replay();
  EXPECT_FALSE(result.problem);
  EXPECT_EQ(result.transactions, 1U);
  first[40] ^= 1;
  result = replay();
  ASSERT_TRUE(result.problem);
  EXPECT_THAT(*result.problem, HasSubstr("commit block"));
  EXPECT_EQ(result.transactions, 0U);
}

TEST_F(HandMade, blocks_past_the_end_are_told_and_not_written) {
  describe({{kBlocks + 5, 0xA1}, {6, 0xA2}});
  commit();
  const Replay result = replay();
  ASSERT_TRUE(result.problem);
  EXPECT_THAT(*result.problem, HasSubstr("past the filesystem's end"));
  EXPECT_EQ(read(result, 6), full_of(0xA2));
}

TEST_F(HandMade, fast_commits_are_told) {
  incompat_ = 1 | 32;
  fast_blocks_ = 8;
  length_ = 1032;
  last_ = length_ - fast_blocks_;
  const std::size_t before = bytes_.size();
  bytes_.resize((kJournalAt + length_) * kUnit);
  std::ranges::fill(bytes_.span().subspan(before), std::uint8_t{0});
  describe({{6, 0xA2}});
  commit();
  std::uint8_t* fast = log(last_ + 1);
  fast[0] = 9;
  fast[2] = 8;
  store_le32(fast + 8, sequence_);
  Replay result = replay();
  ASSERT_TRUE(result.problem);
  EXPECT_THAT(*result.problem, HasSubstr("fast commits"));
  store_le32(fast + 8, sequence_ - 1);  // of a transaction that was committed since
  result = replay();
  EXPECT_FALSE(result.problem);
}

TEST_F(HandMade, a_small_journal_has_no_room_for_fast_commits) {
  incompat_ = 1 | 32;
  fast_blocks_ = 8;
  start_ = at_ = length_ - 2;  // where they would be
  describe({{6, 0xA2}});
  commit();
  const Replay result = replay();
  EXPECT_FALSE(result.problem);
  EXPECT_EQ(read(result, 6), full_of(0xA2));
}

TEST_F(HandMade, superblocks_that_make_no_sense_are_errors) {
  const auto damaged = [&](std::size_t at, std::uint32_t value) {
    write_super();
    put32(log(0) + at, value);
    EXPECT_THROW(replay_journal(std::make_shared<block::MemoryDevice>(ByteView(bytes_)),
                                {kUnit, kBlocks, {{kJournalAt, length_}}}),
                 Error)
        << at;
  };
  damaged(0, 1);
  damaged(4, 9);
  damaged(12, 4096);
  damaged(16, length_ + 1);
  damaged(16, 1);
  damaged(20, 0);
  damaged(20, length_);
  damaged(28, length_);
  damaged(40, 1U << 20);
  incompat_ = 1 | 16;
  damaged(24, 99);  // a wrong checksum
}

// Journals that debugfs writes, recovered by e2fsck.
class Real : public ::testing::TestWithParam<std::vector<std::string>> {};

std::string run(const std::vector<std::string>& argv) {
  const os::CommandResult result = os::run_command(argv);
  EXPECT_LE(result.exit_code, 1) << argv[0] << ": " << result.out << result.err;
  return result.out + result.err;
}

TEST_P(Real, recovery_is_e2fscks) {
  const os::TemporaryFolder folder;
  const std::string image = folder.path() / "image", copy = folder.path() / "copy",
                    data = folder.path() / "data";
  std::vector<std::string> argv{"mke2fs", "-q", "-F", "-t", "ext4", "-J", "size=4"};
  argv.insert(argv.end(), GetParam().begin(), GetParam().end());
  argv.insert(argv.end(), {image, "32M"});
  run(argv);
  std::ofstream(data) << std::string(65536, 'd');
  std::ofstream(folder.path() / "commands")
      << "jo\njw -b 3000,3001,4000 " << data << "\njw -r 3001\njw -b 3002 " << data << "\njc\n";
  run({"debugfs", "-w", "-f", folder.path() / "commands", image});
  std::filesystem::copy_file(image, copy);
  const auto reader =
      try_open_ext(std::make_shared<block::FileDevice>(image, block::FileDevice::Access::read_only));
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->facts().journal, JournalState::replayed);
  EXPECT_GT(reader->facts().transactions_replayed, 0U);
  run({"e2fsck", "-fy", "-E", "journal_only", copy});
  const block::FileDevice recovered(copy, block::FileDevice::Access::read_only);
  const std::uint32_t unit = reader->facts().block_size;
  ASSERT_FALSE(reader->space().recovered.empty());
  for (const Extent& extent : reader->space().recovered.extents()) {
    const Bytes ours = block::read(*reader->device(), extent.offset, extent.length);
    const Bytes theirs = block::read(recovered, extent.offset, extent.length);
    EXPECT_TRUE(as_text(ours) == as_text(theirs)) << extent.offset / unit;
  }
  const auto block_is = [&](std::uint64_t number, bool written) {
    EXPECT_EQ(reader->space().recovered.contains(number * unit), written) << number;
    const Bytes theirs = block::read(recovered, number * unit, unit);
    EXPECT_EQ(theirs.data()[0] == 'd', written) << number;
  };
  block_is(3000, true);
  block_is(3001, false);
  block_is(3002, true);
  block_is(4000, true);
}

INSTANTIATE_TEST_SUITE_P(
    Journal, Real,
    ::testing::Values(std::vector<std::string>{"-b", "1024"}, std::vector<std::string>{"-b", "4096"},
                      std::vector<std::string>{"-b", "4096", "-O", "^64bit"},
                      std::vector<std::string>{"-b", "1024", "-O", "^metadata_csum"},
                      std::vector<std::string>{"-b", "2048", "-O", "^metadata_csum,^64bit"}),
    [](const auto& param) { return "kind" + std::to_string(param.index); });

}  // namespace
}  // namespace respaldo::fs::ext
