// diff through the command line.
#include "cli/program_test.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"

namespace respaldo::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DiffCommand : public Program {
 protected:
  DiffCommand() {
    make_repository();
    repository_ = repo::Repository::open(store::open_location(repository()), "secret");
    Bytes image = Bytes::zeroed(1U << 20);
    first_ = store({"aaaa", "gone"}, {"a", "b"}, image);
    image.data()[77] = 1;
    second_ = store({"bb", "new\n"}, {"a", "c"}, image);
  }
  // Names "file" and contents.
  std::string store(const std::vector<std::string>& texts, const std::vector<std::string>& names,
                    ByteView image) {
    testing::HandMadeBackup backup(*repository_);
    std::vector<repo::Node> files;
    for (std::size_t i = 0; i < texts.size(); ++i) files.push_back(backup.file(names[i], as_bytes(texts[i])));
    files.push_back(backup.file("mode", {}));
    files.back().mode |= first_.empty() ? 0 : 0111;
    const auto below = [&](const char* name, std::vector<repo::Node> all) {
      return testing::folder_node(name, backup.tree(std::move(all)));
    };
    return backup
        .save(backup.tree({below(
            "vg0", {below("root", {backup.file("image.raw", image), below("files", std::move(files))})})}))
        .short_hex();
  }
  std::unique_ptr<repo::Repository> repository_;
  std::string first_, second_;
};

TEST_F(DiffCommand, Text) {
  const std::string out = must({"diff", first_, second_});
  EXPECT_THAT(
      out,
      HasSubstr(
          "M /vg0/root/files/a  (4 B -> 2 B)\n- /vg0/root/files/b  (4 B)\n+ /vg0/root/files/c  (4 B)\n"));
  EXPECT_THAT(out, HasSubstr("image of vg0/root: 64.00 KiB in 1 range changed, of 1.00 MiB\n"));
  EXPECT_THAT(out,
              HasSubstr("files: 1 added (4 B), 1 removed (4 B), 1 changed (4 B -> 2 B); metadata of 1\n"));
  EXPECT_THAT(out, Not(HasSubstr("/mode")));
  EXPECT_THAT(must({"diff", first_, second_, "--metadata"}), HasSubstr("U /vg0/root/files/mode  (mode)\n"));
  EXPECT_EQ(must({"-q", "diff", first_, first_}), "");
  EXPECT_EQ(must({"-q", "diff", first_ + ":vg0/root", second_, "/vg0/root/files/b"}),
            "- /vg0/root/files/b  (4 B)\n");
  EXPECT_EQ(must({"-q", "diff", first_ + ":vg0/root", first_ + ":/dev/vg0/root"}), "");
  EXPECT_EQ(respaldo({"diff", first_ + ":vg0/root", first_ + ":vg0/home"}).code, 2);
}

TEST_F(DiffCommand, OneJsonDocument) {
  const auto json = must_json({"diff", "--metadata", first_, second_});
  ASSERT_EQ(json["changes"].size(), 4U);
  EXPECT_EQ(json["changes"][0]["change"], "content");
  EXPECT_EQ(json["changes"][0]["size_before"], 4);
  EXPECT_EQ(json["changes"][0]["size_after"], 2);
  EXPECT_EQ(json["changes"][3]["metadata"][0], "mode");
  EXPECT_EQ(json["images"][0]["bytes_changed"], 65536);
  EXPECT_EQ(json["summary"]["files_added"], 1);
  EXPECT_EQ(must_json({"diff", first_, first_})["changes"].size(), 0U);
}

TEST_F(Program, what_was_only_cut_otherwise_has_not_changed) {
  make_repository();
  const auto repository = repo::Repository::open(store::open_location(this->repository()), "secret");
  const Bytes content = testing::random_bytes(300'000, 1);
  Bytes changed = testing::random_bytes(300'000, 1);
  changed.data()[150'000] ^= 1;
  Bytes image = testing::random_bytes(1U << 20, 2);
  const auto store = [&](std::size_t chunk, ByteView other) {
    testing::HandMadeBackup backup(*repository);
    const auto below = [&](const char* name, std::vector<repo::Node> all) {
      return testing::folder_node(name, backup.tree(std::move(all)));
    };
    const auto files = below("files", {backup.file("moved", content, chunk), backup.file("other", other, chunk)});
    return backup.save(backup.tree({below("vg0", {below("root", {backup.file("image.raw", image, chunk), files})})})).short_hex();
  };
  const std::string first = store(64U << 10, content), second = store(100'000, content);
  EXPECT_THAT(must({"diff", first, second}), ::testing::StartsWith("files: 0 added (0 B), 0 removed (0 B), 0 changed (0 B -> 0 B);"));
  image.data()[700'000] ^= 1;
  const auto json = must_json({"diff", second, store(64U << 10, changed)});
  ASSERT_EQ(json["changes"].size(), 1U);
  EXPECT_EQ(json["changes"][0]["path"], "/vg0/root/files/other");
  EXPECT_EQ(json["changes"][0]["change"], "content");
  EXPECT_EQ(json["summary"]["changed_bytes_after"], 300'000);
  ASSERT_EQ(json["images"].size(), 1U);
  EXPECT_EQ(json["images"][0]["ranges_changed"], 1);
  EXPECT_LE(json["images"][0]["bytes_changed"], 100'000);
}

TEST_F(DiffCommand, WrongWords) {
  EXPECT_EQ(respaldo({"diff", first_}).code, 2);
  EXPECT_EQ(respaldo({"diff", first_ + ":vg0/a", second_ + ":vg0/b"}).code, 2);
  const Outcome nowhere = respaldo({"--json", "diff", first_, second_, "/nowhere"});
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_EQ(nowhere.out, "");
}

}  // namespace
}  // namespace respaldo::cli
