#include "parity/repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "parity/group_format.h"
#include "parity/sidecar.h"
#include "parity/store_test.h"
#include "parity/upkeep.h"

namespace respaldo::parity {
namespace {

using store::FileType;
using store::Handle;
using testing::Contents;
using testing::contents_of;
using testing::put;

// A repository with parity, and a hand that damages it.
class Repair : public ::testing::Test {
 protected:
  void make(const Settings& settings, unsigned packs) {
    store_ = with_parity(store::open_memory(), settings);
    store_->create();
    testing::fill(*store_, packs);
    good_ = contents_of(plain());
    for (const auto& [handle, bytes] : good_) {
      if (handle.type == FileType::pack) packs_.push_back(handle);
      if (handle.type == FileType::index || handle.type == FileType::snapshot ||
          handle.type == FileType::key || handle.type == FileType::config)
        others_.push_back(handle);
    }
  }

  store::Backend& plain() { return store_->plain(); }

  RepairReport run(bool dry_run = false) {
    RepairOptions options;
    options.dry_run = dry_run;
    options.required = packs_;
    options.threads = 1;
    const std::string config = good_.at({FileType::config, ""});
    options.is_config = [config](ByteView bytes) { return as_text(bytes) == config; };
    SilentProgress silent;
    return repair(*store_, options, silent, {});
  }

  std::uint64_t random(std::uint64_t below) { return generator_() % below; }
  Geometry geometry_of(const Handle& object, const Settings& settings) {
    return choose_geometry(object.type, good_.at(object).size(), settings);
  }

  void flip(const Handle& object, std::uint64_t slices, const Geometry& geometry) {
    std::string bytes = good_.at(object);
    std::set<std::uint64_t> chosen;
    while (chosen.size() < std::min(slices, geometry.data_slices()))
      chosen.insert(random(geometry.data_slices()));
    for (const std::uint64_t slice : chosen)
      for (std::uint64_t i = 0; i <= random(3); ++i) {
        const std::uint64_t at = slice * geometry.slice_size + random(geometry.length_of(slice));
        bytes[at] = static_cast<char>(good_.at(object)[at] ^ (1 + random(255)));
      }
    put(plain(), object, as_bytes(bytes));
  }
  void zero(const Handle& object, std::uint64_t length) {
    std::string bytes = good_.at(object);
    length = std::min<std::uint64_t>(length, bytes.size());
    const std::uint64_t at = random(bytes.size() - length + 1);
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length, '\0');
    put(plain(), object, as_bytes(bytes));
  }
  void truncate(const Handle& object, std::uint64_t length) {
    const std::string& bytes = good_.at(object);
    put(plain(), object, as_bytes(bytes).first(bytes.size() - std::min<std::uint64_t>(length, bytes.size())));
  }
  void extend(const Handle& object, std::uint64_t length) {
    put(plain(), object, as_bytes(good_.at(object) + std::string(length, '\0')));
  }

  // One random damage of an object, as bad as its parity can bear.
  void damage_within(const Handle& object, const Settings& settings) {
    const Geometry geometry = geometry_of(object, settings);
    // A range of so many bytes touches no codeword more often than it has rows.
    const std::uint64_t burst =
        (geometry.parity_slices() - (geometry.parity_slices() > 1 ? 1 : 0)) * geometry.slice_size;
    switch (random(4)) {
      case 0:
        return flip(object, 1 + random(geometry.rows), geometry);
      case 1:
        return zero(object, 1 + random(geometry.parity_slices() == 1 ? 1 : burst));
      case 2:
        return truncate(object, 1 + random(burst));
      default:
        return extend(object, 1 + random(100000));
    }
  }

