// A store far away, for tests: counts requests, delays each, and fails when it is told to.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "store/forward.h"

namespace respaldo::testing {

// What a test sees and changes while the store is in use. Thread-safe.
struct FarStoreControl {
  std::chrono::milliseconds delay{0};  // of each request; set before use
  std::atomic<int> requests = 0, at_once = 0, most_at_once = 0;
  std::atomic<int> fail_next = 0;  // so many requests fail as a lost connection does
  std::function<void(const char* what, const store::Handle&)> before;  // may throw; set before use
};

class FarStore final : public store::Forward {
 public:
  FarStore(std::unique_ptr<store::Backend> below, std::shared_ptr<FarStoreControl> control)
      : Forward(std::move(below)), control_(std::move(control)) {}

  void create() override {
    const Request request(*control_, "create", {});
    below_->create();
  }
  void save(const store::Handle& handle, std::span<const ByteView> parts, store::Durability how) override {
    const Request request(*control_, "save", handle);
    below_->save(handle, parts, how);
  }
  Bytes load(const store::Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    const Request request(*control_, "load", handle);
    return below_->load(handle, offset, length);
  }
  Bytes load_all(const store::Handle& handle, std::uint64_t limit) override {
    const Request request(*control_, "load", handle);
    return below_->load_all(handle, limit);
  }
  std::optional<store::FileInfo> stat(const store::Handle& handle) override {
    const Request request(*control_, "stat", handle);
    return below_->stat(handle);
  }
  std::vector<store::FileInfo> list(store::FileType type) override {
    const Request request(*control_, "list", {type, ""});
    return below_->list(type);
  }
  void remove(const store::Handle& handle) override {
    const Request request(*control_, "remove", handle);
    below_->remove(handle);
  }
  void remove_many(std::span<const store::Handle> handles) override {
    for (const store::Handle& handle : handles) remove(handle);
  }
  // io is a lost connection here.
  bool is_permanent(const Error& error) const override { return error.kind() != ErrorKind::io; }

 private:
  struct Request {
    Request(FarStoreControl& c, const char* what, const store::Handle& handle) : control(c) {
      ++control.requests;
      const int now = ++control.at_once;
      for (int most = control.most_at_once;
           most < now && !control.most_at_once.compare_exchange_weak(most, now);) {
      }
      try {
        if (control.before) control.before(what, handle);
        if (control.delay.count() > 0) std::this_thread::sleep_for(control.delay);
        for (int left = control.fail_next; left > 0;)
          if (control.fail_next.compare_exchange_weak(left, left - 1))
            throw Error(ErrorKind::io, "connection reset");
      } catch (...) {
        --control.at_once;
        throw;
      }
    }
    ~Request() { --control.at_once; }
    Request(const Request&) = delete;
    FarStoreControl& control;
  };

  const std::shared_ptr<FarStoreControl> control_;
};

}  // namespace respaldo::testing
