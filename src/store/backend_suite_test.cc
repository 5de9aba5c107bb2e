#include "store/backend_suite.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <thread>

#include "os/file.h"
#include "store/forward.h"
#include "testing/errors.h"
#include "testing/memory_folder.h"
#include "testing/temp.h"

namespace respaldo::store {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

constexpr FileType kNamed[] = {FileType::key, FileType::lock, FileType::snapshot, FileType::index,
                               FileType::pack};
constexpr FileType kOwn[] = {FileType::parity, FileType::parity_group};

// Names differ in their first two digits, too.
std::string name_of(unsigned number) { return fmt::format("{:02x}{:062x}", number & 0xff, number); }

void save(Backend& backend, const Handle& handle, std::string_view text, Durability how = Durability::now) {
  const ByteView whole = as_bytes(text);
  backend.save(handle, {&whole, 1}, how);
}
std::string whole_of(Backend& backend, const Handle& handle) {
  const Bytes bytes = backend.load_all(handle);
  return std::string(as_text(bytes));
}
std::vector<std::string> names_of(Backend& backend, FileType type) {
  std::vector<std::string> names;
  for (const FileInfo& file : backend.list(type)) names.push_back(file.name);
  return names;
}

using testing::error_of;

template <class Body>
ErrorKind kind_of(Body body) {
  return error_of(body).kind();
}

TEST_P(BackendSuite, a_fresh_place_is_empty) {
  for (const FileType type : kNamed) EXPECT_THAT(backend_->list(type), IsEmpty()) << to_string(type);
  for (const FileType type : kOwn) EXPECT_THAT(backend_->list(type), IsEmpty()) << to_string(type);
  EXPECT_FALSE(backend_->stat({FileType::config, ""}));
  EXPECT_FALSE(backend_->stat({FileType::parity_settings, ""}));
  EXPECT_FALSE(backend_->location().empty());
}

TEST_P(BackendSuite, a_place_with_a_repository_is_not_made_again) {
  save(*backend_, {FileType::config, ""}, "config");
  EXPECT_EQ(kind_of([&] { backend_->create(); }), ErrorKind::refused);
  EXPECT_EQ(whole_of(*backend_, {FileType::config, ""}), "config");
}

TEST_P(BackendSuite, parts_become_one_object) {
  const Bytes first = testing::random_bytes(70'000, 1), second = testing::random_bytes(5, 2);
  const ByteView parts[] = {first, second, ByteView{}, first};
  std::string expected;
  for (const ByteView part : parts) expected += as_text(part);
  for (const FileType type : kNamed) {
    const Handle handle{type, name_of(7)};
    backend_->save(handle, parts, Durability::now);
    EXPECT_EQ(whole_of(*backend_, handle), expected) << to_string(type);
    const auto info = backend_->stat(handle);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->name, handle.name);
    EXPECT_EQ(info->size, expected.size());
  }
}

TEST_P(BackendSuite, another_backend_on_the_place_sees_the_objects) {
  save(*backend_, {FileType::config, ""}, "config");
  save(*backend_, {FileType::snapshot, name_of(1)}, "one");
  save(*backend_, {FileType::pack, name_of(2)}, "two", Durability::at_sync);
  backend_->sync();
  const auto other = place_->open();
  EXPECT_EQ(whole_of(*other, {FileType::config, ""}), "config");
  EXPECT_EQ(whole_of(*other, {FileType::snapshot, name_of(1)}), "one");
  EXPECT_EQ(whole_of(*other, {FileType::pack, name_of(2)}), "two");
}

TEST_P(BackendSuite, every_durability_stores_the_object) {
  unsigned number = 0;
  for (const Durability how : {Durability::now, Durability::at_sync, Durability::proven}) {
    const Handle handle{FileType::pack, name_of(++number)};
    save(*backend_, handle, "contents", how);
    backend_->sync();
    EXPECT_EQ(whole_of(*backend_, handle), "contents");
  }
  EXPECT_EQ(backend_->list(FileType::pack).size(), 3U);
}

TEST_P(BackendSuite, an_object_of_the_same_name_and_contents_may_be_saved_again) {
  const Handle handle{FileType::pack, name_of(3)};
  save(*backend_, handle, "contents");
  EXPECT_NO_THROW(save(*backend_, handle, "contents"));
  EXPECT_EQ(whole_of(*backend_, handle), "contents");
  EXPECT_EQ(backend_->list(FileType::pack).size(), 1U);
}

TEST_P(BackendSuite, an_object_is_replaced) {
  if (!place_->replaces) return;  // it keeps what has the name
  for (const Handle& handle : {Handle{FileType::config, ""}, Handle{FileType::index, name_of(9)}}) {
    save(*backend_, handle, "what was first, and is longer");
    save(*backend_, handle, "second");
    EXPECT_EQ(whole_of(*backend_, handle), "second");
    EXPECT_EQ(backend_->stat(handle)->size, 6U);
  }
}

TEST_P(BackendSuite, ranges_come_back) {
  const Bytes object = testing::random_bytes(1'000'000, 3);
  const Handle handle{FileType::pack, name_of(4)};
  const ByteView whole = object;
  backend_->save(handle, {&whole, 1}, Durability::now);
  const std::pair<std::uint64_t, std::uint64_t> ranges[] = {
      {0, 1}, {0, 1'000'000}, {999'999, 1}, {12'345, 67'890}, {500'000, 500'000}, {1'000, 0}, {1'000'000, 0}};
  for (const auto& [offset, length] : ranges) {
    const Bytes got = backend_->load(handle, offset, length);
    EXPECT_EQ(as_text(got), as_text(object.view(offset, length))) << offset << " + " << length;
  }
}

TEST_P(BackendSuite, a_range_past_the_end_is_corrupt) {
  const Handle handle{FileType::pack, name_of(5)};
  save(*backend_, handle, "0123456789");
  constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();
  const std::pair<std::uint64_t, std::uint64_t> ranges[] = {
      {0, 11}, {9, 2}, {10, 1}, {11, 1}, {1'000'000, 5}, {0, 3ULL << 40}, {5, kHuge}, {kHuge, 5}};
  for (const auto& [offset, length] : ranges) {
    const Error error = error_of([&] { backend_->load(handle, offset, length); });
    EXPECT_EQ(error.kind(), ErrorKind::corrupt) << offset << " + " << length << ": " << error.what();
    EXPECT_TRUE(backend_->is_permanent(error)) << error.what();
  }
}

TEST_P(BackendSuite, an_object_above_the_limit_is_corrupt) {
  const Handle handle{FileType::snapshot, name_of(6)};
  save(*backend_, handle, "0123456789");
  EXPECT_EQ(kind_of([&] { backend_->load_all(handle, 9); }), ErrorKind::corrupt);
  const Bytes whole = backend_->load_all(handle, 10);
  EXPECT_EQ(as_text(whole), "0123456789");
}

TEST_P(BackendSuite, what_is_absent_is_not_found) {
  save(*backend_, {FileType::index, name_of(1)}, "another");
  for (const FileType type : kNamed) {
    const Handle handle{type, name_of(200)};
    const Error error = error_of([&] { backend_->load_all(handle); });
    EXPECT_EQ(error.kind(), ErrorKind::not_found) << error.what();
    EXPECT_TRUE(backend_->is_permanent(error)) << error.what();
    EXPECT_EQ(kind_of([&] { backend_->load(handle, 0, 1); }), ErrorKind::not_found);
    EXPECT_FALSE(backend_->stat(handle)) << to_string(type);
    EXPECT_NO_THROW(backend_->remove(handle)) << to_string(type);
  }
  EXPECT_EQ(kind_of([&] { backend_->load_all({FileType::config, ""}); }), ErrorKind::not_found);
}

TEST_P(BackendSuite, an_empty_object_is_an_object) {
  const Handle handle{FileType::lock, name_of(8)};
  backend_->save(handle, {}, Durability::now);
  EXPECT_EQ(backend_->stat(handle)->size, 0U);
  EXPECT_EQ(backend_->load_all(handle).size(), 0U);
  EXPECT_EQ(backend_->list(FileType::lock).size(), 1U);
}

TEST_P(BackendSuite, a_large_object_comes_back_whole) {
  const Bytes object = testing::random_bytes((20U << 20) + 12'345, 4);
  const Handle handle{FileType::pack, name_of(10)};
  const ByteView parts[] = {object.view(0, 7), object.view(7, (16U << 20) + 1),
                            object.view((16U << 20) + 8, object.size() - (16U << 20) - 8)};
  for (const Durability how : {Durability::now, Durability::proven}) {
    backend_->save(handle, parts, how);
    const Bytes got = backend_->load_all(handle);
    ASSERT_EQ(got.size(), object.size());
    EXPECT_TRUE(std::ranges::equal(got.view(), object.view()));
  }
  const Bytes part = backend_->load(handle, 3U << 20, 9U << 20);
  EXPECT_TRUE(std::ranges::equal(part.view(), object.view(3U << 20, 9U << 20)));
}

TEST_P(BackendSuite, the_medium_is_read_whole_and_in_order) {
  const Bytes object = testing::random_bytes((9U << 20) + 1, 5);
  const Handle handle{FileType::pack, name_of(11)};
  const ByteView whole = object;
  backend_->save(handle, {&whole, 1}, Durability::now);
  std::string got;
  backend_->read_from_medium(handle, [&](ByteView piece) { got += as_text(piece); });
  EXPECT_TRUE(got == as_text(object));
  const Handle absent{FileType::pack, name_of(12)};
  EXPECT_EQ(kind_of([&] { backend_->read_from_medium(absent, [](ByteView) {}); }), ErrorKind::not_found);
}

TEST_P(BackendSuite, types_are_listed_apart_with_sizes) {
  unsigned number = 0;
  for (const FileType type : kNamed)
    for (unsigned i = 0; i <= static_cast<unsigned>(type); ++i)
      save(*backend_, {type, name_of(++number)}, std::string(i, 'x'));
  for (const FileType type : kNamed) {
    auto found = backend_->list(type);
    ASSERT_EQ(found.size(), static_cast<std::size_t>(type) + 1) << to_string(type);
    std::ranges::sort(found, {}, &FileInfo::size);
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].size, i);
      EXPECT_TRUE(backend_->stat({type, found[i].name}));
    }
  }
}

