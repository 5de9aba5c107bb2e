#include "repo/index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "repo/pack.h"
#include "repo/repository.h"
#include "testing/errors.h"
#include "testing/temp.h"

namespace respaldo::repo {
namespace {

using testing::error_of;

TEST(FindSnapshot, names_by_prefix_and_latest) {
  std::vector<NamedSnapshot> all(3);
  all[0].id.bytes = {0xab, 1};
  all[0].snapshot.time.seconds = 10;
  all[0].snapshot.paths = {"/vg0/root"};
  all[1].id.bytes = {0xab, 2};
  all[1].snapshot.time.seconds = 30;
  all[1].snapshot.paths = {"/vg0/home"};
  all[2].id.bytes = {0xcd};
  all[2].snapshot.time.seconds = 20;
  EXPECT_EQ(find_snapshot(all, "latest").id, all[1].id);
  EXPECT_EQ(find_snapshot(all, "latest:vg0/root").id, all[0].id);
  all[0].snapshot.paths = {"/dev/vg0/root"};
  EXPECT_EQ(find_snapshot(all, "latest:vg0/root").id, all[0].id);
  EXPECT_EQ(find_snapshot(all, "latest:dev/vg0/root").id, all[0].id);
  EXPECT_EQ(find_snapshot(all, "c").id, all[2].id);
  EXPECT_EQ(error_of([&] { find_snapshot(all, "ab"); }).kind(), ErrorKind::usage);
  EXPECT_EQ(error_of([&] { find_snapshot(all, "ef"); }).kind(), ErrorKind::not_found);
  EXPECT_EQ(error_of([&] { find_snapshot(all, "latest:vg0/var"); }).kind(), ErrorKind::not_found);
  EXPECT_EQ(error_of([&] { find_snapshot({}, "latest"); }).kind(), ErrorKind::not_found);
}

TEST(FindSnapshot, each_host_has_a_latest) {
  std::vector<NamedSnapshot> all(4);
  for (std::uint8_t i = 0; i < all.size(); ++i) {
    all[i].id.bytes = {i};
    all[i].snapshot.time.seconds = i;
    all[i].snapshot.hostname = i % 2 == 0 ? "web" : "db";
    all[i].snapshot.paths = {i == 3 ? "/dev/vg0/home" : "/dev/vg0/root"};
  }
  const auto ids = [&](std::string_view latest) {
    std::vector<SnapshotId> found;
    for (const NamedSnapshot& one : latest_of_hosts(all, latest)) found.push_back(one.id);
    return found;
  };
  EXPECT_EQ(ids("latest"), (std::vector{all[3].id, all[2].id}));
  EXPECT_EQ(ids("latest:dev/vg0/root"), (std::vector{all[2].id, all[1].id}));
  EXPECT_EQ(ids("latest:vg0/home"), (std::vector{all[3].id}));
  EXPECT_TRUE(ids("latest:vg0/var").empty());
  EXPECT_EQ(find_snapshot(all, "latest:vg0/root").id, all[2].id);
}

TEST(Index, finds_every_copy_and_groups_by_pack) {
  Index index;
  for (std::uint8_t p = 0; p < 3; ++p) {
    PackContents pack{PackId{{p}}, {}};
    for (std::uint8_t b = 0; b < 10; ++b)
      pack.blobs.push_back({BlobType::data, BlobId{{b}}, b * 100U, 100, 0});
    index.add(pack);
    index.add(pack);  // two index files may tell the same
  }
  index.freeze();
  EXPECT_EQ(index.blob_count(), 30U);
  EXPECT_EQ(index.find_all(BlobType::data, BlobId{{5}}).size(), 3U);
  EXPECT_FALSE(index.find(BlobType::tree, BlobId{{5}}));
  int packs = 0;
  index.for_each_pack([&](const PackContents& pack) {
    ++packs;
    ASSERT_EQ(pack.blobs.size(), 10U);
    EXPECT_EQ(pack.blobs[3].offset, 300U);
    EXPECT_EQ(Index::expected_pack_size(pack), 10 * 100 + 10 * 37 + 36U);
  });
  EXPECT_EQ(packs, 3);
  const auto back =
      parse_index(as_bytes(to_json({PackContents{PackId{{1}}, {{BlobType::tree, BlobId{{2}}, 3, 40, 5}}}})));
  EXPECT_EQ(back.at(0).blobs.at(0).uncompressed_length, 5U);
}

TEST(Index, large_ones_are_sorted_by_all_processors) {
  constexpr std::size_t kBlobs = 200000;
  const Bytes random = testing::random_bytes(kBlobs * sizeof(BlobId), 11);
  Index index;
  for (std::size_t copy = 0; copy < 2; ++copy) {
    PackContents pack{PackId{{static_cast<std::uint8_t>(copy)}}, {}};
    for (std::size_t i = 0; i < kBlobs; ++i) {
      PackedBlob blob{BlobType::data, {}, static_cast<std::uint32_t>(i), 100, 0};
      std::memcpy(blob.id.bytes.data(), random.data() + i * sizeof(BlobId), sizeof(BlobId));
      if (i % 3 == 0) blob.id.bytes[0] = 7;  // not as even as they should be
      if (i % 2 == 0 || copy == 0) pack.blobs.push_back(blob);
    }
    index.add(pack);
    index.add(pack);
  }
  index.freeze();
  EXPECT_EQ(index.blob_count(), kBlobs + kBlobs / 2);
  std::size_t visited = 0;
  index.for_each_pack([&](const PackContents& pack) {
    for (const PackedBlob& blob : pack.blobs) {
      ++visited;
      const auto places = index.find_all(BlobType::data, blob.id);
      ASSERT_EQ(places.size(), blob.offset % 2 == 0 ? 2U : 1U);
      for (const BlobLocation& place : places) ASSERT_EQ(place.offset, blob.offset);
      ASSERT_EQ(places.back().pack, blob.offset % 2 == 0 ? PackId{{1}} : PackId{{0}});
    }
  });
  EXPECT_EQ(visited, kBlobs + kBlobs / 2);
}

TEST(PackHeader, hostile_ones_are_refused) {
  Bytes entry = Bytes::zeroed(41);
  entry.data()[0] = 2;
  EXPECT_THROW(parse_pack_header(entry), Error);  // lengths of 0
  entry.data()[0] = 9;
  EXPECT_THROW(parse_pack_header(entry), Error);
  EXPECT_THROW(parse_pack_header(entry.view(0, 10)), Error);
}

}  // namespace
}  // namespace respaldo::repo
