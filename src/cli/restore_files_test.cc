// restore --files through the command line: which folder it starts from, and what it says.
#include <sstream>

#include "cli/program_test.h"
#include "testing/memory_repository.h"
#include "testing/small_filesystem.h"
#include "view/volume_view.h"

namespace respaldo::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class RestoreFiles : public Program {
 protected:
  RestoreFiles() {
    make_repository();
    repository_ = repo::Repository::open(store::open_location(repository()), "secret");
    backup_.emplace(*repository_);
  }
  repo::Node file(const std::string& name, std::string_view text) {
    repo::Node node = backup_->file(name, as_bytes(text));
    node.uid = ::geteuid();
    node.gid = ::getegid();
    return node;
  }
  repo::Node folder(const std::string& name, std::vector<repo::Node> nodes) {
    repo::Node node = testing::folder_node(name, backup_->tree(std::move(nodes)));
    node.uid = ::geteuid();
    node.gid = ::getegid();
    return node;
  }
  repo::Node facts(const std::string& lv, std::uint64_t findings = 0) {
    view::VolumeFacts facts;
    facts.vg = "vg0";
    facts.lv = lv;
    if (findings > 0) {
      facts.file_views.emplace_back();
      facts.file_views.back().folder = "files";
      facts.file_views.back().finding_count = findings;
    }
    return backup_->file("volume.json", as_bytes(facts.to_json()));
  }
  repo::Node image() { return backup_->file("image.raw", as_bytes(std::string(4096, 'i'))); }
  void save(std::vector<repo::Node> nodes, const std::string& version = "respaldo test") {
    backup_->save(backup_->tree(std::move(nodes)), version);
  }
  static std::string text_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string names(const std::string& folder) const {
    std::vector<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(path(folder)))
      all.push_back(fs::relative(entry.path(), path(folder)).native());
    std::ranges::sort(all);
    std::string text;
    for (const std::string& name : all) text += (text.empty() ? "" : " ") + name;
    return text;
  }
  Outcome restore(std::vector<std::string> words) {
    words.insert(words.begin(), "restore");
    words.insert(words.end(), {"--files", "--to", path("out")});
    return respaldo(std::move(words));
  }

  std::unique_ptr<repo::Repository> repository_;
  std::optional<testing::HandMadeBackup> backup_;
};

