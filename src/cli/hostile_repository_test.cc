// Repositories that were damaged, or written by somebody who means harm: every command that reads them ends,
// with a documented exit code and a reason, within bounded memory; what is restored nevertheless is what was
// saved.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <set>

#include "cli/cli.h"
#include "os/file.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/volume_view.h"

namespace respaldo::cli {

namespace {

namespace fs = std::filesystem;
using store::FileType;
using ::testing::HasSubstr;

constexpr std::uint64_t kImageSize = 600 << 10;
const std::set<int> kDocumented = {0, 1, 2, 3, 10, 11, 12, 20, 21};

struct Outcome {
  int code = -1;
  std::string out, err;
};

std::string facts_json() {
  view::VolumeFacts facts;
  facts.vg = "vg0";
  facts.lv = "root";
  facts.size = kImageSize;
  return facts.to_json();
}

class HostileRepository : public ::testing::Test {
 protected:
  HostileRepository() : image_(testing::random_bytes(kImageSize, 7)) {
    std::memset(image_.data() + (200 << 10), 0, 200 << 10);
    repo::Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    repository_ = repo::Repository::create(store::open_local(repository_path()), "secret", options);
  }

  std::string path(const std::string& name) const { return (folder_.path() / name).native(); }
  std::string repository_path() const { return path("repo"); }
  void store_good() { testing::store_image(*repository_, image_, facts_json()); }

  fs::path object(const std::string& folder) const {
    for (const auto& entry : fs::recursive_directory_iterator(repository_path() + "/" + folder))
      if (entry.is_regular_file()) return entry.path();
    throw std::runtime_error("no object in " + folder);
  }
  static void flip(const fs::path& file, std::uint64_t offset) {
    fs::permissions(file, fs::perms::owner_all);
    const os::UniqueFd fd = os::open_file(file, O_RDWR | O_CLOEXEC);
    std::uint8_t byte = 0;
    ASSERT_EQ(::pread(fd.get(), &byte, 1, static_cast<off_t>(offset)), 1);
    byte ^= 0x10;
    ASSERT_EQ(::pwrite(fd.get(), &byte, 1, static_cast<off_t>(offset)), 1);
  }
  static void cut(const fs::path& file, std::uint64_t size) {
    fs::permissions(file, fs::perms::owner_all);
    fs::resize_file(file, size);
  }
  // The index is replaced by what `edit` makes of it.
  void rewrite_index(const std::function<void(std::vector<repo::PackContents>&)>& edit) {
    std::vector<repo::PackContents> packs;
    for (const auto& file : repository_->backend().list(FileType::index)) {
      for (auto& pack : repo::parse_index(repository_->load_unpacked(FileType::index, file.name)))
        packs.push_back(std::move(pack));
      repository_->backend().remove({FileType::index, file.name});
    }
    edit(packs);
    repository_->save_unpacked(FileType::index, repo::to_json(packs), store::Durability::now);
  }
  void save_snapshot_of(repo::BlobId tree) {
    repo::Snapshot snapshot;
    snapshot.time = repo::now();
    snapshot.tree = tree;
    snapshot.paths = {"/dev/vg0/root"};
    snapshot.program_version = "respaldo test";
    repo::save_snapshot(*repository_, snapshot);
  }
  // A backup whose /vg0/root is `nodes`.
  void save_volume(testing::HandMadeBackup& backup, std::vector<repo::Node> nodes) {
    const auto vg = backup.tree({testing::folder_node("root", backup.tree(std::move(nodes)))});
    backup.save(backup.tree({testing::folder_node("vg0", vg)}));
  }

