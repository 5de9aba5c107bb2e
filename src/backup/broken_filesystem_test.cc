// Filesystems with flipped bytes: whatever they hold, the image is whole and nothing crashes, hangs or grows.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "backup/backup.h"
#include "backup/fake_engine_test.h"
#include "base/endian.h"
#include "base/units.h"
#include "block/file_device.h"
#include "os/file.h"
#include "os/process.h"
#include "testing/memory_repository.h"
#include "view/tree_walk.h"

namespace respaldo::backup {
namespace {

using namespace respaldo::testing;
namespace stdfs = std::filesystem;

constexpr int kImages = 150;  // of each kind

void make_tree(const stdfs::path& root) {
  std::mt19937 random(1);
  const auto put = [&](const std::string& name, std::size_t size) {
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random());
    std::ofstream(root / name, std::ios::binary) << text;
  };
  stdfs::create_directories(root / "folder/below/deep");
  put("short", 50);
  put("file", 9000);
  put("folder/long", 700'000);
  put("folder/below/other", 100'000);
  for (int i = 0; i < 120; ++i) put("folder/below/deep/name-of-a-file-" + std::to_string(i), 10);
  stdfs::create_symlink("short", root / "link");
  stdfs::create_symlink(std::string(120, 'x'), root / "long-link");
  stdfs::create_hard_link(root / "file", root / "folder/hard");
  put("sparse", 10);
  stdfs::resize_file(root / "sparse", 3'000'000);
}

// Bytes that are not file data, more or less: blocks with many zeros in them.
std::vector<std::size_t> metadata_blocks(ByteView image) {
  std::vector<std::size_t> blocks;
  for (std::size_t at = 0; at + 1024 <= image.size(); at += 1024) {
    const ByteView block = image.subspan(at, 1024);
    const auto zeros = std::count(block.begin(), block.end(), 0);
    if (zeros > 64 && zeros < 1024) blocks.push_back(at);
  }
  return blocks;
}

// Which bytes dumpe2fs calls free.
ExtentSet free_by_dumpe2fs(const stdfs::path& file, std::uint64_t block_size) {
  const os::CommandResult told = os::run_command({"dumpe2fs", file.string()});
  EXPECT_EQ(told.exit_code, 0);
  ExtentSet free;
  std::istringstream lines(told.out);
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view kTitle = "  Free blocks: ";
    if (!line.starts_with(kTitle)) continue;
    std::istringstream ranges(line.substr(kTitle.size()));
    for (std::string range; std::getline(ranges, range, ',');) {
      if (range.find_first_of("0123456789") == std::string::npos) continue;
      const auto dash = range.find('-');
      const std::uint64_t first = std::stoull(range);
      const std::uint64_t last = dash == std::string::npos ? first : std::stoull(range.substr(dash + 1));
      free.add({first * block_size, (last - first + 1) * block_size});
    }
  }
  return free;
}

class BrokenFilesystem : public ::testing::TestWithParam<std::vector<std::string>> {
 protected:
  BrokenFilesystem() {
    make_tree(folder_.path() / "tree");
    const stdfs::path file = folder_.path() / "image";
    std::vector<std::string> argv{"mke2fs", "-q", "-F", "-d", folder_.path() / "tree", "-N", "400"};
    argv.insert(argv.end(), GetParam().begin(), GetParam().end());
    argv.insert(argv.end(), {file.string(), "6M"});
    EXPECT_EQ(os::run_command(argv).exit_code, 0);
    const std::string text = os::read_text(file);
    image_ = Bytes::copy_of(as_bytes(text));
    block_size_ = std::uint64_t{1024} << load_le32(image_.data() + 1024 + 24);
    free_ = free_by_dumpe2fs(file, block_size_);
    EXPECT_FALSE(free_.empty());
  }

