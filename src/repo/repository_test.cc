#include "repo/repository.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/units.h"
#include "crypto/base64.h"
#include "repo/golden_test.h"
#include "repo/keys.h"
#include "repo/repositories_test.h"
#include "store/forward.h"
#include "testing/errors.h"
#include "testing/temp.h"

namespace respaldo::repo {
namespace {

using ::testing::HasSubstr;
using testing::error_of;

TEST_F(Repositories, the_golden_one_is_read) {
  auto backend = store::open_memory();
  for (const golden::File& file : golden::kFiles) {
    const std::string folder = file.type;
    const store::FileType type = folder == "keys"        ? store::FileType::key
                                 : folder == "data"      ? store::FileType::pack
                                 : folder == "index"     ? store::FileType::index
                                 : folder == "snapshots" ? store::FileType::snapshot
                                                         : store::FileType::config;
    const std::string bytes = *crypto::from_base64(file.base64);
    const ByteView view = as_bytes(bytes);
    backend->save({type, file.name}, std::span(&view, 1), store::Durability::now);
  }
  const auto repository = Repository::open(std::move(backend), "respaldo");
  EXPECT_EQ(repository->config().polynomial, "3883229c0e9077");
  const auto snapshots = repository->snapshots();
  ASSERT_EQ(snapshots.size(), 1U);
  const IndexedRepository known = indexed(*repository);
  const std::string text = contents(known, snapshots[0].id);
  EXPECT_EQ(to_hex(crypto::sha256(as_bytes(text))),
            "7963639e53fc16c863dffab29617260940271b66bc4b7f2213427e442768a7ff");
  for (const PackId& pack : known.index().packs()) {
    const auto info = repository->backend().stat({store::FileType::pack, pack.hex()});
    EXPECT_FALSE(repository->read_pack_header(pack, info->size).blobs.empty());
  }
}

TEST_F(Repositories, restic_accepts_what_we_write) {
  const auto repository = create();
  std::vector<Bytes> parts;
  std::string whole;
  for (int i = 0; i < 30; ++i) {
    parts.push_back(i % 3 == 0 ? Bytes::zeroed(512 * kKiB)
                               : testing::random_bytes(300000 + static_cast<std::size_t>(i),
                                                       static_cast<std::uint64_t>(i)));
    whole += as_text(parts.back());
  }
  WriterOptions options;
  options.pack_size = 4U << 20;
  options.index_blobs = 7;
  const SnapshotId id = back_up(*repository, parts, options);
  const auto check = restic(path(), {"check", "--read-data"});
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
  const auto dump = restic(path(), {"dump", id.hex(), "/f"});
  EXPECT_EQ(dump.exit_code, 0) << dump.err;
  EXPECT_TRUE(dump.out == whole.substr(0, dump.out.size()) && dump.out.size() == whole.size());
  EXPECT_EQ(contents(indexed(*repository), id), whole);
}

TEST_F(Repositories, what_restic_writes_is_read) {
  for (const char* version : {"1", "2"}) {
    SCOPED_TRACE(version);
    std::filesystem::remove_all(path());
    ASSERT_EQ(restic(path(), {"init", "--repository-version", version}).exit_code, 0);
    const Bytes content = testing::random_bytes(5 * kMiB, 1);
    std::ofstream(folder_.path() / "f")
        .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
    std::ofstream(folder_.path() / "zeros") << std::string(3 * kMiB, '\0');
    const auto made =
        restic(path(), {"backup", (folder_.path() / "f").native(), (folder_.path() / "zeros").native()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const auto repository = open();
    const IndexedRepository known = indexed(*repository);
    const auto snapshots = repository->snapshots();
    ASSERT_EQ(snapshots.size(), 1U);
    Tree tree = known.load_tree(snapshots[0].snapshot.tree);
    while (tree.nodes.at(0).type == NodeType::dir) {
      // Canonical trees come back byte for byte.
      EXPECT_EQ(to_hex(crypto::sha256(as_bytes(to_json(tree)))),
                to_hex(crypto::sha256(as_bytes(to_json(parse_tree(as_bytes(to_json(tree))))))));
      const BlobId below = *tree.nodes[0].subtree;
      tree = known.load_tree(below);
      EXPECT_EQ(crypto::sha256(as_bytes(to_json(tree))), below.bytes);
    }
    std::string text;
    for (const BlobId& id : tree.nodes.at(0).content) text += as_text(known.load_blob(BlobType::data, id));
    EXPECT_TRUE(text == as_text(content));
    // And restic goes on with what we add.
    back_up(*repository, {});
    const auto check = restic(path(), {"check", "--read-data"});
    EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
  }
}

TEST_F(Repositories, a_second_backup_stores_nothing_twice) {
  const auto repository = create();
  const Bytes part = testing::random_bytes(1 * kMiB, 3);
  back_up(*repository, [&] {
    std::vector<Bytes> p;
    p.push_back(part.clone());
    p.push_back(part.clone());
    return p;
  }());
  EXPECT_EQ(indexed(*repository).index().blob_count(), 2U);
  back_up(*repository, [&] {
    std::vector<Bytes> p;
    p.push_back(part.clone());
    return p;
  }());
  EXPECT_EQ(indexed(*repository).index().blob_count(), 3U);  // one more tree
}

TEST_F(Repositories, a_wrong_password_opens_nothing) {
  create();
  EXPECT_EQ(error_of([&] { Repository::open(store::open_local(path().native()), "wrong"); }).kind(),
            ErrorKind::wrong_key);
  EXPECT_EQ(error_of([&] { Repository::open(store::open_local("/nowhere/at/all"), "x"); }).kind(),
            ErrorKind::not_found);
}

TEST_F(Repositories, one_is_never_made_over_another) {
  create();
  EXPECT_EQ(error_of([&] { create(); }).kind(), ErrorKind::refused);
}

TEST_F(Repositories, keys_are_added_and_removed) {
  const auto repository = create();
  const KeyId second = repository->add_key("second", kQuick);
  EXPECT_EQ(repository->keys().size(), 2U);
  const auto other = Repository::open(store::open_local(path().native()), "second");
  EXPECT_EQ(error_of([&] { other->remove_key(second); }).kind(), ErrorKind::refused);
  repository->remove_key(second);
  EXPECT_EQ(error_of([&] { Repository::open(store::open_local(path().native()), "second"); }).kind(),
            ErrorKind::wrong_key);
}

TEST_F(Repositories, several_containers_are_each_what_they_are) {
  const auto repository = create();
  crypto::Cipher cipher(repository->master_key());
  std::vector<Bytes> plain, sealed;
  std::vector<BlobId> ids;
  for (std::size_t i = 0; i < 90; ++i) {
    // Short ones, some of a batch's size, and one that is longer than a batch.
    plain.push_back(testing::random_bytes(i == 40 ? 9U << 20 : i % 7 == 0 ? 3U << 20 : 100 * i + 1, i));
    sealed.push_back(cipher.seal(plain[i]));
    ids.push_back(BlobId{crypto::sha256(plain[i])});
  }
  std::swap(ids[3], ids[4]);
  ids[40] = ids[41];
  sealed[33].data()[20] ^= 1;
  sealed[89].data()[sealed[89].size() - 1] ^= 1;
  std::vector<Repository::Container> containers;
  for (std::size_t i = 0; i < plain.size(); ++i)
    containers.push_back({BlobType::data, ids[i], {PackId{{1}}, 0, static_cast<std::uint32_t>(sealed[i].size()), 0}, sealed[i]});
  std::size_t next = 0;
  repository->decode_blobs(containers, cipher, [&](std::size_t number, Bytes bytes, const Error* damage) {
    ASSERT_EQ(number, next++);
    if (number == 3 || number == 4 || number == 40) {
      ASSERT_NE(damage, nullptr) << number;
      EXPECT_THAT(damage->what(), HasSubstr("do not match its ID"));
    } else if (number == 33 || number == 89) {
      ASSERT_NE(damage, nullptr) << number;
      EXPECT_THAT(damage->what(), HasSubstr("its seal is broken"));
    } else {
      ASSERT_EQ(damage, nullptr) << number << ": " << damage->what();
      EXPECT_TRUE(std::ranges::equal(bytes.view(), plain[number].view())) << number;
      return;
    }
    EXPECT_TRUE(bytes.empty());
  });
  EXPECT_EQ(next, plain.size());
  // Who takes them may end it.
  EXPECT_THROW(repository->decode_blobs(containers, cipher,
                                        [](std::size_t, const Bytes&, const Error*) { throw Cancelled(); }),
               Cancelled);
}

TEST_F(Repositories, a_known_key_opens_as_long_as_the_store_has_it) {
  const auto repository = create();
  const KeyId first = repository->current_key(), second = repository->add_key("second", kQuick);
  const auto file_of = [&](const KeyId& key) { return os::read_text(path() / "keys" / key.hex(), 1U << 20); };
  const std::string files[] = {file_of(first), file_of(second)};
  const auto opened = [&](std::string_view password, const std::string& file) {
    return Repository::open(store::open_local(path().native()), password,
                            file.empty() ? KnownKey() : derived_ahead(as_bytes(file), password));
  };
  for (const std::string& known : files)
    for (const auto& [password, key, file] : {std::tuple("respaldo", first, files[0]), {"second", second, files[1]}}) {
      const auto found = opened(password, known);
      EXPECT_EQ(found->current_key(), key);
      EXPECT_EQ(as_text(found->key_file()), known == file ? "" : file);
    }
  // Its own file there is not asked for, and one that is damaged costs only those who need it.
  for (const KeyId& key : {second, *KeyId::parse(std::string(64, '0'))}) {
    std::filesystem::remove(path() / "keys" / key.hex());
    std::ofstream(path() / "keys" / key.hex()) << "no key";
  }
  EXPECT_EQ(opened("second", files[1])->current_key(), second);
  EXPECT_EQ(error_of([&] { opened("second", ""); }).kind(), ErrorKind::wrong_key);
  EXPECT_EQ(error_of([&] { opened("second", files[1] + " "); }).kind(), ErrorKind::wrong_key);
  EXPECT_EQ(error_of([&] { opened("second", "no key"); }).kind(), ErrorKind::wrong_key);
  // One that was taken away opens nothing.
  std::filesystem::remove(path() / "keys" / second.hex());
  EXPECT_EQ(error_of([&] { opened("second", files[1]); }).kind(), ErrorKind::wrong_key);
}

// What another host saves after the packs are listed, and before the indexes are.
class PacksListedEarly : public store::Forward {
 public:
  using Forward::Forward;
  std::vector<store::FileInfo> list(store::FileType type) override {
    return type == store::FileType::pack && listed_++ == 0 ? std::vector<store::FileInfo>() : below_->list(type);
  }

 private:
  int listed_ = 0;
};

TEST_F(Repositories, a_pack_that_is_not_listed_yet_is_looked_for_again) {
  {
    const auto repository = create();
    std::vector<Bytes> parts;
    parts.push_back(testing::random_bytes(1000, 9));
    back_up(*repository, parts);
  }
  SilentProgress silent;
  const auto early =
      Repository::open(std::make_unique<PacksListedEarly>(store::open_local(path().native())), "respaldo");
  EXPECT_EQ(early->load_stored_index(silent).blob_count(), 2U);
  for (const store::FileInfo& pack : early->backend().list(store::FileType::pack))
    early->backend().remove({store::FileType::pack, pack.name});
  EXPECT_EQ(early->load_stored_index(silent).blob_count(), 0U);
  EXPECT_EQ(early->load_index(silent).blob_count(), 2U);
}

// Index files come in an order of their own each time.
class SlowIndex : public store::Forward {
 public:
  using Forward::Forward;
  std::vector<store::FileInfo> list(store::FileType type) override {
    std::vector<store::FileInfo> files = below_->list(type);
    std::ranges::rotate(files, files.begin() + static_cast<std::ptrdiff_t>(listed_++ % files.size()));
    return files;
  }
  Bytes load_all(const store::Handle& handle, std::uint64_t limit) override {
    if (handle.type == store::FileType::index && loaded_++ % 3 == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    return below_->load_all(handle, limit);
  }

 private:
  std::size_t listed_ = 0;
  std::atomic<std::size_t> loaded_{0};
};

TEST_F(Repositories, one_repository_always_makes_the_same_index) {
  {
    const auto repository = create();
    for (std::uint64_t seed = 0; seed < 7; ++seed) {
      std::vector<Bytes> parts;
      parts.push_back(testing::random_bytes(1000, seed));
      back_up(*repository, parts);
    }
  }
  const auto repository =
      Repository::open(std::make_unique<SlowIndex>(store::open_local(path().native())), "respaldo");
  SilentProgress silent;
  const std::vector<PackId> packs = repository->load_index(silent).packs();
  EXPECT_EQ(packs.size(), 14U);
  for (int again = 0; again < 10; ++again) EXPECT_EQ(repository->load_index(silent).packs(), packs);
  // One that is damaged keeps nobody waiting.
  std::ofstream(path() / "index" / std::string(64, '5')) << "no index";
  std::vector<std::string> damaged;
  EXPECT_EQ(repository->load_index(silent, &damaged).packs(), packs);
  EXPECT_THAT(damaged, ::testing::ElementsAre(HasSubstr("55555555")));
  EXPECT_THAT(error_of([&] { repository->load_index(silent); }).what(), HasSubstr("55555555"));
}

TEST_F(Repositories, a_flipped_byte_is_told_with_its_place) {
  const auto repository = create();
  std::vector<Bytes> parts;
  parts.push_back(testing::random_bytes(1 * kMiB, 9));
  const SnapshotId id = back_up(*repository, parts);
  const IndexedRepository known = indexed(*repository);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path() / "data")) {
    if (!entry.is_regular_file() || entry.file_size() < 1000000) continue;
    std::filesystem::permissions(entry.path(), std::filesystem::perms::owner_all);
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(5000);
    const int before = file.get();
    file.seekp(5000);
    file.put(static_cast<char>(before ^ 1));
  }
  const Error error = error_of([&] { contents(known, id); });
  EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  EXPECT_THAT(error.what(), HasSubstr("of pack"));
}

TEST_F(Repositories, damaged_snapshots_are_told_not_hidden) {
  const auto repository = create();
  const SnapshotId id = back_up(*repository, {});
  const os::Path file = path() / "snapshots" / id.hex();
  std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  std::ofstream(file) << "garbage";
  std::vector<std::string> damaged;
  EXPECT_TRUE(repository->snapshots(&damaged).empty());
  ASSERT_EQ(damaged.size(), 1U);
  EXPECT_THAT(damaged[0], HasSubstr(id.short_hex()));
  EXPECT_THROW(repository->snapshots(), Error);
}

TEST_F(Repositories, blobs_go_on_while_an_index_is_written_and_one_that_fails_fails_the_run) {
  struct Watched : store::Forward {
    using Forward::Forward;
    void save(const store::Handle& handle, std::span<const ByteView> parts, store::Durability durability) override {
      if (handle.type == store::FileType::index) {
        const int before = packs;
        for (int i = 0; waits && i < 2000 && packs == before; ++i)
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
        alone += waits.exchange(false) && packs == before;
        if (fails) throw Error(ErrorKind::no_space, "no space left");
      }
      packs += handle.type == store::FileType::pack;
      below_->save(handle, parts, durability);
    }
    std::atomic<int> packs{0}, alone{0};
    std::atomic<bool> waits{false}, fails{false};
  };
  create();
  auto watched = std::make_unique<Watched>(store::open_local(path().native()));
  Watched& store = *watched;
  const auto repository = Repository::open(std::move(watched), "respaldo");
  const IndexedRepository known = indexed(*repository);
  WriterOptions options;
  options.index_blobs = 5;
  options.pack_size = 4U << 20;
  const auto save_some = [&](BlobWriter& writer, std::uint64_t seed) {
    auto lane = writer.open_lane();
    for (std::uint64_t i = 0; i < 60; ++i) lane->save(BlobType::data, testing::random_bytes(kMiB, seed + i));
    lane->close();
  };
  {
    BlobWriter writer(known, options);
    store.waits = true;
    save_some(writer, 1);
    writer.finish();
    EXPECT_EQ(store.alone, 0);
    EXPECT_EQ(indexed(*repository).index().blob_count(), 60U);
  }
  BlobWriter writer(known, options);
  store.fails = true;
  EXPECT_THROW(save_some(writer, 100), Error);
  store.fails = false;
  // What that index named is named nowhere: nobody may go on as if it were.
  EXPECT_THROW(writer.finish(), Error);
  EXPECT_THROW(writer.finish(), Error);
}

TEST_F(Repositories, a_lane_given_up_keeps_the_writer_from_finishing) {
  const auto repository = create();
  const IndexedRepository known = indexed(*repository);
  BlobWriter writer(known, {});
  {
    auto lane = writer.open_lane();
    lane->save(BlobType::data, as_bytes("lost"));
  }
  EXPECT_THROW(writer.finish(), Error);
}

}  // namespace
}  // namespace respaldo::repo
