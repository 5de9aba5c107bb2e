#include "backup/backup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "backup/fake_engine_test.h"
#include "base/units.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "os/file.h"
#include "os/process.h"
#include "store/forward.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/zero_blob.h"

namespace respaldo::backup {
namespace {

using namespace respaldo::testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kSize = 21 * kMiB + 4096;

Bytes sample_volume(std::uint64_t seed) {
  Bytes bytes = random_bytes(kSize, seed);
  std::memset(bytes.data() + 5 * kMiB, 0, 9 * kMiB);
  return bytes;
}

class Backup : public ::testing::Test {
 protected:
  Backup() : repository_(memory_repository()), root_(sample_volume(1)) {
    engine_.volumes[{"vg0", "root"}].device = std::make_shared<block::MemoryDevice>(root_);
    options_.volumes = {{"vg0", "root"}};
    options_.hostname = "host";
    options_.program_version = "respaldo test";
    options_.threads = 2;
    options_.writer = small_packs();
  }
  BackupSummary run(std::stop_token stop = {}) {
    return run_backup(
        engine_, *indexed(*repository_), options_, progress_, [this](LockLook look) { still_locked_(look); }, stop);
  }
  std::vector<view::StoredVolume> volumes(const BackupSummary& summary) {
    for (const auto& backup : repository_->snapshots())
      if (backup.id == summary.id) return view::stored_volumes(*indexed(*repository_), backup.snapshot);
    ADD_FAILURE() << "the backup is not listed";
    return {};
  }
  bool holds(const view::StoredVolume& volume, ByteView expected) {
    const auto device = view::open_image(indexed(*repository_), volume);
    return device->size() == expected.size() &&
           as_text(block::read(*device, 0, expected.size())) == as_text(expected);
  }
  // Nothing is listed, no snapshot stays, whatever was thrown.
  template <class Thrown>
  void expect_nothing_is_listed(std::stop_token stop = {}) {
    EXPECT_THROW(run(std::move(stop)), Thrown);
    EXPECT_THAT(repository_->snapshots(), IsEmpty());
    EXPECT_EQ(engine_.held, 0);
  }
  void make_faulty(std::function<void(Extent)> fault) {
    auto& device = engine_.volumes.begin()->second.device;
    device = block::faulty(device, std::move(fault));
  }

