// restic's locks: respected, held, refreshed.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "repo/repository.h"

namespace respaldo::repo {

struct LockInfo {
  std::string name;  // object name
  Timestamp time;
  bool exclusive = false;
  std::string hostname, username;
  std::int64_t pid = 0;
  bool unreadable = false;
  bool stale = false;  // older than 30 minutes, or of a dead process of this host
};

enum class LockKind { shared, exclusive };

// The store does not take our lock: it may not be written to, is full or broken. Who only reads may go on without.
class LockNotSaved : public Error {
 public:
  explicit LockNotSaved(const Error& error) : Error(error) {}
};

// Two who write their locks at the same moment see each other a little later. `wait`: acquire() waits for
// that. `behind`: it returns at once, and who holds the lock may read, but nothing that it writes may become
// visible before settle().
enum class Settling { wait, behind };

// Held until released or destroyed; a thread looks every half a minute whether it is there, and refreshes it every five
// minutes. When it cannot be refreshed for 20 minutes, or somebody has removed it, lost() becomes true and writers must stop.
class RepoLock {
 public:
  // Error(busy) naming owner, host, pid and age; waits up to `patience` for it to go away. LockNotSaved.
  static std::unique_ptr<RepoLock> acquire(Repository& repository, LockKind kind,
                                           std::chrono::seconds patience = std::chrono::seconds(0),
                                           std::stop_token stop = {}, Settling settling = Settling::wait);
  ~RepoLock();
  // Waits until nobody can have locked at the same moment; Error(busy) when somebody did. Any thread.
  void settle(const std::stop_token& stop);
  bool lost() const;
  // Error(busy) when it is lost by what is known; asks nobody. Any thread.
  void require_by_what_is_known() const;
  // Asks the store, unless it was asked so short a time ago: Error(busy) when it is lost. Before what it protects becomes
  // visible, or is removed. Any thread.
  void require(std::chrono::milliseconds age = std::chrono::milliseconds(0));
  // What the thread does. Any thread.
  void look();
  void refresh();
  void release();

 private:
  struct Impl;
  explicit RepoLock(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

std::vector<LockInfo> list_locks(Repository& repository);
// Removes stale locks, or all of them; returns how many.
std::size_t remove_locks(Repository& repository, bool all);
// For programs, where nobody looks: a lock may look stale because a clock is wrong, or two machines have one name.
// Removes those of processes of this host that are older than its last boot; what else looks stale is watched for
// so long first: whoever lives refreshes his lock, under another name. `tell` hears of each that is watched.
inline constexpr std::chrono::minutes kLockWatch{11};
struct DeadLocks {
  bool only_exclusive = false;
  bool only_sure = false;  // nothing is watched
};
std::size_t remove_dead_locks(Repository& repository, const DeadLocks& which, std::chrono::milliseconds watch,
                              const std::function<void(const LockInfo&)>& tell, const std::stop_token& stop);

}  // namespace respaldo::repo