  void back_up(const Bytes& damaged, bool all_blocks, const std::string& what) {
    FakeEngine engine;
    engine.volumes[{"vg0", "root"}].device = std::make_shared<block::MemoryDevice>(ByteView(damaged));
    BackupOptions options;
    options.volumes = {{"vg0", "root"}};
    options.all_blocks = all_blocks;
    options.threads = 2;
    options.writer = small_packs();
    const auto repository = memory_repository();
    SilentProgress progress;
    const BackupSummary summary = run_backup(engine, *indexed(*repository), options, progress, [](LockLook) {}, {});
    ASSERT_TRUE(summary.id) << what;
    const auto backups = repository->snapshots();
    const auto blobs = indexed(*repository);
    const auto volumes = view::stored_volumes(*blobs, backups.front().snapshot);
    ASSERT_EQ(volumes.size(), 1U) << what;
    const auto stored = view::open_image(blobs, volumes[0]);
    ASSERT_EQ(stored->size(), damaged.size()) << what;
    const Bytes read = block::read(*stored, 0, stored->size());
    if (all_blocks) {
      EXPECT_EQ(std::memcmp(read.data(), damaged.data(), read.size()), 0) << what;
    } else {
      // Whatever the damage makes of it: what was in use before it is there.
      for (std::size_t i = 0; i < read.size(); i += 512) {
        if (std::memcmp(read.data() + i, damaged.data() + i, 512) == 0) continue;
        ASSERT_TRUE(is_zero(read.view(i, 512))) << what << ", byte " << i;
        ASSERT_TRUE(free_.intersects({i, 512})) << what << ": byte " << i << " was in use, and is lost";
      }
    }
    // Every tree can be read, and every file's blobs add up to its size.
    const auto root = view::find_node(*blobs, backups.front().snapshot, "/vg0/root");
    view::TreeWalk walk(*blobs, *root, "/vg0/root");
    while (walk.next()) {
      const repo::Node& node = walk.entry().node;
      std::uint64_t size = 0;
      for (const repo::BlobId& id : node.content) {
        const auto found = blobs->index().find(repo::BlobType::data, id);
        ASSERT_TRUE(found) << what;
        size += found->plain_length();
      }
      if (node.type == repo::NodeType::file) {
        EXPECT_EQ(size, node.size) << what << " " << walk.entry().path;
      }
    }
  }

  const os::TemporaryFolder folder_;
  Bytes image_;
  std::uint64_t block_size_ = 0;
  ExtentSet free_;
};

TEST_P(BrokenFilesystem, the_image_is_whole_and_the_rest_is_told) {
  const std::vector<std::size_t> blocks = metadata_blocks(image_);
  ASSERT_GT(blocks.size(), 20U);
  back_up(image_, false, "undamaged");
  for (int seed = 0; seed < kImages; ++seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    Bytes damaged = image_.clone();
    const unsigned flips = 1 + random() % 40;
    // A third of all damage goes to one block, where it meets fields that belong together.
    const std::size_t one = blocks[random() % blocks.size()];
    for (unsigned i = 0; i < flips; ++i) {
      const std::size_t block = seed % 3 == 0 ? one : blocks[random() % blocks.size()];
      std::uint8_t& byte = damaged.data()[block + random() % 1024];
      byte = seed % 2 == 0 ? static_cast<std::uint8_t>(random())
                           : byte ^ static_cast<std::uint8_t>(1U << random() % 8);
    }
    back_up(damaged, seed % 4 == 0, "seed " + std::to_string(seed));
    if (HasFatalFailure()) return;
  }
}

// One group's descriptor, or its bitmap, in another one's place, or lost.
TEST_P(BrokenFilesystem, groups_that_lie_cost_nothing) {
  const std::uint8_t* super = image_.data() + 1024;
  const std::uint32_t blocks = load_le32(super + 4), per_group = load_le32(super + 32);
  const std::size_t groups = (blocks - load_le32(super + 20) + per_group - 1) / per_group;
  const std::size_t size = (load_le32(super + 96) & 0x80) != 0 ? 64 : 32;  // with 64bit
  const std::size_t descriptors = block_size_ * (load_le32(super + 20) + 1);
  const auto bitmap = [&](std::size_t group) {
    return block_size_ * load_le32(image_.data() + descriptors + group * size);
  };
  for (std::size_t from = 0; from < groups; ++from) {
    for (std::size_t to = 0; to < groups; ++to) {
      const std::string what = "group " + std::to_string(from) + " to " + std::to_string(to);
      Bytes damaged = image_.clone();
      std::uint8_t* place = damaged.data() + descriptors + to * size;
      from == to ? std::memset(place, 0, size) : std::memcpy(place, image_.data() + descriptors + from * size, size);
      back_up(damaged, false, "descriptor of " + what);
      damaged = image_.clone();
      from == to ? std::memset(damaged.data() + bitmap(to), 0, block_size_)
                 : std::memcpy(damaged.data() + bitmap(to), image_.data() + bitmap(from), block_size_);
      back_up(damaged, false, "bitmap of " + what);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ext, BrokenFilesystem,
    ::testing::Values(std::vector<std::string>{"-t", "ext2", "-b", "1024", "-g", "1024"},
                      std::vector<std::string>{"-t", "ext4", "-b", "1024", "-O",
                                               "^metadata_csum,^has_journal"},
                      std::vector<std::string>{"-t", "ext4", "-b", "1024", "-g", "1024"},
                      std::vector<std::string>{"-t", "ext4", "-b", "4096", "-O",
                                               "^metadata_csum,inline_data,^has_journal", "-I", "256"},
                      std::vector<std::string>{"-t", "ext4", "-b", "1024", "-O",
                                               "bigalloc,^metadata_csum,^has_journal", "-C", "4096"}),
    [](const auto& param) { return "kind" + std::to_string(param.index); });

}  // namespace
}  // namespace respaldo::backup
