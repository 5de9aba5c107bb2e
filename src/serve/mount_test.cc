// What a mount shows, without FUSE: names, hostile trees, images in parts, contents, holes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "serve/backup_tree.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/volume_view.h"
#include "view/zero_blob.h"

namespace respaldo::serve {
namespace {

using repo::Node;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kCache = 4U << 20;

BackupPtr backup_at(std::int64_t seconds, const std::string& host, std::uint8_t first, std::uint8_t last) {
  repo::NamedSnapshot named;
  named.snapshot.time.seconds = seconds;
  named.snapshot.hostname = host;
  named.id.bytes[0] = first;
  named.id.bytes[31] = last;
  return std::make_shared<const repo::NamedSnapshot>(std::move(named));
}

template <class Map>
std::vector<std::string> keys(const Map& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

TEST(NameBackups, TellsApartWhatFallsTogether) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  const auto names = name_backups({backup_at(1700000000, "b", 3, 0), backup_at(1700000000, "a", 1, 1),
                                   backup_at(1700000000, "a", 1, 2), backup_at(1600000000, "a/../b", 4, 0)});
  EXPECT_THAT(keys(names.times), ElementsAre("2020-09-13T12:26:40", "2023-11-14T22:13:20",
                                             "2023-11-14T22:13:20-1", "2023-11-14T22:13:20-2"));
  EXPECT_EQ(names.latest, "2023-11-14T22:13:20-2");
  EXPECT_EQ(names.times.at(names.latest)->snapshot.hostname, "b");
  ASSERT_EQ(names.ids.size(), 4U);
  EXPECT_THAT(keys(names.ids), Contains("03000000"));
  EXPECT_EQ(names.ids.begin()->first.size(), 64U);  // two begin with 01000000
  EXPECT_THAT(keys(names.hosts), ElementsAre("a", "b"));
  EXPECT_EQ(names.latest_of.at("a"), "2023-11-14T22:13:20-1");
  EXPECT_EQ(names.nameless_hosts, 1U);
}

class Tree : public ::testing::Test {
 protected:
  BackupTree& tree() {
    if (!tree_) {
      const auto tell = [this](const std::string& text) { told.push_back(text); };
      backups = std::make_unique<BackupList>(
          *repository, [](const repo::Snapshot&) { return true; }, tell, silent, std::stop_token());
      tree_ = std::make_unique<BackupTree>(*backups, kCache, tell);
    }
    return *tree_;
  }
  BackupTree::Found find(std::initializer_list<std::string_view> path) {
    BackupTree::Found found;
    found.handle = BackupTree::kRoot;
    for (const std::string_view name : path) {
      const auto next = tree().look_up(found.handle, name);
      if (!next) throw std::out_of_range(std::string(name));
      found = *next;
    }
    return found;
  }
  BackupTree::Found below_latest(std::vector<std::string_view> path) {
    const std::string time = tree().link_target(find({"latest"}).handle).substr(6);
    BackupTree::Found found = find({"times", time});
    for (const std::string_view name : path) {
      const auto next = tree().look_up(found.handle, name);
      if (!next) throw std::out_of_range(std::string(name));
      found = *next;
    }
    return found;
  }
  std::vector<std::string> names(const BackupTree::Found& folder) {
    std::vector<std::string> names;
    const auto listing = tree().list(folder.handle);
    for (std::size_t row = 2; row < listing.size(); ++row) names.emplace_back(listing.at(row).name);
    return names;
  }
  std::string content(const BackupTree::Found& found) {
    const auto file = tree().open(found.handle);
    Bytes bytes(file->size());
    tree().read(file, 0, bytes);
    return std::string(as_text(bytes));
  }

  SilentProgress silent;
  std::unique_ptr<repo::Repository> repository = testing::memory_repository();
  std::vector<std::string> told;
  std::unique_ptr<BackupList> backups;

 private:
  std::unique_ptr<BackupTree> tree_;
};

TEST_F(Tree, HidesNamesThatNoFileCanHave) {
  testing::HandMadeBackup backup(*repository);
  std::vector<Node> nodes{backup.file("good", as_bytes("1"))};
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("/etc"), std::string("a\0b", 3), std::string(256, 'n')})
    nodes.push_back(backup.file(name, as_bytes("2")));
  backup.save(backup.tree(std::move(nodes)));
  EXPECT_THAT(names(below_latest({})), ElementsAre("good"));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_THAT(told[0], HasSubstr("7 entries are hidden"));
  EXPECT_FALSE(tree().look_up(below_latest({}).handle, "..").has_value());
}

