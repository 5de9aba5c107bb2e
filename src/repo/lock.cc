#include "repo/lock.h"

#include <fmt/format.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/printable.h"
#include "base/units.h"
#include "os/thread_group.h"
#include "repo/go_text.h"
#include "repo/host.h"
#include "repo/json_reader.h"

namespace respaldo::repo {

namespace {

using store::FileType;

constexpr auto kLook = std::chrono::seconds(30), kRefresh = std::chrono::seconds(5 * 60);
constexpr std::int64_t kStaleAfter = 30 * 60, kLostAfter = 20 * 60;  // seconds
constexpr auto kSettle = std::chrono::milliseconds(200);

// Counts on while the machine sleeps.
std::chrono::milliseconds exact_uptime() {
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::milliseconds(t.tv_nsec / 1'000'000);
}
std::int64_t uptime() { return std::chrono::floor<std::chrono::seconds>(exact_uptime()).count(); }

std::string lock_json(bool exclusive) {
  std::string json = "{\"time\":";
  append_json_string(json, format_time(now()));
  json += exclusive ? ",\"exclusive\":true,\"hostname\":" : ",\"exclusive\":false,\"hostname\":";
  append_json_string(json, this_host());
  json += ",\"username\":";
  append_json_string(json, this_user());
  json += fmt::format(",\"pid\":{}", ::getpid());
  if (::getuid() != 0) json += fmt::format(",\"uid\":{}", ::getuid());
  if (::getgid() != 0) json += fmt::format(",\"gid\":{}", ::getgid());
  return json + "}";
}

bool is_dead(std::int64_t pid) {
  return pid > 0 && pid <= INT32_MAX && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
}

// Absent when it went away, or is one of the empty files that a full disk can leave.
std::optional<LockInfo> read_lock(Repository& repository, const store::FileInfo& file) {
  if (file.size == 0) return std::nullopt;
  LockInfo info;
  info.name = file.name;
  try {
    const Bytes json = repository.load_unpacked(FileType::lock, file.name);
    const JsonDocument document(json, "lock");
    info.time = time_member(document.root(), "time").value_or(Timestamp());
    info.exclusive = bool_member(document.root(), "exclusive").value_or(false);
    info.hostname = text_member(document.root(), "hostname").value_or("");
    info.username = text_member(document.root(), "username").value_or("");
    info.pid = static_cast<std::int64_t>(unsigned_member(document.root(), "pid", INT64_MAX).value_or(0));
    info.stale = now().seconds - info.time.seconds > kStaleAfter ||
                 (info.hostname == this_host() && is_dead(info.pid));
  } catch (Error& error) {
    if (error.kind() == ErrorKind::not_found) return std::nullopt;
    // What the store does not give may be a good lock of somebody who works.
    if (error.kind() != ErrorKind::corrupt) {
      error.add_context("looking at lock " + file.name.substr(0, 8));
      throw;
    }
    info.unreadable = true;
  }
  return info;
}

Error busy(const LockInfo& lock) {
  if (lock.unreadable)
    return Error(ErrorKind::busy,
                 fmt::format("the repository holds lock {} that cannot be read", lock.name.substr(0, 8)),
                 "when no other program uses the repository, remove it with `respaldo unlock --remove-all`");
  const double age = static_cast<double>(now().seconds - lock.time.seconds);
  return Error(ErrorKind::busy,
               fmt::format("the repository is locked {}by {} on {} (process {}) for {}",
                           lock.exclusive ? "exclusively " : "", printable(lock.username),
                           printable(lock.hostname), lock.pid, format_duration(age)),
               lock.stale ? "the lock is stale: its owner is gone; remove it with `respaldo unlock`"
                          : "wait for it (--retry-lock), or see what it does");
}

// The lock of somebody else that does not go together with ours.
std::optional<LockInfo> conflict(Repository& repository, bool exclusive, const std::vector<std::string>& own) {
  for (const store::FileInfo& file : repository.backend().list(FileType::lock)) {
    if (std::ranges::find(own, file.name) != own.end()) continue;
    const auto lock = read_lock(repository, file);
    if (lock && (lock->unreadable || lock->exclusive || exclusive)) return lock;
  }
  return std::nullopt;
}

void pause(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_for(lock, stop, time, [] { return false; });
  os::throw_if_stopped(stop);
}

}  // namespace

struct RepoLock::Impl {
  Repository& repository;
  bool exclusive;
  std::mutex mutex;
  std::string name;                // empty once released
  std::vector<std::string> spent;  // ours as well, and still to be removed
  std::chrono::milliseconds seen = exact_uptime();  // when the store was asked last of all times that it had it
  std::atomic<std::int64_t> refreshed{uptime()};
  std::atomic<bool> gone{false};  // somebody removed it
  const std::chrono::steady_clock::time_point settles_at = std::chrono::steady_clock::now() + kSettle;
  std::mutex settling;  // held while it is looked
  bool settled = false;
  std::jthread refresher{};

