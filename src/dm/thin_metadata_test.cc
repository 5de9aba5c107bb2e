#include "dm/thin_metadata.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <iterator>

#include "base/crc.h"
#include "dm/devices_test.h"
#include "dm/table.h"
#include "os/file.h"
#include "os/process.h"

namespace respaldo::dm {
namespace {

constexpr std::uint64_t kDataBlocks = 100000;

std::string device_xml(std::uint32_t id, const std::vector<ThinRun>& runs) {
  std::uint64_t mapped = 0;
  for (const ThinRun& run : runs) mapped += run.length;
  std::string xml = fmt::format(
      "<device dev_id=\"{}\" mapped_blocks=\"{}\" transaction=\"1\" creation_time=\"2\" snap_time=\"3\">", id,
      mapped);
  for (const ThinRun& run : runs)
    fmt::format_to(std::back_inserter(xml),
                   "<range_mapping origin_begin=\"{}\" data_begin=\"{}\" length=\"{}\" time=\"0\"/>",
                   run.virtual_block, run.data_block, run.length);
  return xml + "</device>";
}

// Metadata made by thin-provisioning-tools, the reference implementation.
class ThinPool {
 public:
  explicit ThinPool(const std::map<std::uint32_t, std::vector<ThinRun>>& devices) {
    std::string xml = fmt::format(
        "<superblock uuid=\"\" time=\"3\" transaction=\"5\" flags=\"0\" version=\"2\" "
        "data_block_size=\"128\" "
        "nr_data_blocks=\"{}\">",
        kDataBlocks);
    for (const auto& [id, runs] : devices) xml += device_xml(id, runs);
    xml += "</superblock>";
    const os::UniqueFd text = os::open_file(folder_.path() / "pool.xml", O_WRONLY | O_CREAT | O_TRUNC);
    os::write_all(text.get(), as_bytes(xml), "pool.xml");
    const os::UniqueFd file = os::open_file(path(), O_WRONLY | O_CREAT);
    EXPECT_EQ(::ftruncate(file.get(), 4 << 20), 0);
    const auto result = os::run_command({"thin_restore", "-i", folder_.path() / "pool.xml", "-o", path()});
    EXPECT_EQ(result.exit_code, 0) << result.err << result.out;
  }
  os::Path path() const { return folder_.path() / "pool"; }
  std::shared_ptr<block::MemoryDevice> device() const { return memory(as_bytes(os::read_text(path()))); }