TEST_F(Tree, JoinsAnImageInParts) {
  testing::HandMadeBackup backup(*repository);
  const Bytes image = testing::random_bytes(300000, 1);
  std::vector<Node> parts{backup.file("image.00000", image.view(0, 100000)),
                          backup.file("image.00001", image.view(100000, 100000)),
                          backup.file("image.00002", image.view(200000, 100000))};
  std::vector<Node> broken{parts[0], parts[2]};
  std::vector<Node> lv{testing::folder_node("image", backup.tree(parts))};
  std::vector<Node> vg{
      testing::folder_node("broken", backup.tree({testing::folder_node("image", backup.tree(broken))})),
      testing::folder_node("root", backup.tree(lv))};
  backup.save(backup.tree({testing::folder_node("vg0", backup.tree(vg))}));
  EXPECT_THAT(names(below_latest({"vg0", "root"})), ElementsAre("image", "image.raw"));
  const auto joined = below_latest({"vg0", "root", "image.raw"});
  EXPECT_EQ(joined.status.st_size, 300000);
  EXPECT_EQ(content(joined), as_text(image));
  EXPECT_EQ(content(below_latest({"vg0", "root", "image", "image.00001"})),
            as_text(image.view(100000, 100000)));
  EXPECT_THAT(names(below_latest({"vg0", "broken"})), ElementsAre("image"));
  EXPECT_THAT(told, Contains(HasSubstr("image.00001 is missing")));
}

TEST_F(Tree, JoinsAnImageWhosePartsHaveFoldersOfTheirOwn) {
  testing::HandMadeBackup backup(*repository);
  const Bytes image = testing::random_bytes(300000, 1);
  std::vector<Node> parts;
  for (const auto& [at, length] : std::map<std::uint64_t, std::size_t>{{0, 100000}, {100000, 150000}, {250000, 50000}})
    parts.push_back(testing::folder_node(view::part_folder_name(at),
                                         backup.tree({backup.file("image.raw", image.view(at, length))})));
  const auto lv = backup.tree({testing::folder_node("image", backup.tree(parts))});
  backup.save(backup.tree({testing::folder_node("vg0", backup.tree({testing::folder_node("root", lv)}))}));
  EXPECT_THAT(names(below_latest({"vg0", "root"})), ElementsAre("image", "image.raw"));
  EXPECT_EQ(content(below_latest({"vg0", "root", "image.raw"})), as_text(image));
  EXPECT_EQ(content(below_latest({"vg0", "root", "image", view::part_folder_name(250000), "image.raw"})),
            as_text(image.view(250000, 50000)));
  EXPECT_THAT(told, ::testing::IsEmpty());
}

TEST_F(Tree, ZerosAreNeverLoadedAndAreHoles) {
  testing::HandMadeBackup backup(*repository);
  const std::uint64_t zeros = view::kZeroBlobLength;
  Bytes bytes = Bytes::zeroed(zeros * 3 + 1000);
  bytes.data()[0] = 1;
  backup.save(backup.tree({backup.file("sparse", bytes, zeros)}));
  const auto found = below_latest({"sparse"});
  EXPECT_EQ(found.status.st_blocks, static_cast<blkcnt_t>((zeros + 1000 + 511) / 512));
  const auto file = tree().open(found.handle);
  EXPECT_EQ(file->next_data(0), 0U);
  EXPECT_EQ(file->next_zero(0), zeros);
  EXPECT_EQ(file->next_zero(zeros + 5), zeros + 5);
  EXPECT_EQ(file->next_data(zeros), file->size());
  EXPECT_EQ(content(found), as_text(bytes));
  // Without the packs, zeros can still be read, and nothing else.
  for (const std::string& pack : testing::pack_names(*repository))
    repository->backend().remove({store::FileType::pack, pack});
  FileReader reader([&] { return backups->repository(); }, kCache);
  Bytes out(zeros);
  reader.read(file, zeros, out);
  EXPECT_TRUE(is_zero(out));
  EXPECT_EQ(reader.blobs_loaded(), 0U);
  EXPECT_THROW(reader.read(file, 0, out), Error);
}

TEST_F(Tree, LongZerosAreHolesToo) {
  testing::HandMadeBackup backup(*repository);
  const auto blob = [&](std::uint32_t length) { return backup.data(Bytes::zeroed(length)); };
  const std::uint64_t size = view::kZeroBlobLength + 2 * std::uint64_t{view::kLongZeroBlobLength} + 1000;
  backup.save(backup.tree(
      {testing::file_node("sparse", size,
                          {blob(view::kZeroBlobLength), blob(view::kLongZeroBlobLength),
                           blob(view::kLongZeroBlobLength), backup.data(testing::random_bytes(1000, 1))})}));
  const auto found = below_latest({"sparse"});
  EXPECT_EQ(found.status.st_blocks, 2);
  const auto file = tree().open(found.handle);
  EXPECT_EQ(file->next_zero(0), 0U);
  EXPECT_EQ(file->next_data(0), size - 1000);
}

