// Requests side by side, where each waits for a server far away.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <chrono>
#include <functional>
#include <span>
#include <thread>

#include "os/thread_group.h"
#include "store/backend.h"

namespace respaldo::store {

// Calls `body` with each of 0 ... count - 1, on at most `threads` threads, in no order. The first failure
// stops the rest and is thrown.
inline void in_parallel(std::size_t count, int threads, const std::function<void(std::size_t)>& body) {
  if (count == 0) return;
  if (count == 1 || threads <= 1) {
    for (std::size_t i = 0; i < count; ++i) body(i);
    return;
  }
  std::atomic<std::size_t> next = 0;
  os::ThreadGroup group;
  for (std::size_t n = std::min(count, static_cast<std::size_t>(threads)); n > 0; --n)
    group.spawn([&](std::stop_token stop) {
      for (std::size_t i = next++; i < count && !stop.stop_requested(); i = next++) body(i);
    });
  group.join();
}

// Removes all, each with some patience of its own: who tries again from above begins with the first of thousands.
inline void remove_each(Backend& backend, std::span<const Handle> handles, int threads) {
  constexpr int kAttempts = 5;
  in_parallel(handles.size(), threads, [&](std::size_t i) {
    for (int attempt = 1;; ++attempt) {
      try {
        return backend.remove(handles[i]);
      } catch (const Error& error) {
        if (attempt == kAttempts || backend.is_permanent(error)) throw;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(125 << attempt));
    }
  });
}

}  // namespace respaldo::store
