// Backups with bases, in an engine that tells what it is told to tell.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "backup/backup.h"
#include "backup/fake_engine_test.h"
#include "base/units.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "crypto/crypto.h"
#include "os/file.h"
#include "os/process.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"

namespace respaldo::backup {
namespace {

using namespace respaldo::testing;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kSize = 12 * kMiB;

constexpr const char *kSnapshotUuid = "2bOrN0-t2bO-rN0t-Hati-sthe-ques-tion01", *kBindingUuid = "k33pM3-t0th-eOri-ginl-vM0f-th1s-Gr0up1";

std::string group_text(std::uint64_t first_extent, const std::string& binding_uuid = kBindingUuid) {
  return fmt::format(R"(vg0 {{
id = "Xjb8aR-PMGl-gtXL-8jmi-Yp0o-2YEt-8ZCq9l"
seqno = 1
format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = 8192
max_lv = 0
max_pv = 0
physical_volumes {{
pv0 {{
id = "uQYcJi-ZyS3-UXqn-Bo9p-n3mV-8S0e-PbPz1m"
device = "/dev/sda"
status = ["ALLOCATABLE"]
flags = []
dev_size = 819200
pe_start = 2048
pe_count = 99
}}
}}
logical_volumes {{
root {{
id = "Hc2Pn5-ALrD-3bPU-cDQn-Pxpz-tHpP-1ar0gT"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = 1
segment1 {{
start_extent = 0
extent_count = 3
type = "striped"
stripe_count = 1
stripes = [
"pv0", {}
]
}}
}}
base {{
id = "{}"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = 1
segment1 {{
start_extent = 0
extent_count = 1
type = "striped"
stripe_count = 1
stripes = [
"pv0", 50
]
}}
}}
snapshot0 {{
id = "{}"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = 1
segment1 {{
start_extent = 0
extent_count = 3
type = "snapshot"
chunk_size = 8
origin = "root"
cow_store = "base"
}}
}}
}}
}}
contents = "Text Format Volume Group"
version = 1
description = ""
creation_host = "host"
creation_time = 1700000000
)",
                     first_extent, kSnapshotUuid, binding_uuid);
}

class Bases : public ::testing::Test {
 protected:
  Bases() : repository_(memory_repository()), bytes_(random_bytes(kSize, 1)) {
    engine_.config = group_text(0);
    show();
    engine::BaseIdentity identity;
    identity.snapshot_uuid = kSnapshotUuid;
    identity.origin_uuid = "uuid-of-root";
    identity.vg_uuid = "uuid-of-vg0";
    identity.size = kSize;
    identity.chunk = 4096;
    volume().next_base = identity;
    options_.volumes = {{"vg0", "root"}};
    options_.hostname = "host";
    options_.program_version = "respaldo test";
    options_.threads = 2;
    options_.keep_base = true;
  }
  FakeVolume& volume() { return engine_.volumes[{"vg0", "root"}]; }
  FakeBase& base() { return volume().bases.at(0); }
  void show() { volume().device = std::make_shared<block::MemoryDevice>(bytes_); }
  // The base knows of it.
  void write(std::uint64_t at) {
    bytes_.data()[at] ^= 1;
    base().changed.add({at / 4096 * 4096, 4096});
    show();
  }
  BackupSummary run() {
    return run_backup(engine_, *indexed(*repository_), options_, progress_, [this](LockLook) { still_locked_(); }, {});
  }
  const view::BaseRecord& facts(const BackupSummary& summary) { return summary.volumes.at(0).base; }
  bool holds(const BackupSummary& summary) {
    for (const auto& backup : repository_->snapshots()) {
      if (backup.id != summary.id) continue;
      const auto repository = indexed(*repository_);
      const auto device = view::open_image(
          repository, view::select_volume(view::stored_volumes(*repository, backup.snapshot), {}));
      return as_text(block::read(*device, 0, kSize)) == as_text(bytes_);
    }
    return false;
  }
  // After a first backup and a change of its base everything is read, and that is why.
  void expect_refused(const std::string& why) {
    const BackupSummary summary = run();
    EXPECT_THAT(facts(summary).refused, HasSubstr(why));
    EXPECT_FALSE(facts(summary).used);
    EXPECT_EQ(summary.volumes.at(0).bytes_read, kSize);
    EXPECT_TRUE(holds(summary));
  }