 private:
  os::TemporaryFolder folder_;
};

std::vector<ThinRun> random_runs(std::uint64_t seed, std::size_t count, std::uint64_t data_start) {
  std::mt19937_64 random(seed);
  std::vector<ThinRun> runs;
  std::uint64_t at = random() % 50;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t length = random() % 5 + 1;
    runs.push_back({at, data_start, length});
    at += length + 1 + random() % 20;
    data_start += length + 1;
  }
  return runs;
}

TEST(ThinMetadata, reads_what_thin_restore_wrote) {
  const std::map<std::uint32_t, std::vector<ThinRun>> devices{{1, {{0, 0, 10}, {32, 16, 1}, {100, 200, 8}}},
                                                              {2, {}},
                                                              {7, random_runs(1, 9000, 1000)},
                                                              {0xfffff, {{5, 10, 6}}}};
  const ThinPool pool(devices);
  const ThinMetadata metadata(pool.device());
  EXPECT_EQ(metadata.block_size(), 65536U);
  EXPECT_EQ(metadata.transaction_id(), 5U);
  EXPECT_EQ(metadata.data_blocks(), kDataBlocks);
  EXPECT_EQ(metadata.metadata_blocks(), 1024U);
  EXPECT_GT(metadata.metadata_blocks_used(), 70U);
  const auto listed = metadata.devices();
  ASSERT_EQ(listed.size(), 4U);
  EXPECT_EQ(listed[0].id, 1U);
  EXPECT_EQ(listed[0].mapped_blocks, 19U);
  EXPECT_EQ(listed[0].creation_time, 2U);
  EXPECT_EQ(listed[0].snapshotted_time, 3U);
  for (const auto& [id, runs] : devices) EXPECT_EQ(metadata.mappings(id), runs) << id;
  EXPECT_EQ(error_kind([&] { metadata.mappings(3); }), ErrorKind::corrupt);
}

TEST(ThinMetadata, thin_dump_agrees) {
  const ThinPool pool({{3, random_runs(2, 700, 0)}});
  const auto dump = os::run_command({"thin_dump", pool.path()});
  ASSERT_EQ(dump.exit_code, 0);
  std::string expected;
  for (const ThinRun& run : ThinMetadata(pool.device()).mappings(3)) {
    if (run.length == 1)
      fmt::format_to(std::back_inserter(expected),
                     "    <single_mapping origin_block=\"{}\" data_block=\"{}\" time=\"0\"/>\n",
                     run.virtual_block, run.data_block);
    else
      fmt::format_to(std::back_inserter(expected),
                     "    <range_mapping origin_begin=\"{}\" data_begin=\"{}\" length=\"{}\" time=\"0\"/>\n",
                     run.virtual_block, run.data_block, run.length);
  }
  EXPECT_NE(dump.out.find(expected), std::string::npos);
}

// The number of the block that a superblock field points at.
std::uint64_t field(const block::Device& device, std::uint64_t offset) {
  return load_le64(block::read(device, offset, 8).data());
}
void rewrite(block::WritableDevice& device, std::uint64_t block, std::uint32_t salt, std::size_t offset,
             std::uint64_t value, std::size_t width) {
  Bytes bytes = block::read(device, block * 4096, 4096);
  for (std::size_t i = 0; i < width; ++i)
    bytes.data()[offset + i] = static_cast<std::uint8_t>(value >> 8 * i);
  store_le32(bytes.data(), crc32c_raw(bytes.view(4, 4092)) ^ salt);
  device.write_at(block * 4096, bytes);
}
constexpr std::uint32_t kSuperSalt = 160774, kNodeSalt = 121107;

TEST(ThinMetadata, refuses_what_needs_repair_and_what_it_does_not_know) {
  const ThinPool pool({{1, {{0, 0, 10}}}});
  const auto kind = [&](std::size_t offset, std::uint64_t value, std::size_t width) {
    const auto device = pool.device();
    rewrite(*device, 0, kSuperSalt, offset, value, width);
    return error_kind([&] { ThinMetadata{device}; });
  };
  EXPECT_EQ(kind(4, 0, 4), std::nullopt);
  EXPECT_EQ(kind(4, 1, 4), ErrorKind::unsupported);    // needs_check
  EXPECT_EQ(kind(360, 4, 4), ErrorKind::unsupported);  // incompatible features
  EXPECT_EQ(kind(40, 9, 4), ErrorKind::unsupported);   // version
  EXPECT_EQ(kind(32, 5, 8), ErrorKind::corrupt);       // magic
  EXPECT_EQ(kind(336, 0, 4), ErrorKind::corrupt);      // data block size
  EXPECT_EQ(kind(336, 100, 4), ErrorKind::corrupt);
  EXPECT_EQ(kind(328, 1 << 20, 8), ErrorKind::corrupt);  // root outside
  EXPECT_EQ(kind(328, 0, 8), ErrorKind::corrupt);        // root is the superblock
}

TEST(ThinMetadata, a_flipped_bit_is_found) {
  const ThinPool pool({{1, random_runs(3, 1000, 0)}});
  const auto device = pool.device();
  const std::uint64_t root = field(*device, 320);
  const std::uint64_t tree = field(*device, root * 4096 + 32 + 252 * 8);
  Bytes byte = block::read(*device, tree * 4096 + 3000, 1);
  byte.data()[0] ^= 4;
  device->write_at(tree * 4096 + 3000, byte);
  const ThinMetadata metadata(device);
  EXPECT_EQ(error_kind([&] { metadata.mappings(1); }), ErrorKind::corrupt);
}

TEST(ThinMetadata, a_tree_that_loops_is_corrupt) {
  const ThinPool pool({{1, random_runs(3, 1000, 0)}});
  const auto device = pool.device();
  const std::uint64_t root = field(*device, 320);
  const std::uint64_t tree = field(*device, root * 4096 + 32 + 252 * 8);
  ASSERT_EQ(load_le32(block::read(*device, tree * 4096 + 4, 4).data()), 1U) << "an internal node";
  rewrite(*device, tree, kNodeSalt, 32 + 252 * 8, tree, 8);  // its first child is itself
  EXPECT_EQ(error_kind([&] { ThinMetadata(device).mappings(1); }), ErrorKind::corrupt);
}

// Two devices of many blocks that differ here and there, as snapshots do.
std::pair<std::vector<ThinRun>, std::vector<ThinRun>> snapshot_pair(std::uint64_t seed,
                                                                    std::uint64_t blocks) {
  std::mt19937_64 random(seed);
  std::pair<std::vector<ThinRun>, std::vector<ThinRun>> pair;
  std::uint64_t next_data = 0;
  for (std::uint64_t at = 0; at < blocks; ++at) {
    const std::uint64_t dice = random() % 400;
    if (dice == 0) at += random() % 300;  // mapped in neither
    if (dice != 1) pair.first.push_back({at, next_data++, 1});
    if (dice == 2) continue;
    pair.second.push_back({at, dice == 1 || dice == 3 ? next_data++ : next_data - 1, 1});
  }
  return pair;
}

std::vector<ThinDifference> brute_force(const std::vector<ThinRun>& left, const std::vector<ThinRun>& right) {
  const auto flat = [](const std::vector<ThinRun>& runs) {
    std::map<std::uint64_t, std::uint64_t> map;
    for (const ThinRun& run : runs)
      for (std::uint64_t i = 0; i < run.length; ++i) map[run.virtual_block + i] = run.data_block + i;
    return map;
  };
  const auto a = flat(left), b = flat(right);
  std::map<std::uint64_t, ThinDifferenceKind> kinds;
  for (const auto& [key, data] : a) {
    const auto other = b.find(key);
    if (other == b.end()) kinds[key] = ThinDifferenceKind::left_only;
    if (other != b.end() && other->second != data) kinds[key] = ThinDifferenceKind::different;
  }
  for (const auto& [key, data] : b)
    if (!a.contains(key)) kinds[key] = ThinDifferenceKind::right_only;
  std::vector<ThinDifference> found;
  for (const auto& [key, kind] : kinds) {
    if (!found.empty() && found.back().kind == kind &&
        found.back().virtual_block + found.back().length == key)
      ++found.back().length;
    else
      found.push_back({key, 1, kind});
  }
  return found;
}

TEST(ThinDelta, finds_what_thin_delta_finds) {
  const auto [left, right] = snapshot_pair(1, 30000);
  const ThinPool pool({{1, left}, {2, right}, {3, {}}});
  const ThinMetadata metadata(pool.device());
  const auto found = metadata.differences(1, 2);
  EXPECT_EQ(found, brute_force(left, right));
  EXPECT_GT(found.size(), 100U);
  EXPECT_TRUE(metadata.differences(2, 2).empty());
  EXPECT_EQ(metadata.differences(3, 1), brute_force({}, left));
  EXPECT_EQ(metadata.differences(1, 3), brute_force(left, {}));
  EXPECT_EQ(error_kind([&] { metadata.differences(1, 9); }), ErrorKind::corrupt);

  const auto told = os::run_command({"thin_delta", "--thin1", "1", "--thin2", "2", pool.path()});
  ASSERT_EQ(told.exit_code, 0) << told.err;
  std::size_t at = 0;
  for (const ThinDifference& one : found) {
    const char* name = one.kind == ThinDifferenceKind::left_only    ? "left_only"
                       : one.kind == ThinDifferenceKind::right_only ? "right_only"
                                                                    : "different";
    const std::size_t where = told.out.find(
        fmt::format("<{} begin=\"{}\" length=\"{}\"/>", name, one.virtual_block, one.length), at);
    ASSERT_NE(where, std::string::npos) << name << " " << one.virtual_block;
    at = where;
  }
}

// Makes device 2 share with device 1 every leaf of the same contents, as the kernel leaves them.
std::size_t share_leaves(block::WritableDevice& device) {
  const auto node = [&](std::uint64_t block) { return block::read(device, block * 4096, 4096); };
  const Bytes top = node(field(device, 320));
  const std::uint64_t one = load_le64(top.data() + 32 + 252 * 8),
                      two = load_le64(top.data() + 32 + 252 * 8 + 8);
  const Bytes a = node(one), b = node(two);
  std::size_t shared = 0;
  for (std::uint64_t i = 0; i < load_le32(b.data() + 16); ++i)
    for (std::uint64_t k = 0; k < load_le32(a.data() + 16); ++k) {
      const std::uint64_t mine = load_le64(a.data() + 32 + 252 * 8 + k * 8),
                          other = load_le64(b.data() + 32 + 252 * 8 + i * 8);
      if (mine == other || !equal(node(mine).view(16, 4080), node(other).view(16, 4080))) continue;
      rewrite(device, two, kNodeSalt, 32 + 252 * 8 + i * 8, mine, 8);
      ++shared;
    }
  return shared;
}

TEST(ThinDelta, what_is_shared_is_not_read) {
  std::vector<ThinRun> left, right;
  for (std::uint64_t at = 0; at < 20000; ++at) {
    left.push_back({at, at, 1});
    right.push_back({at, at == 7777 ? 50000 : at, 1});
  }
  const ThinPool pool({{1, left}, {2, right}});
  const auto device = pool.device();
  EXPECT_GT(share_leaves(*device), 50U);
  std::size_t reads = 0;
  const ThinMetadata metadata(block::faulty(device, [&](Extent) { ++reads; }));
  reads = 0;
  EXPECT_EQ(metadata.differences(1, 2), brute_force(left, right));
  EXPECT_LT(reads, 20U);
}

TEST(ThinDelta, is_right_whatever_is_shared) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto [left, right] = snapshot_pair(seed, 2000 + seed * 1500);
    const ThinPool pool({{1, left}, {2, right}});
    const auto device = pool.device();
    share_leaves(*device);
    const ThinMetadata metadata(device);
    EXPECT_EQ(metadata.differences(1, 2), brute_force(left, right)) << seed;
    EXPECT_EQ(metadata.differences(2, 1), brute_force(right, left)) << seed;
  }
}

