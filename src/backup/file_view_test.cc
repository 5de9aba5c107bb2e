// What is seen on a volume, and what of it can be stored as files.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "backup/backup.h"
#include "backup/fake_engine_test.h"
#include "base/endian.h"
#include "block/file_device.h"
#include "os/file.h"
#include "os/process.h"
#include "testing/memory_repository.h"
#include "view/tree_walk.h"

namespace respaldo::backup {
namespace {

using namespace respaldo::testing;
namespace stdfs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t kMib = 1U << 20;

void run(const std::vector<std::string>& argv) { ASSERT_EQ(os::run_command(argv).exit_code, 0) << argv[0]; }

void put(const stdfs::path& path, std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  std::ofstream(path, std::ios::binary) << text;
}

class FileViewTest : public ::testing::Test {
 protected:
  stdfs::path path(const std::string& name) const { return folder_.path() / name; }

  BackupSummary back_up(const stdfs::path& image, bool quick = false) {
    FakeEngine engine;
    engine.volumes[{"vg0", "root"}].device =
        std::make_shared<block::FileDevice>(image, block::FileDevice::Access::read_only);
    BackupOptions options;
    options.volumes = {{"vg0", "root"}};
    options.threads = 2;
    options.writer = small_packs();
    options.quick = quick;
    options.limits = limits_;
    SilentProgress progress;
    return run_backup(engine, *indexed(*repository_), options, progress, [](LockLook) {}, {});
  }
  Bytes stored_image() const {
    const auto blobs = indexed(*repository_);
    const auto volumes = view::stored_volumes(*blobs, repository_->snapshots().front().snapshot);
    const auto stored = view::open_image(blobs, volumes.at(0));
    return block::read(*stored, 0, stored->size());
  }
  std::map<std::string, repo::Node> stored_files() const {
    const auto blobs = indexed(*repository_);
    const auto root = view::find_node(*blobs, repository_->snapshots().front().snapshot, "/vg0/root");
    std::map<std::string, repo::Node> found;
    view::TreeWalk walk(*blobs, *root, "/vg0/root");
    while (walk.next()) found.emplace(walk.entry().path, walk.entry().node);
    return found;
  }

