// The connections to one SFTP server: opened when needed, shared when there are no more, replaced when lost.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "store/sftp_session.h"

namespace respaldo::store::sftp {

// Thread-safe.
class SessionPool {
 public:
  // `connect` makes the connection number n (from 0), and gives it up when its token says so. Only number 0 may
  // ask a person; when a further one fails, the work is done by those that are there.
  // When `stop` comes, everything under way ends: Cancelled. What is to be tidied up after that has the
  // connections that were idle, or a new one: on the others megabytes may stand in a queue.
  // `eager`: behind the first all the others are opened at once, beside the work.
  using Connect = std::function<std::unique_ptr<Session>(std::size_t n, std::stop_token stop)>;
  SessionPool(std::size_t most, Connect connect, std::stop_token stop = {}, bool eager = false)
      : most_(most), connect_(std::move(connect)), stop_(std::move(stop)), eager_(eager), on_stop_(stop_, [this] {
          over_.request_stop();
          std::lock_guard lock(mutex_);
          cut_off();
        }) {}
  ~SessionPool();

  // Held while one thing is done over it: the least busy one.
  class Lease {
   public:
    Lease(SessionPool& pool, std::shared_ptr<Session> session) : pool_(pool), session_(std::move(session)) {}
    ~Lease() { pool_.give_back(session_.get()); }
    Lease(const Lease&) = delete;
    const std::shared_ptr<Session>& session() const { return session_; }
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
  void cut_off();         // with the lock
  void open_the_others(const std::shared_ptr<Session>& first);  // with the lock

  std::size_t most_;
  const Connect connect_;
  const std::stop_token stop_;
  bool eager_;
  std::stop_source over_;  // of the threads that open
  std::mutex mutex_;
  std::condition_variable opened_;
  std::vector<Entry> entries_;
  std::size_t opening_ = 0;
  bool stopped_ = false;
  std::vector<std::thread> openers_;
  const std::stop_callback<std::function<void()>> on_stop_;  // ends before what it uses
};

}  // namespace respaldo::store::sftp
