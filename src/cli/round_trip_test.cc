// A disk image, a repository, and back.
#include <sys/stat.h>

#include <algorithm>

#include "cli/program_test.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Disk = ProgramWithDisk;

TEST_F(Disk, a_volume_comes_back_byte_for_byte_by_every_way) {
  const auto saved = must_json({"backup", "vg0/root", "--tag", "nightly", "--host", "server"});
  const std::string id = saved["backup"];
  EXPECT_EQ(saved["total_bytes"], 12U << 20);
  EXPECT_EQ(saved["volumes"][0]["lv"], "root");
  EXPECT_EQ(saved["incomplete"], false);

  must({"restore", "latest", "--to-file", path("restored")});
  EXPECT_TRUE(same(contents(path("restored")), image_));
  struct stat st {};
  ASSERT_EQ(::stat(path("restored").c_str(), &st), 0);
  EXPECT_LT(st.st_blocks * 512, 4 << 20) << "zeros are holes";
  must({"export", id.substr(0, 6), "--raw", path("exported")});
  EXPECT_TRUE(same(contents(path("exported")), image_));
  EXPECT_TRUE(same(respaldo({"export", "latest:vg0/root", "--raw", "-"}).raw, image_));
  EXPECT_TRUE(same(respaldo({"cat", "latest", "/vg0/root/image.raw"}).raw, image_));
  EXPECT_TRUE(same(respaldo({"dump", "vg0/root"}).raw, image_));
  EXPECT_TRUE(same(respaldo({"dump", "/dev/mapper/vg0-root", "-o", "-"}).raw, image_));

  const auto checked = must_json({"check", "--read-data"});
  EXPECT_EQ(checked["ok"], true);
  EXPECT_EQ(checked["backups"], 1);
  EXPECT_EQ(checked["findings"].size(), 0) << checked.dump();
}

TEST_F(Disk, a_second_backup_adds_nothing) {
  must({"backup", "vg0/root"});
  const auto again = must_json({"backup", "/dev/vg0/root"});
  EXPECT_LT(again["new_bytes"], 20000);  // the tree with its times
  EXPECT_EQ(must_json({"list"}).size(), 2);
}

TEST_F(Disk, the_level_of_compression_is_the_users) {
  for (const char* level : {"0", "23", "-21", "fastest", "3x", ""})
    EXPECT_EQ(respaldo({"backup", "vg0/root", "--compression", level}).code, 2) << level;
  std::string text;
  for (unsigned i = 0; text.size() < (2U << 20); ++i) text += std::to_string(i * 2654435761U) + " words ";
  std::ranges::copy(text, image_.data());
  fill_root();
  std::vector<std::uint64_t> stored;
  for (const char* level : {"-20", "fast", "auto", "22"}) {
    std::filesystem::remove_all(repository());
    make_repository();
    stored.push_back(must_json({"backup", "vg0/root", "--compression", level})["stored_bytes"]);
    EXPECT_TRUE(same(respaldo({"dump", "vg0/root"}).raw, image_)) << level;
  }
  for (const std::uint64_t bytes : {stored[1], stored[2]}) {
    EXPECT_LT(bytes, stored.front());
    EXPECT_GT(bytes, stored.back());
  }
}

TEST_F(Disk, tags_are_separated_by_commas) {
  must({"backup", "vg0/home", "--tag", "a, b", "--tag", "b,c"});
  EXPECT_EQ(must_json({"list"})[0]["tags"], (nlohmann::json{"a", "b", "c"}));
  EXPECT_EQ(must_json({"list", "--tag", "a,c"}).size(), 1);
  EXPECT_EQ(must_json({"list", "--tag", "a,d"}).size(), 0);
  for (const char* tag : {"", "a,", ","}) EXPECT_EQ(respaldo({"backup", "vg0/home", "--tag", tag}).code, 2) << tag;
  EXPECT_EQ(must_json({"list"}).size(), 1);
  must({"forget", "--tag", "a,c", "--unsafe-allow-remove-all"});
  EXPECT_EQ(must_json({"list"}).size(), 0);
}