  FakeEngine engine_;
  std::unique_ptr<repo::Repository> repository_;
  Bytes bytes_;
  BackupOptions options_;
  SilentProgress progress_;
  std::function<void()> still_locked_ = [] {};
};

TEST_F(Bases, a_stop_when_the_backup_is_listed_is_no_end) {
  engine_.on_release = [] { throw Cancelled(); };
  const BackupSummary summary = run();
  ASSERT_TRUE(summary.id);
  EXPECT_TRUE(holds(summary));
  EXPECT_THAT(summary.warnings, ElementsAre(HasSubstr("could not be removed: interrupted")));
}

TEST_F(Bases, of_another_repository_are_replaced_with_a_word) {
  EXPECT_THAT(run().warnings, IsEmpty());
  EXPECT_THAT(run().warnings, IsEmpty());
  const auto first = std::exchange(repository_, memory_repository());
  EXPECT_THAT(run().warnings, ElementsAre(AllOf(HasSubstr("not in this repository"), HasSubstr("--keep-base"))));
  EXPECT_THAT(run().warnings, IsEmpty());
}

TEST_F(Bases, spare_what_did_not_change) {
  const BackupSummary first = run();
  EXPECT_TRUE(first.volumes.at(0).base_kept);
  ASSERT_EQ(volume().bases.size(), 1U);
  const std::string token = base().identity.token;
  EXPECT_EQ(facts(first).kept->token, token);
  write(5 * kMiB + 1);
  const BackupSummary second = run();
  EXPECT_EQ(second.volumes.at(0).bytes_read, kMiB);
  EXPECT_EQ(second.volumes.at(0).bytes_reused, kSize - kMiB);
  EXPECT_TRUE(holds(second));
  ASSERT_TRUE(facts(second).used);
  EXPECT_EQ(facts(second).used->token, token);
  EXPECT_EQ(facts(second).used->backup, first.id->hex());
  EXPECT_EQ(facts(second).used->changed_bytes, 4096U);
  ASSERT_EQ(volume().bases.size(), 1U) << "the new one took the place of the old one";
  EXPECT_NE(base().identity.token, token);
  EXPECT_THAT(second.warnings, IsEmpty());
}

TEST_F(Bases, serve_several_backups_while_none_is_kept) {
  run();
  options_.keep_base = false;
  for (const std::uint64_t at : {1 * kMiB, 2 * kMiB, 3 * kMiB}) {
    write(at);
    const BackupSummary summary = run();
    EXPECT_EQ(summary.volumes.at(0).bytes_read, at);  // what changed since the base, each time
    EXPECT_TRUE(holds(summary));
    EXPECT_FALSE(summary.volumes.at(0).base_kept);
  }
  EXPECT_EQ(volume().bases.size(), 1U);
}

TEST_F(Bases, are_not_used_when_all_is_asked_for) {
  run();
  options_.full = true;
  expect_refused("a full backup was asked for");
}

TEST_F(Bases, of_another_volume_size_or_place_are_refused) {
  const auto changed = [&](const std::string& why, auto change) {
    volume().bases.clear();
    engine_.config = group_text(0);
    run();
    change();
    expect_refused(why);
  };
  changed("resized", [&] { base().identity.size += 4096; });
  changed("volume is not the one", [&] { base().identity.origin_uuid = "other"; });
  changed("volume group is not the one", [&] { base().identity.vg_uuid = "other"; });
  changed("UUID is not the one", [&] { base().identity.snapshot_uuid = "other"; });
  changed("chunk size is not the one", [&] { base().identity.chunk = 8192; });
  changed("kind is not the one", [&] { base().identity.source = change::Source::thin; });
  changed("not in this repository", [&] { base().identity.token[30] ^= 1; });
  changed("not in this repository", [&] { base().identity.token = "nonsense"; });
  changed("does not lie where it lay", [&] { engine_.config = group_text(7); });
  changed("attached again", [&] { engine_.config = group_text(0, "n3wM3t-t0th-eOri-ginl-vM0f-th1s-Gr0up1"); });
  changed("overflowed", [&] { base().failure = Error(ErrorKind::overflow, "the store overflowed"); });
}

