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
}

}  // namespace
}  // namespace respaldo::cli
