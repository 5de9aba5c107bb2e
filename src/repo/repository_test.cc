#include "repo/repository.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/units.h"
#include "crypto/base64.h"
#include "os/file.h"
#include "os/process.h"
#include "repo/blob_writer.h"
#include "repo/golden_test.h"
#include "repo/host.h"
#include "repo/keys.h"
#include "repo/lock.h"
#include "store/forward.h"
#include "testing/temp.h"

namespace respaldo::repo {
namespace {

using ::testing::HasSubstr;

constexpr crypto::ScryptParameters kQuick{1024, 8, 1};

template <class Body>
Error error_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorKind::internal, "");
}

// What real restic says about a repository.
os::CommandResult restic(const os::Path& repository, const std::vector<std::string>& arguments) {
  const os::Path password = repository.parent_path() / "password";
  std::ofstream(password) << "respaldo";
  std::vector<std::string> argv = {"restic",          "-r",        repository.native(), "-p",
                                   password.native(), "--no-cache"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return os::run_command(argv);
}

class Repositories : public ::testing::Test {
 protected:
  os::Path path() const { return folder_.path() / "repo"; }
  std::unique_ptr<Repository> create(std::uint32_t version = 2) {
    return Repository::create(store::open_local(path().native()), "respaldo", {version, kQuick});
  }
  std::unique_ptr<Repository> open() {
    return Repository::open(store::open_local(path().native()), "respaldo");
  }
  static IndexedRepository indexed(Repository& repository) {
    SilentProgress silent;
    return IndexedRepository(repository, repository.load_index(silent));
  }
  // One file "f" of these parts.
  static SnapshotId back_up(Repository& repository, const std::vector<Bytes>& parts,
                            WriterOptions options = {}) {
    IndexedRepository known = indexed(repository);
    BlobWriter writer(known, options);
    auto lane = writer.open_lane();
    Node node;
    node.name = "f";
    node.mode = 0100644;
    for (const Bytes& part : parts) {
      node.content.push_back(lane->save(BlobType::data, part).id);
      node.size += part.size();
    }
    const std::string tree = to_json(Tree{{node}});
    Snapshot snapshot;
    snapshot.time = now();
    snapshot.tree = lane->save(BlobType::tree, as_bytes(tree)).id;
    snapshot.paths = {"/f"};
    lane->close();
    writer.finish();
    return save_snapshot(repository, snapshot);
  }
  static std::string contents(const IndexedRepository& repository, const SnapshotId& id) {
    const auto all = repository.repository().snapshots();
    const Tree tree = repository.load_tree(find_snapshot(all, id.hex()).snapshot.tree);
    std::string text;
    for (const BlobId& blob : tree.nodes.at(0).content)
      text += as_text(repository.load_blob(BlobType::data, blob));
    return text;
  }

  os::TemporaryFolder folder_;
};

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

TEST_F(Repositories, locks_exclude_and_agree_with_restic) {
  const auto repository = create();
  {
    const auto shared = RepoLock::acquire(*repository, LockKind::shared);
    const auto another = RepoLock::acquire(*repository, LockKind::shared);
    EXPECT_EQ(list_locks(*repository).size(), 2U);
    const Error error = error_of([&] { RepoLock::acquire(*repository, LockKind::exclusive); });
    EXPECT_EQ(error.kind(), ErrorKind::busy);
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(::getpid())));
    EXPECT_NE(restic(path(), {"check"}).exit_code, 0);  // wants it alone
  }
  EXPECT_TRUE(list_locks(*repository).empty());
  EXPECT_EQ(restic(path(), {"check"}).exit_code, 0);
  const auto exclusive = RepoLock::acquire(*repository, LockKind::exclusive);
  EXPECT_EQ(error_of([&] { RepoLock::acquire(*repository, LockKind::shared); }).kind(), ErrorKind::busy);
  EXPECT_EQ(remove_locks(*repository, false), 0U);
  EXPECT_EQ(remove_locks(*repository, true), 1U);
}

