// find through the command line.
#include "cli/program_test.h"
#include "testing/memory_repository.h"

namespace respaldo::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Find : public Program {
 protected:
  Find() {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    make_repository();
    repository_ = repo::Repository::open(store::open_location(repository()), "secret");
    first_ = store({file("old.conf", 100, "1")});
    second_ = store({file("new.conf", 2000000000, "22"), file("old.conf", 100, "1")});
  }
  repo::Node file(const std::string& name, std::int64_t mtime, std::string_view text) {
    repo::Node node = testing::file_node(name, text.size(), {});
    node.mtime.seconds = mtime;
    return node;
  }
  std::string store(std::vector<repo::Node> nodes) {
    testing::HandMadeBackup backup(*repository_);
    auto below = [&](const char* name, std::vector<repo::Node> all) {
      return testing::folder_node(name, backup.tree(std::move(all)));
    };
    return backup.save(backup.tree({below("vg0", {below("root", {below("files", std::move(nodes))})})}))
        .short_hex();
  }
  std::unique_ptr<repo::Repository> repository_;
  std::string first_, second_;
};

TEST_F(Find, links_tell_where_they_lead) {
  repo::Node link = testing::file_node("link", 0, {});
  link.type = repo::NodeType::symlink;
  link.link_target = "etc/passwd";
  store({link, file("plain", 1, "1")});
  EXPECT_EQ(must_json({"find", "link"})[0]["matches"][0]["link_target"], "etc/passwd");
  EXPECT_EQ(must_json({"ls", "latest", "/vg0/root/files/link"})[0]["link_target"], "etc/passwd");
  EXPECT_FALSE(must_json({"find", "plain"})[0]["matches"][0].contains("link_target"));
}

TEST_F(Find, GroupedByBackup) {
  const std::string out = must({"find", "*.conf"});
  EXPECT_THAT(out, HasSubstr("backup " + first_ + " of "));
  EXPECT_THAT(out, HasSubstr("\n\nbackup " + second_ + " of "));
  EXPECT_THAT(out, HasSubstr("\n/vg0/root/files/new.conf\n/vg0/root/files/old.conf\n"));
  EXPECT_THAT(must({"find", "NEW*", "-i"}), Not(HasSubstr(first_)));
  EXPECT_THAT(must({"find", "NEW*"}), "");
  EXPECT_THAT(must({"find", "-l", "old*"}),
              HasSubstr("-rw-------     0     0              1 1970-01-01 00:01:40 /vg0"));
}

TEST_F(Find, OneJsonDocument) {
  const auto json = must_json({"find", "files/*.conf"});
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[0]["short_id"], first_);
  ASSERT_EQ(json[1]["matches"].size(), 2U);
  EXPECT_EQ(json[1]["matches"][0]["path"], "/vg0/root/files/new.conf");
  EXPECT_EQ(json[1]["matches"][0]["size"], 2);
  EXPECT_EQ(must_json({"find", "nothing"}).size(), 0U);
  EXPECT_EQ(must_json({"find"}).at(0)["matches"].size(), 4U);
}

TEST_F(Find, WhereAndWhat) {
  EXPECT_THAT(must({"find", "--backup", first_, "--backup", first_}), Not(HasSubstr(second_)));
  EXPECT_THAT(must({"find", "--backup", first_ + ":vg0/root", "root"}), HasSubstr("\n/vg0/root\n"));
  EXPECT_THAT(must({"find", "--path", "/vg0/root", "--type", "d"}), Not(HasSubstr("\n/vg0\n")));
  EXPECT_THAT(must({"find", "--type", "f,l", "--older", "1970-01-01 00:01:41"}), Not(HasSubstr("new.conf")));
  EXPECT_THAT(must({"find", "--type", "f", "--newer", "1970-01-01 00:01:40"}), HasSubstr("old.conf"));
  EXPECT_THAT(must({"find", "--type", "f", "--newer", "1970-01-01T00:01:41"}), Not(HasSubstr("old.conf")));
  EXPECT_THAT(must({"find", "--size", "-2"}), Not(HasSubstr("new.conf")));
  EXPECT_THAT(must({"find", "--size", "+1"}), HasSubstr("new.conf"));
}

TEST_F(Find, WrongWords) {
  EXPECT_EQ(respaldo({"find", "--type", "x"}).code, 2);
  EXPECT_EQ(respaldo({"find", "--size", "many"}).code, 2);
  for (const char* time :
       {"yesterday", "2026-02-30", "2026-13-01", "2026-01-01 25:00", "2026-01-01 10:00:00 x", ""})
    EXPECT_EQ(respaldo({"find", "--newer", time}).code, *time == '\0' ? 0 : 2) << time;
  const Outcome nowhere = respaldo({"--json", "find", "--path", "/vg1"});
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_EQ(nowhere.out, "");
}

TEST_F(Find, DamageIsToldAndTheRestSearched) {
  {
    testing::HandMadeBackup backup(*repository_);
    backup.save(backup.tree({testing::folder_node("gone", repo::BlobId{}), file("z.conf", 1, "1")}));
  }
  const Outcome outcome = respaldo({"find", "*.conf"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, HasSubstr("/z.conf"));
  EXPECT_THAT(outcome.err, HasSubstr("/gone: "));
}

}  // namespace
}  // namespace respaldo::cli