  std::unique_ptr<ParityBackend> store_;
  Contents good_;
  std::vector<Handle> packs_, others_;
  std::mt19937_64 generator_{4};
};

TEST_F(Repair, a_sound_repository_is_left_alone) {
  make({50, 4, 1}, 9);
  const RepairReport report = run();
  EXPECT_TRUE(report.items.empty()) << report.items.front().message;
  EXPECT_EQ(report.objects, 18U);
  EXPECT_EQ(contents_of(plain()), good_);
}

TEST_F(Repair, a_thousand_random_damages_within_the_promise_are_all_healed) {
  const Settings settings{50, 4, 1};
  make(settings, 9);
  unsigned damages = 0;
  for (unsigned round = 0; damages < 1000; ++round) {
    std::set<Handle> touched;
    const Handle lost = packs_[random(packs_.size())];
    // One whole pack, every other round: its group's parity is for one.
    if (round % 2 == 0) {
      if (random(2) == 0)
        plain().remove(lost);
      else
        zero(lost, good_.at(lost).size());
      if (random(2) == 0) plain().remove(sidecar_of(lost));
      touched.insert(lost);
      ++damages;
    }
    for (unsigned i = 0; i < 6; ++i) {
      const auto& from = random(2) == 0 ? packs_ : others_;
      const Handle object = from[random(from.size())];
      if (!touched.insert(object).second) continue;
      const std::uint64_t kind = random(4);
      if (kind == 0) {
        plain().remove(sidecar_of(object));
      } else if (kind == 1) {
        const Handle sidecar = sidecar_of(object);
        std::string bytes = good_.at(sidecar);
        for (std::uint64_t n = 0; n <= random(20); ++n) bytes[random(bytes.size())] ^= 0x55;
        put(plain(), sidecar, as_bytes(bytes));
      } else {
        damage_within(object, settings);
      }
      ++damages;
    }
    const Contents damaged = contents_of(plain());
    EXPECT_EQ(run(true).count(Outcome::beyond), 0U);
    ASSERT_EQ(contents_of(plain()), damaged) << "a dry run wrote";
    const RepairReport report = run();
    for (const RepairItem& item : report.items)
      ASSERT_THAT(item.outcome, ::testing::AnyOf(Outcome::healed, Outcome::parity_rebuilt)) << item.message;
    ASSERT_EQ(contents_of(plain()), good_) << "round " << round;
  }
}

TEST_F(Repair, beyond_the_promise_it_is_told_exactly_and_nothing_is_made_worse) {
  const Settings settings{50, 0, 0};
  make(settings, 9);
  for (unsigned round = 0; round < 60; ++round) {
    std::set<Handle> hopeless, healable;
    for (unsigned i = 0; i < 4; ++i) {
      const Handle object = packs_[random(packs_.size())];
      if (hopeless.contains(object) || healable.contains(object)) continue;
      const Geometry geometry = geometry_of(object, settings);
      const std::uint64_t too_much = (geometry.parity_slices() + 1) * geometry.slice_size;
      switch (random(5)) {
        case 0:
          plain().remove(object);
          break;
        case 1:
          zero(object, too_much + geometry.slice_size);
          break;
        case 2:
          truncate(object, too_much);
          break;
        case 3:
          flip(object, 1, geometry);
          plain().remove(sidecar_of(object));
          break;
        default:
          damage_within(object, settings);
          healable.insert(object);
          continue;
      }
      hopeless.insert(object);
    }
    const Contents before = contents_of(plain());
    const RepairReport report = run();
    std::set<Handle> beyond;
    for (const RepairItem& item : report.items)
      if (item.outcome == Outcome::beyond) beyond.insert(item.object);
    ASSERT_EQ(beyond, hopeless);
    EXPECT_EQ(report.ok(), hopeless.empty());
    Contents expected = before;
    for (const Handle& object : healable) expected[object] = good_[object];
    ASSERT_EQ(contents_of(plain()), expected);
    for (const auto& [handle, bytes] : good_) put(plain(), handle, as_bytes(bytes));
  }
}

TEST_F(Repair, the_range_of_the_damage_is_told) {
  make({50, 0, 0}, 3);
  const Handle object = packs_.front();
  std::string bytes = good_.at(object);
  bytes[5000] ^= 1;
  put(plain(), object, as_bytes(bytes));
  const RepairReport report = run();
  ASSERT_EQ(report.items.size(), 1U);
  EXPECT_EQ(report.items.front().damaged, ExtentSet({{4096, 4096}}));
  EXPECT_THAT(report.items.front().message,
              ::testing::HasSubstr("bytes 4096 to 8191 (4.00 KiB); it was healed by its own parity"));
}

TEST_F(Repair, two_packs_of_a_group_need_two_rows) {
  make({50, 5, 2}, 5);
  for (unsigned i = 0; i < 2; ++i) plain().remove(packs_[i]);
  EXPECT_EQ(run().count(Outcome::healed), 2U);
  EXPECT_EQ(contents_of(plain()), good_);
  for (unsigned i = 0; i < 3; ++i) plain().remove(packs_[i]);
  const RepairReport report = run();
  EXPECT_EQ(report.count(Outcome::beyond), 3U);
}

TEST_F(Repair, a_damaged_group_and_the_sidecar_heal_together_what_neither_could) {
  make({50, 4, 1}, 4);
  const Handle group{FileType::parity_group, plain().list(FileType::parity_group).front().name};
  std::string bytes = good_.at(group);
  const auto head = load_group_head(plain(), {group.name, bytes.size()});
  ASSERT_TRUE(head);
  bytes[head->rows_offset() + 100] ^= 1;  // one slice of the row
  put(plain(), group, as_bytes(bytes));
  plain().remove(packs_[0]);
  const RepairReport report = run();
  EXPECT_EQ(report.count(Outcome::healed), 1U);
  EXPECT_EQ(report.count(Outcome::group_damaged), 1U);
  EXPECT_EQ(as_text(plain().load_all(packs_[0])), good_.at(packs_[0]));
  // Made anew: the same group again.
  UpdateOptions options;
  options.broken_groups = {group.name};
  SilentProgress silent;
  update(*store_, options, silent, {});
  EXPECT_TRUE(run().items.empty());
  plain().remove(packs_[1]);
  EXPECT_EQ(run().count(Outcome::healed), 1U);
}

// Too long to be healed at once; no two lack the same slices, and none can be healed by its own parity.
TEST_F(Repair, many_damaged_packs_of_a_group_are_healed_a_few_at_a_time) {
  constexpr std::size_t kSize = 24U << 20, kHole = 3U << 20;
  store_ = with_parity(store::open_memory(), {50, 6, 1});
  store_->create();
  for (unsigned i = 0; i < 6; ++i) packs_.push_back(testing::save_new(*store_, FileType::pack, kSize, i));
  testing::save_new(*store_, FileType::index, 300, 9);
  for (unsigned i = 0; i < 6; ++i) {
    std::string bytes(as_text(plain().load_all(packs_[i])));
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(i * (kHole + 4096)), kHole, '\0');
    put(plain(), packs_[i], as_bytes(bytes));
  }
  RepairOptions options;
  options.only = packs_;
  options.dry_run = true;
  SilentProgress silent;
  EXPECT_EQ(repair(*store_, options, silent, {}).count(Outcome::healed), 6U);
  options.dry_run = false;
  EXPECT_EQ(repair(*store_, options, silent, {}).count(Outcome::healed), 6U);
  options.only.clear();
  EXPECT_TRUE(repair(*store_, options, silent, {}).items.empty());
}