  FakeEngine engine_;
  std::unique_ptr<repo::Repository> repository_;
  Bytes root_;
  BackupOptions options_;
  SilentProgress progress_;
  std::function<void(LockLook)> still_locked_ = [](LockLook) {};
};

TEST_F(Backup, holds_the_volume_byte_for_byte_with_its_facts) {
  engine_.volumes.begin()->second.cow = engine::CowFigures{100, 8, 24, 2400, true};
  options_.cow_size = 100;
  const BackupSummary summary = run();
  EXPECT_FALSE(summary.incomplete);
  EXPECT_THAT(summary.warnings, IsEmpty());
  EXPECT_EQ(engine_.held, 0);
  EXPECT_EQ(engine_.asked_cow_size, 100U);
  const auto stored = volumes(summary);
  ASSERT_EQ(stored.size(), 1U);
  EXPECT_TRUE(holds(stored[0], root_));
  ASSERT_TRUE(stored[0].facts);
  const view::VolumeFacts& facts = *stored[0].facts;
  EXPECT_EQ(facts.vg + "/" + facts.lv, "vg0/root");
  EXPECT_EQ(facts.lv_uuid, "uuid-of-root");
  EXPECT_EQ(facts.vg_uuid, "uuid-of-vg0");
  EXPECT_EQ(facts.size, kSize);
  EXPECT_EQ(facts.how, "snapshot");
  EXPECT_EQ(facts.engine, "image");
  EXPECT_EQ(facts.cow_used, 24U);
  EXPECT_EQ(summary.volumes.at(0).bytes_read, kSize);
  EXPECT_GE(summary.volumes.at(0).bytes_zero, 8 * kMiB);

  const auto backup = repository_->snapshots().at(0).snapshot;
  EXPECT_THAT(backup.paths, ElementsAre("/dev/vg0/root"));
  EXPECT_EQ(backup.summary->data_blobs, summary.totals.data_blobs);
  EXPECT_EQ(backup.summary->files_new, 3U);
  EXPECT_EQ(backup.summary->dirs_new, 2U);
  EXPECT_EQ(view::find_node(*indexed(*repository_), backup, "/vg0/vg.conf")->size, 12U);
}

TEST_F(Backup, a_second_one_stores_only_what_changed_and_knows_its_parent) {
  const BackupSummary first = run();
  root_.data()[17 * kMiB] ^= 1;
  engine_.volumes.begin()->second.device = std::make_shared<block::MemoryDevice>(root_);
  const BackupSummary second = run();
  EXPECT_EQ(second.totals.data_blobs, 1U);
  EXPECT_TRUE(holds(volumes(second).at(0), root_));
  const auto backups = repository_->snapshots();
  ASSERT_EQ(backups.size(), 2U);
  EXPECT_EQ(backups[1].snapshot.parent, first.id);
  EXPECT_EQ(backups[1].snapshot.summary->files_changed, 1U);
  EXPECT_EQ(backups[1].snapshot.summary->files_unmodified, 2U);
}

// A process that is killed in the middle of a backup into a real folder.
TEST_F(Backup, what_a_killed_run_has_stored_is_not_stored_again) {
  const os::TemporaryFolder folder;
  const std::string place = (folder.path() / "repo").native();
  repo::Repository::CreateOptions create;
  create.scrypt = crypto::ScryptParameters{1024, 1, 1};
  repository_ = repo::Repository::create(store::open_location(place), "secret", create);
  root_ = random_bytes(60 * kMiB, 5);
  auto& device = engine_.volumes.begin()->second.device;
  device = std::make_shared<block::MemoryDevice>(root_);
  options_.threads = 1;
  options_.writer.index_blobs = 1;  // as if each pack took long
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    make_faulty([](Extent range) {
      // Of the pass: looking for filesystems reads the ends of the volume.
      if (range.offset >= 40 * kMiB && range.offset < 50 * kMiB) ::kill(::getpid(), SIGKILL);
    });
    run();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_THAT(repository_->snapshots(), IsEmpty());
  const BackupSummary summary = run();
  // What lay in full packs is known, but perhaps for the last, whose index was under way; of the range that was being read
  // nothing was stored.
  EXPECT_LE(summary.totals.new_bytes, 33 * kMiB);
  EXPECT_GE(summary.totals.new_bytes, 20 * kMiB);
  EXPECT_TRUE(holds(volumes(summary).at(0), root_));
}

TEST_F(Backup, several_volumes_of_several_groups_are_one_backup) {
  const Bytes home = random_bytes(3000, 2), data = random_bytes(kMiB, 3);
  engine_.volumes[{"vg0", "home"}].device = std::make_shared<block::MemoryDevice>(home);
  engine_.volumes[{"vg1", "data"}].device = std::make_shared<block::MemoryDevice>(data);
  engine_.volumes[{"vg1", "empty"}].device = std::make_shared<block::MemoryDevice>(std::uint64_t{0});
  options_.volumes = {{"vg1", "data"}, {"vg0", "root"}, {"vg0", "home"}, {"vg1", "empty"}};
  auto stored = volumes(run());
  ASSERT_EQ(stored.size(), 4U);
  EXPECT_TRUE(holds(view::select_volume(stored, "vg0/root"), root_));
  EXPECT_TRUE(holds(view::select_volume(stored, "vg0/home"), home));
  EXPECT_TRUE(holds(view::select_volume(stored, "vg1/data"), data));
  EXPECT_TRUE(holds(view::select_volume(stored, "vg1/empty"), {}));
}

TEST_F(Backup, an_image_beyond_a_part_is_stored_in_parts) {
  std::map<std::uint64_t, Bytes> islands;
  islands.emplace(kMiB, random_bytes(4096, 1));
  islands.emplace(view::kImagePartSize - 4096, random_bytes(8192, 2));  // over the border
  const std::uint64_t size = view::kImagePartSize + 3 * kMiB;
  const auto device = std::make_shared<SparseDevice>(size, std::move(islands));
  engine_.volumes.begin()->second.device = device;
  const auto stored = volumes(run());
  ASSERT_EQ(stored.size(), 1U);
  EXPECT_EQ(stored[0].parts.size(), 2U);
  EXPECT_EQ(stored[0].image_size, size);
  const auto image = view::open_image(indexed(*repository_), stored[0]);
  EXPECT_EQ(image->size(), size);
  for (const std::uint64_t offset :
       {std::uint64_t{0}, kMiB - 100, view::kImagePartSize - 10000, size - 100000})
    EXPECT_EQ(as_text(block::read(*image, offset, 20000)), as_text(block::read(*device, offset, 20000)));
}

// As with millions of small files: more IDs than one tree shall list.
TEST_F(Backup, an_image_whose_list_is_too_long_for_one_tree_has_a_tree_for_each_part) {
  const BackupSummary ordinary = run();
  options_.limits = {.image_ids = 10, .least_part_ids = 2, .most_part_ids = 4};
  const BackupSummary first = run();
  EXPECT_EQ(first.totals.data_blobs, 0U);
  const auto stored = volumes(first).at(0);
  EXPECT_GE(stored.parts.size(), 3U);
  EXPECT_TRUE(holds(stored, root_));
  const auto tree_of = [&](std::size_t backup) { return repository_->snapshots().at(backup).snapshot.tree; };
  EXPECT_FALSE(view::find_node(*indexed(*repository_), repository_->snapshots().at(1).snapshot,
                               "/vg0/root/image.raw"));
  const BackupSummary second = run();
  EXPECT_EQ(second.totals.tree_blobs + second.totals.data_blobs, 0U);
  EXPECT_EQ(tree_of(2), tree_of(1));
  root_.data()[20 * kMiB] ^= 1;  // in the last part: its tree, and the four above it
  engine_.volumes.begin()->second.device = std::make_shared<block::MemoryDevice>(root_);
  const BackupSummary third = run();
  EXPECT_EQ(third.totals.data_blobs, 1U);
  EXPECT_LE(third.totals.tree_blobs, 6U);
  EXPECT_TRUE(holds(volumes(third).at(0), root_));
  // Just as many as there may be: what it always was.
  std::size_t ids = 0;
  for (const auto& part : stored.parts) ids += part.size();
  options_.limits.image_ids = ids;
  const auto whole = volumes(run()).at(0);
  EXPECT_EQ(whole.parts.size(), 1U);
  EXPECT_EQ(whole.parts[0].size(), volumes(ordinary).at(0).parts[0].size());
  EXPECT_TRUE(holds(whole, root_));
}

TEST_F(Backup, parts_in_folders_are_what_restic_restores) {
  const os::TemporaryFolder folder;
  const std::string place = (folder.path() / "repo").native();
  repo::Repository::CreateOptions create;
  create.scrypt = crypto::ScryptParameters{1024, 8, 1};
  repository_ = repo::Repository::create(store::open_location(place), "secret", create);
  options_.limits = {.image_ids = 10, .least_part_ids = 2, .most_part_ids = 4};
  run();
  const auto restic = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"restic", "--no-cache", "-r", place});
    return os::run_command(words, {.environment = {"RESTIC_PASSWORD=secret"}});
  };
  const auto checked = restic({"check", "--read-data"});
  EXPECT_EQ(checked.exit_code, 0) << checked.err;
  const auto restored = restic({"restore", "latest", "--target", folder.path() / "back"});
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
  std::set<std::filesystem::path> parts;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "back/vg0/root/image"))
    parts.insert(entry.path() / "image.raw");
  EXPECT_GE(parts.size(), 3U);
  std::string joined;
  for (const auto& part : parts) joined += os::read_text(part);
  EXPECT_TRUE(joined == as_text(root_));
}

