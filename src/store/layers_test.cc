#include "store/layers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <filesystem>
#include <latch>
#include <mutex>
#include <system_error>
#include <thread>

#include "store/backend_suite.h"
#include "store/forward.h"
#include "store/kept_key.h"
#include "store/prefetch.h"
#include "testing/far_store.h"
#include "testing/memory_folder.h"

namespace respaldo::store {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

std::string name_of(unsigned number) { return fmt::format("{:064x}", number); }
void save(Backend& backend, unsigned number, std::string_view text, Durability how = Durability::at_sync,
          FileType type = FileType::pack) {
  const ByteView whole = as_bytes(text);
  backend.save({type, name_of(number)}, {&whole, 1}, how);
}
RetryOptions quick() { return {.first = 1ms, .longest = 4ms, .total = 2s, .first_contact = 2s}; }

// All layers over a folder.
class LayeredPlace final : public SuitePlace {
 public:
  std::unique_ptr<Backend> open() override {
    auto store = open_local((folder_.path() / "repository").native());
    store = with_retries(std::move(store), quick());
    store = with_limits(std::move(store), 1ULL << 32, 1ULL << 32, {});
    return with_prefetched_entrance(with_parallel_uploads(std::move(store), 3));
  }

 private:
  testing::MemoryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(layers, BackendSuite,
                         ::testing::Values([] { return std::make_unique<LayeredPlace>(); }));

class Layers : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> far() { return std::make_unique<testing::FarStore>(open_memory(), control_); }
  std::shared_ptr<testing::FarStoreControl> control_ = std::make_shared<testing::FarStoreControl>();
};

TEST_F(Layers, what_fails_for_a_while_succeeds_in_the_end) {
  std::vector<std::string> told;
  RetryOptions options = quick();
  options.tell = [&](std::string_view text) { told.emplace_back(text); };
  const auto store = with_retries(far(), options);
  control_->fail_next = 3;
  save(*store, 1, "contents", Durability::now);
  EXPECT_EQ(control_->requests, 4);
  control_->fail_next = 2;
  EXPECT_EQ(as_text(store->load_all({FileType::pack, name_of(1)})), "contents");
  control_->fail_next = 1;
  EXPECT_TRUE(store->stat({FileType::pack, name_of(1)}));
  control_->fail_next = 1;
  EXPECT_EQ(store->list(FileType::pack).size(), 1U);
  control_->fail_next = 1;
  store->remove({FileType::pack, name_of(1)});
  ASSERT_EQ(told.size(), 1U);  // not for each attempt
  EXPECT_THAT(told[0], HasSubstr("connection reset; trying again in"));
}

TEST_F(Layers, what_is_permanent_is_not_tried_again) {
  const auto store = with_retries(far(), quick());
  EXPECT_THROW(store->load_all({FileType::pack, name_of(1)}), Error);
  EXPECT_EQ(control_->requests, 1);
}

// A server whose lists name things twice, as when a page begins with the last line of the page before.
class Stammering final : public Forward {
 public:
  using Forward::Forward;
  std::vector<FileInfo> list(FileType type) override {
    std::vector<FileInfo> found = below_->list(type);
    if (!found.empty()) found.insert(found.begin(), found.back());
    return found;
  }
  std::optional<std::vector<std::vector<FileInfo>>> list_together(std::span<const FileType> types) override {
    std::vector<std::vector<FileInfo>> all;
    for (const FileType type : types) all.push_back(list(type));
    return all;
  }
};

TEST_F(Layers, what_a_store_lists_twice_is_there_once) {
  const auto store = with_retries(std::make_unique<Stammering>(open_memory()), quick());
  for (const unsigned number : {3U, 1U, 2U}) save(*store, number, "text");
  const auto names = ::testing::ElementsAre(name_of(1), name_of(2), name_of(3));
  const auto names_of = [](const std::vector<FileInfo>& listed) {
    std::vector<std::string> found;
    for (const FileInfo& file : listed) found.push_back(file.name);
    return found;
  };
  EXPECT_THAT(names_of(store->list(FileType::pack)), names);
  const FileType types[] = {FileType::index, FileType::pack};
  const auto together = store->list_together(types);
  ASSERT_TRUE(together && together->size() == 2);
  EXPECT_THAT(names_of(together->at(1)), names);
}

TEST_F(Layers, patience_has_an_end) {
  RetryOptions options = quick();
  options.total = 50ms;
  const auto store = with_retries(far(), options);
  control_->fail_next = 1'000'000;
  try {
    store->stat({FileType::config, ""});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
  }
  EXPECT_GT(control_->requests, 3);
}

TEST_F(Layers, a_store_that_was_never_reached_is_given_up_sooner) {
  RetryOptions options{.first = 1ms, .longest = 2ms, .total = 1h, .first_contact = 30ms, .silence = 0ms};
  const auto store = with_retries(far(), options);
  control_->fail_next = 1'000'000;
  EXPECT_THROW(store->stat({FileType::config, ""}), Error);
  control_->fail_next = 0;
  store->stat({FileType::config, ""});  // it is back
  control_->fail_next = 100;  // some 150 ms
  EXPECT_NO_THROW(store->stat({FileType::config, ""}));
}

TEST_F(Layers, an_answer_without_a_request_reaches_nothing) {
  struct ResticsTypes final : Forward {
    using Forward::Forward;
    bool keeps(FileType type) const override { return type != FileType::parity_settings; }
    std::optional<FileInfo> stat(const Handle& handle) override {
      return keeps(handle.type) ? below_->stat(handle) : std::nullopt;
    }
    Bytes load_all(const Handle& handle, std::uint64_t limit) override {
      if (!keeps(handle.type)) throw Error(ErrorKind::not_found, "no such files here");
      return below_->load_all(handle, limit);
    }
  };
  RetryOptions options{.first = 1ms, .longest = 2ms, .total = 1h, .first_contact = 30ms};
  const auto store = with_retries(std::make_unique<ResticsTypes>(far()), options);
  control_->fail_next = 1'000'000;
  EXPECT_FALSE(store->stat({FileType::parity_settings, ""}));
  EXPECT_THROW(store->load_all({FileType::parity_settings, ""}), Error);
  EXPECT_EQ(control_->requests, 0);
  EXPECT_THROW(store->stat({FileType::config, ""}), Error);  // not after an hour
}

TEST_F(Layers, a_stop_request_ends_the_wait_and_allows_one_attempt_after) {
  std::stop_source stop;
  RetryOptions options{
      .first = 1h, .longest = 1h, .total = 10h, .first_contact = 10h, .stop = stop.get_token()};
  options.tell = [&](std::string_view) { stop.request_stop(); };
  const auto store = with_retries(far(), options);
  control_->fail_next = 2;
  EXPECT_THROW(store->stat({FileType::config, ""}), Cancelled);
  // Tidying up: no wait.
  EXPECT_THROW(store->stat({FileType::config, ""}), Cancelled);
  EXPECT_NO_THROW(store->stat({FileType::config, ""}));
}

TEST_F(Layers, a_store_that_was_given_up_costs_no_second_wait) {
  RetryOptions options{.first = 1ms, .longest = 4ms, .total = 60ms, .first_contact = 60ms};
  std::atomic<int> looks = 0;
  control_->before = [&](const char* what, const Handle& handle) {
    looks += std::string_view(what) == "stat" && handle.type == FileType::config;
  };
  control_->fail_next = 1'000'000;
  const auto store = with_prefetched_entrance(with_retries(far(), options));
  const auto said = [&] {
    try {
      store->stat({FileType::config, ""});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing was thrown");
  };
  EXPECT_THAT(said(), HasSubstr("connection reset"));
  EXPECT_EQ(looks, 0);  // looking ahead has waited for it already
  EXPECT_THAT(said(), HasSubstr("connection reset"));
  EXPECT_THROW(save(*store, 1, "x"), Error);
  EXPECT_EQ(looks, 0);
}

TEST_F(Layers, a_store_that_answers_is_not_given_up_for_one_object) {
  RetryOptions options{.first = 1ms, .longest = 4ms, .total = 40ms, .first_contact = 40ms};
  control_->before = [](const char*, const Handle& handle) {
    if (handle.name == name_of(1))
      throw Error(ErrorKind::io, "the server failed (status 500)").set_error_number(EREMOTEIO);
  };
  const auto store = with_retries(far(), options);
  EXPECT_THROW(save(*store, 1, "x"), Error);
  EXPECT_NO_THROW(save(*store, 2, "x"));
  // A lost connection each time, while another request is answered.
  control_->before = [&](const char*, const Handle& handle) {
    if (handle.name != name_of(3)) return;
    store->stat({FileType::pack, name_of(2)});
    throw Error(ErrorKind::io, "connection reset");
  };
  EXPECT_THROW(save(*store, 3, "x"), Error);
  EXPECT_NO_THROW(save(*store, 4, "x"));
}

TEST_F(Layers, the_medium_is_not_read_twice_to_the_same_listener) {
  const auto store = with_retries(far(), quick());
  save(*store, 1, "0123456789", Durability::now);
  control_->fail_next = 2;
  std::string got;
  store->read_from_medium({FileType::pack, name_of(1)}, [&](ByteView piece) { got += as_text(piece); });
  EXPECT_EQ(got, "0123456789");
}

TEST_F(Layers, limits_hold_on_average) {
  const auto store = with_limits(far(), 1'000'000, 2'000'000, {});
  const std::string object(100'000, 'x');
  const auto start = Clock::now();
  for (unsigned i = 0; i < 4; ++i) save(*store, i, object, Durability::now);
  EXPECT_GE(Clock::now() - start, 290ms);
  const auto middle = Clock::now();
  for (unsigned i = 0; i < 4; ++i) store->load_all({FileType::pack, name_of(i)});
  EXPECT_GE(Clock::now() - middle, 140ms);
}

TEST_F(Layers, a_stop_request_ends_the_wait_for_the_line) {
  std::stop_source stop;
  const auto store = with_limits(far(), 1, 1, stop.get_token());
  save(*store, 1, "a line that takes a minute, were it not for the stop");  // the next one waits for it
  save(*store, 2, "a lock waits for nobody", Durability::now, FileType::lock);
  EXPECT_EQ(as_text(store->load_all({FileType::lock, name_of(2)})), "a lock waits for nobody");
  std::jthread stopper([&] {
    std::this_thread::sleep_for(20ms);
    stop.request_stop();
  });
  EXPECT_THROW(save(*store, 3, "not begun"), Cancelled);
  EXPECT_FALSE(store->stat({FileType::pack, name_of(3)}));
  EXPECT_NO_THROW(save(*store, 4, "after that nobody waits"));
}

TEST_F(Layers, who_fails_does_not_wait_for_the_line) {
  const auto failed = std::make_shared<std::stop_source>();
  const auto begin = Clock::now();
  EXPECT_THROW(
      {
        // A byte a second: what comes behind the first object waits for hours.
        const auto store = with_parallel_uploads(with_limits(far(), 1, 0, {}, failed->get_token()), 3, {},
                                                 [failed] { failed->request_stop(); });
        save(*store, 1, std::string(10'000, 'x'), Durability::now);
        for (unsigned i = 2; i < 5; ++i) save(*store, i, "waits");
        throw Error(ErrorKind::internal, "what the run fails with");
      },
      Error);
  // One of several fails: the others' waits end, and its error is told.
  std::atomic<int> saved = 0;
  control_->before = [&](const char* what, const Handle&) {
    if (std::string_view(what) == "save" && ++saved == 2) throw Error(ErrorKind::no_space, "full");
  };
  const auto again = std::make_shared<std::stop_source>();
  const auto store = with_parallel_uploads(with_limits(far(), 100'000, 0, {}, again->get_token()), 3, {},
                                           [again] { again->request_stop(); });
  save(*store, 1, std::string(10'000, 'x'), Durability::now);
  try {
    for (unsigned i = 2; i < 9; ++i) save(*store, i, "fails, or waits");
    store->sync();
    ADD_FAILURE() << "nothing failed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::no_space);
  }
  EXPECT_LT(Clock::now() - begin, 1h);
}

TEST_F(Layers, patience_begins_when_something_fails) {
  // One attempt takes longer than all the waits may.
  control_->delay = 50ms;
  control_->fail_next = 1;
  const auto store = with_retries(far(), {.first = 1ms, .longest = 1ms, .total = 20ms, .first_contact = 20ms});
  EXPECT_NO_THROW(save(*store, 1, "text", Durability::now));
}

TEST_F(Layers, the_entrance_is_asked_for_at_once_and_once) {
  std::latch together(3);
  control_->before = [&](const char*, const Handle& handle) {
    if (handle.type == FileType::parity) return;  // behind the settings, when they are not there
    if (handle.type != FileType::key || handle.name.empty())
      together.arrive_and_wait();  // one after the other: never
  };
  auto plain = open_memory();
  const ByteView text = as_bytes("text");
  plain->save({FileType::config, ""}, {&text, 1}, Durability::now);
  plain->save({FileType::key, name_of(1)}, {&text, 1}, Durability::now);
  const auto store =
      with_prefetched_entrance(std::make_unique<testing::FarStore>(std::move(plain), control_));
  EXPECT_TRUE(store->stat({FileType::config, ""}));
  EXPECT_FALSE(store->stat({FileType::parity_settings, ""}));
  EXPECT_FALSE(store->stat({FileType::parity, std::string(64, 'f')}));
  EXPECT_EQ(store->list(FileType::key).size(), 1U);
  EXPECT_EQ(as_text(store->load_all({FileType::key, name_of(1)})), "text");
  EXPECT_EQ(as_text(store->load_all({FileType::config, ""})), "text");
  EXPECT_EQ(control_->requests, 5);
  // Later nothing old is given.
  control_->before = nullptr;
  save(*store, 2, "another", Durability::now, FileType::key);
  store->remove({FileType::key, name_of(1)});
  EXPECT_EQ(store->list(FileType::key).size(), 1U);
  EXPECT_THROW(store->load_all({FileType::key, name_of(1)}), Error);
}

TEST_F(Layers, listings_are_asked_for_early_and_given_once) {
  const ByteView text = as_bytes("text");
  std::mutex mutex;
  std::vector<FileType> listed;
  control_->before = [&](const char* what, const Handle& handle) {
    const std::lock_guard lock(mutex);
    if (std::string_view(what) == "list") listed.push_back(handle.type);
  };
  const auto opened = [&](const Entrance& entrance) {
    auto copy = open_memory();
    for (const FileType type : {FileType::snapshot, FileType::index, FileType::key})
      copy->save({type, name_of(1)}, {&text, 1}, Durability::now);
    listed.clear();
    return with_prefetched_entrance(std::make_unique<testing::FarStore>(std::move(copy), control_), entrance);
  };
  const auto times = [&](FileType type) {
    const std::lock_guard lock(mutex);
    return std::ranges::count(listed, type);
  };
  {
    const auto store = opened({.snapshots = true, .indexes = true});
    EXPECT_EQ(store->list(FileType::index).size(), 1U);
    EXPECT_EQ(store->list(FileType::snapshot).size(), 1U);
    EXPECT_EQ(times(FileType::index), 1);
    EXPECT_EQ(times(FileType::snapshot), 1);
    {
      const std::lock_guard lock(mutex);
      EXPECT_LT(std::ranges::find(listed, FileType::snapshot), std::ranges::find(listed, FileType::index));
    }
    store->list(FileType::index);
    EXPECT_EQ(times(FileType::index), 2);
  }
  {
    // Who has a lock sees what is there now.
    const auto store = opened({.snapshots = true, .indexes = true});
    save(*store, 2, "lock", Durability::now, FileType::lock);
    save(*store, 2, "an index", Durability::now, FileType::index);
    EXPECT_EQ(store->list(FileType::index).size(), 2U);
  }
  {
    // The keys come with the listing, unless one is at hand that is in it.
    for (const auto& [at_hand, loads] : {std::pair(1U, 0), {7U, 1}}) {
      std::atomic<int> loaded = 0;
      control_->before = [&](const char* what, const Handle& handle) {
        if (std::string_view(what) == "load" && handle.type == FileType::key) ++loaded;
      };
      const auto store = opened({.key = name_of(at_hand)});
      EXPECT_EQ(store->list(FileType::key).size(), 1U);
      EXPECT_EQ(loaded, loads);
      EXPECT_EQ(as_text(store->load_all({FileType::key, name_of(1)})), "text");
      EXPECT_EQ(loaded, 1);
      EXPECT_THROW(store->load_all({FileType::key, name_of(7)}), Error);
    }
  }
}

TEST_F(Layers, who_will_write_finds_the_listings_begun_behind_his_lock) {
  const ByteView text = as_bytes("text");
  std::mutex mutex;
  std::vector<FileType> listed;
  control_->before = [&](const char* what, const Handle& handle) {
    const std::lock_guard lock(mutex);
    if (std::string_view(what) == "list") listed.push_back(handle.type);
  };
  const auto times = [&](FileType type) {
    const std::lock_guard lock(mutex);
    return std::ranges::count(listed, type);
  };
  auto plain = open_memory();
  for (const FileType type : {FileType::snapshot, FileType::index, FileType::pack})
    plain->save({type, name_of(1)}, {&text, 1}, Durability::now);
  Backend& other_host = *plain;
  const auto store =
      with_prefetched_entrance(std::make_unique<testing::FarStore>(std::move(plain), control_), {.will_write = true});
  EXPECT_TRUE(store->list(FileType::lock).empty());
  EXPECT_EQ(times(FileType::lock), 1);
  EXPECT_TRUE(store->list(FileType::lock).empty());
  EXPECT_EQ(times(FileType::lock), 2) << "given once";
  EXPECT_EQ(times(FileType::snapshot) + times(FileType::index) + times(FileType::pack), 0) << "nothing without the lock";

  // What others did before we had our lock is seen.
  other_host.save({FileType::index, name_of(2)}, {&text, 1}, Durability::now);
  other_host.save({FileType::lock, name_of(9)}, {&text, 1}, Durability::now);
  save(*store, 1, "lock", Durability::now, FileType::lock);
  EXPECT_EQ(store->list(FileType::pack).size(), 1U);
  EXPECT_EQ(store->list(FileType::index).size(), 2U);
  EXPECT_EQ(store->list(FileType::snapshot).size(), 1U);
  for (const FileType type : {FileType::snapshot, FileType::index, FileType::pack}) EXPECT_EQ(times(type), 1);
  {
    const std::lock_guard lock(mutex);
    // The look at the locks behind our own, the third of all here, comes before what they protect.
    EXPECT_EQ(std::count(listed.begin(), std::ranges::find(listed, FileType::index), FileType::lock), 3);
    EXPECT_EQ(std::count(listed.begin(), std::ranges::find(listed, FileType::snapshot), FileType::lock), 3);
    EXPECT_EQ(std::count(listed.begin(), std::ranges::find(listed, FileType::pack), FileType::lock), 3);
  }
  EXPECT_EQ(store->list(FileType::lock).size(), 2U) << "that of another host, taken after our first look";
  EXPECT_EQ(store->list(FileType::lock).size(), 2U) << "whoever came at the same moment is looked for anew";
  EXPECT_EQ(times(FileType::lock), 4);
  store->list(FileType::index);
  EXPECT_EQ(times(FileType::index), 2);
  // Only the first lock begins them.
  save(*store, 2, "lock", Durability::now, FileType::lock);
  EXPECT_EQ(store->list(FileType::lock).size(), 3U);
  EXPECT_EQ(times(FileType::snapshot), 1);
}

// Has the listings that it is asked for in one.
class Together final : public Forward {
 public:
  Together(std::unique_ptr<Backend> below, std::vector<std::vector<FileType>>& asked, bool fails)
      : Forward(std::move(below)), asked_(asked), fails_(fails) {}
  std::optional<std::vector<std::vector<FileInfo>>> list_together(std::span<const FileType> types) override {
    asked_.emplace_back(types.begin(), types.end());
    if (fails_) throw Error(ErrorKind::io, "not now");
    std::vector<std::vector<FileInfo>> all;
    for (const FileType type : types) all.push_back(below_->list(type));
    return all;
  }
  std::vector<FileInfo> list(FileType type) override {
    EXPECT_TRUE(fails_ || type == FileType::key || (type == FileType::lock && asked_.empty())) << to_string(type);
    return below_->list(type);
  }

 private:
  std::vector<std::vector<FileType>>& asked_;
  const bool fails_;
};

TEST_F(Layers, listings_that_the_store_has_together_are_asked_for_once) {
  const ByteView text = as_bytes("text");
  for (const bool fails : {false, true})
    for (const bool writes : {false, true}) {
      SCOPED_TRACE(::testing::Message() << fails << writes);
      auto plain = open_memory();
      for (const FileType type : {FileType::snapshot, FileType::index, FileType::pack})
        plain->save({type, name_of(1)}, {&text, 1}, Durability::now);
      std::vector<std::vector<FileType>> asked;
      {
        // Through the layers of every store that is far away.
        auto layers = with_parallel_uploads(
            with_limits(with_retries(std::make_unique<Together>(std::move(plain), asked, fails),
                                     {.first = std::chrono::milliseconds(1), .total = std::chrono::milliseconds(1)}),
                        1U << 20, 1U << 20, {}),
            2, {});
        const auto store = with_prefetched_entrance(
            std::move(layers), {.snapshots = !writes, .indexes = !writes, .will_write = writes});
        if (writes) {
          EXPECT_TRUE(store->list(FileType::lock).empty());
          save(*store, 1, "lock", Durability::now, FileType::lock);
          EXPECT_EQ(store->list(FileType::lock).size(), 1U);
          EXPECT_EQ(store->list(FileType::pack).size(), 1U);
        }
        EXPECT_EQ(store->list(FileType::snapshot).size(), 1U);
        EXPECT_EQ(store->list(FileType::index).size(), 1U);
      }
      ASSERT_FALSE(asked.empty());
      EXPECT_EQ(asked.front().front(), writes ? FileType::lock : FileType::snapshot);
      EXPECT_EQ(asked.front().size(), writes ? 4U : 2U);
      EXPECT_TRUE(fails || asked.size() == 1U);
    }
}

TEST_F(Layers, what_he_saved_himself_is_in_every_later_listing) {
  const auto store =
      with_prefetched_entrance(std::make_unique<testing::FarStore>(open_memory(), control_), {.will_write = true});
  save(*store, 1, "lock", Durability::now, FileType::lock);
  save(*store, 2, "pack", Durability::now, FileType::pack);
  EXPECT_EQ(store->list(FileType::pack).size(), 1U);
}

TEST_F(Layers, a_key_is_remembered_for_its_location_alone) {
  testing::MemoryFolder folder;
  const KeptKey kept(folder.path(), "s3:http://host/bucket");
  EXPECT_EQ(kept.read(), "");
  kept.write(as_bytes("key"));
  EXPECT_EQ(kept.read(), "key");
  for (const std::string& none : {std::string(), std::string(100'000, 'x')}) kept.write(as_bytes(none));
  EXPECT_EQ(kept.read(), "key");
  EXPECT_EQ(KeptKey(folder.path(), "s3:http://host/other").read(), "");
  KeptKey("/proc/nowhere", "x").write(as_bytes("key"));
  // A cache that it makes is as private as the cache's own.
  KeptKey(folder.path() / "new cache", "x").write(as_bytes("key"));
  namespace fs = std::filesystem;
  for (const fs::path& made : {folder.path() / "new cache", folder.path() / "new cache/keys"})
    EXPECT_EQ(fs::status(made).permissions(), fs::perms::owner_all) << made;
}

// Holds uploads until they are let go.
class Uploads : public Layers {
 protected:
  void hold() {
    control_->before = [this](const char* what, const Handle& handle) {
      if (std::string_view(what) != "save" || handle.type != FileType::pack) return;
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return free_; });
      if (fail_) throw Error(ErrorKind::no_space, "the store is full");
    };
  }
  void let_go(bool fail = false) {
    {
      std::lock_guard lock(mutex_);
      free_ = true;
      fail_ = fail;
    }
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool free_ = false, fail_ = false;
};

TEST_F(Uploads, saving_returns_before_the_object_is_there) {
  hold();
  const auto store = with_parallel_uploads(far(), 3);
  for (unsigned i = 0; i < 4; ++i) save(*store, i, "contents");  // connections + 1
  std::atomic<bool> fifth = false;
  std::thread writer([&] {
    save(*store, 4, "contents");
    fifth = true;
  });
  // All three are on their way, and the fifth must wait, however long.
  while (control_->at_once < 3) std::this_thread::yield();
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(fifth);
  EXPECT_EQ(control_->at_once, 3);
  let_go();
  writer.join();
  store->sync();
  EXPECT_EQ(store->list(FileType::pack).size(), 5U);
  EXPECT_EQ(control_->most_at_once, 3);
}

TEST_F(Uploads, who_looks_for_an_object_on_its_way_waits_for_it) {
  hold();
  const auto store = with_parallel_uploads(far(), 2);
  save(*store, 1, "contents");
  std::thread releaser([&] {
    std::this_thread::sleep_for(20ms);
    let_go();
  });
  EXPECT_EQ(as_text(store->load_all({FileType::pack, name_of(1)})), "contents");
  releaser.join();
  save(*store, 2, "contents");
  EXPECT_TRUE(store->stat({FileType::pack, name_of(2)}));
  save(*store, 3, "contents");
  EXPECT_EQ(store->list(FileType::pack).size(), 3U);
  save(*store, 4, "contents");
  store->remove({FileType::pack, name_of(4)});
  EXPECT_FALSE(store->stat({FileType::pack, name_of(4)}));
}

TEST_F(Uploads, a_failure_ends_all_further_work_and_names_the_cause) {
  hold();
  const auto store = with_parallel_uploads(far(), 2);
  save(*store, 1, "contents");
  let_go(true);
  const auto message = [](auto body) {
    try {
      body();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::no_space);
      return std::string(error.what());
    }
    return std::string("nothing was thrown");
  };
  EXPECT_THAT(message([&] { store->sync(); }), HasSubstr("the store is full"));
  EXPECT_THAT(message([&] { save(*store, 2, "x"); }), HasSubstr("the store is full"));
  // No index may name what is not there.
  EXPECT_THAT(message([&] { save(*store, 3, "x", Durability::now, FileType::index); }), HasSubstr("full"));
  EXPECT_THAT(message([&] { store->sync(); }), HasSubstr("the store is full"));
  EXPECT_NO_THROW(save(*store, 4, "x", Durability::now, FileType::lock));
  EXPECT_TRUE(store->list(FileType::index).empty());
}

TEST_F(Uploads, what_waits_is_saved_when_the_store_is_closed) {
  control_->delay = 5ms;
  {
    const auto store = with_parallel_uploads(far(), 1);
    save(*store, 1, "contents");
    save(*store, 2, "contents");
  }
  EXPECT_EQ(control_->requests, 2);
}

TEST_F(Uploads, what_waits_is_given_up_when_something_fails) {
  hold();
  std::thread releaser;
  try {
    const auto store = with_parallel_uploads(far(), 1);
    save(*store, 1, "contents");
    save(*store, 2, "contents");
    while (control_->at_once < 1) std::this_thread::yield();
    releaser = std::thread([&] {
      std::this_thread::sleep_for(20ms);
      let_go();
    });
    throw Error(ErrorKind::io, "something else");
  } catch (const Error&) {
  }
  releaser.join();
  EXPECT_EQ(control_->requests, 1);
}

TEST_F(Layers, a_sync_waits_for_what_came_before_it_alone) {
  control_->delay = 2ms;
  const auto store = with_parallel_uploads(far(), 2);
  std::atomic<bool> over = false;
  std::thread other([&] {  // the store is never without work
    const auto until = Clock::now() + 20s;
    for (unsigned i = 100; !over && Clock::now() < until; ++i) save(*store, i, "contents");
    over = true;
  });
  for (unsigned i = 0; i < 10; ++i) save(*store, i, "contents");
  store->sync();
  EXPECT_FALSE(over.exchange(true));
  other.join();
  for (unsigned i = 0; i < 10; ++i) EXPECT_TRUE(store->stat({FileType::pack, name_of(i)})) << i;
}

// As when the machine has no room for another thread.
TEST_F(Layers, without_threads_objects_are_saved_all_the_same) {
  pthread_attr_t usual, huge;
  ASSERT_EQ(::pthread_getattr_default_np(&usual), 0);
  ASSERT_EQ(::pthread_getattr_default_np(&huge), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&huge, std::size_t{1} << 46), 0);
  ASSERT_EQ(::pthread_setattr_default_np(&huge), 0);
  struct Back {
    ~Back() { ::pthread_setattr_default_np(attributes); }
    pthread_attr_t* attributes;
  } back{&usual};
  EXPECT_THROW(std::thread([] {}).join(), std::system_error);
  {
    const auto store = with_prefetched_entrance(with_parallel_uploads(far(), 2));
    for (unsigned i = 0; i < 5; ++i) save(*store, i, "contents");
    store->sync();
    EXPECT_EQ(store->list(FileType::pack).size(), 5U);
    EXPECT_FALSE(store->stat({FileType::config, ""}));
  }
  const auto again = with_parallel_uploads(far(), 2);
  control_->before = [](const char*, const Handle&) { throw Error(ErrorKind::no_space, "full"); };
  EXPECT_THROW(
      {
        save(*again, 6, "contents");
        again->sync();
      },
      Error);
}

TEST_F(Layers, a_writer_does_not_wait_for_a_slow_store) {
  control_->delay = 100ms;
  const auto store = with_parallel_uploads(far(), 5);
  // 20 objects over 5 lines: at least 4 delays; one after the other they would be 20.
  const auto start = Clock::now();
  for (unsigned i = 0; i < 20; ++i) save(*store, i, "contents");
  store->sync();
  EXPECT_EQ(control_->most_at_once, 5);
  EXPECT_LT(Clock::now() - start, 2s);
  EXPECT_EQ(control_->requests, 20);
}

}  // namespace
}  // namespace respaldo::store