TEST_F(Repositories, a_lock_of_the_same_moment_is_seen_when_it_settles) {
  const auto repository = create();
  // A store that shows a new lock a little later: not in our first two looks.
  struct Slow : store::Forward {
    using Forward::Forward;
    std::vector<store::FileInfo> list(store::FileType type) override {
      auto files = below_->list(type);
      if (type == store::FileType::lock && ++looks <= 2)
        std::erase_if(files, [&](const store::FileInfo& file) { return file.name == hidden; });
      return files;
    }
    std::string hidden;
    std::atomic<int> looks = 0;
  };
  auto backend = std::make_unique<Slow>(store::open_local(path().native()));
  Slow& slow = *backend;
  const auto other = Repository::open(std::move(backend), "respaldo");
  {
    const auto alone = RepoLock::acquire(*other, LockKind::shared, {}, {}, Settling::behind);
    EXPECT_EQ(slow.looks, 2);
    while (slow.looks < 3) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    alone->settle({});
    alone->settle({});
    EXPECT_EQ(slow.looks, 3) << "it was looked beside the work";
  }
  slow.hidden = repository->save_unpacked(
      store::FileType::lock,
      R"({"time":"2026-01-02T03:04:05Z","exclusive":true,"hostname":"h","username":"u","pid":1})",
      store::Durability::now);
  slow.looks = 0;
  const auto early = RepoLock::acquire(*other, LockKind::shared, {}, {}, Settling::behind);
  EXPECT_EQ(error_of([&] { early->settle({}); }).kind(), ErrorKind::busy);
  repository->backend().remove({store::FileType::lock, slow.hidden});
  early->settle({});
}

// A stop, or a failure, that comes before what is saved, or behind it.
struct Stopped : store::Forward {
  using Forward::Forward;
  void save(const store::Handle& handle, std::span<const ByteView> parts, store::Durability how) override {
    const bool now = handle.type == type && std::exchange(left, left > 0 ? left - 1 : 0) > 0;
    if (!now || behind) below_->save(handle, parts, how);
    if (now && fails) throw Error(ErrorKind::io, "the line is dead");
    if (now) throw Cancelled();
  }
  Bytes load_all(const store::Handle& handle, std::uint64_t limit) override {
    if (handle.type == unreadable) throw Error(ErrorKind::refused, "status 403");
    return below_->load_all(handle, limit);
  }
  void sync() override {
    ++syncs;
    below_->sync();
  }
  std::optional<store::FileType> type, unreadable;
  int left = 0, syncs = 0;
  bool behind = false, fails = false;
};

TEST_F(Repositories, what_was_saved_before_a_stop_was_saved) {
  create();
  auto backend = std::make_unique<Stopped>(store::open_local(path().native()));
  Stopped& store = *backend;
  const auto repository = Repository::open(std::move(backend), "respaldo");
  for (const bool behind : {false, true}) {
    store.type = store::FileType::snapshot;
    store.left = 1;
    store.behind = behind;
    std::string name;
    const auto save = [&] {
      return repository->save_unpacked(store::FileType::snapshot, "{}", store::Durability::now, &name);
    };
    if (behind)
      EXPECT_EQ(save(), name);
    else
      EXPECT_THROW(save(), Cancelled);
    EXPECT_EQ(store.stat({store::FileType::snapshot, name}).has_value(), behind);
    EXPECT_EQ(store.syncs > 0, behind) << "saved is durable";
    // Nor is a lock left that nobody knows.
    store.type = store::FileType::lock;
    for (const bool fails : {false, true}) {
      store.fails = fails;
      store.left = 1;
      try {
        RepoLock::acquire(*repository, LockKind::shared);
        EXPECT_TRUE(behind && !fails);
      } catch (const std::exception&) {
      }
      EXPECT_TRUE(store.list(store::FileType::lock).empty()) << behind << fails;
      const auto lock = RepoLock::acquire(*repository, LockKind::shared);
      store.left = 1;
      try {
        lock->refresh();
      } catch (const std::exception&) {
      }
      lock->release();
      EXPECT_TRUE(store.list(store::FileType::lock).empty()) << "refreshed, " << behind << fails;
    }
    store.fails = false;
  }
}

