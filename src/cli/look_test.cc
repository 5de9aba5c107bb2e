// ls through the command line.
#include "cli/program_test.h"
#include "testing/memory_repository.h"

namespace respaldo::cli {
namespace {

using ::testing::HasSubstr;

class Look : public Program {
 protected:
  Look() {
    make_repository();
    const auto repository = repo::Repository::open(store::open_location(this->repository()), "secret");
    testing::HandMadeBackup backup(*repository);
    const auto lost = testing::folder_node("lost", repo::BlobId{});
    const auto below = backup.tree({lost, testing::file_node("y", 0, {})});
    backup.save(backup.tree({testing::folder_node("a", below), lost, testing::file_node("z", 0, {})}));
  }
};

TEST_F(Look, DamageIsToldAndTheRestListed) {
  const Outcome outcome = respaldo({"ls"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "/a\n/a/lost\n/a/y\n/lost\n/z\n");
  EXPECT_THAT(outcome.err, HasSubstr("warning: /a/lost: "));
  EXPECT_THAT(outcome.err, HasSubstr("warning: /lost: "));
  EXPECT_EQ(respaldo({"ls", "--flat"}).code, 0);
}

TEST_F(Look, JsonIsWholeWhateverIsDamaged) {
  const Outcome outcome = respaldo({"--json", "ls"});
  EXPECT_EQ(outcome.code, 1);
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_EQ(json.size(), 5U);
  EXPECT_EQ(json[4]["path"], "/z");
  // Not even the folder that was asked for.
  const Outcome lost = respaldo({"--json", "ls", "latest", "/lost"});
  EXPECT_EQ(lost.code, 1);
  EXPECT_EQ(lost.out, "");
}

TEST_F(Program, paths_of_a_volume_that_is_named_need_not_begin_with_it) {
  make_repository();
  {
    const auto opened = repo::Repository::open(store::open_location(repository()), "secret");
    testing::HandMadeBackup backup(*opened);
    const auto folder = [&](const std::string& name, std::vector<repo::Node> nodes) {
      return testing::folder_node(name, backup.tree(std::move(nodes)));
    };
    const auto file = [&](const std::string& name, std::string_view text) { return backup.file(name, as_bytes(text)); };
    // The files hold names that are in the backup, too.
    const auto files = folder("files", {folder("etc", {file("fstab", "inner")}), file("volume.json", "not facts")});
    backup.save(backup.tree({folder("vg0", {folder("root", {files, file("image.raw", "i"), file("volume.json", "{}")})})}));
  }
  const auto text = [&](const char* backup, const char* path) { return std::string(as_text(respaldo({"cat", backup, path}).raw)); };
  for (const char* path : {"etc/fstab", "/etc/fstab", "files/etc/fstab", "/vg0/root/files/etc/fstab", "vg0/root/files/etc/fstab"})
    EXPECT_EQ(text("latest:vg0/root", path), "inner") << path;
  EXPECT_EQ(must({"ls", "latest:vg0/root", "etc"}), "/vg0/root/files/etc/fstab\n");
  EXPECT_EQ(respaldo({"cat", "latest", "etc/fstab"}).code, 1);
  const Outcome either = respaldo({"cat", "latest:vg0/root", "volume.json"});
  EXPECT_EQ(either.code, 2);
  EXPECT_THAT(either.err, HasSubstr("may be /vg0/root/volume.json or /vg0/root/files/volume.json"));
  EXPECT_EQ(text("latest:vg0/root", "/vg0/root/volume.json"), "{}");
  EXPECT_THAT(respaldo({"cat", "latest:vg0/root", "etc/none"}).err, HasSubstr("holds no etc/none"));
  EXPECT_THAT(respaldo({"cat", "latest", "/vg0"}).err, HasSubstr("/vg0 is not a file but a folder"));
}

// Names of bytes that no terminal shows.
class OddNames : public Program {
 protected:
  OddNames() {
    make_repository();
    const auto opened = repo::Repository::open(store::open_location(repository()), "secret");
    testing::HandMadeBackup backup(*opened);
    const auto folder = [&](const std::string& name, std::vector<repo::Node> nodes) {
      return testing::folder_node(name, backup.tree(std::move(nodes)));
    };
    const auto file = [&](const std::string& name, std::string_view text) {
      repo::Node node = backup.file(name, as_bytes(text));
      node.uid = ::geteuid();
      node.gid = ::getegid();
      return node;
    };
    const auto files = folder("files", {folder("d\x1b", {file("bad\xff\xfename", "raw")}), file("two", "raw"), file("two\\xff", "literal"),
                                        file("two\xff", "raw")});
    backup.save(backup.tree({folder("vg0", {folder("root", {files, file("image.raw", "i"), file("volume.json", "{}")})})}));
  }
  std::string text(const std::string& path) {
    return std::string(as_text(respaldo({"cat", "latest", path}).raw));
  }
};

TEST_F(OddNames, are_named_as_they_are_shown) {
  const std::string shown = "/vg0/root/files/d\\x1b/bad\\xff\\xfename", raw = "/vg0/root/files/d\x1b/bad\xff\xfename";
  EXPECT_THAT(must({"ls"}), HasSubstr(shown + "\n"));
  for (const std::string& path : {shown, raw, std::string("/vg0/root/files/d\x1b/bad\\xff\\xfename")}) {
    EXPECT_EQ(text(path), "raw") << path;
    EXPECT_EQ(must({"ls", "latest", path}), shown + "\n");
    EXPECT_EQ(must({"-q", "diff", "latest", "latest", path}), "");
    EXPECT_THAT(must({"find", "bad*", "--path", path.substr(0, path.rfind('/'))}), HasSubstr(shown + "\n"));
  }
  EXPECT_EQ(must({"ls", "latest:vg0/root", "d\\x1b"}), shown + "\n");
  // The literal name wins.
  EXPECT_EQ(text("/vg0/root/files/two\\xff"), "literal");
  EXPECT_EQ(text("/vg0/root/files/two\xff"), "raw");
  // What is not made by showing a name is none.
  EXPECT_EQ(respaldo({"cat", "latest", "/vg0/root/files/\\x74wo"}).code, 1);
}

TEST_F(OddNames, are_restored_and_exported_as_they_are_shown) {
  for (const char* shown : {"/vg0/root/files/d\\x1b/bad\\xff\\xfename", "d\\x1b/bad\\xff\\xfename", "./d\\x1b//bad\\xff\\xfename"}) {
    const std::string to = path("out") + std::to_string(std::string(shown).size());
    must({"restore", "latest", "--files", shown, "--to", to});
    EXPECT_TRUE(std::filesystem::exists(to + "/d\x1b/bad\xff\xfename")) << shown;
    EXPECT_THAT(std::string(as_text(respaldo({"-q", "export", "latest", shown, "--tar", "-"}).raw)), HasSubstr("d\x1b/bad\xff\xfename"));
  }
  EXPECT_THAT(respaldo({"restore", "latest", "--files", "d\\x1b/none\\xff", "--to", path("none")}).err, HasSubstr("does not hold"));
}

TEST_F(OddNames, have_their_bytes_in_json) {
  const auto entries = must_json({"ls"});
  std::size_t raw = 0;
  for (const auto& entry : entries) {
    if (!entry.contains("path_raw")) continue;
    ++raw;
    if (entry["path"] == "/vg0/root/files/two\xef\xbf\xbd") {
      EXPECT_EQ(entry["path_raw"], "L3ZnMC9yb290L2ZpbGVzL3R3b/8=");
    }
  }
  EXPECT_EQ(raw, 2U);  // not where a name is UTF-8, whatever it holds
  const auto found = must_json({"find", "two*"});
  EXPECT_EQ(found[0]["matches"].size(), 3U);
  EXPECT_EQ(found[0]["matches"][2]["path_raw"], "L3ZnMC9yb290L2ZpbGVzL3R3b/8=");
}

}  // namespace
}  // namespace respaldo::cli