TEST_F(Bases, are_neither_used_nor_kept_when_the_groups_metadata_cannot_be_read_again) {
  run();
  write(5 * kMiB);
  const std::string token = base().identity.token;
  int asked = 0;
  engine_.on_config = [&] {
    if (++asked > 1) throw Error(ErrorKind::io, "the disk went away");
  };
  const BackupSummary summary = run();
  EXPECT_EQ(asked, 2) << "with each backup and for its bases, once";
  EXPECT_THAT(facts(summary).refused, AllOf(HasSubstr("vg0 cannot be read again"), HasSubstr("the disk went away")));
  EXPECT_FALSE(facts(summary).kept);
  EXPECT_THAT(summary.warnings, ElementsAre(AllOf(HasSubstr("vg0/root: no base is kept"), HasSubstr("the disk went away"))));
  EXPECT_TRUE(holds(summary));
  EXPECT_EQ(base().identity.token, token) << "the old one stays";
}

// vgcfgrestore of old metadata: all that identifies the old base is there again.
TEST_F(Bases, that_come_back_while_a_newer_one_is_gone_are_refused) {
  run();
  const auto old = volume().bases;
  const BackupSummary second = run();
  volume().bases = old;
  bytes_.data()[5 * kMiB] ^= 1;  // the old base was not there
  show();
  expect_refused("the newer base that backup " + second.id->short_hex() + " kept is gone");
  options_.keep_base = false;
  EXPECT_TRUE(facts(run()).used) << "of the one that was kept since";
}

TEST_F(Bases, that_were_removed_here_are_refused_even_when_nothing_newer_is_known) {
  const os::TemporaryFolder folder;
  options_.state = folder.path();
  run();
  const auto old = volume().bases;
  const BackupSummary second = run();
  repository_->backend().remove({store::FileType::snapshot, second.id->hex()});
  volume().bases = old;
  bytes_.data()[5 * kMiB] ^= 1;
  show();
  expect_refused("it was removed, and has come back");
}

// A guest that is saved holds no lock on its disk, and its kernel will not know of the snapshot.
TEST_F(Bases, of_a_machine_that_is_saved_are_neither_kept_nor_believed) {
  const os::TemporaryFolder folder;
  const std::string disk = folder.path() / "disk";
  const auto load = [&] {
    bytes_ = Bytes::copy_of(as_bytes(os::read_text(disk)));
    show();
    volume().how = "direct";
  };
  ASSERT_EQ(os::run_command({"mke2fs", "-q", "-F", "-t", "ext4", disk, "12M"}).exit_code, 0);
  load();
  EXPECT_TRUE(run().volumes.at(0).base_kept) << "it is shut down";
  const std::string token = base().identity.token;
  ASSERT_EQ(os::run_command({"debugfs", "-w", "-R", "feature needs_recovery", disk}).exit_code, 0);
  load();
  const BackupSummary summary = run();
  EXPECT_FALSE(summary.volumes.at(0).base_kept);
  EXPECT_FALSE(facts(summary).kept);
  EXPECT_FALSE(facts(summary).used);
  EXPECT_THAT(facts(summary).refused, HasSubstr("not left clean"));
  EXPECT_THAT(summary.warnings, ElementsAre(AllOf(HasSubstr("no base is kept"), HasSubstr("was not left clean"),
                                                  HasSubstr("saved or hibernated"))));
  ASSERT_EQ(volume().bases.size(), 1U);
  EXPECT_EQ(base().identity.token, token);
  volume().how = "snapshot";  // of a volume in use the journal is always open
  EXPECT_TRUE(run().volumes.at(0).base_kept);
}

TEST_F(Bases, of_cloned_machines_do_not_disturb_each_other) {
  run();
  const auto ours = std::exchange(volume().bases, {});
  options_.hostname = "clone";
  run();
  options_.hostname = "host";
  volume().bases = ours;
  EXPECT_TRUE(facts(run()).used);
}