// What is previewed with list is what goes.
TEST_F(Disk, list_and_forget_mean_the_same_backups) {
  must({"backup", "vg0/home", "--tag", "a", "--host", "web"});
  must({"backup", "vg0/home", "--tag", "b", "--host", "db"});
  must({"backup", "vg0/root", "--host", "mail"});
  const auto listed = [this](const std::vector<std::string>& filter) {
    std::vector<std::string> words = {"list"};
    words.insert(words.end(), filter.begin(), filter.end());
    return must_json(words).size();
  };
  EXPECT_EQ(listed({"--tag", "a", "--tag", "b"}), 2U);
  EXPECT_EQ(listed({"--host", "web", "--host", "mail"}), 2U);
  EXPECT_EQ(listed({"--path", "/dev/vg0/home"}), 2U);
  EXPECT_EQ(listed({"--path", "vg0/home"}), 2U);
  EXPECT_EQ(listed({"--volume", "vg0/home", "--volume", "vg0/root"}), 0U);
  must({"forget", "--tag", "a", "--tag", "b", "--unsafe-allow-remove-all"});
  EXPECT_EQ(listed({}), 1U);
}

TEST_F(Disk, a_filter_that_nothing_fits_is_told) {
  must({"backup", "vg0/home", "--tag", "a"});
  for (const std::vector<std::string>& words : {std::vector<std::string>{"list", "--tag", "zzz"},
                                                {"list", "--volume", "vg0/nosuch"},
                                                {"forget", "--keep-last", "1", "--volume", "vg0/nosuch"},
                                                {"repair", "snapshots", "--host", "nosuch"}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 0) << words[0];
    EXPECT_THAT(outcome.err, HasSubstr("no backup fits")) << words[0];
  }
  EXPECT_EQ(respaldo({"list", "--tag", "a"}).err, "");
  EXPECT_THAT(respaldo({"--json", "list", "--tag", "zzz"}).err, HasSubstr("\"event\":\"warning\""));
}

TEST_F(Disk, one_volume_is_named) {
  must({"backup", "vg0/home", "vg0/root"});
  const Outcome outcome = respaldo({"restore", "latest:vg0/root", "--volume", "vg0/home", "--to-file", path("x")});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--volume says vg0/home"));
  EXPECT_FALSE(std::filesystem::exists(path("x")));
  must({"restore", "latest:vg0/root", "--volume", "/dev/vg0/root", "--to-file", path("x")});
  EXPECT_THAT(respaldo({"ls", "latest:vg0/rot"}).err, HasSubstr("no backup of vg0/rot"));
}

TEST_F(Disk, what_was_saved_can_be_looked_at) {
  must({"backup", "vg0/root", "vg0/home", "--tag", "a", "--tag", "b", "--host", "server"});
  const auto list = must_json({"list"});
  ASSERT_EQ(list.size(), 1);
  EXPECT_EQ(list[0]["hostname"], "server");
  EXPECT_EQ(list[0]["paths"], (nlohmann::json{"/dev/vg0/home", "/dev/vg0/root"}));
  EXPECT_EQ(list[0]["tags"], (nlohmann::json{"a", "b"}));
  EXPECT_THAT(must({"list"}), AllOf(HasSubstr("vg0/home, vg0/root  [a,b]"), HasSubstr("1 backup\n")));
  EXPECT_EQ(must_json({"list", "--tag", "a"}).size(), 1);
  EXPECT_EQ(must_json({"list", "--tag", "c"}).size(), 0);
  EXPECT_EQ(must_json({"list", "--volume", "vg0/home"}).size(), 1);
  EXPECT_EQ(must_json({"list", "--volume", "vg0/ho"}).size(), 0);
  EXPECT_EQ(must_json({"list", "--host", "other"}).size(), 0);

  const auto shown = must_json({"show", "latest"});
  ASSERT_EQ(shown["volumes"].size(), 2);
  EXPECT_EQ(shown["volumes"][1]["image_size"], 12U << 20);
  EXPECT_EQ(shown["volumes"][1]["facts"]["engine"], "image");
  EXPECT_THAT(must({"show", "latest"}), AllOf(HasSubstr("vg0/root"), HasSubstr("12.00 MiB")));

  const auto files = must_json({"ls", "latest"});
  std::vector<std::string> paths;
  for (const auto& file : files) paths.push_back(file["path"]);
  EXPECT_THAT(paths,
              ::testing::IsSupersetOf({"/vg0", "/vg0/root", "/vg0/root/image.raw", "/vg0/root/volume.json",
                                       "/vg0/vg.conf", "/vg0/home/image.raw"}));
  EXPECT_EQ(must({"ls", "latest", "/", "--flat"}), "/vg0\n");
  EXPECT_THAT(must({"ls", "-l", "latest:vg0/root"}), HasSubstr(" 12582912 "));
  EXPECT_THAT(must({"ls", "latest", "/vg0/vg.conf"}), HasSubstr("/vg0/vg.conf\n"));

  const Outcome conf = respaldo({"cat", "latest", "/vg0/vg.conf"});
  EXPECT_THAT(std::string(as_text(conf.raw)), AllOf(HasSubstr("vg0 {"), HasSubstr("logical_volumes {")));
  EXPECT_EQ(respaldo({"cat", "latest", "/vg0"}).code, 2);
  EXPECT_THAT(respaldo({"cat", "latest", "/vg0/none"}).err, HasSubstr("holds no /vg0/none"));
  EXPECT_THAT(respaldo({"show", "abcdef"}).code, 1);
}

