// What stands between a repository and a store far away, from the store upwards: retries, limits, uploads in
// parallel. docs/architecture.md section "stores far away".
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string_view>

#include "store/backend.h"

namespace respaldo::store {

struct RetryOptions {
  std::chrono::milliseconds first{500};       // before the second attempt; doubled before each further one
  std::chrono::milliseconds longest{60'000};  // of one wait
  // No attempt begins later than this after the first one failed; while the store was never reached at all, than
  // first_contact.
  std::chrono::milliseconds total{900'000}, first_contact{60'000};
  std::stop_token stop{};  // ends a wait: Cancelled
  std::function<void(std::string_view)>
      tell{};  // what is waited for, in a sentence; not more often than `tell_every`
  std::chrono::milliseconds tell_every{5'000};
  // Once a request was given up and none had an answer meanwhile, all fail at once with the same cause for
  // this long; then each such while one attempt tells whether the store is back.
  std::chrono::milliseconds silence{60'000};
};

// Tries again what failed and is not permanent, after waits that grow and are cut short at random (so that
// many hosts do not come back at once). Who was stopped before has one attempt, and is told that he was
// stopped. An Error(io) with an error_number() was an answer: it tells that the store is there.
std::unique_ptr<Backend> with_retries(std::unique_ptr<Backend> below, const RetryOptions& options);

// Bytes per second over all that is done through one of them: whoever is about to move bytes waits until those that were
// moved before were allowed. Thread-safe.
class RateLimit {
 public:
  explicit RateLimit(std::uint64_t bytes_per_second);
  ~RateLimit();
  // Before bytes are moved. Cancelled when `stop` comes.
  void wait(const std::stop_token& stop);
  // They were. Nobody waits for that.
  void charge(std::uint64_t bytes);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

// `upload` and `download` in bytes per second; 0: no limit. They hold on average: an object moves as fast as
// it can, and the next one waits. Locks do not: a lock that is not refreshed looks dead. What is saved is told as saved,
// whatever comes then. `failed`: nobody needs the uploads any more, and those that wait end (Cancelled).
std::unique_ptr<Backend> with_limits(std::unique_ptr<Backend> below, std::uint64_t upload,
                                     std::uint64_t download, std::stop_token stop, std::stop_token failed = {});

// save(..., Durability::at_sync) copies the object and returns; `threads` threads save it. At most threads +
// 1 objects are held: save waits when there are more. sync() waits for those handed in before. Whoever looks
// for an object that is on its way waits for it. The first failure is thrown by every later save and sync
// (locks are still saved: they are no part of the work). Destroyed: what was given is saved, but in the
// course of an exception what has not begun is given up. `on_failure` is called at the first failure, and when it is
// destroyed in the course of an exception. After `stop` nothing more is handed in, and what has
// not begun does not begin: Cancelled. With no room for threads, save does the work itself.
std::unique_ptr<Backend> with_parallel_uploads(std::unique_ptr<Backend> below, int threads,
                                               std::stop_token stop = {},
                                               std::function<void()> on_failure = {});

}  // namespace respaldo::store