TEST_P(BackendSuite, many_objects_are_all_listed) {
  std::vector<std::string> expected;
  for (unsigned number = 0; number < 150; ++number) {
    expected.push_back(name_of(number * 7919));
    save(*backend_, {FileType::pack, expected.back()}, "x", Durability::at_sync);
    save(*backend_, {FileType::snapshot, expected.back()}, "x", Durability::at_sync);
  }
  backend_->sync();
  EXPECT_THAT(names_of(*backend_, FileType::pack), UnorderedElementsAreArray(expected));
  EXPECT_THAT(names_of(*backend_, FileType::snapshot), UnorderedElementsAreArray(expected));
}

TEST_P(BackendSuite, foreign_names_are_not_listed) {
  const std::string mine = name_of(13);
  save(*backend_, {FileType::index, mine}, "mine");
  save(*backend_, {FileType::pack, mine}, "mine");
  const std::string capital = "AB" + mine.substr(2);
  for (const std::string& name :
       {std::string("README"), mine + "0", mine.substr(1), capital, mine + ".tmp"}) {
    if (!place_->plant("index/" + name, "foreign")) return;  // no way to
    place_->plant("data/" + mine.substr(0, 2) + "/" + name, "foreign");
  }
  EXPECT_THAT(names_of(*backend_, FileType::index), UnorderedElementsAreArray({mine}));
  EXPECT_THAT(names_of(*backend_, FileType::pack), UnorderedElementsAreArray({mine}));
}