  Outcome run(std::vector<std::string> words) {
    Outcome outcome;
    const os::UniqueFd raw = os::open_file(path("raw"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC);
    app::World world;
    world.arguments = {"-r", repository_path()};
    world.arguments.insert(world.arguments.end(), words.begin(), words.end());
    world.environment = [](const char* name) -> std::optional<std::string> {
      if (std::string_view(name) == "RESPALDO_PASSWORD") return "secret";
      return std::nullopt;
    };
    world.out = [&](std::string_view text) { outcome.out += text; };
    world.err = [&](std::string_view text) { outcome.err += text; };
    world.ask = [](std::string_view, bool) { return std::nullopt; };
    world.out_fd = raw.get();
    outcome.code = cli::run(std::move(world));
    std::string all;
    for (const std::string& word : words) all += word + " ";
    EXPECT_TRUE(kDocumented.contains(outcome.code)) << all << "ended with " << outcome.code;
    EXPECT_THAT(outcome.err, ::testing::Not(HasSubstr("this is a bug"))) << all;
    EXPECT_THAT(outcome.err, ::testing::Not(HasSubstr("out of memory"))) << all;
    EXPECT_TRUE(outcome.code == 0 || !outcome.out.empty() || !outcome.err.empty()) << all << "gave no reason";
    return outcome;
  }

  bool is_the_image(const std::string& file) const {
    const std::string text = os::read_text(file);
    const ByteView bytes = as_bytes(text);
    return std::equal(bytes.data(), bytes.data() + bytes.size(), image_.data(),
                      image_.data() + image_.size());
  }

  // Those that find most; the check's outcome.
  Outcome run_few() {
    run({"show", "latest"});
    EXPECT_TRUE(run({"cat", "latest", "/vg0/root/image.raw"}).code != 0 || is_the_image(path("raw")));
    return run({"check", "--read-data"});
  }
  // Every command that reads; the check's outcome. What is brought back is whole, or absent.
  Outcome run_all(bool list_files = true) {
    run({"list"});
    run({"list", "--json"});
    run({"show", "latest"});
    run({"show", "latest", "--json"});
    run({"ls", "-l", "--flat", "latest", "/vg0"});
    if (list_files) {
      run({"ls", "latest"});
      run({"ls", "latest", "--json"});
    }
    run({"cat", "latest", "/vg0/root/volume.json"});
    EXPECT_TRUE(run({"cat", "latest", "/vg0/root/image.raw"}).code != 0 || is_the_image(path("raw")));
    fs::remove(path("restored"));
    const bool restored = run({"restore", "latest", "--to-file", path("restored")}).code == 0;
    EXPECT_EQ(fs::exists(path("restored")), restored) << "a restore that failed left a file";
    EXPECT_TRUE(!restored || is_the_image(path("restored")));
    EXPECT_TRUE(run({"export", "latest", "--raw", "-"}).code != 0 || is_the_image(path("raw")));
    run({"check"});
    return run({"check", "--read-data"});
  }

  os::TemporaryFolder folder_;
  Bytes image_;
  std::unique_ptr<repo::Repository> repository_;
};

TEST_F(HostileRepository, a_whole_one_passes) {
  store_good();
  EXPECT_EQ(run_all().code, 0);
  EXPECT_EQ(run({"restore", "latest", "--to-file", path("again")}).code, 0);
  EXPECT_TRUE(is_the_image(path("again")));
}

class FlippedByte : public HostileRepository, public ::testing::WithParamInterface<std::string> {};

TEST_P(FlippedByte, is_found_and_told) {
  store_good();
  if (GetParam() == "locks") {
    repository_->save_unpacked(FileType::lock,
                               R"({"time":"2001-01-01T00:00:00Z","exclusive":false,"hostname":"h","pid":1})",
                               store::Durability::now);
  }
  const fs::path file = GetParam() == "config" ? fs::path(repository_path() + "/config") : object(GetParam());
  const std::uint64_t size = fs::file_size(file);
  for (const std::uint64_t offset : {std::uint64_t{0}, size / 2, size - 1}) {
    flip(file, offset);
    EXPECT_NE((offset == size / 2 ? run_all() : run_few()).code, 0) << GetParam() << " byte " << offset;
    flip(file, offset);
  }
}

INSTANTIATE_TEST_SUITE_P(In, FlippedByte,
                         ::testing::Values("data", "index", "snapshots", "keys", "config", "locks"),
                         [](const auto& given) { return given.param; });

class LostObject : public HostileRepository, public ::testing::WithParamInterface<std::string> {};

TEST_P(LostObject, is_found_and_told) {
  store_good();
  const fs::path file = object(GetParam());
  for (const std::uint64_t size : {fs::file_size(file) / 2, std::uint64_t{3}, std::uint64_t{0}}) {
    cut(file, size);
    EXPECT_NE(run_few().code, 0) << GetParam() << " cut to " << size;
  }
  fs::remove(file);
  const Outcome check = run_all();
  EXPECT_EQ(check.code, GetParam() == "keys" ? 12 : GetParam() == "snapshots" ? 0 : 20);
}

INSTANTIATE_TEST_SUITE_P(In, LostObject, ::testing::Values("data", "index", "snapshots", "keys"),
                         [](const auto& given) { return given.param; });

struct Lie {
  const char* name;
  void (*tell)(repo::PackedBlob&);
};

class LyingIndex : public HostileRepository, public ::testing::WithParamInterface<Lie> {};

TEST_P(LyingIndex, is_found_and_costs_little) {
  store_good();
  rewrite_index([](std::vector<repo::PackContents>& packs) {
    for (repo::PackContents& pack : packs)
      for (repo::PackedBlob& blob : pack.blobs)
        if (blob.type == repo::BlobType::data) GetParam().tell(blob);
  });
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  EXPECT_EQ(run_all().code, 20);
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 512 << 10) << "KiB";
}

INSTANTIATE_TEST_SUITE_P(
    About, LyingIndex,
    ::testing::Values(
        Lie{"offsets_past_the_end", [](repo::PackedBlob& b) { b.offset += 1 << 24; }},
        Lie{"offsets_near_4_GiB", [](repo::PackedBlob& b) { b.offset = 0xfffffff0; }},
        Lie{"lengths_of_4_GiB", [](repo::PackedBlob& b) { b.length = 0xffffffff; }},
        Lie{"offsets_and_lengths_of_4_GiB", [](repo::PackedBlob& b) { b.offset = b.length = 0xffffffff; }},
        Lie{"unpacked_lengths_of_4_GiB", [](repo::PackedBlob& b) { b.uncompressed_length = 0xffffffff; }},
        Lie{"everything_of_4_GiB",
            [](repo::PackedBlob& b) { b.uncompressed_length = b.length = 0xffffffff; }},
        Lie{"lengths_of_nothing", [](repo::PackedBlob& b) { b.length = 32, b.uncompressed_length = 0; }},
        Lie{"lengths_one_too_short", [](repo::PackedBlob& b) { b.length -= 1; }},
        Lie{"types", [](repo::PackedBlob& b) { b.type = repo::BlobType::tree; }},
        Lie{"identities", [](repo::PackedBlob& b) { b.id.bytes[5] ^= 1; }}),
    [](const auto& given) { return given.param.name; });

TEST_F(HostileRepository, an_index_of_packs_that_are_not_there) {
  store_good();
  rewrite_index([](std::vector<repo::PackContents>& packs) {
    for (repo::PackContents& pack : packs) pack.pack.bytes[0] ^= 1;
  });
  EXPECT_EQ(run_all().code, 20);
}

TEST_F(HostileRepository, documents_that_are_not_what_they_should_be) {
  store_good();
  for (const char* text : {"{", "[]", "{}", R"({"packs":7})", R"({"packs":[{"id":"x"}]})"}) {
    const std::string name = repository_->save_unpacked(FileType::index, text, store::Durability::now);
    run_few();
    repository_->backend().remove({FileType::index, name});
  }
  for (const char* text : {"{", "[]", "{}", R"({"time":7,"tree":""})"}) {
    const std::string name = repository_->save_unpacked(FileType::snapshot, text, store::Durability::now);
    EXPECT_EQ(run({"list"}).code, 20);
    EXPECT_EQ(run_few().code, 20);
    repository_->backend().remove({FileType::snapshot, name});
  }
}

TEST_F(HostileRepository, a_snapshot_whose_tree_is_nowhere) {
  store_good();
  save_snapshot_of(repo::BlobId{crypto::sha256(as_bytes("nothing"))});
  EXPECT_EQ(run_all().code, 20);
}

TEST_F(HostileRepository, a_snapshot_whose_tree_is_no_tree) {
  testing::HandMadeBackup backup(*repository_);
  const repo::BlobId data = backup.data(image_);
  backup.save(data);
  EXPECT_EQ(run_all().code, 20);
}

TEST_F(HostileRepository, names_that_lead_astray_are_shown_harmlessly) {
  testing::HandMadeBackup backup(*repository_);
  std::vector<repo::Node> inside{backup.file("image.raw", image_),
                                 backup.file("volume.json", as_bytes(facts_json()))};
  for (const std::string& name :
       {std::string(".."), std::string("."), std::string("a/b"), std::string("/etc/passwd"),
        std::string("nul\0inside", 10), std::string("\x1b[2J"), std::string("line\nbreak"),
        std::string("\xff\xfe"), std::string(70000, 'n')})
    inside.push_back(backup.file(name, as_bytes("x")));
  const auto root = backup.tree(std::move(inside));
  const auto vg = backup.tree({testing::folder_node("root", root), testing::folder_node("..", root)});
  backup.save(backup.tree({testing::folder_node("vg0", vg), testing::folder_node("../..", vg)}));
  run_all();
  const std::string listed = run({"ls", "latest"}).out;
  EXPECT_EQ(listed.find('\x1b'), std::string::npos);
  EXPECT_EQ(listed.find('\0'), std::string::npos);
  EXPECT_FALSE(fs::exists(folder_.path().parent_path() / "image.raw"));
}

TEST_F(HostileRepository, sizes_that_the_contents_do_not_add_up_to) {
  for (const std::uint64_t size :
       {std::uint64_t{0}, kImageSize - 1, kImageSize + 1, std::uint64_t{1} << 62, ~std::uint64_t{0}}) {
    testing::HandMadeBackup backup(*repository_);
    repo::Node image = backup.file("image.raw", image_);
    image.size = size;
    save_volume(backup, {image, backup.file("volume.json", as_bytes(facts_json()))});
    EXPECT_EQ(run({"restore", "latest", "--to-file", path("restored")}).code, 1) << size;
    EXPECT_EQ(run({"cat", "latest", "/vg0/root/image.raw"}).code, 1) << size;
    EXPECT_EQ(fs::file_size(path("raw")), 0U) << size;
    EXPECT_EQ(run_few().code, 20) << size;
  }
  run_all();
}

TEST_F(HostileRepository, contents_that_are_nowhere) {
  testing::HandMadeBackup backup(*repository_);
  repo::Node image = backup.file("image.raw", image_);
  image.content[2].bytes[0] ^= 1;
  save_volume(backup, {image, testing::file_node("volume.json", 10, {image.content[2]})});
  EXPECT_EQ(run_all().code, 20);
}

TEST_F(HostileRepository, folders_without_a_tree_and_nodes_of_no_type) {
  testing::HandMadeBackup backup(*repository_);
  repo::Node treeless = testing::folder_node("treeless", {});
  treeless.subtree.reset();
  repo::Node lost = testing::folder_node("lost", repo::BlobId{crypto::sha256(as_bytes("nothing"))});
  repo::Node link = testing::file_node("link", 1, {});
  link.type = repo::NodeType::symlink;
  link.link_target = "\x1b]0;owned\x07";
  save_volume(backup, {backup.file("image.raw", image_), treeless, lost, link,
                       testing::folder_node("volume.json", repo::BlobId{})});
  EXPECT_EQ(run_all().code, 20);
  EXPECT_EQ(run({"ls", "-l", "latest", "/vg0/root/link"}).out.find('\x1b'), std::string::npos);
}

// 10000 folders, one inside the other.
TEST_F(HostileRepository, a_tree_of_great_depth_overflows_nothing) {
  testing::HandMadeBackup backup(*repository_);
  repo::BlobId tree = backup.tree({});
  for (int i = 0; i < 10000; ++i) tree = backup.tree({testing::folder_node("deeper", tree)});
  save_volume(backup, {testing::folder_node("files", tree), backup.file("image.raw", image_),
                       backup.file("volume.json", as_bytes(facts_json()))});
  const Outcome listed = run({"ls", "latest"});
  EXPECT_EQ(listed.code, 1);
  EXPECT_THAT(listed.err, HasSubstr("too deep"));
  EXPECT_EQ(run_all(false).code, 0);
}

// Trees cannot hold themselves, because their names are their hashes; but each can hold the next one twice.
TEST_F(HostileRepository, a_tree_with_more_paths_than_atoms_is_checked_once) {
  testing::HandMadeBackup backup(*repository_);
  repo::BlobId tree = backup.tree({});
  for (int i = 0; i < 300; ++i)
    tree = backup.tree({testing::folder_node("a", tree), testing::folder_node("b", tree)});
  save_volume(backup, {testing::folder_node("files", tree), backup.file("image.raw", image_),
                       backup.file("volume.json", as_bytes(facts_json()))});
  EXPECT_EQ(run_all(false).code, 0);
}

// Names that are long, in folders that are deep: the paths to them are not multiplied in memory.
TEST_F(HostileRepository, long_names_in_deep_folders_cost_little) {
  testing::HandMadeBackup backup(*repository_);
  const std::string name(100000, 'n');
  repo::BlobId tree = backup.tree({});
  for (int i = 0; i < 300; ++i)
    tree = backup.tree(
        {testing::folder_node(name, tree),
         testing::folder_node("aside", backup.tree({testing::file_node(std::to_string(i), 0, {})}))});
  save_volume(backup, {testing::folder_node("files", tree), backup.file("image.raw", image_),
                       backup.file("volume.json", as_bytes(facts_json()))});
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  EXPECT_EQ(run({"check"}).code, 0);
  const Outcome listed = run({"ls", "latest"});
  EXPECT_EQ(listed.code, 1);
  EXPECT_THAT(listed.err, HasSubstr("too deep"));
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 512 << 10) << "KiB";
}

// Hundreds of MiB of spaces in a few KiB.
TEST_F(HostileRepository, documents_and_blobs_that_unpack_to_very_much) {
  store_good();
  std::string bomb(std::size_t{300} << 20, ' ');
  bomb[0] = '{';
  const std::string name = repository_->save_unpacked(FileType::snapshot, bomb, store::Durability::now);
  bomb = {};
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  EXPECT_EQ(run({"list"}).code, 20);
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 512 << 10) << "KiB";
  std::vector<std::string> bombs;
  EXPECT_EQ(run({"restore", "latest", "--to-file", path("restored")}).code, 1);
  EXPECT_EQ(run({"restore", repository_->snapshots(&bombs).at(0).id.hex(), "--to-file", path("restored")}).code, 0);
  EXPECT_TRUE(is_the_image(path("restored")));
}

}  // namespace

}  // namespace respaldo::cli