TEST_F(Repositories, a_lock_that_the_store_does_not_give_is_no_damaged_one) {
  create();
  auto backend = std::make_unique<Stopped>(store::open_local(path().native()));
  Stopped& store = *backend;
  const auto repository = Repository::open(std::move(backend), "respaldo");
  const auto other = RepoLock::acquire(*repository, LockKind::shared);
  store.unreadable = store::FileType::lock;
  const Error error = error_of([&] { RepoLock::acquire(*repository, LockKind::shared); });
  EXPECT_EQ(error.kind(), ErrorKind::refused);
  EXPECT_THAT(error.what(), HasSubstr("status 403"));
  store.unreadable.reset();
}

TEST_F(Repositories, an_init_that_failed_can_be_repeated) {
  for (const bool fails : {false, true}) {
    auto backend = std::make_unique<Stopped>(store::open_local(path().native()));
    backend->type = store::FileType::config;
    backend->left = 1;
    backend->fails = fails;
    EXPECT_ANY_THROW(Repository::create(std::move(backend), "respaldo", {2, kQuick}));
    EXPECT_TRUE(store::open_local(path().native())->list(store::FileType::key).empty());
  }
  const auto repository = create();
  // One that was killed is told apart from a repository.
  repository->backend().remove({store::FileType::config, ""});
  EXPECT_THAT(error_of([&] { create(); }).what(), HasSubstr("was cut off"));
  back_up(*repository, {});
  EXPECT_THAT(error_of([&] { create(); }).what(), HasSubstr("a repository already"));
}

TEST_F(Repositories, who_locked_before_us_is_seen_before_anything_is_read) {
  const auto repository = create();
  // Between the first look and our own lock somebody takes his: known without waiting for the rest of the moment.
  struct Rival : store::Forward {
    using Forward::Forward;
    void save(const store::Handle& handle, std::span<const ByteView> parts, store::Durability how) override {
      if (handle.type == store::FileType::lock && other) std::exchange(other, nullptr)();
      below_->save(handle, parts, how);
    }
    std::function<void()> other;
  };
  auto rival = std::make_unique<Rival>(store::open_location(path().native()));
  Rival& hook = *rival;
  const auto late = Repository::open(std::move(rival), "respaldo");
  std::unique_ptr<RepoLock> exclusive;
  hook.other = [&] { exclusive = RepoLock::acquire(*repository, LockKind::exclusive); };
  EXPECT_EQ(error_of([&] { RepoLock::acquire(*late, LockKind::shared, {}, {}, Settling::behind); }).kind(), ErrorKind::busy);
  EXPECT_EQ(list_locks(*repository).size(), 1U) << "ours is gone again";
  exclusive->require();
}

TEST_F(Repositories, a_store_that_takes_no_lock_is_told_apart_from_one_that_is_out_of_reach) {
  create();
  struct Full : store::Forward {
    using Forward::Forward;
    void save(const store::Handle&, std::span<const ByteView>, store::Durability) override { throw error; }
    Error error = Error(ErrorKind::no_space, "");
  };
  auto full = std::make_unique<Full>(store::open_location(path().native()));
  Full& store = *full;
  const auto repository = Repository::open(std::move(full), "respaldo");
  for (const int number : {ENOSPC, EDQUOT, EROFS, EACCES, EPERM, EIO}) {
    store.error = os::system_error(number, "open", "lock");
    EXPECT_THROW(RepoLock::acquire(*repository, LockKind::shared), LockNotSaved) << number;
    EXPECT_THROW(RepoLock::acquire(*repository, LockKind::exclusive), LockNotSaved) << number;
  }
  store.error = Error(ErrorKind::io, "no connection");
  EXPECT_THROW(
      try { RepoLock::acquire(*repository, LockKind::shared); } catch (const LockNotSaved&) {}, Error);
}

TEST_F(Repositories, who_lost_his_lock_learns_it_before_anything_counts) {
  const auto repository = create();
  const auto lock = RepoLock::acquire(*repository, LockKind::shared);
  lock->require();
  EXPECT_FALSE(lock->lost());
  EXPECT_EQ(remove_locks(*repository, true), 1U);
  const Error error = error_of([&] { lock->require(); });
  EXPECT_EQ(error.kind(), ErrorKind::busy);
  EXPECT_THAT(error.what(), HasSubstr("removed by somebody else"));
  EXPECT_TRUE(lock->lost());
}