TEST_F(Tree, AttributesAndHardLinks) {
  testing::HandMadeBackup backup(*repository);
  Node one = backup.file("one", as_bytes("same"));
  one.mode = S_IFREG | 06711;
  one.uid = 4000000000;
  one.gid = 5;
  one.links = 2;
  one.inode = 77;
  one.device_id = 3;
  one.mtime = {-5, 999999999, 0};
  one.xattrs = {{"user.a", std::string("\0b", 2)}};
  Node two = one, other = one;
  two.name = "two";
  other.name = "other";
  other.device_id = 4;
  Node link;
  link.name = "link";
  link.type = repo::NodeType::symlink;
  link.mode = S_IFLNK | 0777;
  link.link_target = "where/ever";
  const auto sub =
      testing::folder_node("sub", backup.tree({testing::folder_node("deeper", backup.tree({}))}));
  backup.save(backup.tree({one, two, other, link, sub}));
  const auto a = below_latest({"one"}).status, b = below_latest({"two"}).status,
             c = below_latest({"other"}).status;
  EXPECT_EQ(a.st_ino, b.st_ino);
  EXPECT_NE(a.st_ino, c.st_ino);
  EXPECT_EQ(a.st_mode, static_cast<mode_t>(S_IFREG | 06711));
  EXPECT_EQ(a.st_uid, 4000000000U);
  EXPECT_EQ(a.st_nlink, 2U);
  EXPECT_EQ(a.st_mtim.tv_sec, -5);
  EXPECT_EQ(a.st_mtim.tv_nsec, 999999999);
  EXPECT_EQ(tree().attributes(below_latest({"two"}).handle).at(0).value, std::string("\0b", 2));
  EXPECT_EQ(tree().link_target(below_latest({"link"}).handle), "where/ever");
  EXPECT_EQ(below_latest({"link"}).status.st_size, 10);
  EXPECT_EQ(below_latest({"sub"}).status.st_nlink, 3U);
  EXPECT_EQ(below_latest({}).status.st_nlink, 3U);
  EXPECT_THROW(tree().open(below_latest({"sub"}).handle), Error);
  EXPECT_THROW(tree().list(below_latest({"one"}).handle), Error);
  EXPECT_THROW(tree().link_target(below_latest({"one"}).handle), Error);
}

TEST_F(Tree, ForgetsWhatTheKernelForgets) {
  testing::HandMadeBackup backup(*repository);
  backup.save(backup.tree({backup.file("a", as_bytes("1")), backup.file("b", as_bytes("2"))}));
  below_latest({});
  const std::size_t before = tree().entries();
  const auto first = below_latest({"a"}), again = below_latest({"a"});
  EXPECT_EQ(first.handle, again.handle);
  EXPECT_EQ(tree().entries(), before + 1);
  tree().forget(first.handle, 1);
  EXPECT_EQ(tree().status(first.handle).st_size, 1);
  tree().forget(first.handle, 1);
  EXPECT_EQ(tree().entries(), before);
  EXPECT_THROW(tree().status(first.handle), Error);
  const auto fresh = below_latest({"a"});
  EXPECT_NE(fresh.handle, first.handle);
  EXPECT_EQ(fresh.status.st_ino, first.status.st_ino);
}

TEST_F(Tree, NewBackupsAppearAndOldOnesGo) {
  testing::HandMadeBackup first(*repository);
  const auto id = first.save(first.tree({first.file("a", as_bytes("first"))}));
  EXPECT_EQ(names(find({"ids"})).size(), 1U);
  testing::HandMadeBackup second(*repository);
  second.save(second.tree({second.file("a", as_bytes("second"))}));
  backups->refresh_now();
  EXPECT_EQ(names(find({"ids"})).size(), 2U);
  EXPECT_EQ(content(below_latest({"a"})), "second");
  repository->backend().remove({store::FileType::snapshot, id.hex()});
  backups->refresh_now();
  EXPECT_EQ(names(find({"ids"})).size(), 1U);
  EXPECT_THAT(told, IsEmpty());
}

TEST_F(Tree, WhatIsLostIsToldWithItsFile) {
  testing::HandMadeBackup backup(*repository);
  Node lost = backup.file("lost", as_bytes("12345"));
  lost.content[0].bytes[5] ^= 1;
  Node longer = backup.file("longer", as_bytes("12345"));
  longer.size = 10;
  backup.save(backup.tree({lost, longer, testing::folder_node("gone", lost.content[0])}));
  EXPECT_THROW(tree().open(below_latest({"lost"}).handle), Error);
  EXPECT_THAT(told, Contains(HasSubstr("/lost: blob ")));
  EXPECT_THROW(content(below_latest({"longer"})), Error);
  EXPECT_THAT(told, Contains(HasSubstr("longer: its blobs add up to 5 bytes")));
  EXPECT_THROW(tree().list(below_latest({"gone"}).handle), Error);
  EXPECT_THAT(told, Contains(HasSubstr("/gone: ")));
}

}  // namespace
}  // namespace respaldo::serve
