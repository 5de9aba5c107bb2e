#include "restore/tar_export.h"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <map>

#include "base/error.h"
#include "testing/far_store.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/zero_blob.h"

namespace respaldo::restore {
namespace {

using namespace respaldo::testing;
using ::testing::HasSubstr;

TEST(TarExport, the_name_says_how_to_compress) {
  EXPECT_EQ(tar_compression("root.tar"), TarCompression::none);
  EXPECT_EQ(tar_compression("-"), TarCompression::none);
  EXPECT_EQ(tar_compression("root.tar.gz"), TarCompression::gzip);
  EXPECT_EQ(tar_compression("root.tgz"), TarCompression::gzip);
  EXPECT_EQ(tar_compression("root.tar.zst"), TarCompression::zstd);
  EXPECT_EQ(tar_compression("root.tar.xz"), TarCompression::xz);
  EXPECT_EQ(tar_compression("nightly.tar.d/root"), TarCompression::none);
  for (const char* name : {"root.tar.gz.tar", "root.tar.part", "root.tar.2026-01-31"})
    EXPECT_EQ(tar_compression(name), TarCompression::none) << name;
  for (const char* name : {"root.tar.bz2", "root.tbz", "root.tar.lz4", "root.lz4", "a/root.tar.Z"})
    EXPECT_THROW(tar_compression(name), Error) << name;
}

class Tar : public ::testing::Test {
 protected:
  Tar() {
    repo::Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    repository_ = repo::Repository::create(std::make_unique<FarStore>(store::open_memory(), store_), "secret", options);
  }

  repo::BlobId blob(ByteView plain) { return lane().save(repo::BlobType::data, plain).id; }
  repo::BlobWriter::Lane& lane() {
    if (!writer_) {
      before_ = indexed(*repository_);
      writer_ = std::make_unique<repo::BlobWriter>(*before_, small_packs());
      lane_ = writer_->open_lane();
    }
    return *lane_;
  }
  repo::Node file(const std::string& name, std::vector<repo::BlobId> content, std::uint64_t size) {
    repo::Node node;
    node.name = name;
    node.mode = S_IFREG | 0640;
    node.size = size;
    node.links = 1;
    node.content = std::move(content);
    return node;
  }
  repo::Node folder(const std::string& name, std::vector<repo::Node> nodes) {
    repo::Node node;
    node.name = name;
    node.type = repo::NodeType::dir;
    node.mode = S_IFDIR | 0755;
    repo::Tree tree;
    tree.nodes = std::move(nodes);
    node.subtree = lane().save(repo::BlobType::tree, as_bytes(repo::to_json(std::move(tree)))).id;
    return node;
  }
  // Everything is stored; what is damaged from here on was whole.
  void finish() {
    if (after_) return;
    lane_->close();
    writer_->finish();
    after_ = indexed(*repository_);
  }
  store::Handle pack_of(const repo::BlobId& id) {
    return {store::FileType::pack, after_->index().find(repo::BlobType::data, id)->pack.hex()};
  }
  void damage(const repo::BlobId& id) {
    flip(*repository_, pack_of(id), after_->index().find(repo::BlobType::data, id)->offset + 40);
  }
  TarResult run(const repo::Node& root, TarOptions options = {}) {
    finish();
    SilentProgress progress;
    return export_tar(*after_, root, options, [&](ByteView bytes) { archive_.append(as_text(bytes)); },
                      progress, {});
  }
  // Path, and content; of hard links, where they lead.
  std::map<std::string, std::string> unpacked() {
    std::map<std::string, std::string> files;
    archive* a = archive_read_new();
    archive_read_support_format_tar(a);
    archive_read_support_filter_all(a);
    EXPECT_EQ(archive_read_open_memory(a, archive_.data(), archive_.size()), ARCHIVE_OK);
    archive_entry* entry = nullptr;
    while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
      std::string content(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
      const void* block = nullptr;
      std::size_t length = 0;
      la_int64_t offset = 0;
      while (archive_read_data_block(a, &block, &length, &offset) == ARCHIVE_OK)
        content.replace(static_cast<std::size_t>(offset), length, static_cast<const char*>(block), length);
      if (const char* first = archive_entry_hardlink(entry)) content = std::string("link to ") + first;
      files.emplace(archive_entry_pathname(entry), std::move(content));
    }
    archive_read_free(a);
    return files;
  }

