#include "engine/snapshot_guard.h"

#include <gmock/gmock.h>

#include <atomic>

#include "base/error.h"
#include "base/units.h"
#include "block/file_device.h"

namespace respaldo::engine {
namespace {

using testing::HasSubstr;

CowFigures store(std::uint64_t size, std::uint64_t used) {
  CowFigures cow;
  cow.size = size;
  cow.used = used;
  cow.maximum = 10 * kGiB;
  return cow;
}

TEST(FillRate, the_last_second_counts_when_it_is_worse) {
  FillRate rate;
  for (int i = 0; i <= 9; ++i) rate.add(i, 1000);
  rate.add(9.5, 1000);
  rate.add(10, 6000);
  EXPECT_NEAR(rate.bytes_per_second(), 5000, 1);
}

TEST(FillRate, shrinking_or_one_sample_is_no_growth) {
  FillRate rate;
  rate.add(1, 1000);
  EXPECT_EQ(rate.bytes_per_second(), 0);
  rate.add(2, 500);
  EXPECT_EQ(rate.bytes_per_second(), 0);
}

TEST(WantedGrowth, a_store_that_will_do_is_left_alone) {
  EXPECT_EQ(wanted_growth(store(kGiB, 100 * kMiB), 1 * kMiB, 60), 0U);
  EXPECT_EQ(wanted_growth(store(kGiB, 700 * kMiB), 1 * kMiB, 10), 0U) << "70 % full, but nearly done";
  EXPECT_EQ(wanted_growth(store(kGiB, 0), 0, {}), 0U);
}

TEST(WantedGrowth, one_that_will_not_do_gets_what_the_rest_takes) {
  const std::uint64_t more = wanted_growth(store(kGiB, 700 * kMiB), 10 * kMiB, 600);
  EXPECT_GT(more, 8 * kGiB);  // 600 s at 10 MiB/s, and a half more, minus what is free
  EXPECT_EQ(wanted_growth(store(100 * kMiB, 95 * kMiB), 0, {}), 50 * kMiB);
  EXPECT_GT(wanted_growth(store(100 * kMiB, 10 * kMiB), 50 * kMiB, 100), 0U) << "a burst is met before 60 %";
}

TEST(WantedGrowth, nothing_helps_a_dead_one_or_the_largest) {
  CowFigures dead = store(kGiB, kGiB);
  dead.valid = false;
  EXPECT_EQ(wanted_growth(dead, kMiB, 60), 0U);
  EXPECT_EQ(wanted_growth(store(10 * kGiB, 9 * kGiB), 100 * kMiB, 600), 0U);
}

TEST(PoolShortage, data_and_metadata_are_watched) {
  PoolFigures pool{"vg0/pool", 100 * kGiB, 90 * kGiB, 100 * kMiB, 10 * kMiB, true};
  EXPECT_EQ(pool_shortage(pool, {}), "");
  EXPECT_THAT(pool_shortage(pool, Amount::bytes(20 * kGiB)),
              HasSubstr("10.00 GiB of 100.00 GiB free for data"));
  pool.metadata_used = 97 * kMiB;
  EXPECT_THAT(pool_shortage(pool, {}), HasSubstr("metadata"));
  EXPECT_EQ(pool_shortage(pool, Amount::bytes(0)), "");
  EXPECT_EQ(pool_shortage(pool, Amount{Amount::Of::pool, 1}), "");
  pool.writable = false;
  EXPECT_THAT(pool_shortage(pool, Amount::bytes(0)), HasSubstr("takes no writes"));
}

class FakeLease final : public SnapshotLease {
 public:
  std::atomic<std::uint64_t> size{100 * kMiB}, used{0}, room{0}, grown{0};
  std::optional<PoolFigures> pool_now;
  block::MemoryDevice disk{4096};
  const block::Device& device() const override { return disk; }
  std::string_view how() const override { return "snapshot"; }
  std::string snapshot_name() const override { return "vg0/snap"; }
  std::optional<CowFigures> cow() const override {
    if (pool_now) return std::nullopt;
    return store(size, used);
  }
  std::optional<PoolFigures> pool() const override { return pool_now; }
  std::atomic<bool> stuck{false}, growing{false};
  Growth grow(std::uint64_t bytes, const std::stop_token& stop) override {
    growing = true;
    while (stuck && !stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    growing = false;
    if (stop.stop_requested()) throw Cancelled();
    const std::uint64_t added = std::min<std::uint64_t>(bytes, room);
    if (added == 0) return {0, "there are no free extents"};
    room -= added;
    size += added;
    ++grown;
    return {added, ""};
  }
  void require_valid() const override {}
  void release() override {}
};

class Notes final : public Progress, public GaugeDisplay {
 public:
  void begin(std::string_view, std::uint64_t) override {}
  void advance(std::uint64_t) override {}
  void end() override {}
  void note(std::string_view text) override {
    std::lock_guard lock(mutex_);
    text_ += std::string(text) + "\n";
  }
  void gauge(const Gauge& gauge) override {
    std::lock_guard lock(mutex_);
    gauged_ = gauge.used;
  }
  std::string text() {
    std::lock_guard lock(mutex_);
    return text_;
  }
  std::uint64_t gauged() {
    std::lock_guard lock(mutex_);
    return gauged_;
  }