TEST_F(Backup, an_empty_tebibyte_is_a_short_list_that_is_stored_once) {
  engine_.volumes.begin()->second.device =
      std::make_shared<SparseDevice>(std::uint64_t{1} << 40, std::map<std::uint64_t, Bytes>());
  const BackupSummary first = run();
  const auto stored = volumes(first).at(0);
  EXPECT_EQ(stored.image_size, std::uint64_t{1} << 40);
  ASSERT_EQ(stored.parts.size(), 16U);
  for (const auto& part : stored.parts) {
    EXPECT_LT(part.size(), 8300U);
    EXPECT_EQ(part.front(), view::zero_blob_id());  // restic's sparse restore looks for it
  }
  const BackupSummary second = run();
  EXPECT_EQ(second.totals.tree_blobs + second.totals.data_blobs, 0U);
  const auto backups = repository_->snapshots();
  ASSERT_EQ(backups.size(), 2U);
  EXPECT_EQ(backups[0].snapshot.tree, backups[1].snapshot.tree);
  EXPECT_EQ(backups[1].snapshot.summary->files_unmodified, 18U);
  EXPECT_EQ(backups[1].snapshot.summary->dirs_unmodified, 3U);
}

TEST_F(Backup, a_given_snapshot_is_stored_under_its_origin) {
  auto& snapshot = engine_.volumes[{"vg0", "before"}];
  snapshot.device = std::make_shared<block::MemoryDevice>(root_);
  snapshot.origin = "root";
  options_.volumes = {{"vg0", "before"}};
  options_.from_snapshot = true;
  const auto stored = volumes(run());
  ASSERT_EQ(stored.size(), 1U);
  EXPECT_EQ(stored[0].str(), "vg0/root");
  EXPECT_EQ(stored[0].facts->how, "given");
  EXPECT_EQ(stored[0].facts->snapshot_name, "vg0/before");
  EXPECT_EQ(stored[0].facts->lv, "root");
}