TEST_F(Disk, a_volume_of_several_must_be_chosen) {
  must({"backup", "vg0/root", "vg0/home"});
  const Outcome outcome = respaldo({"restore", "latest", "--to-file", path("x")});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("vg0/root"), HasSubstr("vg0/home")));
  must({"restore", "latest", "--volume", "vg0/root", "--to-file", path("x")});
  EXPECT_TRUE(same(contents(path("x")), image_));
}

TEST_F(Disk, backup_of_a_volume_that_is_not_there_names_those_that_are) {
  environment.clear();  // told before a password is asked for
  Outcome outcome = respaldo({"backup", "vg0/rot"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("there is no volume vg0/rot"), HasSubstr("vg0/home"), HasSubstr("vg0/root")));
  outcome = respaldo({"dump", "other/root"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("vg0/root"));
  EXPECT_EQ(respaldo({"backup", "no-slash"}).code, 2);
}

TEST_F(Disk, a_dry_run_saves_nothing) {
  const auto told = must_json({"backup", "vg0/root", "--dry-run"});
  EXPECT_TRUE(told["backup"].is_null());
  EXPECT_GT(told["new_bytes"], 2000000);
  EXPECT_EQ(must_json({"list"}).size(), 0);
}

TEST_F(Disk, restore_onto_a_volume_asks_first) {
  must({"backup", "vg0/root"});
  must({"lvm", "lvcreate", "-qq", "-L", "12m", "-n", "again", "vg0"});
  Outcome outcome = respaldo({"restore", "latest", "--to", "vg0/again"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("overwrite vg0/again"), HasSubstr("--yes")));
  answers = {"n"};
  outcome = respaldo({"restore", "latest", "--to", "vg0/again"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("nothing was written"));
  EXPECT_FALSE(same(respaldo({"dump", "vg0/again"}).raw, image_));
  answers = {"y"};
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg0/again"}).code, 0);
  EXPECT_TRUE(same(respaldo({"dump", "vg0/again"}).raw, image_));
}

TEST_F(Disk, restore_refuses_a_volume_that_is_too_small_and_says_how_it_grows) {
  must({"backup", "vg0/root"});
  const Bytes before = respaldo({"dump", "vg0/home"}).raw.clone();
  const Outcome outcome = respaldo({"restore", "latest", "--to", "vg0/home", "--yes"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("4.00 MiB"), HasSubstr("lvextend -L 12582912b vg0/home")));
  EXPECT_TRUE(same(respaldo({"dump", "vg0/home"}).raw, before));
  must({"lvm", "lvextend", "-L", "12582912b", "vg0/home"});
  must({"restore", "latest", "--to", "vg0/home", "--yes"});
  EXPECT_TRUE(same(respaldo({"dump", "vg0/home"}).raw, image_));
}

TEST_F(Disk, restore_in_place_writes_only_what_differs) {
  must({"backup", "vg0/root"});
  const auto engine = engine::make_image_engine({disks[0]});
  engine->open_write({"vg0", "root"})->write_at(5U << 20, testing::random_bytes(4096, 77));
  const auto told = must_json({"restore", "latest", "--to", "vg0/root", "--in-place", "--yes"});
  EXPECT_LE(told["bytes_written"].get<std::uint64_t>() + told["bytes_zero"].get<std::uint64_t>(), 1U << 20);
  EXPECT_GE(told["bytes_unchanged"], 11U << 20);
  EXPECT_TRUE(same(respaldo({"dump", "vg0/root"}).raw, image_));
}

TEST_F(Disk, restore_does_not_replace_a_file_unasked) {
  must({"backup", "vg0/root"});
  std::ofstream(path("precious")) << "precious";
  const Outcome outcome = respaldo({"restore", "latest", "--to-file", path("precious")});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(os::read_text(path("precious")), "precious");
  must({"restore", "latest", "--to-file", path("precious"), "--yes"});
  EXPECT_TRUE(same(contents(path("precious")), image_));
  EXPECT_EQ(respaldo({"restore", "latest", "--to-file", path("."), "--yes"}).code, 2);
  EXPECT_EQ(respaldo({"restore", "latest"}).code, 2);
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg0/root", "--to-file", path("x")}).code, 2);
}

TEST_F(Disk, in_place_into_a_file_of_another_size_never_leaves_a_mix) {
  must({"backup", "vg0/root"});
  for (const std::uint64_t size : {1U << 20, 12U << 20, 20U << 20}) {
    make_image("file", size);
    std::ofstream(path("file"), std::ios::in | std::ios::ate) << "what was there before";
    must({"restore", "latest", "--to-file", path("file"), "--in-place", "--yes"});
    EXPECT_TRUE(same(contents(path("file")), image_)) << size;
    std::filesystem::remove(path("file"));
  }
}

TEST_F(Disk, a_snapshot_is_saved_as_it_was_taken) {
  must({"lvm", "lvcreate", "-s", "-L", "8m", "-n", "before", "vg0/root"});
  const auto engine = engine::make_image_engine({disks[0]});
  engine->open_write({"vg0", "root"})->write_at(0, testing::random_bytes(1U << 20, 5));
  EXPECT_FALSE(same(respaldo({"dump", "vg0/root"}).raw, image_));
  EXPECT_EQ(respaldo({"backup", "--from-snapshot", "vg0/root"}).code, 2);
  const auto saved = must_json({"backup", "--from-snapshot", "vg0/before"});
  EXPECT_EQ(saved["volumes"][0]["how"], "given");
  must({"restore", "latest", "--to-file", path("before")});
  EXPECT_TRUE(same(contents(path("before")), image_));
}

TEST_F(Disk, damage_is_exit_code_20) {
  must({"backup", "vg0/root"});
  // The pack of data is the largest; what only --read-data reads is damaged.
  os::Path largest;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository() + "/data"))
    if (entry.is_regular_file() &&
        (largest.empty() || entry.file_size() > std::filesystem::file_size(largest)))
      largest = entry.path();
  std::filesystem::permissions(largest, std::filesystem::perms::owner_all);
  {
    std::fstream file(largest, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(100);
    file.write("damage", 6);
  }
  EXPECT_EQ(respaldo({"check"}).code, 0);  // sizes and headers are right
  const Outcome outcome = respaldo({"--json", "check", "--read-data"});
  EXPECT_EQ(outcome.code, 20);
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["ok"], false);
  EXPECT_EQ(respaldo({"restore", "latest", "--to-file", path("x")}).code, 1);
  EXPECT_FALSE(std::filesystem::exists(path("x"))) << "a file appears when it is whole";
}

TEST_F(Disk, the_layout_is_shown_to_people_and_programs) {
  const auto layout = must_json({"layout"});
  EXPECT_FALSE(layout.is_discarded());
  EXPECT_THAT(layout.dump(), AllOf(HasSubstr("vg0"), HasSubstr("server.img")));
  EXPECT_THAT(must({"layout"}), AllOf(HasSubstr("server.img"), HasSubstr("root"), HasSubstr("home")));
}

}  // namespace
}  // namespace respaldo::cli
