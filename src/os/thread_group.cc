#include "os/thread_group.h"

namespace respaldo::os {

ThreadGroup::ThreadGroup(std::stop_token outer)
    : outer_(std::move(outer)), forward_(outer_, [this] { source_.request_stop(); }) {}

ThreadGroup::~ThreadGroup() {
  source_.request_stop();
  wait();
}

void ThreadGroup::spawn(std::function<void(std::stop_token)> body) {
  threads_.emplace_back([this, body = std::move(body)] {
    try {
      body(source_.get_token());
    } catch (const Cancelled&) {
      source_.request_stop();
    } catch (...) {
      {
        std::lock_guard lock(mutex_);
        if (!first_) first_ = std::current_exception();
      }
      source_.request_stop();
    }
  });
}

void ThreadGroup::wait() {
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void ThreadGroup::join() {
  wait();
  if (first_) std::rethrow_exception(std::exchange(first_, nullptr));
  if (outer_.stop_requested() || source_.stop_requested()) throw Cancelled();
}

}  // namespace respaldo::os