TEST_F(Backup, a_dry_run_counts_and_stores_nothing) {
  options_.dry_run = true;
  const BackupSummary summary = run();
  EXPECT_FALSE(summary.id);
  EXPECT_GT(summary.totals.data_blobs, 10U);
  EXPECT_THAT(pack_names(*repository_), IsEmpty());
  EXPECT_THAT(repository_->snapshots(), IsEmpty());
  EXPECT_EQ(engine_.held, 0);
}

TEST_F(Backup, a_snapshot_that_dies_while_it_is_read_lists_nothing) {
  make_faulty([&](Extent range) {
    if (range.offset > 10 * kMiB) engine_.snapshots_live = false;
  });
  expect_nothing_is_listed<Error>();
}

TEST_F(Backup, a_snapshot_that_dies_with_the_last_byte_lists_nothing) {
  make_faulty([&](Extent range) {
    if (range.offset + range.length == kSize) engine_.snapshots_live = false;
  });
  expect_nothing_is_listed<Error>();
}

TEST_F(Backup, stopped_anywhere_it_lists_nothing) {
  for (int at = 0;; ++at) {
    std::stop_source stop;
    std::atomic<int> reads = 0;
    engine_.volumes.begin()->second.device = std::make_shared<block::MemoryDevice>(root_);
    make_faulty([&](Extent) {
      if (reads++ == at) stop.request_stop();
    });
    still_locked_ = [&](LockLook) {
      if (reads <= at) throw Cancelled();  // past the last read: stopped at the last moment
    };
    expect_nothing_is_listed<Cancelled>(stop.get_token());
    if (reads <= at) break;
  }
}

TEST_F(Backup, stopped_after_the_last_byte_it_lists_nothing) {
  std::stop_source stop;
  engine_.on_release = [&] { stop.request_stop(); };
  expect_nothing_is_listed<Cancelled>(stop.get_token());
}

TEST_F(Backup, a_lost_lock_lists_nothing) {
  for (const LockLook when : {LockLook::asked, LockLook::recent}) {
    bool thrown = false;
    still_locked_ = [&](LockLook look) {
      if (look != when) return;
      thrown = true;
      throw Error(ErrorKind::busy, "the lock was lost");
    };
    expect_nothing_is_listed<Error>();
    EXPECT_TRUE(thrown);
  }
}

// A store that holds indexes back.
struct SlowIndexes : store::Forward {
  using Forward::Forward;
  void save(const store::Handle& handle, std::span<const ByteView> parts, store::Durability durability) override {
    if (handle.type == store::FileType::index) before_index();
    Forward::save(handle, parts, durability);
  }
  std::function<void()> before_index = [] {};
};

