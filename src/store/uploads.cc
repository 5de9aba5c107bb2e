// Objects go up while the next ones are made.
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>

#include "os/thread_group.h"
#include "store/compare.h"
#include "store/forward.h"
#include "store/layers.h"

namespace respaldo::store {

namespace {

Bytes joined(std::span<const ByteView> parts) {
  Bytes bytes(size_of(parts));
  std::size_t at = 0;
  for (const ByteView part : parts) {
    if (!part.empty()) std::memcpy(bytes.data() + at, part.data(), part.size());
    at += part.size();
  }
  return bytes;
}

class Uploading final : public Forward {
 public:
  Uploading(std::unique_ptr<Backend> below, int threads, std::stop_token stop, std::function<void()> on_failure)
      : Forward(std::move(below)),
        most_(static_cast<std::size_t>(std::max(threads, 1))),
        stop_(std::move(stop)),
        on_failure_(std::move(on_failure)) {}
  ~Uploading() override {
    // Who fails has no use for what he gave; who forgot to sync has.
    const bool fails = std::uncaught_exceptions() > 0;
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
      if (fails) queue_.clear();
    }
    if (fails && on_failure_) on_failure_();
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    std::unique_lock lock(mutex_);
    if (handle.type != FileType::lock) {
      throw_if_failed();
      // The same object again, or what takes its place, comes after it.
      wait_for(lock, [&] { return !under_way_.contains(handle); });
    }
    if (durability != Durability::at_sync) {
      lock.unlock();
      try {
        below_->save(handle, parts, durability);
      } catch (const Cancelled&) {
        lock.lock();
        throw_if_failed();
        throw;
      }
      return;
    }
    wait_for(lock, [&] { return held_.size() <= most_; });
    os::throw_if_stopped(stop_);
    const std::uint64_t number = next_number_++;
    held_.insert(number);
    ++under_way_[handle];
    lock.unlock();
    // Copied without the lock: others go on meanwhile.
    std::optional<Bytes> copy;
    try {
      copy = joined(parts);
    } catch (...) {
      lock.lock();
      settle(handle, number);
      throw;
    }
    lock.lock();
    queue_.push_back({handle, std::move(*copy), number});
    if (idle_ < queue_.size() && threads_.size() < most_) add_thread();
    // Without a single one the work is ours.
    while (threads_.empty() && !queue_.empty()) upload_next(lock);
    work_.notify_one();
  }

  void sync() override {
    {
      std::unique_lock lock(mutex_);
      // Others go on handing in meanwhile.
      const std::uint64_t end = next_number_;
      wait_for(lock, [&] { return held_.empty() || *held_.begin() >= end; });
    }
    below_->sync();
  }

  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    wait_for_object(handle);
    return below_->load(handle, offset, length);
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    wait_for_object(handle);
    return below_->load_all(handle, limit);
  }
  std::optional<FileInfo> stat(const Handle& handle) override {
    wait_for_object(handle);
    return below_->stat(handle);
  }
  Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    wait_for_object(handle);
    return below_->read_from_medium(handle, piece);
  }
  std::vector<FileInfo> list(FileType type) override {
    wait_for_all(type);
    return below_->list(type);
  }
  std::optional<std::vector<std::vector<FileInfo>>> list_together(std::span<const FileType> types) override {
    for (const FileType type : types) wait_for_all(type);
    return below_->list_together(types);
  }
  void remove(const Handle& handle) override {
    wait_for_object(handle);
    below_->remove(handle);
  }
  void remove_many(std::span<const Handle> handles) override {
    for (const Handle& handle : handles) wait_for_object(handle);
    below_->remove_many(handles);
  }

 private:
  struct Item {
    Handle handle;
    Bytes bytes;
    std::uint64_t number;
  };

  template <class Condition>
  void wait_for(std::unique_lock<std::mutex>& lock, Condition condition) {
    settled_.wait(lock, [&] { return failure_ || cancelled_ || condition(); });
    throw_if_failed();
  }
  // One that fails is settled, too: then the store says that it is not there.
  void wait_for_object(const Handle& handle) {
    std::unique_lock lock(mutex_);
    settled_.wait(lock, [&] { return !under_way_.contains(handle); });
  }
  void wait_for_all(FileType type) {
    std::unique_lock lock(mutex_);
    settled_.wait(lock, [&] {
      const auto first = under_way_.lower_bound({type, ""});
      return first == under_way_.end() || first->first.type != type;
    });
  }
  // A copy each time: whoever catches it adds context.
  void throw_if_failed() const {
    if (failure_) throw Error(*failure_);
    if (cancelled_) throw Cancelled();
  }

  void upload() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      work_.wait(lock, [&] { return ending_ || !queue_.empty(); });
      --idle_;
      if (queue_.empty()) return;
      upload_next(lock);
    }
  }
  void upload_next(std::unique_lock<std::mutex>& lock) {
    std::optional<Item> item(std::move(queue_.front()));
    queue_.pop_front();
    const Handle handle = item->handle;
    const std::uint64_t number = item->number;
    // After a failure nothing of this run will be named by anybody.
    if (stop_.stop_requested()) cancelled_ = true;
    if (!failure_ && !cancelled_) {
      lock.unlock();
      save_one(*item);
      item.reset();
      lock.lock();
    }
    settle(handle, number);
  }
  // The machine may have no room for one more: then those that are there do the work.
  void add_thread() {
    try {
      threads_.emplace_back([this] { upload(); });
    } catch (const std::system_error&) {
    }
  }
  void save_one(const Item& item) {
    try {
      const ByteView whole = item.bytes;
      below_->save(item.handle, {&whole, 1}, Durability::at_sync);
    } catch (const Cancelled&) {
      std::lock_guard lock(mutex_);
      cancelled_ = true;
    } catch (const Error& error) {
      fail(error);
    } catch (const std::exception& error) {
      fail(Error(ErrorKind::internal, error.what()));
    }
  }
  void fail(Error error) {
    error.add_context("saving in the background");
    {
      std::lock_guard lock(mutex_);
      if (failure_ || cancelled_) return;
      failure_ = std::move(error);
    }
    if (on_failure_) on_failure_();
  }
  // With the lock.
  void settle(const Handle& handle, std::uint64_t number) {
    const auto found = under_way_.find(handle);
    if (--found->second == 0) under_way_.erase(found);
    held_.erase(number);
    settled_.notify_all();
  }

  const std::size_t most_;
  const std::stop_token stop_;
  const std::function<void()> on_failure_;
  std::mutex mutex_;
  std::condition_variable work_, settled_;
  std::deque<Item> queue_;
  std::map<Handle, int> under_way_;
  std::set<std::uint64_t> held_;  // the objects under way, in the order in which they were handed in
  std::uint64_t next_number_ = 0;
  std::size_t idle_ = 0;  // threads without work
  std::optional<Error> failure_;
  bool cancelled_ = false, ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Backend> with_parallel_uploads(std::unique_ptr<Backend> below, int threads,
                                               std::stop_token stop, std::function<void()> on_failure) {
  return std::make_unique<Uploading>(std::move(below), threads, std::move(stop), std::move(on_failure));
}

}  // namespace respaldo::store