TEST_F(Repositories, a_lock_that_could_not_be_taken_away_when_it_was_renewed_goes_later) {
  create();
  struct Weak : store::Forward {
    using Forward::Forward;
    void remove(const store::Handle& handle) override {
      if (failures > 0 && failures-- > 0) throw Error(ErrorKind::io, "no connection");
      below_->remove(handle);
    }
    int failures = 0;
  };
  auto weak = std::make_unique<Weak>(store::open_location(path().native()));
  Weak& store = *weak;
  const auto repository = Repository::open(std::move(weak), "respaldo");
  const auto lock = RepoLock::acquire(*repository, LockKind::exclusive, {}, {}, Settling::behind);
  store.failures = 1;
  EXPECT_EQ(error_of([&] { lock->refresh(); }).kind(), ErrorKind::io);
  EXPECT_EQ(list_locks(*repository).size(), 2U);
  lock->settle({});  // both are ours
  lock->refresh();
  EXPECT_EQ(list_locks(*repository).size(), 1U);
  store.failures = 1;
  EXPECT_EQ(error_of([&] { lock->refresh(); }).kind(), ErrorKind::io);
  lock->require();
  lock->release();
  EXPECT_TRUE(list_locks(*repository).empty());
}

TEST_F(Repositories, without_a_person_only_locks_of_the_dead_are_removed) {
  const auto repository = create();
  const auto lock_of = [&](const std::string& host, pid_t process, std::int64_t age) {
    Timestamp time = now();
    time.seconds -= age;
    return repository->save_unpacked(
        store::FileType::lock,
        fmt::format(R"({{"time":"{}","exclusive":false,"hostname":"{}","username":"u","pid":{}}})", format_time(time), host,
                    process),
        store::Durability::now);
  };
  const pid_t dead = [] {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    return child;
  }();
  std::vector<std::string> watched;
  const auto tell = [&](const LockInfo& lock) { watched.push_back(lock.name); };
  const auto mine = RepoLock::acquire(*repository, LockKind::shared);

  // Surely dead: removed at once, and nothing is waited for.
  lock_of(this_host(), dead, 800'000'000);
  EXPECT_EQ(remove_dead_locks(*repository, std::chrono::hours(1), tell, {}), 1U);
  EXPECT_TRUE(watched.empty());

  // A clock that is wrong, a machine of our name: who lives renews his lock, under another name.
  const std::string renewed = lock_of("elsewhere", 1, 800'000'000), left = lock_of("elsewhere", 2, 3600),
                    young = lock_of(this_host(), dead, 60);
  std::string fresh;
  const auto tell_and_renew = [&](const LockInfo& lock) {
    tell(lock);
    if (watched.size() < 3) return;
    fresh = lock_of("elsewhere", 1, 799'999'000);
    repository->backend().remove({store::FileType::lock, renewed});
  };
  EXPECT_EQ(remove_dead_locks(*repository, std::chrono::milliseconds(0), tell_and_renew, {}), 2U);
  EXPECT_THAT(watched, ::testing::UnorderedElementsAre(renewed, left, young));
  std::vector<std::string> there;
  for (const LockInfo& lock : list_locks(*repository)) there.push_back(lock.name);
  EXPECT_EQ(there.size(), 2U) << "ours, and the one that was renewed";
  EXPECT_THAT(there, ::testing::Contains(fresh));
  mine->require();
}

TEST(FindSnapshot, names_by_prefix_and_latest) {
  std::vector<NamedSnapshot> all(3);
  all[0].id.bytes = {0xab, 1};
  all[0].snapshot.time.seconds = 10;
  all[0].snapshot.paths = {"/vg0/root"};
  all[1].id.bytes = {0xab, 2};
  all[1].snapshot.time.seconds = 30;
  all[1].snapshot.paths = {"/vg0/home"};
  all[2].id.bytes = {0xcd};
  all[2].snapshot.time.seconds = 20;
  EXPECT_EQ(find_snapshot(all, "latest").id, all[1].id);
  EXPECT_EQ(find_snapshot(all, "latest:vg0/root").id, all[0].id);
  all[0].snapshot.paths = {"/dev/vg0/root"};
  EXPECT_EQ(find_snapshot(all, "latest:vg0/root").id, all[0].id);
  EXPECT_EQ(find_snapshot(all, "latest:dev/vg0/root").id, all[0].id);
  EXPECT_EQ(find_snapshot(all, "c").id, all[2].id);
  EXPECT_EQ(error_of([&] { find_snapshot(all, "ab"); }).kind(), ErrorKind::usage);
  EXPECT_EQ(error_of([&] { find_snapshot(all, "ef"); }).kind(), ErrorKind::not_found);
  EXPECT_EQ(error_of([&] { find_snapshot(all, "latest:vg0/var"); }).kind(), ErrorKind::not_found);
  EXPECT_EQ(error_of([&] { find_snapshot({}, "latest"); }).kind(), ErrorKind::not_found);
}

