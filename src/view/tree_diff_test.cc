#include "view/tree_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/zero_blob.h"

namespace respaldo::view {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

repo::BlobId id_of(std::uint8_t number) {
  repo::BlobId id;
  id.bytes[31] = number;
  return id;
}

std::vector<ImageChunk> chunks(const std::vector<std::pair<std::uint32_t, repo::BlobId>>& lengths) {
  std::vector<ImageChunk> all;
  std::uint64_t at = 0;
  for (const auto& [length, id] : lengths) {
    all.push_back({at, length, id});
    at += length;
  }
  return all;
}

void expect_changed(const std::vector<ImageChunk>& a, const std::vector<ImageChunk>& b, std::uint64_t bytes,
                    std::uint64_t ranges) {
  for (const auto& [before, after] : {std::pair(a, b), std::pair(b, a)}) {
    const ChangedBytes changed = compare_chunks(before, after);
    EXPECT_EQ(changed.bytes, bytes);
    EXPECT_EQ(changed.ranges, ranges);
  }
}

TEST(CompareChunks, EqualBlobsAtEqualPlaces) {
  const auto a = chunks({{10, id_of(1)}, {20, id_of(2)}, {30, id_of(3)}});
  expect_changed(a, a, 0, 0);
  expect_changed(a, {}, 60, 1);
  expect_changed({}, {}, 0, 0);
  expect_changed(a, chunks({{10, id_of(1)}, {20, id_of(9)}, {30, id_of(3)}}), 20, 1);
  expect_changed(a, chunks({{10, id_of(8)}, {20, id_of(2)}, {30, id_of(9)}}), 40, 2);
  expect_changed(a, chunks({{10, id_of(8)}, {20, id_of(9)}, {30, id_of(3)}}), 30, 1);
}

TEST(CompareChunks, OtherCuts) {
  const auto a = chunks({{10, id_of(1)}, {20, id_of(2)}, {30, id_of(3)}});
  expect_changed(a, chunks({{10, id_of(1)}, {5, id_of(7)}, {15, id_of(8)}, {30, id_of(3)}}), 20, 1);
  expect_changed(a, chunks({{10, id_of(1)}, {25, id_of(7)}, {25, id_of(8)}}), 50, 1);
  // One blob, moved.
  expect_changed(a, chunks({{20, id_of(2)}, {10, id_of(1)}, {30, id_of(3)}}), 30, 1);
  expect_changed(a, chunks({{10, id_of(1)}, {20, id_of(2)}, {30, id_of(3)}, {5, id_of(4)}}), 5, 1);
}

TEST(CompareChunks, ZerosAreZerosHoweverTheyAreCut) {
  const std::uint32_t half = kZeroBlobLength;
  const auto a = chunks({{half, zero_blob_id()}, {half, zero_blob_id()}, {100, zero_blob_id(100)}});
  const auto b = chunks({{2 * half, zero_blob_id(2 * half)}, {100, zero_blob_id(100)}});
  expect_changed(a, b, 0, 0);
  expect_changed(a, chunks({{half, zero_blob_id()}, {half, id_of(1)}, {100, zero_blob_id(100)}}), half, 1);
  // What lies beyond the end of one image is no zeros of it.
  expect_changed(chunks({{half, zero_blob_id()}}), chunks({{half, zero_blob_id()}, {half, zero_blob_id()}}),
                 half, 1);
}

class Diff : public ::testing::Test {
 protected:
  void SetUp() override { backup_.emplace(*repository_); }
  repo::Node file(std::string name, std::uint8_t content, std::uint64_t size = 5) {
    return testing::file_node(std::move(name), size, {id_of(content)});
  }
  repo::Node folder(std::string name, std::vector<repo::Node> nodes) {
    return testing::folder_node(std::move(name), backup_->tree(std::move(nodes)));
  }
  repo::Node typed(std::string name, repo::NodeType type, std::string target = "") {
    repo::Node node;
    node.name = std::move(name);
    node.type = type;
    node.link_target = std::move(target);
    return node;
  }
  // "+/path" and so on.
  std::vector<std::string> diff(std::vector<repo::Node> before, std::vector<repo::Node> after,
                                const std::string& path = "/") {
    repo::Snapshot a, b;
    a.tree = backup_->tree(std::move(before));
    b.tree = backup_->tree(std::move(after));
    backup_->save(a.tree);
    const auto indexed = testing::indexed(*repository_);
    images_.clear();
    problems_.clear();
    std::vector<std::string> found;
    TreeDiff differ(*indexed, {[&](const Difference& one) {
                                 found.push_back("+-MTU"[static_cast<std::size_t>(one.change)] + one.path);
                               },
                               [&](const ImageDifference& one) { images_.push_back(one); },
                               [&](const std::string& at, const Error&) { problems_.push_back(at); }},
                    progress_);
    exists_ = differ.compare(a, b, path, {});
    return found;
  }
  std::unique_ptr<repo::Repository> repository_ = testing::memory_repository();
  std::optional<testing::HandMadeBackup> backup_;
  std::vector<ImageDifference> images_;
  std::vector<std::string> problems_;
  SilentProgress progress_;
  bool exists_ = false;
};

TEST_F(Diff, EqualTreesHaveNone) {
  EXPECT_THAT(diff({file("a", 1), folder("b", {file("c", 2)})}, {file("a", 1), folder("b", {file("c", 2)})}),
              IsEmpty());
  EXPECT_TRUE(exists_);
}

TEST_F(Diff, EveryKindOfChange) {
  repo::Node chmodded = file("mode", 4);
  chmodded.mode ^= 0111;
  EXPECT_THAT(
      diff({file("content", 1), file("gone", 2), typed("link", repo::NodeType::symlink, "a"), file("mode", 4),
            typed("same", repo::NodeType::fifo), file("size", 5, 1), file("type", 6)},
           {file("content", 9), typed("link", repo::NodeType::symlink, "b"), chmodded, file("new", 3),
            typed("same", repo::NodeType::fifo), file("size", 5, 2),
            typed("type", repo::NodeType::symlink, "x")}),
      ElementsAre("M/content", "-/gone", "M/link", "U/mode", "+/new", "M/size", "T/type"));
}

TEST_F(Diff, WholeFoldersComeAndGoAndBecomeFiles) {
  EXPECT_THAT(diff({folder("a", {file("x", 1), folder("y", {file("z", 1)})}), folder("c", {file("x", 1)})},
                   {folder("b", {file("x", 1)}), file("c", 1)}),
              ElementsAre("-/a", "-/a/x", "-/a/y", "-/a/y/z", "+/b", "+/b/x", "T/c", "-/c/x"));
}

TEST_F(Diff, EqualFoldersAreNotRead) {
  // That cannot be read at all, and need not be.
  const repo::Node same = testing::folder_node("d", id_of(77));
  EXPECT_THAT(diff({folder("a", {folder("b", {same})})}, {folder("a", {folder("b", {same, file("e", 1)})})}),
              ElementsAre("+/a/b/e"));
  EXPECT_THAT(problems_, IsEmpty());
}

TEST_F(Diff, WhatCannotBeReadIsToldAndTheRestCompared) {
  EXPECT_THAT(diff({folder("a", {folder("b", {testing::folder_node("d", id_of(77))})}), file("z", 1)},
                   {folder("a", {folder("b", {testing::folder_node("d", id_of(78))})}), file("z", 2)}),
              ElementsAre("M/z"));
  EXPECT_THAT(problems_, ElementsAre("/a/b/d"));
}

TEST_F(Diff, BelowAPath) {
  const std::vector<repo::Node> before = {folder("a", {folder("b", {file("c", 1)}), file("x", 1)}),
                                          file("y", 1)};
  const std::vector<repo::Node> after = {folder("a", {folder("b", {file("c", 2)}), file("x", 2)}),
                                         file("y", 2)};
  EXPECT_THAT(diff(before, after, "a/b/"), ElementsAre("M/a/b/c"));
  EXPECT_THAT(diff(before, after, "/a/x"), ElementsAre("M/a/x"));
  EXPECT_THAT(diff(before, {}, "/a/b"), ElementsAre("-/a/b", "-/a/b/c"));
  EXPECT_THAT(diff(before, after, "/nowhere"), IsEmpty());
  EXPECT_FALSE(exists_);
}

TEST_F(Diff, MetadataChanges) {
  repo::Node a = file("a", 1), b = a;
  EXPECT_THAT(metadata_changes(a, b), IsEmpty());
  b.atime.seconds = b.ctime.seconds = 5;
  b.inode = 7;
  b.links = 3;
  a.xattrs = {{"user.x", "1"}, {"user.y", "2"}};
  b.xattrs = {{"user.y", "2"}, {"user.x", "1"}};
  b.mtime.zone_seconds = 3600;
  EXPECT_THAT(metadata_changes(a, b), IsEmpty());
  b.mode ^= 1;
  b.gid = 4;
  b.mtime.nanoseconds = 1;
  b.xattrs[0].value = "3";
  EXPECT_THAT(metadata_changes(a, b), ElementsAre("mode", "owner", "time", "attributes"));
}

TEST_F(Diff, ImagesAreComparedByTheirBlobs) {
  Bytes image(1U << 20);
  std::ranges::fill(image.span(), std::uint8_t{1});
  const auto volume = [&](std::vector<repo::Node> nodes) {
    return std::vector<repo::Node>{folder("vg0", {folder("root", std::move(nodes))})};
  };
  const std::vector<repo::Node> before = volume({backup_->file("image.raw", image, 256U << 10)});
  image.data()[300U << 10] = 2;
  const std::vector<repo::Node> after = volume({backup_->file("image.raw", image, 256U << 10)});
  EXPECT_THAT(diff(before, after), ElementsAre());
  ASSERT_EQ(images_.size(), 1U);
  EXPECT_EQ(images_[0].volume, "vg0/root");
  EXPECT_EQ(images_[0].bytes_changed, 256U << 10);
  EXPECT_EQ(images_[0].ranges, 1U);
  // The same bytes, as a part.
  const std::vector<repo::Node> parts =
      volume({folder("image", {backup_->file("image.00000", image, 256U << 10)})});
  EXPECT_THAT(diff(after, parts), IsEmpty());
  EXPECT_THAT(images_, IsEmpty());
  // Only when asked for; and alone, when asked for that.
  EXPECT_THAT(diff(before, after, "/vg0/root/image.raw"), IsEmpty());
  EXPECT_EQ(images_.size(), 1U);
  EXPECT_THAT(diff(volume({backup_->file("image.raw", image), folder("files", {file("a", 1)})}),
                   volume({folder("files", {file("a", 2)})}), "/vg0/root/files"),
              ElementsAre("M/vg0/root/files/a"));
  EXPECT_THAT(images_, IsEmpty());
  // A volume that is new has changed as a whole.
  EXPECT_THAT(diff({}, after), ElementsAre("+/vg0", "+/vg0/root"));
  ASSERT_EQ(images_.size(), 1U);
  EXPECT_FALSE(images_[0].size_before);
  EXPECT_EQ(images_[0].bytes_changed, 1U << 20);
}

Bytes noise(std::size_t size) { return testing::random_bytes(size, 1); }

TEST_F(Diff, FilesThatWereOnlyCutOtherwiseAreTheSame) {
  const Bytes bytes = noise(100'000), end = noise(100'000);
  Bytes other = noise(100'000);
  other.data()[50'000] ^= 1;
  const auto cut = [&](const std::string& name, ByteView content, std::size_t chunk) { return backup_->file(name, content, chunk); };
  repo::Node chmodded = cut("mode", bytes, 9999);
  chmodded.mode ^= 0111;
  EXPECT_THAT(diff({cut("changed", bytes, 1000), cut("mode", bytes, 8000), cut("one blob", bytes, 100'000), cut("same", bytes, 7000)},
                   {cut("changed", other, 3000), chmodded, cut("one blob", bytes, 30'000), cut("same", bytes, 65'536)}),
              ElementsAre("M/changed", "U/mode"));
  EXPECT_THAT(problems_, IsEmpty());
}

TEST_F(Diff, BlobsOfTheSamePlaceAndLengthAreNotRead) {
  const Bytes bytes = noise(60'000);
  repo::Node a = backup_->file("f", bytes, 10'000), b = a;
  Bytes other = noise(60'000);
  other.data()[15'000] ^= 1;
  b.content[1] = backup_->data(other.view(10'000, 10'000));
  // What would have to be read cannot be.
  b.content[4] = backup_->data(bytes.view(40'000, 5000));
  b.content.insert(b.content.begin() + 5, backup_->data(bytes.view(45'000, 5000)));
  repo::Snapshot before, after;
  before.tree = backup_->tree({a});
  after.tree = backup_->tree({b});
  backup_->save(before.tree);
  const auto indexed = testing::indexed(*repository_);
  const auto at = *indexed->index().find(repo::BlobType::data, b.content[4]);
  testing::flip(*repository_, {store::FileType::pack, at.pack.hex()}, at.offset + 40);
  TreeDiff differ(*indexed, {[&](const Difference& one) { EXPECT_EQ(one.change, Change::content); }, {},
                             [&](const std::string& path, const Error&) { problems_.push_back(path); }},
                  progress_);
  EXPECT_TRUE(differ.compare(before, after, "/", {}));
  EXPECT_THAT(problems_, IsEmpty());
  // Without the sure difference it is read, and counts as changed.
  b.content[1] = a.content[1];
  backup_.emplace(*repository_);
  EXPECT_THAT(diff({a}, {b}), ElementsAre("M/f"));
  EXPECT_THAT(problems_, ElementsAre("/f"));
}

TEST_F(Diff, ContentThatIsNotThereCountsAsChanged) {
  repo::Node a = backup_->file("f", noise(60'000), 10'000), b = a;
  b.content[3] = id_of(7);
  EXPECT_THAT(diff({a}, {b}), ElementsAre("M/f"));
  EXPECT_THAT(problems_, ElementsAre("/f"));
}

TEST_F(Diff, ImagesThatWereCutOtherwiseDifferWhereTheirBytesDo) {
  Bytes image = noise(40U << 20);  // more than one thread compares in one go
  std::ranges::fill(image.span().subspan(4U << 20, 4U << 20), std::uint8_t{0});
  const auto volume = [&](std::size_t chunk) {
    return std::vector<repo::Node>{folder("vg0", {folder("root", {backup_->file("image.raw", image, chunk)})})};
  };
  const auto before = volume(512U << 10), same = volume(700'000);
  image.data()[3'000'000] ^= 1;
  image.data()[30'000'000] ^= 1;
  const auto after = volume(700'000);
  EXPECT_THAT(diff(before, same), IsEmpty());
  EXPECT_THAT(images_, IsEmpty());
  backup_.emplace(*repository_);
  EXPECT_THAT(diff(before, after), IsEmpty());
  ASSERT_EQ(images_.size(), 1U);
  EXPECT_EQ(images_[0].ranges, 2U);
  // From border to border, of either.
  EXPECT_EQ(images_[0].bytes_changed, (3'145'728U - 2'800'000U) + (30'100'000U - 29'884'416U));
}

}  // namespace
}  // namespace respaldo::view