  TreeLimits limits_;
  const os::TemporaryFolder folder_;
  const std::unique_ptr<repo::Repository> repository_ = memory_repository();
};

TEST_F(FileViewTest, a_superblock_that_was_left_behind_costs_nothing_of_the_partitions) {
  stdfs::create_directories(path("tree"));
  put(path("tree/file"), 20 * kMib, 1);
  const stdfs::path disk = path("disk");
  run({"mke2fs", "-q", "-F", "-t", "ext4", disk.string(), "64M"});
  // One partition from 1 MiB on; nothing was wiped.
  std::array<std::uint8_t, 66> mbr{};
  mbr[4] = 0x83;
  store_le32(mbr.data() + 8, 2048);
  store_le32(mbr.data() + 12, 63 * 2048);
  mbr[64] = 0x55;
  mbr[65] = 0xaa;
  {
    std::fstream out(disk, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(446);
    out.write(reinterpret_cast<const char*>(mbr.data()), mbr.size());
  }
  run({"mke2fs", "-q", "-F", "-t", "ext4", "-E", "offset=1048576", "-d", path("tree").string(), disk.string(),
       "63M"});
  const BackupSummary summary = back_up(disk);
  EXPECT_THAT(summary.warnings, Contains(HasSubstr("leftover")));
  EXPECT_EQ(summary.volumes.at(0).facts.free_bytes, 0U);
  EXPECT_EQ(as_text(stored_image()), os::read_text(disk));
  const auto files = stored_files();
  ASSERT_TRUE(files.contains("/vg0/root/part1/files/file"));
  EXPECT_EQ(files.at("/vg0/root/part1/files/file").size, 20 * kMib);
  EXPECT_FALSE(files.contains("/vg0/root/files"));
}

TEST_F(FileViewTest, pipes_and_sockets_are_known_by_their_further_names) {
  stdfs::create_directories(path("tree/sub"));
  for (const auto& [name, kind] : {std::pair("pipe", S_IFIFO), {"alone", S_IFIFO}, {"socket", S_IFSOCK}})
    ASSERT_EQ(::mknod((path("tree") / name).c_str(), kind | 0640, 0), 0);
  for (const char* name : {"pipe", "socket"}) stdfs::create_hard_link(path("tree") / name, path("tree/sub") / name);
  run({"mke2fs", "-q", "-F", "-t", "ext4", "-d", path("tree").string(), path("disk").string(), "8M"});
  back_up(path("disk"));
  const auto files = stored_files();
  for (const std::string name : {"pipe", "socket"}) {
    const repo::Node &first = files.at("/vg0/root/files/" + name), &second = files.at("/vg0/root/files/sub/" + name);
    EXPECT_EQ(first.links, 2U);
    EXPECT_EQ(second.links, 2U);
    EXPECT_EQ(first.inode, second.inode);
  }
  EXPECT_EQ(files.at("/vg0/root/files/alone").links, 0U);
}

TEST_F(FileViewTest, attributes_that_the_format_cannot_name_are_told) {
  stdfs::create_directories(path("tree"));
  put(path("tree/file"), 100, 1);
  ASSERT_EQ(::setxattr(path("tree/file").c_str(), "user.\xff", "1", 1, 0), 0);
  ASSERT_EQ(::setxattr(path("tree/file").c_str(), "user.\xfe", "2", 1, 0), 0);
  ASSERT_EQ(::setxattr(path("tree/file").c_str(), "user.sound", "3", 1, 0), 0);
  run({"mke2fs", "-q", "-F", "-t", "ext4", "-d", path("tree").string(), path("disk").string(), "8M"});
  const BackupSummary summary = back_up(path("disk"));
  EXPECT_TRUE(summary.incomplete);
  const auto files = stored_files();
  ASSERT_TRUE(files.contains("/vg0/root/files/file"));
  const repo::Node& node = files.at("/vg0/root/files/file");
  ASSERT_EQ(node.xattrs.size(), 1U);
  EXPECT_EQ(node.xattrs[0].name, "user.sound");
}

// In a guest's disk the new times of a file may be older than its new data.
TEST_F(FileViewTest, with_quick_files_are_trusted_once_their_data_is_surely_on_the_disk) {
  stdfs::create_directories(path("tree"));
  put(path("tree/settled"), 2 * kMib, 1);
  put(path("tree/fresh"), 2 * kMib, 2);
  run({"mke2fs", "-q", "-F", "-t", "ext4", "-d", path("tree").string(), path("disk").string(), "16M"});
  const auto changed_before = [&](const char* file, int seconds) {
    run({"debugfs", "-w", "-R", fmt::format("sif /{} ctime @{}", file, repo::now().seconds - seconds), path("disk").string()});
  };
  changed_before("settled", 200);
  changed_before("fresh", 60);
  back_up(path("disk"));
  const BackupSummary summary = back_up(path("disk"), true);
  const auto& used = summary.volumes.at(0).base.used;
  ASSERT_TRUE(used);
  EXPECT_EQ(used->source, "quick");
  EXPECT_EQ(used->reused_bytes, 2 * kMib);
}

// A guest that is paused over the night: its times are hours old, and what was written with them is in its memory still.
class QuickAfterAPause : public FileViewTest {
 protected:
  QuickAfterAPause() {
    stdfs::create_directories(path("tree"));
    put(path("tree/settled"), 2 * kMib, 1);
    put(path("tree/latest"), 2 * kMib, 2);
    run({"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-d", path("tree").string(), disk_.string(), "16M"});
  }
  // Of each inode in use; negative: to come.
  void age_all(std::int64_t seconds) {
    for (const char* inode : {"<2>", "<7>", "<8>", "<11>", "/settled", "/latest"}) age(inode, seconds);
  }
  void age(const std::string& inode, std::int64_t seconds) {
    run({"debugfs", "-w", "-R", fmt::format("sif {} ctime @{}", inode, repo::now().seconds - seconds), disk_.string()});
  }
  // As the guest does when it goes on: in place, with the times that are on the disk.
  void write_into_latest() {
    const auto block = std::stoull(os::run_command({"debugfs", "-R", "bmap /latest 5", disk_.string()}).out);
    std::fstream out(disk_, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(static_cast<std::streamoff>(block * 4096));
    out << "written late";
  }
  std::string file_on_disk(const std::string& name) const {
    run({"debugfs", "-R", fmt::format("dump /{} {}", name, path("dumped").string()), disk_.string()});
    return os::read_text(path("dumped"));
  }
  std::string stored_file(const BackupSummary& backup, const std::string& name) const {
    const auto blobs = indexed(*repository_);
    std::string text;
    for (const repo::NamedSnapshot& one : repository_->snapshots()) {
      if (one.id != backup.id) continue;
      const auto node = view::find_node(*blobs, one.snapshot, "/vg0/root/files/" + name);
      for (const repo::BlobId& id : node->content) text += as_text(blobs->load_blob(repo::BlobType::data, id));
    }
    return text;
  }

  const stdfs::path disk_ = path("disk");
};

TEST_F(QuickAfterAPause, what_its_filesystem_did_last_is_read) {
  age_all(7200);
  age("/latest", 3600);
  back_up(disk_);
  write_into_latest();
  const BackupSummary summary = back_up(disk_, true);
  EXPECT_TRUE(stored_file(summary, "latest") == file_on_disk("latest"));
  ASSERT_TRUE(summary.volumes.at(0).base.used) << "the other file changed an hour before that";
  EXPECT_EQ(summary.volumes.at(0).base.used->reused_bytes, 2 * kMib);
}

TEST_F(QuickAfterAPause, nothing_is_trusted_when_no_time_tells_how_far_the_filesystem_was) {
  age_all(-1000000);
  back_up(disk_);
  age_all(1000000);
  const BackupSummary summary = back_up(disk_, true);
  EXPECT_FALSE(summary.volumes.at(0).base.used);
  EXPECT_THAT(summary.volumes.at(0).base.refused, HasSubstr("does not tell until when the filesystem in files was in use"));
}

TEST_F(QuickAfterAPause, lazy_times_are_not_trusted) {
  age_all(7200);
  age("/settled", 9000);
  run({"debugfs", "-w", "-R", "set_super_value mount_opts nodelalloc,lazytime", disk_.string()});
  back_up(disk_);
  const BackupSummary summary = back_up(disk_, true);
  EXPECT_FALSE(summary.volumes.at(0).base.used);
  EXPECT_THAT(summary.volumes.at(0).base.refused, HasSubstr("lazytime"));
}

TEST_F(FileViewTest, more_holes_than_a_folder_can_list_leave_the_file_out_by_name) {
  stdfs::create_directories(path("tree/other"));
  for (const char* name : {"one", "two", "other/three"}) {
    put(path("tree") / name, 10, 1);
    stdfs::resize_file(path("tree") / name, std::uint64_t{15} << 40);
  }
  run({"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-d", path("tree").string(), path("disk").string(), "64M"});
  const BackupSummary summary = back_up(path("disk"));
  EXPECT_TRUE(summary.incomplete);
  const auto files = stored_files();
  EXPECT_TRUE(files.contains("/vg0/root/files/other/three"));
  EXPECT_EQ(files.count("/vg0/root/files/one") + files.count("/vg0/root/files/two"), 1U);
}

TEST_F(FileViewTest, a_folder_of_more_than_a_tree_can_hold_is_stored_as_far_as_it_goes) {
  stdfs::create_directories(path("tree/large"));
  stdfs::create_directories(path("tree/small"));
  for (int i = 10; i < 60; ++i) put(path("tree/large") / ("file" + std::to_string(i)), 10, i);
  put(path("tree/small/file"), 10, 1);
  run({"mke2fs", "-q", "-F", "-t", "ext4", "-O", "^inline_data", "-d", path("tree").string(),
       path("disk").string(), "8M"});
  limits_.folder_bytes = 10000;
  const BackupSummary summary = back_up(path("disk"));
  EXPECT_TRUE(summary.incomplete);
  const view::FileViewFacts& facts = summary.volumes.at(0).facts.file_views.at(0);
  ASSERT_EQ(facts.findings.size(), 1U);
  EXPECT_EQ(facts.findings[0].path, "/large");
  EXPECT_THAT(facts.findings[0].what, HasSubstr("of its 50 entries, the first of them file"));
  const auto files = stored_files();
  EXPECT_TRUE(files.contains("/vg0/root/files/small/file"));
  EXPECT_TRUE(files.contains("/vg0/root/files/large/file10"));
  EXPECT_FALSE(files.contains("/vg0/root/files/large/file59"));
  EXPECT_EQ(stored_image().size(), 8 * kMib);
}

}  // namespace
}  // namespace respaldo::backup