TEST_P(BackendSuite, names_that_could_leave_the_place_are_refused) {
  if (!place_->checks_names) return;  // names mean nothing to it
  for (const std::string& name : {std::string("../../config"), std::string(), std::string(64, '.'),
                                  std::string(64, '/'), std::string(63, 'a'), std::string(64, 'A')}) {
    const Handle handle{FileType::index, name};
    EXPECT_THROW(save(*backend_, handle, "x"), Error) << name;
    EXPECT_THROW(backend_->load_all(handle), Error) << name;
    EXPECT_THROW(backend_->remove(handle), Error) << name;
  }
}

TEST_P(BackendSuite, removed_objects_are_gone) {
  std::vector<Handle> some;
  for (unsigned number = 0; number < 40; ++number) {
    const Handle handle{number % 2 == 0 ? FileType::pack : FileType::snapshot, name_of(number)};
    save(*backend_, handle, "x");
    if (number < 30) some.push_back(handle);
  }
  backend_->remove({FileType::pack, name_of(38)});
  EXPECT_FALSE(backend_->stat({FileType::pack, name_of(38)}));
  some.push_back({FileType::pack, name_of(99)});  // never there
  backend_->remove_many(some);
  for (const Handle& handle : some) EXPECT_FALSE(backend_->stat(handle)) << handle.str();
  EXPECT_EQ(backend_->list(FileType::pack).size(), 4U);
  EXPECT_EQ(backend_->list(FileType::snapshot).size(), 5U);
  backend_->remove_many({});
}