 private:
  std::mutex mutex_;
  std::string text_;
  std::uint64_t gauged_ = 0;
};

class SnapshotGuardTest : public testing::Test {
 protected:
  FakeLease lease_;
  Notes notes_;
  GuardOptions options_{.interval = std::chrono::milliseconds(2)};
  template <class Condition>
  static bool soon(Condition condition) {
    for (int i = 0; i < 5000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return condition();
  }
};

TEST_F(SnapshotGuardTest, extends_while_there_is_room) {
  lease_.room = 500 * kMiB;
  SnapshotGuard guard(options_, notes_, [] { return 100.0; });
  guard.watch(lease_, "vg0/root");
  lease_.used = 92 * kMiB;
  EXPECT_TRUE(soon([&] { return lease_.grown > 0; }));
  EXPECT_TRUE(soon([&] { return notes_.text().find("extended by") != std::string::npos; })) << notes_.text();
  EXPECT_EQ(notes_.gauged(), 92 * kMiB);
  EXPECT_EQ(guard.forget(lease_), lease_.size - 100 * kMiB);
  EXPECT_NO_THROW(guard.check());
}

TEST_F(SnapshotGuardTest, says_once_and_early_that_it_cannot) {
  SnapshotGuard guard(options_, notes_, [] { return 100.0; });
  guard.watch(lease_, "vg0/root");
  lease_.used = 99 * kMiB;
  EXPECT_TRUE(soon([&] {
    return notes_.text().find("cannot be extended: there are no free extents") != std::string::npos;
  }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_NO_THROW(guard.check()) << "it goes on";
  const std::string said = notes_.text();
  EXPECT_EQ(said.find("warning"), said.rfind("warning"));
}

TEST_F(SnapshotGuardTest, gives_up_before_it_is_full_when_told_to) {
  options_.on_full = GuardOptions::OnFull::abort;
  SnapshotGuard guard(options_, notes_, [] { return 100.0; });
  guard.watch(lease_, "vg0/root");
  lease_.used = 96 * kMiB;
  ErrorKind kind = ErrorKind::internal;
  EXPECT_TRUE(soon([&] {
    try {
      guard.check();
      return false;
    } catch (const Error& error) {
      kind = error.kind();
      return true;
    }
  }));
  EXPECT_EQ(kind, ErrorKind::overflow);
}

TEST_F(SnapshotGuardTest, an_extension_that_waits_holds_nobody) {
  lease_.stuck = true;
  SnapshotGuard guard(options_, notes_, [] { return 100.0; });
  guard.watch(lease_, "vg0/root");
  lease_.used = 92 * kMiB;
  ASSERT_TRUE(soon([&] { return lease_.growing.load(); }));
  // The run asks; others are watched meanwhile, and may go; so may it.
  EXPECT_NO_THROW(guard.check());
  FakeLease other;
  other.pool_now = PoolFigures{"vg0/pool", kGiB, 990 * kMiB, 4 * kMiB, kMiB, true};
  guard.watch(other, "vg0/thin");
  EXPECT_TRUE(soon([&] {
    try {
      guard.check();
      return false;
    } catch (const Error& error) {
      return error.kind() == ErrorKind::no_space;
    }
  }));
  EXPECT_EQ(guard.forget(other), 0U);
  EXPECT_TRUE(lease_.growing) << "still";
  EXPECT_EQ(guard.forget(lease_), 0U);
  EXPECT_FALSE(lease_.growing);
  EXPECT_THAT(notes_.text(), testing::Not(HasSubstr("vg0/root"))) << "nobody needs it any more";
}

TEST_F(SnapshotGuardTest, an_extension_that_waits_ends_with_the_guard) {
  lease_.stuck = true;
  {
    SnapshotGuard guard(options_, notes_, [] { return 100.0; });
    guard.watch(lease_, "vg0/root");
    lease_.used = 92 * kMiB;
    ASSERT_TRUE(soon([&] { return lease_.growing.load(); }));
  }
  EXPECT_FALSE(lease_.growing);
}

TEST_F(SnapshotGuardTest, a_pool_that_runs_full_ends_the_run) {
  lease_.pool_now = PoolFigures{"vg0/pool", kGiB, 990 * kMiB, 4 * kMiB, kMiB, true};
  SnapshotGuard guard(options_, notes_, [] { return 100.0; });
  guard.watch(lease_, "vg0/thin");
  EXPECT_TRUE(soon([&] {
    try {
      guard.check();
      return false;
    } catch (const Error& error) {
      return error.kind() == ErrorKind::no_space;
    }
  }));
  EXPECT_THAT(notes_.text(), HasSubstr("nearly full"));
}

}  // namespace
}  // namespace respaldo::engine
