#include "view/volume_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "testing/errors.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/zero_blob.h"

namespace respaldo::view {
namespace {

using namespace respaldo::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

repo::Snapshot only_backup(repo::Repository& repository) { return repository.snapshots().at(0).snapshot; }

TEST(VolumeFacts, come_back_as_they_were_written) {
  VolumeFacts facts;
  facts.vg = "vg0";
  facts.lv = "ro-ot";
  facts.vg_uuid = "a";
  facts.lv_uuid = "b";
  facts.size = std::uint64_t{1} << 60;
  facts.segment_type = "linear";
  facts.engine = "image";
  facts.how = "snapshot";
  facts.snapshot_name = "vg0/snap";
  facts.cow_size = 10;
  facts.cow_used = 0;
  facts.cow_chunk = 4096;
  facts.pool_size = 100;
  facts.pool_used = 0;
  facts.filesystem = "ext4";
  facts.filesystem_label = "\xff\n";
  facts.lost = {{{4096, 512}, "Input/output error"}};
  const std::string json = facts.to_json();
  EXPECT_TRUE(json.ends_with("}\n"));
  const VolumeFacts again = VolumeFacts::parse(json);
  EXPECT_EQ(again.to_json(), json);
  EXPECT_EQ(again.lv, "ro-ot");
  EXPECT_EQ(again.cow_used, 0U);
  EXPECT_EQ(again.pool_used, 0U);
  EXPECT_EQ(again.pool_metadata_size, std::nullopt);
  ASSERT_EQ(again.lost.size(), 1U);
  EXPECT_EQ(again.lost[0].extent, (Extent{4096, 512}));
}

TEST(VolumeFacts, fields_of_the_wrong_type_are_corrupt) {
  for (const char* text :
       {"", "[]", "{\"vg\": 1}", "{\"size\": -1}", "{\"size\": \"1\"}", "{\"lost\": {}}", "{\"lost\": [1]}",
        "{\"lost\": [{\"offset\": 1}]}", "{\"lost\": [{\"offset\": 18446744073709551615, \"length\": 1}]}"})
    EXPECT_EQ(error_of([&] { VolumeFacts::parse(text); }).kind(), ErrorKind::corrupt) << text;
}

TEST(VolumeFacts, unknown_fields_are_left_alone) {
  EXPECT_EQ(VolumeFacts::parse("{\"lv\": \"a\", \"colour\": {\"red\": 1}}").lv, "a");
}

TEST(StoredVolumes, a_volume_is_found_with_its_image_and_facts) {
  const auto repository = memory_repository();
  VolumeFacts facts;
  facts.vg = "vg0";
  facts.lv = "root";
  facts.size = 200000;
  store_image(*repository, random_bytes(200000, 1), facts.to_json());
  const auto volumes = stored_volumes(*indexed(*repository), only_backup(*repository));
  ASSERT_EQ(volumes.size(), 1U);
  EXPECT_EQ(volumes[0].str(), "vg0/root");
  EXPECT_EQ(volumes[0].tree_path, "/vg0/root");
  EXPECT_EQ(volumes[0].image_size, 200000U);
  EXPECT_TRUE(volumes[0].has_image);
  EXPECT_FALSE(volumes[0].has_files);
  ASSERT_TRUE(volumes[0].facts);
  EXPECT_EQ(volumes[0].facts->size, 200000U);
}

TEST(StoredVolumes, damaged_facts_do_not_hide_the_image) {
  const auto repository = memory_repository();
  store_image(*repository, random_bytes(1000, 1), "not json");
  const auto volumes = stored_volumes(*indexed(*repository), only_backup(*repository));
  ASSERT_EQ(volumes.size(), 1U);
  EXPECT_TRUE(volumes[0].has_image);
  EXPECT_FALSE(volumes[0].facts);
}

TEST(StoredVolumes, a_backup_of_files_has_none) {
  const auto repository = memory_repository();
  HandMadeBackup backup(*repository);
  const auto home = backup.tree({backup.file("letter", as_bytes("dear"))});
  const auto root = backup.tree({folder_node("home", home), backup.file("image.raw", as_bytes("x"))});
  backup.save(root, "restic 0.14");
  EXPECT_THAT(stored_volumes(*indexed(*repository), only_backup(*repository)), IsEmpty());
}

TEST(StoredVolumes, parts_follow_each_other_and_a_missing_one_is_corrupt) {
  for (const bool whole : {true, false}) {
    const auto repository = memory_repository();
    HandMadeBackup backup(*repository);
    std::vector<repo::Node> parts;
    for (const std::size_t number : {0U, 1U, 2U})
      if (whole || number != 1) parts.push_back(backup.file(part_name(number), random_bytes(1000, number)));
    const auto lv = backup.tree({folder_node("image", backup.tree(parts))});
    backup.save(backup.tree({folder_node("vg0", backup.tree({folder_node("root", lv)}))}));
    const auto repo = indexed(*repository);
    if (whole) {
      const auto volumes = stored_volumes(*repo, only_backup(*repository));
      ASSERT_EQ(volumes.size(), 1U);
      EXPECT_EQ(volumes[0].image_size, 3000U);
      const auto device = open_image(repo, volumes[0]);
      const Bytes all = block::read(*device, 0, 3000);
      for (const std::size_t number : {0U, 1U, 2U})
        EXPECT_EQ(as_text(all.view(number * 1000, 1000)), as_text(random_bytes(1000, number)));
    } else {
      const Error error = error_of([&] { stored_volumes(*repo, only_backup(*repository)); });
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
      EXPECT_THAT(error.what(), HasSubstr("image.00001"));
    }
  }
}

TEST(StoredVolumes, parts_in_folders_follow_each_other_by_the_byte_that_names_them) {
  for (const std::string bad : {"", "gap", "no first", "two files"}) {
    const auto repository = memory_repository();
    HandMadeBackup backup(*repository);
    std::vector<repo::Node> parts;
    for (const std::uint64_t number : {0U, 1U, 2U}) {
      if ((bad == "gap" && number == 1) || (bad == "no first" && number == 0)) continue;
      std::vector<repo::Node> inside{backup.file("image.raw", random_bytes(1000 + number, number))};
      if (bad == "two files" && number == 2) inside.push_back(backup.file("more", as_bytes("x")));
      parts.push_back(folder_node(part_folder_name(number * 1000 + number / 2), backup.tree(inside)));
    }
    const auto lv = backup.tree({folder_node("image", backup.tree(parts))});
    backup.save(backup.tree({folder_node("vg0", backup.tree({folder_node("root", lv)}))}));
    const auto repo = indexed(*repository);
    if (bad.empty()) {
      const auto volume = stored_volumes(*repo, only_backup(*repository)).at(0);
      EXPECT_EQ(volume.image_size, 3003U);
      const auto device = open_image(repo, volume);
      EXPECT_EQ(as_text(block::read(*device, 0, 1000)), as_text(random_bytes(1000, 0)));
      EXPECT_EQ(as_text(block::read(*device, 1000, 1001)), as_text(random_bytes(1001, 1)));
      EXPECT_EQ(as_text(block::read(*device, 2001, 1002)), as_text(random_bytes(1002, 2)));
    } else if (bad == "no first") {
      EXPECT_THAT(stored_volumes(*repo, only_backup(*repository)), IsEmpty());
    } else {
      const Error error = error_of([&] { stored_volumes(*repo, only_backup(*repository)); });
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
      EXPECT_THAT(error.what(),
                  HasSubstr(bad == "gap" ? "0000000000000001000 is missing" : "0000000000000002001"));
    }
  }
}

TEST(PartFolderName, is_read_back_as_it_was_written_and_no_other_way) {
  for (const std::uint64_t byte : {std::uint64_t{0}, std::uint64_t{64} << 30, std::uint64_t{1} << 62})
    EXPECT_EQ(parse_part_folder_name(part_folder_name(byte)), byte);
  for (const char* name : {"", "1", "image.00000", "00000000000000000000", "-000000000000000001"})
    EXPECT_FALSE(parse_part_folder_name(name)) << name;
}

TEST(SelectVolume, takes_every_spelling_and_lists_what_there_is) {
  StoredVolume a, b;
  a.vg = "vg-0";
  a.lv = "root";
  b.vg = "vg-0";
  b.lv = "ho-me";
  const std::vector<StoredVolume> both{a, b};
  EXPECT_EQ(select_volume(both, "vg-0/root").lv, "root");
  EXPECT_EQ(select_volume(both, "/dev/vg-0/ho-me").lv, "ho-me");
  EXPECT_EQ(select_volume(both, "/dev/mapper/vg--0-ho--me").lv, "ho-me");
  EXPECT_EQ(select_volume({a}, std::nullopt).lv, "root");
  EXPECT_THAT(error_of([&] { select_volume(both, std::nullopt); }).hint(), HasSubstr("vg-0/ho-me"));
  EXPECT_EQ(error_of([&] { select_volume(both, "vg-0/swap"); }).kind(), ErrorKind::usage);
  EXPECT_EQ(error_of([&] { select_volume({}, "vg-0/swap"); }).kind(), ErrorKind::not_found);
}

TEST(ImageDevice, reads_any_stretch_and_tells_zero_chunks) {
  const auto repository = memory_repository();
  Bytes image = Bytes::zeroed(3 * kZeroBlobLength + 1000);
  const Bytes noise = random_bytes(kZeroBlobLength, 7);
  std::memcpy(image.data() + kZeroBlobLength, noise.data(), noise.size());
  store_image(*repository, image, {}, kZeroBlobLength);
  const auto repo = indexed(*repository);
  const auto device = open_image(repo, stored_volumes(*repo, only_backup(*repository)).at(0));
  EXPECT_EQ(device->size(), image.size());
  for (const auto& [offset, length] :
       std::vector<std::pair<std::uint64_t, std::size_t>>{{0, image.size()},
                                                          {kZeroBlobLength - 5, 10},
                                                          {2 * kZeroBlobLength - 1, 2},
                                                          {image.size(), 0},
                                                          {17, 1}})
    EXPECT_EQ(as_text(block::read(*device, offset, length)), as_text(image.view(offset, length))) << offset;
  EXPECT_THROW(block::read(*device, image.size(), 1), Error);
  EXPECT_THAT(device->runs({100, image.size()}),
              ElementsAre(block::Run{{100, kZeroBlobLength - 100}, block::RunKind::zero},
                          block::Run{{kZeroBlobLength, kZeroBlobLength}, block::RunKind::data},
                          block::Run{{2 * kZeroBlobLength, kZeroBlobLength + 1000}, block::RunKind::zero}));
}

TEST(ImageDevice, a_damaged_pack_names_volume_and_place) {
  const auto repository = memory_repository();
  store_image(*repository, random_bytes(1000, 1), {}, 1000);
  const auto repo = indexed(*repository);
  const auto volume = stored_volumes(*repo, only_backup(*repository)).at(0);
  const auto device = open_image(repo, volume);
  const auto where = repo->index().find(repo::BlobType::data, volume.parts[0][0]);
  flip(*repository, {store::FileType::pack, where->pack.hex()}, where->offset + 100);
  const Error error = error_of([&] { block::read(*device, 10, 10); });
  EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  EXPECT_THAT(error.what(), HasSubstr("vg0/root"));
}

TEST(ImageChunks, a_size_that_is_not_the_sum_of_the_blobs_is_corrupt) {
  const auto repository = memory_repository();
  HandMadeBackup backup(*repository);
  repo::Node image = backup.file("image.raw", random_bytes(1000, 1));
  image.size = 1001;
  const auto lv = backup.tree({image});
  backup.save(backup.tree({folder_node("vg0", backup.tree({folder_node("root", lv)}))}));
  const auto repo = indexed(*repository);
  const auto volume = stored_volumes(*repo, only_backup(*repository)).at(0);
  EXPECT_THAT(error_of([&] { image_chunks(*repo, volume); }).what(), HasSubstr("1001"));
}

TEST(FindNode, walks_names_and_not_dots) {
  const auto repository = memory_repository();
  store_image(*repository, random_bytes(10, 1));
  const auto repo = indexed(*repository);
  const auto backup = only_backup(*repository);
  EXPECT_EQ(find_node(*repo, backup, "")->type, repo::NodeType::dir);
  EXPECT_EQ(find_node(*repo, backup, "/vg0/root/image.raw")->size, 10U);
  EXPECT_EQ(find_node(*repo, backup, "vg0//root/")->name, "root");
  EXPECT_FALSE(find_node(*repo, backup, "/vg0/../vg0"));
  EXPECT_FALSE(find_node(*repo, backup, "/vg0/root/image.raw/x"));
}

}  // namespace
}  // namespace respaldo::view