TEST_P(BackendSuite, parity_is_kept_or_clearly_refused) {
  const Handle settings{FileType::parity_settings, ""};
  if (!place_->keeps_parity) {
    for (const FileType type : kOwn) {
      EXPECT_EQ(kind_of([&] { save(*backend_, {type, name_of(1)}, "x"); }), ErrorKind::unsupported);
      EXPECT_FALSE(backend_->stat({type, name_of(1)}));
    }
    EXPECT_EQ(kind_of([&] { save(*backend_, settings, "x"); }), ErrorKind::unsupported);
    return;
  }
  for (const FileType type : kOwn) {
    save(*backend_, {type, name_of(1)}, "parity");
    EXPECT_EQ(whole_of(*backend_, {type, name_of(1)}), "parity");
    EXPECT_THAT(names_of(*backend_, type), UnorderedElementsAreArray({name_of(1)}));
    backend_->remove({type, name_of(1)});
    EXPECT_THAT(backend_->list(type), IsEmpty());
  }
  save(*backend_, settings, "first");
  save(*backend_, settings, "second");
  EXPECT_EQ(whole_of(*backend_, settings), "second");
  EXPECT_EQ(backend_->list(FileType::parity_settings).size(), 1U);
  backend_->remove(settings);
  EXPECT_FALSE(backend_->stat(settings));
}

