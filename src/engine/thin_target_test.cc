#include "engine/thin_target.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "block/file_device.h"

namespace respaldo::engine {
namespace {

constexpr std::uint64_t kChunk = 64 * kKiB;

// Takes room for a chunk at the first write that reaches the "disk", at flush(), as a page cache has it.
class Pool final : public block::WritableDevice {
 public:
  explicit Pool(std::uint64_t size, std::uint64_t room) : memory_(size, "vg0/thin"), room_(room) {}
  std::uint64_t size() const override { return memory_.size(); }
  std::string describe() const override { return memory_.describe(); }
  void read_at(std::uint64_t offset, MutableBytes out) const override { memory_.read_at(offset, out); }
  void write_at(std::uint64_t offset, ByteView bytes) override {
    memory_.write_at(offset, bytes);
    std::lock_guard lock(mutex_);
    for (std::uint64_t chunk = offset / kChunk; chunk * kChunk < offset + bytes.size(); ++chunk) dirty_.insert(chunk);
  }
  void flush() override {
    std::lock_guard lock(mutex_);
    used_.merge(dirty_);
    dirty_.clear();
  }
  std::optional<PoolFigures> figures() {
    ++asked;
    std::lock_guard lock(mutex_);
    return PoolFigures{"vg0/pool", room_, used_.size() * kChunk + others, 4 * kMiB, metadata, writable, kChunk};
  }
  std::uint64_t used() {
    flush();
    return used_.size() * kChunk + others;
  }
  std::uint64_t room() const { return room_; }

  std::atomic<int> asked = 0;
  std::uint64_t others = 0, metadata = 0;
  bool writable = true;

 private:
  block::MemoryDevice memory_;
  const std::uint64_t room_;
  std::mutex mutex_;
  std::set<std::uint64_t> dirty_, used_;
};

std::string fill(ThinTarget& target, std::uint64_t step, std::uint64_t from = 0) {
  const Bytes bytes = Bytes::zeroed(step);
  try {
    for (std::uint64_t at = from; at + step <= target.size(); at += step) target.write_at(at, bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::no_space);
    return error.what();
  }
  return {};
}

std::unique_ptr<ThinTarget> over(const std::shared_ptr<Pool>& pool) {
  return std::make_unique<ThinTarget>(pool, [pool] { return pool->figures(); });
}

TEST(ThinTarget, GivesUpBeforeThePoolIsFull) {
  for (const std::uint64_t step : {4 * kKiB, 100 * kKiB, kMiB}) {
    const auto pool = std::make_shared<Pool>(200 * kMiB, 100 * kMiB);
    const std::string said = fill(*over(pool), step);
    EXPECT_NE(said.find("vg0/pool has only"), std::string::npos) << said;
    EXPECT_NE(said.find("writing vg0/thin was given up to spare it"), std::string::npos) << said;
    EXPECT_LE(pool->used(), 99 * kMiB);
    EXPECT_GE(pool->used(), 97 * kMiB) << "given up too early with steps of " << step;
  }
}

TEST(ThinTarget, SeveralWritersTogether) {
  const auto pool = std::make_shared<Pool>(256 * kMiB, 100 * kMiB);
  const auto target = over(pool);
  std::atomic<int> refused = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        const Bytes bytes = Bytes::zeroed(kMiB);
        try {
          for (std::uint64_t at = 0; at < 64; ++at) target->write_at((at * 4 + static_cast<unsigned>(i)) * kMiB, bytes);
        } catch (const Error& error) {
          refused += error.kind() == ErrorKind::no_space;
        }
      });
  }
  EXPECT_GE(refused, 3);  // one may have been fast enough
  EXPECT_LE(pool->used(), 99 * kMiB);
}

TEST(ThinTarget, WhatHasItsRoomIsWrittenInAFullPool) {
  const auto pool = std::make_shared<Pool>(50 * kMiB, 100 * kMiB);
  ASSERT_EQ(fill(*over(pool), kMiB), "");
  pool->others = 50 * kMiB - kChunk;
  EXPECT_EQ(fill(*over(pool), kMiB), "");
  EXPECT_EQ(pool->used(), 100 * kMiB - kChunk);
}

TEST(ThinTarget, ALargePoolIsHardlyAsked) {
  const auto pool = std::make_shared<Pool>(128 * kMiB, 100 * kGiB);
  EXPECT_EQ(fill(*over(pool), 64 * kKiB), "");
  EXPECT_LE(pool->asked, 4);
}

TEST(ThinTarget, OthersThatFillThePoolAreSeen) {
  const auto pool = std::make_shared<Pool>(256 * kMiB, kGiB);
  const auto target = over(pool);
  const Bytes bytes = Bytes::zeroed(kMiB);
  for (std::uint64_t at = 0; at < 10; ++at) target->write_at(at * kMiB, bytes);
  pool->others = kGiB - 80 * kMiB;
  EXPECT_NE(fill(*target, kMiB, 10 * kMiB), "");
  EXPECT_LT(pool->used(), kGiB);
}

TEST(ThinTarget, MetadataCount) {
  const auto pool = std::make_shared<Pool>(256 * kMiB, kGiB);
  const auto target = over(pool);
  pool->metadata = 4 * kMiB - 4 * kKiB;
  const std::string said = fill(*target, kMiB);
  EXPECT_NE(said.find("for metadata"), std::string::npos) << said;
}

TEST(ThinTarget, AFailedPoolIsSaidToBeOne) {
  const auto pool = std::make_shared<Pool>(256 * kMiB, kGiB);
  const auto target = over(pool);
  pool->writable = false;
  EXPECT_NE(fill(*target, kMiB).find("is full or has failed"), std::string::npos);
}

TEST(ThinTarget, ZerosThatAreWrittenCount) {
  const auto pool = std::make_shared<Pool>(200 * kMiB, 100 * kMiB);
  const auto target = over(pool);
  EXPECT_THROW(target->zero({0, 200 * kMiB}), Error);
  EXPECT_LE(pool->used(), 99 * kMiB);
}

}  // namespace
}  // namespace respaldo::engine