TEST_F(Repair, settings_come_back_out_of_their_own_parity) {
  make({70, 4, 1}, 2);
  const Handle settings{FileType::parity_settings, ""};
  put(plain(), settings, as_bytes("nonsense"));
  const auto found = load_settings(plain());
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->damaged);
  EXPECT_EQ(found->settings, (Settings{70, 4, 1}));
  EXPECT_EQ(run().count(Outcome::healed), 1U);
  EXPECT_EQ(contents_of(plain()), good_);
}

TEST_F(Repair, settings_that_are_lost_do_not_switch_parity_off) {
  make({70, 4, 1}, 5);
  plain().remove({FileType::parity_settings, ""});
  const auto found = load_settings(plain());
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->damaged);
  EXPECT_EQ(found->settings, (Settings{70, 4, 1}));
  flip(packs_[0], 1, geometry_of(packs_[0], {70, 4, 1}));
  EXPECT_EQ(run().count(Outcome::healed), 2U);
  EXPECT_EQ(contents_of(plain()), good_);
}

TEST_F(Repair, parity_without_any_settings_is_left_behind) {
  make({50, 0, 0}, 2);
  EXPECT_FALSE(is_left_behind(plain()));
  plain().remove({FileType::parity_settings, ""});
  put(plain(), sidecar_of({FileType::parity_settings, ""}), as_bytes("nonsense"));
  EXPECT_FALSE(load_settings(plain()));
  EXPECT_TRUE(is_left_behind(plain()));
  disable(plain());
  EXPECT_FALSE(is_left_behind(plain()));
}

