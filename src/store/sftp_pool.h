// The connections to one SFTP server: opened when needed, shared when there are no more, replaced when lost.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

#include "store/sftp_session.h"

namespace respaldo::store::sftp {

// Thread-safe.
class SessionPool {
 public:
  // `connect` makes the connection number n (from 0). Only number 0 may ask a person; when a further one
  // fails, the work is done by those that are there.
  // When `stop` comes, everything under way ends: Cancelled. What is to be tidied up after that has the
  // connections that were idle, or a new one: on the others megabytes may stand in a queue.
  SessionPool(std::size_t most, std::function<std::unique_ptr<Session>(std::size_t n)> connect,
              std::stop_token stop = {})
      : most_(most), connect_(std::move(connect)), stop_(std::move(stop)), on_stop_(stop_, [this] {
          std::lock_guard lock(mutex_);
          cut_off();
        }) {}

  // Held while one thing is done over it: the least busy one.
  class Lease {
   public:
    Lease(SessionPool& pool, std::shared_ptr<Session> session) : pool_(pool), session_(std::move(session)) {}
    ~Lease() { pool_.give_back(session_.get()); }
    Lease(const Lease&) = delete;
    Session& operator*() const { return *session_; }
    Session* operator->() const { return session_.get(); }

   private:
    SessionPool& pool_;
    const std::shared_ptr<Session> session_;
  };
  enum class Work {
    small,  // a question: many share a connection
    bulk,   // megabytes: worth a connection of its own
  };
  Lease lease(Work work = Work::small);

 private:
  struct Entry {
    std::shared_ptr<Session> session;
    std::size_t users = 0;
  };
  std::shared_ptr<Session> take(Work work);
  void give_back(const Session* session);
  void cut_off();  // with the lock

  std::size_t most_;
  const std::function<std::unique_ptr<Session>(std::size_t)> connect_;
  const std::stop_token stop_;
  std::mutex mutex_;
  std::condition_variable opened_;
  std::vector<Entry> entries_;
  std::size_t opening_ = 0;
  bool stopped_ = false;
  const std::stop_callback<std::function<void()>> on_stop_;  // ends before what it uses
};

}  // namespace respaldo::store::sftp