  std::shared_ptr<FarStoreControl> store_ = std::make_shared<FarStoreControl>();
  std::unique_ptr<repo::Repository> repository_;
  std::shared_ptr<const repo::IndexedRepository> before_, after_;
  std::unique_ptr<repo::BlobWriter> writer_;
  std::unique_ptr<repo::BlobWriter::Lane> lane_;
  std::string archive_;
};

TEST_F(Tar, holes_and_data_come_back) {
  const Bytes data = random_bytes(10'000, 1);
  const auto id = blob(data);
  const auto zeros = blob(view::zero_blob());
  const auto rest = blob(view::zero_blob().first(5000));
  const std::uint64_t size = 2 * data.size() + view::kZeroBlobLength + 5000;
  const auto root = folder("", {folder("a", {file("f", {id, zeros, id, rest}, size)}),
                                file("hole", {zeros}, view::kZeroBlobLength)});
  const TarResult result = run(root);
  EXPECT_EQ(result.entries, 4U);
  EXPECT_EQ(result.problem_count, 0U);
  const std::string plain(as_text(data));
  const auto files = unpacked();
  EXPECT_TRUE(files.at("./a/f") ==
              plain + std::string(view::kZeroBlobLength, '\0') + plain + std::string(5000, '\0'));
  EXPECT_TRUE(files.at("./hole") == std::string(view::kZeroBlobLength, '\0'));
  EXPECT_LT(archive_.size(), 560'000U);  // the long hole takes no room; a short file of zeros is written out
}

TEST_F(Tar, only_what_was_asked_for_and_the_folders_above) {
  const auto id = blob(as_bytes("x"));
  const auto root = folder("", {folder("a", {file("b", {id}, 1), file("bc", {id}, 1)}), file("c", {id}, 1)});
  TarOptions options;
  options.paths = {"a/b"};
  options.compression = TarCompression::zstd;
  run(root, options);
  const auto files = unpacked();
  EXPECT_EQ(files.size(), 2U);
  EXPECT_TRUE(files.contains("./a/"));
  EXPECT_TRUE(files.contains("./a/b"));
}

TEST_F(Tar, paths_may_be_written_as_for_restore) {
  const auto id = blob(as_bytes("x"));
  const auto root = folder("", {folder("a", {file("b", {id}, 1), file("bc", {id}, 1)}),
                                folder("c", {file("d", {id}, 1)}), file("..", {id}, 1)});
  TarOptions options;
  options.paths = {"/a//b", "./c/"};
  EXPECT_EQ(run(root, options).problem_count, 0U);  // what is not wanted may have any name
  const auto files = unpacked();
  EXPECT_EQ(files.size(), 4U);
  EXPECT_TRUE(files.contains("./a/b"));
  EXPECT_TRUE(files.contains("./c/d"));
}

TEST_F(Tar, nothing_is_written_for_a_path_that_is_not_there) {
  const auto root = folder("", {file("c", {blob(as_bytes("x"))}, 1)});
  TarOptions options;
  const auto kind_with = [&](const std::string& path) {
    options.paths = {"c", path};
    try {
      run(root, options);
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::internal;
  };
  EXPECT_EQ(kind_with("d"), ErrorKind::not_found);
  EXPECT_EQ(kind_with("c/d"), ErrorKind::not_found);
  EXPECT_EQ(kind_with("../c"), ErrorKind::usage);
  EXPECT_TRUE(archive_.empty());
}

TEST_F(Tar, hard_links_lead_to_files_that_hold_the_same) {
  const auto id = blob(as_bytes("x")), other = blob(as_bytes("y"));
  const auto linked = [&](const std::string& name, std::uint64_t inode, const repo::BlobId& content) {
    repo::Node node = file(name, {content}, 1);
    node.links = 2;
    node.inode = inode;
    return node;
  };
  const auto root =
      folder("", {linked("a", 7, id), linked("a liar", 7, other), linked("b", 7, id), linked("c", 7, id),
                  linked("nowhere", 0, id), linked("nowhere, too", 0, other)});
  const TarResult result = run(root);
  ASSERT_EQ(result.problem_count, 1U);
  EXPECT_EQ(result.problems[0].path, "./a liar");
  const auto files = unpacked();
  EXPECT_EQ(files.at("./a"), "x");
  EXPECT_EQ(files.at("./a liar"), "y");
  EXPECT_EQ(files.at("./b"), "link to ./a");
  EXPECT_EQ(files.at("./c"), "x");  // of two names it would be the third
  EXPECT_EQ(files.at("./nowhere"), "x");
  EXPECT_EQ(files.at("./nowhere, too"), "y");
}

TEST_F(Tar, names_that_no_file_can_have_are_problems) {
  const auto id = blob(as_bytes("x"));
  const auto root =
      folder("", {file("..", {id}, 1), file("../../etc/passwd", {id}, 1), file("/abs", {id}, 1),
                  file("", {id}, 1), folder(".", {file("in", {id}, 1)}), file("good", {id}, 1)});
  const TarResult result = run(root);
  EXPECT_EQ(result.problem_count, 5U);
  const auto files = unpacked();
  EXPECT_TRUE(files.contains("./good"));
  for (const auto& [path, content] : files) EXPECT_EQ(path.find(".."), path.npos) << path;
}

TEST_F(Tar, what_fails_leaves_nothing_behind_however_it_is_compressed) {
  const auto big = blob(random_bytes(300'000, 3));
  const auto root = folder("", {file("big", {big}, 300'000), file("small", {blob(as_bytes("x"))}, 1)});
  finish();
  for (const auto compression :
       {TarCompression::none, TarCompression::gzip, TarCompression::zstd, TarCompression::xz}) {
    TarOptions options;
    options.compression = compression;
    SilentProgress progress;
    EXPECT_THROW(export_tar(*after_, root, options, [&](ByteView) { throw Error(ErrorKind::io, "full"); },
                            progress, {}),
                 Error);
  }
}

TEST_F(Tar, files_that_are_not_whole_in_the_repository_are_left_out) {
  repo::BlobId absent;
  absent.bytes[7] = 7;
  const auto kept = blob(random_bytes(5'000'000, 1)), lost = blob(random_bytes(5'000'000, 2));
  const auto root = folder("", {file("liar", {kept}, 2), file("lost", {kept, lost}, 10'000'000), file("unknown", {kept, absent}, 5'000'001),
                                file("whole", {kept}, 5'000'000), testing::folder_node("z", absent)});
  finish();
  ASSERT_NE(pack_of(kept).name, pack_of(lost).name);
  repository_->backend().remove(pack_of(lost));
  const TarResult result = run(root);
  ASSERT_EQ(result.problem_count, 4U);
  EXPECT_EQ(result.problems[0].path, "./liar");
  EXPECT_THAT(result.problems[0].why, HasSubstr("add up to 5000000 bytes"));
  EXPECT_EQ(result.problems[1].path, "./lost");
  EXPECT_THAT(result.problems[1].why, HasSubstr("is missing"));
  EXPECT_EQ(result.problems[2].path, "./unknown");
  EXPECT_THAT(result.problems[2].why, HasSubstr("is in no index"));
  EXPECT_EQ(result.problems[3].path, "./z");  // the folder is there, what it held is not known
  const auto files = unpacked();
  EXPECT_EQ(files.size(), 3U);
  EXPECT_EQ(files.at("./whole").size(), 5'000'000U);
}

TEST_F(Tar, what_proves_lost_in_the_middle_of_a_file_is_zeros_and_told) {
  const Bytes first = random_bytes(10'000, 1), second = random_bytes(20'000, 2), third = random_bytes(30'000, 3);
  const auto a = blob(first), b = blob(second), c = blob(third);
  const auto linked = [&](const std::string& name) {
    repo::Node node = file(name, {a, b, b, a, b}, 80'000);
    node.links = 2;
    node.inode = 7;
    return node;
  };
  const auto root = folder("", {linked("f"), linked("g"), file("h", {c}, 30'000)});
  finish();
  damage(b);
  for (const auto compression : {TarCompression::none, TarCompression::zstd}) {
    archive_.clear();
    TarOptions options;
    options.compression = compression;
    const TarResult result = run(root, options);
    EXPECT_EQ(result.entries, 4U);
    ASSERT_EQ(result.problem_count, 2U);
    EXPECT_EQ(result.problems[0].path, "./f");
    EXPECT_THAT(result.problems[0].why, HasSubstr("bytes 10000 to 49999, 60000 to 79999 are lost, and are zeros in the archive: "));
    EXPECT_EQ(result.problems[1].path, "./g");
    EXPECT_THAT(result.problems[1].why, HasSubstr("a hard link to ./f, which is not whole"));
    const auto files = unpacked();
    const std::string plain(as_text(first));
    EXPECT_TRUE(files.at("./f") == plain + std::string(40'000, '\0') + plain + std::string(20'000, '\0'));
    EXPECT_EQ(files.at("./g"), "link to ./f");
    EXPECT_TRUE(files.at("./h") == as_text(third));
  }
}

// The kernel's bytes of an access control list.
std::string acl_of(const std::vector<std::array<std::uint32_t, 3>>& entries) {
  std::string bytes("\2\0\0\0", 4);
  const auto add = [&](std::uint32_t value, int length) {
    for (int i = 0; i < length; ++i) bytes += static_cast<char>(value >> (8 * i));
  };
  for (const auto& [kind, permissions, id] : entries) {
    add(kind, 2);
    add(permissions, 2);
    add(id, 4);
  }
  return bytes;
}

TEST_F(Tar, access_control_lists_name_every_id) {
  const auto list = [&](std::uint32_t id) {
    return acl_of({{1, 6, UINT32_MAX}, {2, 5, id}, {4, 4, UINT32_MAX}, {8, 7, id}, {16, 5, UINT32_MAX}, {32, 0, UINT32_MAX}});
  };
  repo::Node small = file("small", {blob(as_bytes("x"))}, 1);
  small.xattrs = {{"system.posix_acl_access", list(2147483647)}};
  repo::Node large = small;
  large.name = "large";
  large.xattrs = {{"system.posix_acl_access", list(2147483648)}};
  repo::Node both = folder("z", {});
  both.xattrs = {{"system.posix_acl_access", list(4711)}, {"system.posix_acl_default", list(4294967294)}};
  EXPECT_EQ(run(folder("", {small, large, both})).problem_count, 0U);
  for (const char* text : {"access=user::rw-,group::r--,other::---,user:2147483647:r-x,group:2147483647:rwx,mask::r-x\n",
                           "access=user::rw-,user:2147483648:r-x,group::r--,group:2147483648:rwx,mask::r-x,other::---\n",
                           "default=user::rw-,user:4294967294:r-x,group::r--,group:4294967294:rwx,mask::r-x,other::---\n"})
    EXPECT_NE(archive_.find(std::string("SCHILY.acl.") + text), archive_.npos) << text;
  EXPECT_EQ(archive_.find("SCHILY.xattr"), archive_.npos);
  EXPECT_EQ(unpacked().size(), 4U);
}

TEST_F(Tar, a_store_that_is_out_of_reach_ends_it) {
  const auto root = folder("", {file("a", {blob(as_bytes("x"))}, 1), file("b", {blob(as_bytes("y"))}, 1)});
  finish();
  const auto message = [&] {
    archive_.clear();
    try {
      run(root);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  const std::string tree = after_->index().find(repo::BlobType::tree, *root.subtree)->pack.hex();
  store_->before = [&](const char* what, const store::Handle& handle) {
    if (what == std::string("load") && handle.name != tree) throw Error(ErrorKind::io, "connection reset");
  };
  EXPECT_THAT(message(), HasSubstr("./a: connection reset"));
  // The disk is gone, and with it all packs: that is no damage.
  store_->before = [&](const char* what, const store::Handle& handle) {
    if (what == std::string("load") && handle.name != tree) throw Error(ErrorKind::not_found, "no such file");
  };
  EXPECT_EQ(message(), "none");
  repository_->backend().remove({store::FileType::config, ""});
  EXPECT_THAT(message(), HasSubstr("./a: no such file"));
}

}  // namespace
}  // namespace respaldo::restore
