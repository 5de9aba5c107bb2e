// Threads that fail and stop together, and the bounded queue between them.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/error.h"

namespace respaldo::os {

// Runs functions on threads. The first exception stops all (through the stop token) and is rethrown by
// join(). A stop asked from outside (`outer`) stops all too; join() then throws Cancelled.
class ThreadGroup {
 public:
  explicit ThreadGroup(std::stop_token outer = {});
  ~ThreadGroup();  // requests stop and joins; never throws
  ThreadGroup(const ThreadGroup&) = delete;
  ThreadGroup& operator=(const ThreadGroup&) = delete;

  void spawn(std::function<void(std::stop_token)> body);
  std::stop_token token() const { return source_.get_token(); }
  void request_stop() { source_.request_stop(); }
  void join();

 private:
  void wait();
  std::stop_source source_;
  std::stop_token outer_;
  std::stop_callback<std::function<void()>> forward_;
  std::mutex mutex_;
  std::exception_ptr first_;
  std::vector<std::jthread> threads_;
};

// Thread-safe first-in first-out queue of at most `capacity` items. close() ends it: push returns false,
// pop drains what is left and then returns nothing. A stop request wakes everyone likewise.
template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

  bool push(T item, std::stop_token stop) {
    std::unique_lock lock(mutex_);
    if (!room_.wait(lock, stop, [&] { return closed_ || items_.size() < capacity_; }) || closed_) return false;
    items_.push_back(std::move(item));
    filled_.notify_one();
    return true;
  }
  std::optional<T> pop(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    if (!filled_.wait(lock, stop, [&] { return closed_ || !items_.empty(); }) || items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    room_.notify_one();
    return item;
  }
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    room_.notify_all();
    filled_.notify_all();
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable_any room_, filled_;
  std::deque<T> items_;
  bool closed_ = false;
};

inline void throw_if_stopped(const std::stop_token& stop) {
  if (stop.stop_requested()) throw Cancelled();
}

}  // namespace respaldo::os