TEST(ThinMetadata, a_metadata_snapshot_is_read_through_its_copy_of_the_superblock) {
  const ThinPool pool({{1, {{0, 0, 10}}}});
  const auto device = pool.device();
  EXPECT_EQ(error_kind([&] { ThinMetadata(device, ThinRoot::held); }), ErrorKind::not_found);
  // The copy lies in a free block; the live trees move on.
  const std::uint64_t held = 900;
  Bytes copy = block::read(*device, 0, 4096);
  std::memset(copy.data() + 64, 0, 256);
  store_le64(copy.data() + 8, held);
  device->write_at(held * 4096, copy);
  rewrite(*device, held, kSuperSalt, 56, 0, 8);
  rewrite(*device, 0, kSuperSalt, 56, held, 8);
  rewrite(*device, 0, kSuperSalt, 320, 4000, 8);
  EXPECT_EQ(error_kind([&] { ThinMetadata(device).mappings(1); }), ErrorKind::corrupt);
  EXPECT_EQ(ThinMetadata(device, ThinRoot::held).mappings(1), (std::vector<ThinRun>{{0, 0, 10}}));
  rewrite(*device, 0, kSuperSalt, 56, 1, 8);
  EXPECT_EQ(error_kind([&] { ThinMetadata(device, ThinRoot::held); }), ErrorKind::corrupt);
}