  Impl(Repository& r, bool e, std::string n) : repository(r), exclusive(e), name(std::move(n)) {}

  void keep(const std::stop_token& stop) {
    try {
      rival(stop);  // so that nobody has to wait in settle(), who tells what is found
    } catch (const std::exception&) {
      // Nor is it settled.
    }
    std::mutex waiting;
    std::condition_variable_any never;
    for (;;) {
      std::unique_lock lock(waiting);
      never.wait_for(lock, stop, kLook, [] { return false; });
      if (stop.stop_requested()) return;
      try {
        if (uptime() - refreshed < kRefresh.count())
          look();
        else
          refresh();
      } catch (const std::exception&) {
        // Tried again soon; lost() tells when that has been too long.
      }
    }
  }
  void look() {
    std::lock_guard lock(mutex);
    if (!name.empty()) is_there();
  }
  void refresh() {
    std::lock_guard lock(mutex);
    if (name.empty()) return;
    // `unlock` may have taken it away while the machine slept: then others may be at work already.
    if (!is_there()) return;
    std::string fresh;
    try {
      repository.save_unpacked(FileType::lock, lock_json(exclusive), store::Durability::now, &fresh);
    } catch (...) {
      if (!fresh.empty()) spent.push_back(fresh);  // it may be there all the same
      throw;
    }
    if (fresh != name) spent.push_back(std::exchange(name, fresh));
    refreshed = uptime();
    remove_spent();
  }
  // With the mutex.
  bool is_there() {
    const auto asked = exact_uptime();
    if (!gone && !repository.backend().stat({FileType::lock, name})) gone = true;
    if (!gone) seen = asked;
    return !gone;
  }
  // With the mutex. What fails is tried again at the next refresh and in the end: even a stale lock stops a prune, until
  // somebody says `unlock`.
  void remove_spent() {
    for (; !spent.empty(); spent.pop_back()) {
      try {
        repository.backend().remove({FileType::lock, spent.back()});
      } catch (const Error& error) {
        // Where our credentials may not remove anything, a lock goes stale by itself.
        if (error.kind() != ErrorKind::refused) throw;
      }
    }
  }
  // Whoever wrote his lock at the same moment sees ours by then, and we his.
  std::optional<LockInfo> rival(const std::stop_token& stop) {
    std::lock_guard looking(settling);
    if (settled) return std::nullopt;
    const auto left = settles_at - std::chrono::steady_clock::now();
    if (left > left.zero()) pause(std::chrono::ceil<std::chrono::milliseconds>(left), stop);
    const std::vector<std::string> own = [this] {
      std::lock_guard lock(mutex);
      std::vector<std::string> names = spent;
      names.push_back(name);
      return names;
    }();
    auto other = conflict(repository, exclusive, own);
    settled = !other;
    return other;
  }
  void release() {
    refresher.request_stop();
    if (refresher.joinable()) refresher.join();
    std::lock_guard lock(mutex);
    if (!name.empty()) spent.push_back(std::exchange(name, {}));
    remove_spent();
  }
};

RepoLock::RepoLock(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  impl_->refresher = std::jthread([this_impl = impl_.get()](std::stop_token stop) { this_impl->keep(stop); });
}

RepoLock::~RepoLock() {
  try {
    release();
  } catch (const std::exception&) {
    // It goes stale by itself.
  }
}

namespace {

std::string save_lock(Repository& repository, bool exclusive) {
  std::string name;
  const auto remove = [&] {  // it may be there all the same
    try {
      if (!name.empty()) repository.backend().remove({FileType::lock, name});
    } catch (const std::exception&) {
      // It goes stale by itself.
    }
  };
  try {
    return repository.save_unpacked(FileType::lock, lock_json(exclusive), store::Durability::now, &name);
  } catch (const Cancelled&) {
    remove();
    throw;
  } catch (const Error& error) {
    remove();
    // With a number it was the store that failed (SFTP has one word for all), not the way to it.
    const bool failed_there = error.kind() == ErrorKind::io && error.error_number() != 0;
    if (error.kind() == ErrorKind::refused || error.kind() == ErrorKind::no_space || failed_there) {
      LockNotSaved told(error);
      if (error.kind() == ErrorKind::no_space && error.hint().empty())
        told.set_hint("what makes room needs some itself, a few MiB: remove other files there, or free reserved blocks "
                      "(`tune2fs -m 0`); then `respaldo forget` and `respaldo prune --max-repack-size 0`");
      throw told;
    }
    throw;
  }
}

// Where nothing can be removed, an exclusive lock would shut everybody out: whoever may not remove a lock of the
// other kind does not get one.
void require_removal(Repository& repository) {
  const std::string place = repository.backend().location();
  if (!place.starts_with("rest:") && !place.starts_with("s3:")) return;
  const std::string name = save_lock(repository, false);
  try {
    repository.backend().remove({FileType::lock, name});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::refused) throw;
    throw Error(ErrorKind::refused,
                fmt::format("nothing can be removed from {} with these credentials, locks neither: an exclusive lock "
                            "would shut everybody out ({})",
                            place, error.what()),
                "give credentials that may remove objects; backups need none");
  }
}

}  // namespace