TEST_F(Repair, the_entrance_is_healed_without_a_key) {
  make({50, 0, 0}, 2);
  for (const Handle& object : others_)
    if (object.type == FileType::key) zero(object, 100);
  zero({FileType::config, ""}, 20);
  EXPECT_TRUE(repair_entrance(*store_, true).ok());
  EXPECT_EQ(contents_of(plain()), good_);
  for (const Handle& object : others_)
    if (object.type == FileType::key || object.type == FileType::config) plain().remove(object);
  EXPECT_TRUE(repair_entrance(*store_, true).ok());
  EXPECT_EQ(contents_of(plain()), good_);
}

TEST_F(Repair, a_single_missing_key_was_removed_and_stays_so) {
  make({50, 0, 0}, 2);
  const auto key = std::ranges::find(others_, FileType::key, &Handle::type);
  plain().remove(*key);
  EXPECT_TRUE(repair_entrance(*store_, false).items.empty());
  const RepairReport report = run();
  EXPECT_EQ(report.count(Outcome::stale_parity), 1U);
  EXPECT_FALSE(plain().stat(*key));
}

TEST_F(Repair, without_parity_damage_is_beyond) {
  make({50, 0, 0}, 2);
  disable(*store_);
  flip(packs_[0], 1, geometry_of(packs_[0], {}));
  const RepairReport report = run();
  ASSERT_EQ(report.count(Outcome::beyond), 1U);
  EXPECT_THAT(report.items.front().message, ::testing::HasSubstr("no parity"));
}

// Sectors that the medium does not give back.
class FailingSectors final : public store::Backend {
 public:
  explicit FailingSectors(store::Backend& below) : below_(below) {}
  std::map<Handle, ExtentSet> bad;

  std::string location() const override { return below_.location(); }
  void create() override { below_.create(); }
  void save(const Handle& handle, std::span<const ByteView> parts, store::Durability durability) override {
    below_.save(handle, parts, durability);
    bad.erase(handle);
  }
  void sync() override { below_.sync(); }
  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    if (const auto found = bad.find(handle); found != bad.end() && found->second.intersects({offset, length}))
      throw Error(ErrorKind::io, "read: Input/output error");
    return below_.load(handle, offset, length);
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    if (bad.contains(handle)) throw Error(ErrorKind::io, "read: Input/output error");
    return below_.load_all(handle, limit);
  }
  std::optional<store::FileInfo> stat(const Handle& handle) override { return below_.stat(handle); }
  std::vector<store::FileInfo> list(FileType type) override { return below_.list(type); }
  void remove(const Handle& handle) override { below_.remove(handle); }
  bool is_permanent(const Error&) const override { return true; }

 private:
  store::Backend& below_;
};

TEST_F(Repair, sectors_that_cannot_be_read_are_healed_like_damage) {
  make({50, 0, 0}, 4);
  FailingSectors medium(plain());
  const Handle& pack = packs_[2];
  medium.bad[pack] = {{512, 512}, {good_.at(pack).size() / 2, 1}};
  medium.bad[sidecar_of(packs_[3])] = {{0, 64}};
  RepairOptions options;
  SilentProgress silent;
  const RepairReport report = repair(medium, options, silent, {});
  EXPECT_EQ(report.count(Outcome::healed), 1U);
  EXPECT_EQ(report.count(Outcome::parity_rebuilt), 1U);
  EXPECT_TRUE(report.ok());
  EXPECT_TRUE(medium.bad.empty());
  EXPECT_EQ(contents_of(plain()), good_);
}

}  // namespace
}  // namespace respaldo::parity