TEST_F(RestoreFiles, TheRootIsTheVolumesFilesystem) {
  save({folder(
      "vg0", {folder("root", {image(), facts("root"),
                              folder("files", {folder("etc", {file("fstab", "f")}), file("top", "t")})})})});
  const Outcome outcome = restore({"latest"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("restored vg0/root of backup "));
  EXPECT_THAT(outcome.out, HasSubstr("2 files, 2 folders"));  // with the root, for a target that is new
  EXPECT_EQ(names("out"), "etc etc/fstab top");
  EXPECT_EQ(text_of(path("out/etc/fstab")), "f");
}

TEST_F(RestoreFiles, AFolderInUseKeepsItsModeAndIsNamed) {
  save({folder("vg0", {folder("root", {image(), facts("root"), folder("files", {file("top", "t")})})})});
  fs::create_directories(path("out/other"));
  fs::permissions(path("out"), fs::perms(0751));
  const Outcome outcome = restore({"latest"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("out was there before and keeps its owner "));
  EXPECT_THAT(outcome.err, HasSubstr("and mode 0751; stored are "));
  EXPECT_THAT(outcome.err, HasSubstr("chmod 0700)"));
  fs::remove_all(path("out"));
  fs::create_directory(path("out"));
  EXPECT_THAT(restore({"latest"}).err, Not(HasSubstr("was there before")));
}

TEST_F(RestoreFiles, WhatNeverLeavesAndDiffersIsTold) {
  save({folder("vg0", {folder("root", {image(), facts("root"), folder("files", {folder("etc", {file("fstab", "f")})})})})});
  EXPECT_EQ(restore({"latest"}).code, 0);
  EXPECT_THAT(restore({"latest", "--overwrite", "never"}).err, Not(HasSubstr("differ")));
  std::ofstream(path("out/etc/fstab")) << "half";
  const Outcome outcome = restore({"latest", "--overwrite", "never"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("1 of 2 things that were left alone differ from the backup: etc/fstab (--overwrite if-changed"));
}

TEST_F(RestoreFiles, what_if_changed_must_not_touch_is_told) {
  save({folder("vg0", {folder("root", {image(), facts("root"), folder("files", {file("x", "f")})})})});
  EXPECT_EQ(restore({"latest"}).code, 0);
  fs::create_hard_link(path("out/x"), path("other name"));
  fs::permissions(path("out/x"), fs::perms(0111));
  EXPECT_THAT(restore({"latest", "--overwrite", "if-changed"}).err,
              HasSubstr("1 of 1 things that were left alone differ from the backup in owner or mode: x ("));
}

TEST_F(RestoreFiles, OfSeveralVolumesOneIsChosen) {
  save({folder("vg0", {folder("home", {image(), facts("home"), folder("files", {file("of home", "h")})}),
                       folder("root", {image(), facts("root"), folder("files", {file("of root", "r")})})})});
  EXPECT_EQ(restore({"latest"}).code, 2);
  EXPECT_EQ(restore({"latest:vg0/root", "of root"}).code, 0);
  EXPECT_EQ(restore({"latest", "--volume", "vg0/home"}).code, 0);
  EXPECT_EQ(names("out"), "of home of root");
  EXPECT_EQ(restore({"latest", "--volume", "vg0/other"}).code, 2);
}

TEST_F(RestoreFiles, PartitionsInsideAVolumeKeepTheirFolders) {
  save({folder("vg0",
               {folder("disk", {image(), facts("disk"), folder("part1", {folder("files", {file("a", "1")})}),
                                folder("part2", {folder("files", {file("b", "2")})}),
                                folder("particular", {folder("files", {file("c", "3")})})})})});
  EXPECT_EQ(restore({"latest", "/vg0/disk/part2/files/b"}).code, 0);
  fs::remove_all(path("out"));
  EXPECT_EQ(restore({"latest", "part2/files/b"}).code, 0);
  EXPECT_EQ(names("out"), "part2 part2/files part2/files/b");
  EXPECT_EQ(restore({"latest"}).code, 0);
  EXPECT_EQ(names("out"), "part1 part1/files part1/files/a part2 part2/files part2/files/b");
  EXPECT_EQ(restore({"latest", "a"}).code, 1);
  // The top is all of them, and not the image.
  for (const std::vector<std::string>& top : {std::vector<std::string>{"/"}, {"./"}, {"vg0/disk"}, {"/vg0/disk/"}, {"part1", "/"}}) {
    fs::remove_all(path("out"));
    std::vector<std::string> words = {"latest"};
    words.insert(words.end(), top.begin(), top.end());
    EXPECT_EQ(restore(words).code, 0);
    EXPECT_EQ(names("out"), "part1 part1/files part1/files/a part2 part2/files part2/files/b") << top.front();
  }
  EXPECT_EQ(must_json({"export", "latest", "/", "--tar", path("a.tar")})["entries"],
            must_json({"export", "latest", "--tar", path("b.tar")})["entries"]);
}

TEST_F(RestoreFiles, PathsMayBeAsTheyAreShown) {
  const auto twice = folder("vg0", {folder("root", {folder("files", {file("own", "o")})})});
  save({folder("vg0", {folder("root", {image(), facts("root"), folder("files", {folder("etc", {file("fstab", "f")}), twice})})})});
  EXPECT_EQ(restore({"latest", "/vg0/root/files/etc/fstab"}).code, 0);
  EXPECT_EQ(names("out"), "etc etc/fstab");
  // The volume holds such a path itself.
  EXPECT_EQ(restore({"latest", "vg0/root/files/own"}).code, 0);
  EXPECT_EQ(text_of(path("out/vg0/root/files/own")), "o");
  EXPECT_EQ(restore({"latest", "/vg0/other/files/etc"}).code, 1);
}

TEST_F(RestoreFiles, an_empty_path_is_not_everything) {
  save({folder("vg0", {folder("root", {image(), facts("root"), folder("files", {file("top", "t")})})})});
  for (const auto& outcome : {restore({"latest", ""}), restore({"latest", "top", ""}),
                              respaldo({"export", "latest", "", "--tar", path("a.tar")})}) {
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, HasSubstr("give no path, or /"));
  }
  EXPECT_FALSE(fs::exists(path("out")));
  EXPECT_FALSE(fs::exists(path("a.tar")));
  for (const char* all : {"/", ".", "//"}) {
    fs::remove_all(path("out"));
    EXPECT_EQ(restore({"latest", all}).code, 0);
    EXPECT_EQ(names("out"), "top");
  }
}

TEST_F(RestoreFiles, BackupsOfResticStartAtTheirRoot) {
  save({folder("home", {folder("ana", {file("letter", "dear")})})}, "restic 0.18.0");
  EXPECT_EQ(restore({"latest"}).code, 0);
  EXPECT_EQ(names("out"), "home home/ana home/ana/letter");
  EXPECT_EQ(restore({"latest", "--volume", "vg0/root"}).code, 1);
}

TEST_F(RestoreFiles, DamageElsewhereInABackupOfResticDoesNotMatter) {
  save({testing::folder_node("broken", repo::BlobId{}), folder("home", {file("letter", "dear")})},
       "restic 0.18.0");
  EXPECT_EQ(restore({"latest", "home"}).code, 0);
  EXPECT_EQ(names("out"), "home home/letter");
  const Outcome all = restore({"latest"});
  EXPECT_EQ(all.code, 1);
  EXPECT_THAT(all.err, HasSubstr("problem: broken: "));
}

TEST_F(RestoreFiles, AnImageAloneHoldsNoFiles) {
  save({folder("vg0", {folder("root", {image(), facts("root")})})});
  const Outcome outcome = restore({"latest"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("holds no files, only the image"));
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(RestoreFiles, ProblemsAreListedAndTheRestIsDone) {
  repo::Node broken = file("bro\nken", "text");
  broken.size = 99;
  save({folder(
      "vg0", {folder("root", {image(), facts("root", 3), folder("files", {broken, file("whole", "w")})})})});
  Outcome outcome = restore({"latest"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err,
              HasSubstr("problem: bro\\x0aken: its blobs add up to 4 bytes, but its size is 99\n"));
  EXPECT_THAT(outcome.err, HasSubstr("1 entry could not, or not wholly, be brought back"));
  EXPECT_THAT(outcome.err, HasSubstr("3 things of vg0/root/files were found damaged"));
  EXPECT_EQ(names("out"), "whole");

  outcome = restore({"--json", "latest"});
  EXPECT_EQ(outcome.code, 1);
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json.at("problem_count"), 1);
  EXPECT_EQ(json.at("problems").at(0).at("path"), "bro\nken");
  EXPECT_EQ(json.at("files"), 1);
}

TEST_F(RestoreFiles, without_room_the_report_comes_and_says_how_to_go_on) {
  repo::Node broken = file("broken", "text");
  broken.size = 99;
  const std::string big(4 << 20, 'b');
  save({folder("vg0", {folder("root", {image(), facts("root"), folder("files", {broken, folder("new\nline", {file("big", big)})})})})});
  const auto body = [&] {
    Outcome outcome = restore({"latest"});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("problem: broken: its blobs add up to 4 bytes"));
    EXPECT_THAT(outcome.err, HasSubstr("problem: new\\x0aline/big: "));
    EXPECT_THAT(outcome.err, HasSubstr("out is not complete: no room was left for new\\x0aline/big"));
    EXPECT_THAT(outcome.err, HasSubstr("--overwrite if-changed then goes on"));
    outcome = restore({"--json", "latest", "--overwrite", "if-changed"});
    EXPECT_EQ(outcome.code, 1);
    const auto json = nlohmann::json::parse(outcome.out);
    EXPECT_EQ(json.at("no_space").at("path"), "new\nline/big");
    EXPECT_EQ(json.at("problem_count"), 2);
    EXPECT_THAT(outcome.err, HasSubstr("\"kind\":\"no_space\""));
  };
  if (!testing::on_small_filesystem(path("out"), "size=1m", body)) GTEST_SKIP() << "needs to mount";
}

TEST_F(RestoreFiles, the_report_says_which_backup) {
  save({folder("vg0", {folder("root", {facts("root"), folder("files", {file("letter", "dear")})})})});
  const std::string id = must_json({"list"})[0]["id"], which = "backup " + id.substr(0, 8) + " (";
  EXPECT_THAT(restore({"latest"}).out, AllOf(HasSubstr("restored vg0/root of " + which), HasSubstr(", host host) into ")));
  EXPECT_THAT(must({"export", "latest", "--tar", path("a.tar")}), HasSubstr("wrote the files of vg0/root of " + which));
  EXPECT_THAT(respaldo({"export", "latest", "--tar", path("a.tar")}).err, HasSubstr(" with files of " + which));
  for (const auto& told : {nlohmann::json::parse(restore({"--json", "latest"}).out),
                           must_json({"export", "latest", "--tar", path("b.tar")})}) {
    EXPECT_EQ(told["backup"], id);
    EXPECT_EQ(told["host"], "host");
    EXPECT_EQ(told["time"], must_json({"list"})[0]["time"]);
    EXPECT_EQ(told["source"], "vg0/root");
  }
}

TEST_F(RestoreFiles, the_report_names_a_backup_of_restics) {
  save({folder("home", {file("letter", "dear")})}, "restic 0.18.0");
  const std::string id = must_json({"list"})[0]["id"];
  EXPECT_THAT(restore({"latest"}).out, HasSubstr("restored backup " + id.substr(0, 8) + " ("));
}

TEST_F(RestoreFiles, ProblemsOfAnExportAreEventsWhereTheArchiveTakesStandardOutput) {
  repo::Node broken = file("bro\nken", "text");
  broken.size = 99;
  save({folder("home", {broken, file("whole", "w")})}, "restic 0.18.0");
  const Outcome outcome = respaldo({"--json", "export", "latest", "--tar", "-"});
  EXPECT_EQ(outcome.code, 1);
  std::istringstream lines(outcome.err);
  std::vector<std::string> paths;
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(event.is_object()) << line;
    if (event["event"] == "problem") paths.push_back(event["path"]);
  }
  EXPECT_THAT(paths, ::testing::ElementsAre("./home/bro\nken"));
  const auto json = nlohmann::json::parse(respaldo({"--json", "export", "latest", "--tar", path("a.tar")}).out);
  EXPECT_EQ(json["problems"][0]["path"], "./home/bro\nken");
  EXPECT_THAT(respaldo({"export", "latest", "--tar", path("b.tar")}).err, HasSubstr("problem: ./home/bro\\x0aken: its blobs add up to"));
}

TEST_F(RestoreFiles, WordsThatDoNotGoTogetherAreRefused) {
  save({folder("home", {file("letter", "dear")})}, "restic 0.18.0");
  EXPECT_EQ(respaldo({"restore", "latest", "--files"}).code, 2);
  EXPECT_EQ(restore({"latest", "--to-file", path("x")}).code, 2);
  EXPECT_EQ(restore({"latest", "--in-place"}).code, 2);
  EXPECT_EQ(restore({"latest", "--pv", "/dev/sdx"}).code, 2);
  EXPECT_EQ(restore({"latest", "--overwrite", "sometimes"}).code, 2);
  EXPECT_EQ(restore({"latest", "../home"}).code, 2);
  EXPECT_EQ(respaldo({"restore", "latest", "home", "--to-file", path("x")}).code, 2);
  EXPECT_EQ(respaldo({"restore", "latest", "--overwrite", "never", "--to-file", path("x")}).code, 2);
  EXPECT_FALSE(fs::exists(path("out")));
  EXPECT_FALSE(fs::exists(path("x")));
}

}  // namespace
}  // namespace respaldo::cli