TEST(Index, finds_every_copy_and_groups_by_pack) {
  Index index;
  for (std::uint8_t p = 0; p < 3; ++p) {
    PackContents pack{PackId{{p}}, {}};
    for (std::uint8_t b = 0; b < 10; ++b)
      pack.blobs.push_back({BlobType::data, BlobId{{b}}, b * 100U, 100, 0});
    index.add(pack);
    index.add(pack);  // two index files may tell the same
  }
  index.freeze();
  EXPECT_EQ(index.blob_count(), 30U);
  EXPECT_EQ(index.find_all(BlobType::data, BlobId{{5}}).size(), 3U);
  EXPECT_FALSE(index.find(BlobType::tree, BlobId{{5}}));
  int packs = 0;
  index.for_each_pack([&](const PackContents& pack) {
    ++packs;
    ASSERT_EQ(pack.blobs.size(), 10U);
    EXPECT_EQ(pack.blobs[3].offset, 300U);
    EXPECT_EQ(Index::expected_pack_size(pack), 10 * 100 + 10 * 37 + 36U);
  });
  EXPECT_EQ(packs, 3);
  const auto back =
      parse_index(as_bytes(to_json({PackContents{PackId{{1}}, {{BlobType::tree, BlobId{{2}}, 3, 40, 5}}}})));
  EXPECT_EQ(back.at(0).blobs.at(0).uncompressed_length, 5U);
}

TEST(Index, large_ones_are_sorted_by_all_processors) {
  constexpr std::size_t kBlobs = 200000;
  const Bytes random = testing::random_bytes(kBlobs * sizeof(BlobId), 11);
  Index index;
  for (std::size_t copy = 0; copy < 2; ++copy) {
    PackContents pack{PackId{{static_cast<std::uint8_t>(copy)}}, {}};
    for (std::size_t i = 0; i < kBlobs; ++i) {
      PackedBlob blob{BlobType::data, {}, static_cast<std::uint32_t>(i), 100, 0};
      std::memcpy(blob.id.bytes.data(), random.data() + i * sizeof(BlobId), sizeof(BlobId));
      if (i % 3 == 0) blob.id.bytes[0] = 7;  // not as even as they should be
      if (i % 2 == 0 || copy == 0) pack.blobs.push_back(blob);
    }
    index.add(pack);
    index.add(pack);
  }
  index.freeze();
  EXPECT_EQ(index.blob_count(), kBlobs + kBlobs / 2);
  std::size_t visited = 0;
  index.for_each_pack([&](const PackContents& pack) {
    for (const PackedBlob& blob : pack.blobs) {
      ++visited;
      const auto places = index.find_all(BlobType::data, blob.id);
      ASSERT_EQ(places.size(), blob.offset % 2 == 0 ? 2U : 1U);
      for (const BlobLocation& place : places) ASSERT_EQ(place.offset, blob.offset);
      ASSERT_EQ(places.back().pack, blob.offset % 2 == 0 ? PackId{{1}} : PackId{{0}});
    }
  });
  EXPECT_EQ(visited, kBlobs + kBlobs / 2);
}

TEST(PackHeader, hostile_ones_are_refused) {
  Bytes entry = Bytes::zeroed(41);
  entry.data()[0] = 2;
  EXPECT_THROW(parse_pack_header(entry), Error);  // lengths of 0
  entry.data()[0] = 9;
  EXPECT_THROW(parse_pack_header(entry), Error);
  EXPECT_THROW(parse_pack_header(entry.view(0, 10)), Error);
}

}  // namespace
}  // namespace respaldo::repo