TEST(ThinTarget, maps_through_the_pool_and_is_zero_elsewhere) {
  const std::vector<ThinRun> runs{{1, 5, 2}, {4, 0, 1}, {900, 30, 5}};
  const ThinPool pool({{1, runs}});
  MapResolver resolver;
  const Bytes data = testing::random_bytes(40 * 65536, 1),
              external = testing::random_bytes(3 * 65536 + 512, 2);
  resolver.devices = {{"meta", pool.device()}, {"data", memory(data)}, {"ext", memory(external)}};
  resolver.tables["pool"] = {{0, 40 * 128, ThinPoolTarget{"meta", "data", 128, 5}}};
  const std::uint64_t size = 10 * 65536 + 1024;
  Bytes expected = Bytes::zeroed(size);
  for (const auto& [v, d] : {std::pair{1, 5}, {2, 6}, {4, 0}})
    std::memcpy(expected.data() + v * 65536, data.data() + d * 65536, 65536);
  const auto thin = assemble({{0, size / 512, ThinTarget{"pool", 1, {}}}}, resolver, "vg/thin");
  EXPECT_TRUE(equal(whole(*thin), expected));
  EXPECT_TRUE(equal(block::read(*thin, 60000, 200000), expected.view(60000, 200000)));
  EXPECT_TRUE(runs_are_true(*thin));
  EXPECT_EQ(thin->runs({0, size}).size(), 5U);

  const auto with_external = assemble({{0, size / 512, ThinTarget{"pool", 1, "ext"}}}, resolver, "vg/thin");
  std::memcpy(expected.data(), external.data(), 65536);
  std::memcpy(expected.data() + 3 * 65536, external.data() + 3 * 65536, 512);
  EXPECT_TRUE(equal(whole(*with_external), expected));
  EXPECT_TRUE(runs_are_true(*with_external));
}

TEST(ThinTarget, a_pool_that_does_not_fit_the_group_is_refused) {
  const ThinPool pool({{1, {{0, 50, 10}}}});
  MapResolver resolver;
  resolver.devices = {{"meta", pool.device()}, {"data", random_memory(40 * 65536, 1)}};
  const auto kind = [&](std::uint64_t chunk, std::uint64_t transaction, std::uint32_t id,
                        std::uint64_t sectors) {
    resolver.tables["pool"] = {{0, 40 * 128, ThinPoolTarget{"meta", "data", chunk, transaction}}};
    return error_kind([&] { assemble({{0, sectors, ThinTarget{"pool", id, {}}}}, resolver, "vg/thin"); });
  };
  EXPECT_EQ(kind(256, 5, 1, 1280), ErrorKind::corrupt);  // block size
  EXPECT_EQ(kind(128, 4, 1, 1280), ErrorKind::corrupt);  // transaction
  EXPECT_EQ(kind(128, 5, 2, 1280), ErrorKind::corrupt);  // no such device
  EXPECT_EQ(kind(128, 5, 1, 1280), ErrorKind::corrupt);  // data past the end of its device
  resolver.tables.clear();
  EXPECT_EQ(error_kind([&] {
              assemble({{0, 8, ThinTarget{"data", 1, {}}}}, resolver, "lv");
            }),
            ErrorKind::corrupt);
}

}  // namespace
}  // namespace respaldo::dm