std::unique_ptr<RepoLock> RepoLock::acquire(Repository& repository, LockKind kind,
                                            std::chrono::seconds patience, std::stop_token stop,
                                            Settling settling) {
  const bool exclusive = kind == LockKind::exclusive;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  if (exclusive) require_removal(repository);
  for (;;) {
    auto other = conflict(repository, exclusive, {});
    if (!other) {
      const std::string name = save_lock(repository, exclusive);
      auto impl = std::make_unique<Impl>(repository, exclusive, name);
      auto lock = std::unique_ptr<RepoLock>(new RepoLock(std::move(impl)));
      // Who locked before us is seen now, or had ended before anything is read that he changed. Who locks after us sees
      // our lock. rival() is for stores that show it a little later.
      other = conflict(repository, exclusive, {name});
      if (!other && settling == Settling::wait) other = lock->impl_->rival(stop);
      if (!other) return lock;
    }
    if (std::chrono::steady_clock::now() >= deadline) throw busy(*other);
    pause(std::chrono::seconds(2), stop);
  }
}

void RepoLock::settle(const std::stop_token& stop) {
  if (const auto other = impl_->rival(stop)) throw busy(*other);
}

bool RepoLock::lost() const { return impl_->gone || uptime() - impl_->refreshed > kLostAfter; }

void RepoLock::require(std::chrono::milliseconds age) {
  {
    std::lock_guard lock(impl_->mutex);
    if (exact_uptime() - impl_->seen >= age) impl_->is_there();
  }
  require_by_what_is_known();
}
void RepoLock::require_by_what_is_known() const {
  if (impl_->gone)
    throw Error(ErrorKind::busy,
                "our lock on the repository was removed by somebody else: what we stored may have been pruned since",
                "run again; when nobody ran `unlock`, see whether the clocks of all machines that use the repository are "
                "right, and whether two of them have the same name");
  if (lost())
    throw Error(ErrorKind::busy, "the lock on the repository could not be refreshed for 20 minutes",
                "another program may use the repository now; run again");
}
void RepoLock::look() { impl_->look(); }
void RepoLock::refresh() { impl_->refresh(); }
void RepoLock::release() { impl_->release(); }

std::vector<LockInfo> list_locks(Repository& repository) {
  std::vector<LockInfo> locks;
  for (const store::FileInfo& file : repository.backend().list(FileType::lock))
    if (auto lock = read_lock(repository, file)) locks.push_back(std::move(*lock));
  return locks;
}

std::size_t remove_locks(Repository& repository, bool all) {
  std::size_t removed = 0;
  for (const store::FileInfo& file : repository.backend().list(FileType::lock)) {
    if (!all) {
      const auto lock = read_lock(repository, file);
      if (!lock || lock->unreadable || !lock->stale) continue;
    }
    repository.backend().remove({FileType::lock, file.name});
    ++removed;
  }
  return removed;
}

std::size_t remove_dead_locks(Repository& repository, const DeadLocks& which, std::chrono::milliseconds watch,
                              const std::function<void(const LockInfo&)>& tell, const std::stop_token& stop) {
  std::vector<std::string> dead, watched;
  for (const LockInfo& lock : list_locks(repository)) {
    if (lock.unreadable || !lock.stale || (which.only_exclusive && !lock.exclusive)) continue;
    // Before this boot: of two machines of one name, or two containers of one machine, none is alive since then.
    const bool ours = lock.hostname == this_host() && is_dead(lock.pid);
    const std::int64_t age = now().seconds - lock.time.seconds;
    if (ours && age > kStaleAfter && age > uptime()) {
      dead.push_back(lock.name);
    } else if (!which.only_sure) {
      tell(lock);
      watched.push_back(lock.name);
    }
  }
  if (!watched.empty()) {
    pause(watch, stop);
    std::set<std::string> there;
    for (const store::FileInfo& file : repository.backend().list(FileType::lock)) there.insert(file.name);
    for (std::string& name : watched)
      if (there.contains(name)) dead.push_back(std::move(name));
  }
  for (const std::string& name : dead) repository.backend().remove({FileType::lock, name});
  return dead.size();
}

}  // namespace respaldo::repo