TEST_F(Bases, whose_backup_is_gone_or_lacks_a_blob_are_refused) {
  const BackupSummary first = run();
  repository_->backend().remove({store::FileType::snapshot, first.id->hex()});
  expect_refused("not in this repository");
  // The indexes forget one blob of the image.
  for (const auto& file : repository_->backend().list(store::FileType::index)) {
    auto packs = repo::parse_index(repository_->load_unpacked(store::FileType::index, file.name));
    bool forgotten = false;
    for (auto& pack : packs)
      forgotten |= std::erase_if(pack.blobs, [&](const repo::PackedBlob& blob) {
                     return blob.id.bytes == crypto::sha256(bytes_.view(3 * kMiB, kMiB));
                   }) > 0;
    if (!forgotten) continue;
    repository_->backend().remove({store::FileType::index, file.name});
    repository_->save_unpacked(store::FileType::index, repo::to_json(packs), store::Durability::now);
  }
  const BackupSummary healed = run();
  // The lost pack may hold the record of the cuts, too.
  EXPECT_THAT(facts(healed).refused, AnyOf(HasSubstr("in no index"), HasSubstr("no sound cuts.json")));
  EXPECT_TRUE(holds(healed)) << "and what was missing is stored again";
}

TEST_F(Bases, do_not_hide_what_was_lost) {
  options_.on_read_error = OnReadError::skip;
  volume().device = block::faulty(volume().device, [](Extent range) {
    if (!intersect(range, {3 * kMiB + 8192, 4096}).empty())
      throw Error(ErrorKind::io, "a bad sector").set_error_number(EIO);
  });
  const BackupSummary first = run();
  EXPECT_TRUE(first.incomplete);
  show();
  const BackupSummary second = run();
  EXPECT_TRUE(facts(second).used);
  EXPECT_EQ(second.volumes.at(0).bytes_read, kMiB);
  EXPECT_FALSE(second.incomplete);
  EXPECT_TRUE(holds(second));
}

TEST_F(Bases, stay_as_they_are_when_the_backup_fails) {
  run();
  const std::string token = base().identity.token;
  still_locked_ = [] { throw Error(ErrorKind::busy, "the lock is lost"); };
  write(kMiB);
  EXPECT_THROW(run(), Error);
  ASSERT_EQ(volume().bases.size(), 1U);
  EXPECT_EQ(base().identity.token, token);
  EXPECT_EQ(engine_.held, 0);
}

TEST_F(Bases, that_cannot_be_kept_are_told) {
  volume().next_base.reset();
  const BackupSummary summary = run();
  ASSERT_EQ(summary.warnings.size(), 1U);
  EXPECT_THAT(summary.warnings[0], HasSubstr("no base is kept for the next backup: there is no room"));
  EXPECT_TRUE(holds(summary));
}

// What was recorded as kept, and is not there, would speak against the old one every night.
TEST_F(Bases, that_are_lost_while_the_volume_is_read_are_not_recorded) {
  run();
  const std::string token = base().identity.token;
  volume().base_is_lost_meanwhile = true;
  const BackupSummary summary = run();
  EXPECT_FALSE(summary.volumes.at(0).base_kept);
  EXPECT_FALSE(facts(summary).kept);
  EXPECT_THAT(summary.warnings, ElementsAre(HasSubstr("no base is kept for the next backup: there is no room")));
  ASSERT_EQ(volume().bases.size(), 1U);
  EXPECT_EQ(base().identity.token, token);
  volume().base_is_lost_meanwhile = false;
  EXPECT_TRUE(facts(run()).used) << "of the old one";
  EXPECT_EQ(engine_.held, 0);
}

TEST_F(Bases, are_neither_kept_nor_removed_by_a_dry_run) {
  run();
  const std::string token = base().identity.token;
  options_.dry_run = true;
  write(kMiB);
  const BackupSummary summary = run();
  EXPECT_EQ(summary.volumes.at(0).bytes_read, kMiB);
  ASSERT_EQ(volume().bases.size(), 1U);
  EXPECT_EQ(base().identity.token, token);
}

}  // namespace
}  // namespace respaldo::backup
