#include "fs/ext/ext_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "base/error.h"
#include "base/units.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "os/file.h"
#include "os/process.h"

namespace respaldo::fs {
namespace {

namespace stdfs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string noise(std::size_t size, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

void put(const stdfs::path& path, std::string_view contents) {
  std::ofstream(path, std::ios::binary).write(contents.data(), static_cast<std::streamsize>(contents.size()));
}

std::string run(const std::vector<std::string>& argv) {
  const os::CommandResult result = os::run_command(argv);
  EXPECT_EQ(result.exit_code, 0) << argv[0] << " " << argv[1] << ": " << result.err;
  return result.out;
}

// A folder with every kind of file that mke2fs -d takes.
class Folder {
 public:
  Folder() : path_(temporary_.path() / "tree") {
    stdfs::create_directories(path_ / "dir/deeper");
    stdfs::create_directories(path_ / "many");
    put(path_ / "empty", "");
    put(path_ / "tiny", "t");
    put(path_ / "small", noise(150, 1));
    put(path_ / "block", noise(4096, 2));
    put(path_ / "large", noise(3'000'001, 3));
    put(path_ / "dir/deeper/file", "deep");
    stdfs::create_symlink("tiny", path_ / "link");
    stdfs::create_symlink(std::string(200, 'l'), path_ / "long-link");
    stdfs::create_hard_link(path_ / "tiny", path_ / "dir/hard");
    ::mkfifo((path_ / "fifo").c_str(), 0640);
    put(path_ / "sparse", "x");
    stdfs::resize_file(path_ / "sparse", 2'000'000);
    std::ofstream(path_ / "sparse", std::ios::binary | std::ios::app) << "tail";
    for (int i = 0; i < 600; ++i)
      put(path_ / "many" / fmt::format("a-rather-long-name-of-a-file-{:05}", i), "");
    put(path_ / "attributed", "a");
    ::setxattr((path_ / "attributed").c_str(), "user.name", "value", 5, 0);
    ::setxattr((path_ / "attributed").c_str(), "user.long", std::string(300, 'v').c_str(), 300, 0);
    ::chmod((path_ / "small").c_str(), 04711);
  }
  const stdfs::path& path() const { return path_; }

  // The folder as a filesystem.
  block::DevicePtr make(std::vector<std::string> options, const std::string& size = "64M") {
    const stdfs::path image = temporary_.path() / fmt::format("image{}", ++count_);
    std::vector<std::string> argv{"mke2fs", "-q", "-F", "-d", path_.string()};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.insert(argv.end(), {image.string(), size});
    run(argv);
    last_ = image;
    return std::make_shared<block::FileDevice>(image, block::FileDevice::Access::read_write);
  }
  const stdfs::path& last() const { return last_; }
  stdfs::path temporary() const { return temporary_.path(); }

 private:
  const os::TemporaryFolder temporary_;
  const stdfs::path path_;
  stdfs::path last_;
  int count_ = 0;
};

std::string content(const ExtReader& reader, NodeIndex node) {
  std::string text(reader.node(node).size, '\0');
  EXPECT_EQ(reader.read(node, 0, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()}), text.size());
  return text;
}

std::map<std::string, NodeIndex> all_paths(const ExtReader& reader) {
  std::map<std::string, NodeIndex> paths;
  std::vector<std::pair<std::string, NodeIndex>> pending{{"", reader.root()}};
  while (!pending.empty()) {
    const auto [path, node] = pending.back();
    pending.pop_back();
    for (std::size_t i = 0; i < reader.entry_count(node); ++i) {
      const DirectoryEntry entry = reader.entry(node, i);
      std::string below = path + "/" + std::string(entry.name);
      if (S_ISDIR(reader.node(entry.node).mode)) pending.emplace_back(below, entry.node);
      paths.emplace(std::move(below), entry.node);
    }
  }
  return paths;
}

void expect_equal(const ExtReader& reader, const Folder& folder, bool has_xattrs) {
  EXPECT_EQ(reader.finding_count(), 0U) << reader.findings().front().what;
  auto paths = all_paths(reader);
  paths.erase("/lost+found");
  std::size_t seen = 0;
  for (const auto& entry : stdfs::recursive_directory_iterator(folder.path())) {
    const std::string name = "/" + entry.path().lexically_relative(folder.path()).string();
    ASSERT_TRUE(paths.contains(name)) << name;
    const NodeIndex index = paths.at(name);
    const FileNode node = reader.node(index);
    struct stat st {};
    ASSERT_EQ(::lstat(entry.path().c_str(), &st), 0);
    EXPECT_EQ(node.mode, st.st_mode) << name;
    EXPECT_EQ(node.uid, st.st_uid);
    EXPECT_EQ(node.gid, st.st_gid);
    EXPECT_EQ(node.mtime.seconds, st.st_mtim.tv_sec) << name;
    if (S_ISREG(st.st_mode)) {
      EXPECT_EQ(node.size, static_cast<std::uint64_t>(st.st_size)) << name;
      EXPECT_EQ(node.links, st.st_nlink) << name;
      std::ifstream in(entry.path(), std::ios::binary);
      EXPECT_TRUE(content(reader, index) == std::string(std::istreambuf_iterator<char>(in), {})) << name;
      for (const FileExtent& extent : reader.extents(index))
        EXPECT_LE(extent.logical + extent.length, node.size);
    }
    if (S_ISLNK(st.st_mode)) {
      EXPECT_EQ(reader.link_target(index), stdfs::read_symlink(entry.path()).string());
    }
    if (name == "/attributed" && has_xattrs) {
      EXPECT_THAT(reader.xattrs(index), Contains(FileXattr{"user.name", "value"})) << name;
    }
    EXPECT_EQ(reader.path(index) == name || node.links > 1, true) << name;
    ++seen;
  }
  EXPECT_EQ(seen, paths.size());
}

struct Kind {
  const char* name;
  std::vector<std::string> options;
};

class EveryKind : public ::testing::TestWithParam<Kind> {};

TEST_P(EveryKind, is_read_as_it_was_made) {
  Folder folder;
  const auto reader = try_open_ext(folder.make(GetParam().options));
  ASSERT_TRUE(reader);
  expect_equal(*reader, folder, GetParam().name != std::string_view("ext2_old"));
  // What is free is what dumpe2fs counts.
  const std::string told = run({"dumpe2fs", "-h", folder.last().string()});
  const std::size_t at = told.find("Free blocks:");
  ASSERT_NE(at, told.npos);
  EXPECT_EQ(reader->space().free.total() / reader->facts().block_size, std::stoull(told.substr(at + 12)));
}

INSTANTIATE_TEST_SUITE_P(
    ExtReader, EveryKind,
    ::testing::Values(
        Kind{"ext2", {"-t", "ext2"}}, Kind{"ext2_old", {"-t", "ext2", "-r", "0", "-O", "none"}},
        Kind{"ext2_1k", {"-t", "ext2", "-b", "1024"}}, Kind{"ext3", {"-t", "ext3"}},
        Kind{"ext3_small_inodes", {"-t", "ext3", "-I", "128", "-b", "1024"}}, Kind{"ext4", {"-t", "ext4"}},
        Kind{"ext4_1k", {"-t", "ext4", "-b", "1024"}}, Kind{"ext4_2k", {"-t", "ext4", "-b", "2048"}},
        Kind{"ext4_64k", {"-t", "ext4", "-b", "65536", "-O", "^has_journal"}},
        Kind{"ext4_16k", {"-t", "ext4", "-b", "16384"}},
        Kind{"no_journal", {"-t", "ext4", "-O", "^has_journal"}},
        Kind{"inline_data", {"-t", "ext4", "-O", "inline_data", "-I", "512"}},
        Kind{"inline_in_small", {"-t", "ext4", "-O", "inline_data", "-I", "256", "-b", "1024"}},
        Kind{"bigalloc", {"-t", "ext4", "-O", "bigalloc", "-C", "65536"}},
        Kind{"bigalloc_1k", {"-t", "ext4", "-O", "bigalloc", "-b", "1024", "-C", "8192"}},
        Kind{"no_64bit", {"-t", "ext4", "-O", "^64bit,^metadata_csum"}},
        Kind{"uninit_bg", {"-t", "ext4", "-O", "^metadata_csum,uninit_bg"}},
        Kind{"csum_seed", {"-t", "ext4", "-O", "metadata_csum_seed"}},
        Kind{"meta_bg", {"-t", "ext4", "-O", "meta_bg,^resize_inode", "-b", "1024"}},
        Kind{"sparse_super2", {"-t", "ext4", "-O", "sparse_super2", "-b", "1024"}},
        Kind{"no_flex_bg", {"-t", "ext4", "-O", "^flex_bg", "-b", "1024"}},
        Kind{"casefold", {"-t", "ext4", "-O", "casefold"}},
        Kind{"quota", {"-t", "ext4", "-O", "quota,project", "-E", "quotatype=usrquota:grpquota:prjquota"}},
        Kind{"large_dir", {"-t", "ext4", "-O", "large_dir,ea_inode,verity,encrypt"}},
        Kind{"orphan_file", {"-t", "ext4", "-O", "orphan_file"}},
        Kind{"fast_commit", {"-t", "ext4", "-O", "fast_commit"}}, Kind{"no_filetype", {"-t", "ext2", "-O", "^filetype"}},
        Kind{"mmp", {"-t", "ext4", "-O", "mmp"}},
        Kind{"big_inodes", {"-t", "ext4", "-I", "1024"}}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(ExtReader, something_else_is_no_filesystem) {
  EXPECT_FALSE(try_open_ext(block::zero_device(kMiB, "zeros")));
  EXPECT_FALSE(try_open_ext(block::zero_device(100, "short")));
}

TEST(ExtReader, attributes_that_live_in_inodes_of_their_own) {
  Folder folder;
  const std::string value = noise(2500, 9);
  ASSERT_EQ(::setxattr((folder.path() / "tiny").c_str(), "user.huge", value.data(), value.size(), 0), 0);
  const auto device = folder.make({"-t", "ext4", "-O", "ea_inode", "-b", "1024"});
  const auto reader = try_open_ext(device);
  const NodeIndex tiny = all_paths(*reader).at("/tiny");
  EXPECT_THAT(reader->xattrs(tiny), Contains(FileXattr{"user.huge", value}));
}

TEST(ExtReader, devices_of_both_encodings) {
  Folder folder;
  const auto device = folder.make({"-t", "ext4"});
  run({"debugfs", "-w", "-R", "mknod old c 4 64", folder.last().string()});
  run({"debugfs", "-w", "-R", "mknod new b 259 4000", folder.last().string()});
  const auto reader = try_open_ext(device);
  const auto paths = all_paths(*reader);
  EXPECT_EQ(reader->node(paths.at("/old")).device, ::makedev(4, 64));
  EXPECT_EQ(reader->node(paths.at("/new")).device, ::makedev(259, 4000));
}

TEST(ExtReader, an_inode_that_is_damaged_is_told_and_left_out) {
  Folder folder;
  const auto device = folder.make({"-t", "ext4"});
  run({"debugfs", "-w", "-R", "set_inode_field /small checksum 12345", folder.last().string()});
  const auto reader = try_open_ext(device);
  const auto paths = all_paths(*reader);
  EXPECT_FALSE(paths.contains("/small"));
  EXPECT_TRUE(paths.contains("/large"));
  ASSERT_EQ(reader->finding_count(), 2U);
  EXPECT_THAT(reader->findings()[0].what, HasSubstr("wrong checksum"));
  EXPECT_THAT(reader->findings()[1].what, HasSubstr("\"small\" leads to inode"));
}

TEST(ExtReader, a_damaged_holder_of_an_attribute_is_no_attribute_of_zeros) {
  Folder folder;
  ::setxattr((folder.path() / "attributed").c_str(), "user.huge", std::string(3000, 'h').c_str(), 3000, 0);
  const auto device = folder.make({"-t", "ext4", "-O", "ea_inode,^metadata_csum", "-b", "1024"});
  const auto sound = try_open_ext(device);
  const NodeIndex file = all_paths(*sound).at("/attributed");
  ASSERT_EQ(sound->xattrs(file).size(), 3U);
  std::uint32_t holder = 0;
  for (NodeIndex i = 0; i < sound->node_count(); ++i)
    if ((sound->node(i).flags & 0x200000) != 0 && sound->node(i).size == 3000) holder = sound->node(i).inode;
  ASSERT_NE(holder, 0U);
  // The extent, past the end of the device.
  run({"debugfs", "-w", "-R", fmt::format("set_inode_field <{}> block[5] 0xffffff00", holder),
       folder.last().string()});
  const auto reader = try_open_ext(device);
  EXPECT_THROW(reader->xattrs(file), Error);
}

TEST(ExtReader, names_of_encrypted_directories_are_not_told) {
  Folder folder;
  const auto device = folder.make({"-t", "ext4", "-O", "encrypt,^metadata_csum"});
  run({"debugfs", "-w", "-R", "set_inode_field /dir flags 0x80800", folder.last().string()});
  const auto reader = try_open_ext(device);
  const auto paths = all_paths(*reader);
  EXPECT_TRUE(paths.contains("/dir"));
  EXPECT_FALSE(paths.contains("/dir/hard"));
  EXPECT_EQ(reader->facts().encrypted_directories, 1U);
}

TEST(ExtReader, a_filesystem_marked_with_errors_has_nothing_free) {
  Folder folder;
  const auto device = folder.make({"-t", "ext4"});
  EXPECT_FALSE(try_open_ext(device)->space().free.empty());
  run({"debugfs", "-w", "-R", "set_super_value state 2", folder.last().string()});
  const auto reader = try_open_ext(device);
  EXPECT_TRUE(reader->facts().marked_with_errors);
  EXPECT_TRUE(reader->space().free.empty());
}

TEST(ExtReader, a_journal_on_another_device_is_told) {
  Folder folder;
  const stdfs::path journal = folder.temporary() / "journal";
  run({"mke2fs", "-q", "-F", "-b", "4096", "-O", "journal_dev", journal.string(), "8M"});
  // mke2fs wants a device for it; the two are joined by hand.
  const auto device = folder.make({"-t", "ext4", "-O", "^has_journal"});
  run({"debugfs", "-w", "-R", "feature has_journal needs_recovery", folder.last().string()});
  run({"debugfs", "-w", "-R", "set_super_value journal_inum 0", folder.last().string()});
  const auto reader = try_open_ext(device);
  EXPECT_EQ(reader->facts().journal, JournalState::external);
  EXPECT_TRUE(reader->space().free.empty());  // recovery may need it
  EXPECT_TRUE(all_paths(*reader).contains("/large"));
  EXPECT_FALSE(
      try_open_ext(std::make_shared<block::FileDevice>(journal, block::FileDevice::Access::read_only)));
}

}  // namespace
}  // namespace respaldo::fs
