// Images whose lists are too long for one tree come back in every way; a small one with small limits stands
// for them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "backup/backup.h"
#include "backup/fake_engine_test.h"
#include "block/file_device.h"
#include "os/file.h"
#include "os/process.h"
#include "restore/file_restore.h"
#include "restore/image_restore.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "verify/check.h"
#include "view/tree_diff.h"

namespace respaldo::cli {
namespace {

using namespace respaldo::testing;

constexpr int kFiles = 200;

std::string content(int file) {
  return std::string(as_text(random_bytes(100 + static_cast<std::size_t>(file) * 50, file)));
}

class LongList : public ::testing::Test {
 protected:
  LongList() {
    std::filesystem::create_directories(folder_.path() / "tree");
    for (int i = 0; i < kFiles; ++i)
      std::ofstream(folder_.path() / fmt::format("tree/file{}", i), std::ios::binary) << content(i);
    const std::string image = folder_.path() / "image";
    EXPECT_EQ(os::run_command({"mke2fs", "-q", "-t", "ext4", "-d", folder_.path() / "tree", image, "16M"})
                  .exit_code,
              0);
    volume_ = os::read_text(image);
  }
  backup::BackupSummary back_up(std::size_t image_ids = 100) {
    backup::FakeEngine engine;
    engine.volumes[{"vg0", "root"}].device = std::make_shared<block::MemoryDevice>(as_bytes(volume_));
    backup::BackupOptions options;
    options.volumes = {{"vg0", "root"}};
    options.all_blocks = true;  // the image is then the volume
    options.limits = {.image_ids = image_ids, .least_part_ids = 32, .most_part_ids = 64};
    return backup::run_backup(engine, *indexed(*repository_), options, progress_, [](backup::LockLook) {}, {});
  }
  repo::Snapshot snapshot(const backup::BackupSummary& of) {
    for (const auto& backup : repository_->snapshots())
      if (backup.id == of.id) return backup.snapshot;
    throw Error(ErrorKind::not_found, "not listed");
  }
  view::StoredVolume stored(const backup::BackupSummary& of) {
    return view::stored_volumes(*indexed(*repository_), snapshot(of)).at(0);
  }
  std::uint64_t bytes_changed(const backup::BackupSummary& a, const backup::BackupSummary& b) {
    const auto blobs = indexed(*repository_);
    std::uint64_t changed = 0;
    view::TreeDiff diff(
        *blobs, {[](const view::Difference& one) { EXPECT_FALSE(one.path.starts_with("/vg0/root/image")); },
                 [&](const view::ImageDifference& image) { changed += image.bytes_changed; },
                 [](const std::string& path, const Error& error) { ADD_FAILURE() << path << error.what(); }},
        progress_);
    EXPECT_TRUE(diff.compare(snapshot(a), snapshot(b), "/", {}));
    return changed;
  }
  bool restores(const backup::BackupSummary& backup, block::MemoryDevice& target, bool in_place) {
    restore::restore_image(*indexed(*repository_), stored(backup), target, {.in_place = in_place}, progress_,
                           {});
    return as_text(block::read(target, 0, target.size())) == volume_;
  }
  void expect_sound() {
    const auto report = verify::check_repository(*repository_, {.read_data = true}, progress_, {});
    EXPECT_TRUE(report.findings.empty()) << report.findings.front().message;
  }

  const os::TemporaryFolder folder_;
  const std::unique_ptr<repo::Repository> repository_ = memory_repository();
  SilentProgress progress_;
  std::string volume_;
};

TEST_F(LongList, comes_back_by_every_way) {
  const auto first = back_up();
  EXPECT_GE(stored(first).parts.size(), 4U);
  block::MemoryDevice target(volume_.size());
  EXPECT_TRUE(restores(first, target, false));
  std::string streamed;
  restore::stream_image(*indexed(*repository_), stored(first),
                        [&](ByteView bytes) { streamed += as_text(bytes); }, progress_, {});
  EXPECT_TRUE(streamed == volume_);
  const auto files = view::find_node(*indexed(*repository_), snapshot(first), "/vg0/root/files");
  ASSERT_TRUE(files);
  restore::restore_files(*indexed(*repository_), *files, folder_.path() / "back", {}, progress_, {});
  for (int i = 0; i < kFiles; ++i)
    EXPECT_TRUE(os::read_text(folder_.path() / fmt::format("back/file{}", i)) == content(i)) << i;
  expect_sound();

  const auto second = back_up();
  EXPECT_EQ(second.totals.new_bytes, 0U);
  EXPECT_EQ(bytes_changed(first, second), 0U);

  volume_[9U << 20] ^= 1;
  const auto third = back_up();
  EXPECT_EQ(third.totals.data_blobs, 1U);
  EXPECT_GT(bytes_changed(second, third), 0U);
  EXPECT_TRUE(restores(third, target, true));
  expect_sound();
  // A list that has become short again is the same image in the other form.
  const auto fourth = back_up(100'000);
  EXPECT_EQ(fourth.totals.data_blobs, 0U);
  EXPECT_EQ(stored(fourth).parts.size(), 1U);
  EXPECT_EQ(bytes_changed(third, fourth), 0U);
  EXPECT_TRUE(restores(fourth, target, true));
}

}  // namespace
}  // namespace respaldo::cli