TEST_F(Backup, the_lock_is_looked_at_beside_the_last_index) {
  repository_.reset();
  auto slow = std::make_unique<SlowIndexes>(store::open_memory());
  SlowIndexes& store = *slow;
  repo::Repository::CreateOptions create;
  create.scrypt = crypto::ScryptParameters{1024, 1, 1};
  repository_ = repo::Repository::create(std::move(slow), "secret", create);
  std::atomic<bool> asked = false, indexed = false;
  still_locked_ = [&](LockLook look) {
    asked = asked || look == LockLook::asked;
    if (look == LockLook::recent) {
      EXPECT_TRUE(indexed) << "the last look comes behind the index";
    }
  };
  store.before_index = [&] {
    for (int i = 0; i < 2000 && !asked; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(asked);
    indexed = true;
  };
  run();
  EXPECT_TRUE(indexed);
}

TEST_F(Backup, a_read_error_lists_nothing_or_is_recorded) {
  make_faulty([](Extent range) {
    if (range.contains(16 * kMiB + 5000)) throw Error(ErrorKind::io, "Input/output error");
  });
  expect_nothing_is_listed<Error>();
  options_.on_read_error = OnReadError::skip;
  const BackupSummary summary = run();
  EXPECT_TRUE(summary.incomplete);
  EXPECT_TRUE(repository_->snapshots().at(0).snapshot.incomplete) << "forget does not take it for a whole one";
  const auto stored = volumes(summary);
  ASSERT_EQ(stored.at(0).facts->lost.size(), 1U);
  EXPECT_EQ(stored[0].facts->lost[0].extent, (Extent{16 * kMiB + 4096, 4096}));
  std::memset(root_.data() + 16 * kMiB + 4096, 0, 4096);
  EXPECT_TRUE(holds(stored[0], root_));
}

TEST_F(Backup, a_volume_that_does_not_exist_lists_nothing_of_the_others) {
  options_.volumes.push_back({"vg0", "nowhere"});
  expect_nothing_is_listed<Error>();
  EXPECT_EQ(engine_.acquired, 1);
}

TEST_F(Backup, a_snapshot_that_stays_behind_is_a_warning) {
  engine_.volumes.begin()->second.release_fails = true;
  const BackupSummary summary = run();
  EXPECT_TRUE(summary.id);
  ASSERT_EQ(summary.warnings.size(), 1U);
  EXPECT_THAT(summary.warnings[0], HasSubstr("somebody has it open"));
}

TEST_F(Backup, of_another_volume_of_the_same_name_is_told) {
  EXPECT_THAT(run().warnings, IsEmpty());
  EXPECT_THAT(run().warnings, IsEmpty());
  engine_.volumes.begin()->second.uuid = "of another disk";
  EXPECT_THAT(run().warnings, ElementsAre(AllOf(HasSubstr("vg0/root"), HasSubstr("another volume"), HasSubstr("--host"))));
  EXPECT_THAT(run().warnings, IsEmpty()) << "it is the one from now on";
  engine_.volumes.begin()->second.uuid.clear();
  options_.hostname = "another";
  EXPECT_THAT(run().warnings, IsEmpty());
}

TEST_F(Backup, of_snapshots_made_anew_is_no_other_volume) {
  FakeVolume& snapshot = engine_.volumes[{"vg0", "snap"}];
  snapshot.device = engine_.volumes.begin()->second.device;
  snapshot.origin = "root";
  options_.volumes = {{"vg0", "snap"}};
  options_.from_snapshot = true;
  run();
  snapshot.uuid = "of tonight's";
  EXPECT_THAT(run().warnings, IsEmpty());
  options_.from_snapshot = false;
  options_.volumes = {{"vg0", "root"}};
  EXPECT_THAT(run().warnings, IsEmpty());
}

TEST_F(Backup, refuses_no_volume_and_one_named_twice) {
  options_.volumes.push_back({"vg0", "root"});
  expect_nothing_is_listed<Error>();
  options_.volumes.clear();
  expect_nothing_is_listed<Error>();
}

}  // namespace
}  // namespace respaldo::backup