TEST_P(BackendSuite, threads_may_use_one_backend) {
  constexpr unsigned kThreads = 8, kEach = 12;
  std::vector<std::thread> threads;
  std::atomic<unsigned> wrong = 0;
  for (unsigned thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] {
      try {
        for (unsigned i = 0; i < kEach; ++i) {
          const unsigned number = thread * kEach + i;
          const Bytes object = testing::random_bytes(100'000 + number, number);
          const Handle handle{FileType::pack, name_of(number)};
          const ByteView whole = object;
          backend_->save(handle, {&whole, 1}, i % 3 == 0 ? Durability::now : Durability::at_sync);
          const Bytes got = backend_->load(handle, 50'000, 50'000);
          if (as_text(got) != as_text(object.view(50'000, 50'000))) ++wrong;
          if (i % 4 == 0 && backend_->list(FileType::pack).empty()) ++wrong;
          const auto info = backend_->stat(handle);
          if (!info || info->size != object.size()) ++wrong;
        }
        backend_->sync();
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(backend_->list(FileType::pack).size(), kThreads * kEach);
  for (unsigned number = 0; number < kThreads * kEach; ++number) {
    const Bytes got = backend_->load_all({FileType::pack, name_of(number)});
    EXPECT_EQ(as_text(got), as_text(testing::random_bytes(100'000 + number, number)));
  }
}

TEST_P(BackendSuite, some_errors_are_permanent_for_every_store) {
  for (const ErrorKind kind :
       {ErrorKind::not_found, ErrorKind::corrupt, ErrorKind::refused, ErrorKind::no_space,
        ErrorKind::unsupported, ErrorKind::usage, ErrorKind::internal})
    EXPECT_TRUE(backend_->is_permanent(Error(kind, "x"))) << to_string(kind);
}

class LocalPlace final : public SuitePlace {
 public:
  std::unique_ptr<Backend> open() override { return open_local((folder_.path() / "repository").native()); }
  bool plant(const std::string& path, const std::string& contents) override {
    const os::Path file = folder_.path() / "repository" / path;
    std::filesystem::create_directories(file.parent_path());
    return bool(std::ofstream(file, std::ios::binary) << contents);
  }

 private:
  testing::MemoryFolder folder_;
};

// What memory holds dies with its backend: every open() hands on to the same one.
class MemoryPlace final : public SuitePlace {
 public:
  MemoryPlace() { checks_names = false; }
  std::unique_ptr<Backend> open() override { return std::make_unique<Forward>(memory_); }

 private:
  std::shared_ptr<Backend> memory_ = open_memory();
};

INSTANTIATE_TEST_SUITE_P(local, BackendSuite,
                         ::testing::Values([] { return std::make_unique<LocalPlace>(); }));
INSTANTIATE_TEST_SUITE_P(memory, BackendSuite,
                         ::testing::Values([] { return std::make_unique<MemoryPlace>(); }));

TEST(Local, what_killed_runs_left_goes_when_nobody_writes_it_any_more) {
  testing::MemoryFolder folder;
  const os::Path root = folder.path() / "repository";
  const auto backend = open_local(root.native());
  backend->create();
  save(*backend, {FileType::pack, name_of(1)}, "a pack");
  const auto left = [&](const std::string& name, std::chrono::hours age) {
    const os::Path path = root / "data" / name_of(1).substr(0, 2) / name;
    std::ofstream(path) << "half a pack";
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - age);
    return path;
  };
  using std::chrono::hours;
  const os::Path old = left(name_of(1) + "-tmp-0123abcd", hours(3)), young = left(name_of(1) + "-tmp-0123abce", hours(0)),
                 foreign = left("notes-tmp-1", hours(3)), whole = left(name_of(257), hours(3));
  EXPECT_EQ(backend->list(FileType::pack).size(), 2U);
  backend->list(FileType::pack);  // once the newest is known
  EXPECT_TRUE(std::filesystem::exists(old)) << "who only reads removes nothing";
  save(*backend, {FileType::lock, name_of(3)}, "a lock");
  EXPECT_FALSE(std::filesystem::exists(old));
  for (const os::Path& path : {young, foreign, whole}) EXPECT_TRUE(std::filesystem::exists(path)) << path;
}

// Descriptors of this process on something below `folder`.
std::map<std::string, std::string> open_below(const os::Path& folder) {
  std::map<std::string, std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    const std::string target = std::filesystem::read_symlink(entry.path(), ignored).native();
    if (target.starts_with(folder.native())) found.emplace(entry.path().filename().native(), target);
  }
  return found;
}

// A descriptor that is opened later is not told of an error that another run's syncfs was told.
TEST(Local, what_asks_for_lost_writes_is_as_old_as_the_first_of_them) {
  testing::MemoryFolder folder;
  const os::Path root = folder.path() / "repository";
  const auto backend = open_local(root.native());
  backend->create();
  save(*backend, {FileType::snapshot, name_of(1)}, "durable by itself");
  EXPECT_THAT(open_below(root), IsEmpty());
  save(*backend, {FileType::pack, name_of(1)}, "one", Durability::at_sync);
  const auto asked = open_below(root);
  EXPECT_EQ(asked.size(), 1U);
  save(*backend, {FileType::pack, name_of(2)}, "two", Durability::at_sync);
  backend->sync();
  save(*backend, {FileType::pack, name_of(3)}, "three", Durability::at_sync);
  EXPECT_EQ(open_below(root), asked);
}

TEST(Local, every_filesystem_of_a_repository_is_asked) {
  testing::MemoryFolder folder;
  const os::TemporaryFolder elsewhere;
  const os::Path root = folder.path() / "repository";
  struct stat here {}, there {};
  ASSERT_EQ(::stat(folder.path().c_str(), &here), 0);
  ASSERT_EQ(::stat(elsewhere.path().c_str(), &there), 0);
  if (here.st_dev == there.st_dev) GTEST_SKIP() << "there is only one filesystem";
  const auto backend = open_local(root.native());
  backend->create();
  std::filesystem::remove_all(root / "data");
  std::filesystem::create_directory_symlink(elsewhere.path(), root / "data");
  save(*backend, {FileType::index, name_of(1)}, "index", Durability::at_sync);
  save(*backend, {FileType::pack, name_of(1)}, "pack", Durability::at_sync);
  EXPECT_EQ(open_below(root).size(), 1U);
  EXPECT_EQ(open_below(elsewhere.path()).size(), 1U);
  backend->sync();
}

}  // namespace
}  // namespace respaldo::store
