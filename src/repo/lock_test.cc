#include "repo/lock.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "repo/host.h"
#include "repo/repositories_test.h"
#include "store/forward.h"
#include "testing/errors.h"

namespace respaldo::repo {
namespace {

using ::testing::HasSubstr;
using testing::error_of;

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
  store.error = os::system_error(ENOSPC, "open", "lock");
  EXPECT_THAT(error_of([&] { RepoLock::acquire(*repository, LockKind::exclusive); }).hint(), HasSubstr("--max-repack-size 0"));
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
  EXPECT_NO_THROW(lock->require_by_what_is_known()) << "nobody was asked";
  EXPECT_NO_THROW(lock->require(std::chrono::hours(1))) << "nor here";
  lock->look();
  EXPECT_EQ(error_of([&] { lock->require_by_what_is_known(); }).kind(), ErrorKind::busy);
  const Error error = error_of([&] { lock->require(); });
  EXPECT_EQ(error.kind(), ErrorKind::busy);
  EXPECT_THAT(error.what(), HasSubstr("removed by somebody else"));
  EXPECT_TRUE(lock->lost());
}

TEST_F(Repositories, what_the_store_said_of_a_lock_counts_for_so_long) {
  const auto repository = create();
  const auto lock = RepoLock::acquire(*repository, LockKind::shared);
  EXPECT_EQ(remove_locks(*repository, true), 1U);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_NO_THROW(lock->require(std::chrono::hours(1)));
  EXPECT_EQ(error_of([&] { lock->require(std::chrono::milliseconds(10)); }).kind(), ErrorKind::busy);
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
  EXPECT_EQ(remove_dead_locks(*repository, {}, std::chrono::hours(1), tell, {}), 1U);
  EXPECT_TRUE(watched.empty());

  // A clock that is wrong, a machine of our name: who lives renews his lock, under another name.
  const std::string renewed = lock_of("elsewhere", 1, 800'000'000), left = lock_of("elsewhere", 2, 3600),
                    young = lock_of(this_host(), dead, 60);
  EXPECT_EQ(remove_dead_locks(*repository, {.only_exclusive = true}, std::chrono::milliseconds(0), tell, {}), 0U) << "they are shared";
  EXPECT_EQ(remove_dead_locks(*repository, {.only_sure = true}, std::chrono::hours(1), tell, {}), 0U) << "nobody waits";
  EXPECT_TRUE(watched.empty());
  std::string fresh;
  const auto tell_and_renew = [&](const LockInfo& lock) {
    tell(lock);
    if (watched.size() < 3) return;
    fresh = lock_of("elsewhere", 1, 799'999'000);
    repository->backend().remove({store::FileType::lock, renewed});
  };
  EXPECT_EQ(remove_dead_locks(*repository, {}, std::chrono::milliseconds(0), tell_and_renew, {}), 2U);
  EXPECT_THAT(watched, ::testing::UnorderedElementsAre(renewed, left, young));
  std::vector<std::string> there;
  for (const LockInfo& lock : list_locks(*repository)) there.push_back(lock.name);
  EXPECT_EQ(there.size(), 2U) << "ours, and the one that was renewed";
  EXPECT_THAT(there, ::testing::Contains(fresh));
  mine->require();
}

}  // namespace
}  // namespace respaldo::repo
