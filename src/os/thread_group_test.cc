#include "os/thread_group.h"

#include <gtest/gtest.h>

#include <atomic>

namespace respaldo::os {
namespace {

using namespace std::chrono_literals;

void wait_for_stop(const std::stop_token& stop) {
  while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
}

TEST(ThreadGroup, joins_when_all_are_done) {
  std::atomic<int> done = 0;
  ThreadGroup group;
  for (int i = 0; i < 8; ++i) group.spawn([&](std::stop_token) { ++done; });
  group.join();
  EXPECT_EQ(done, 8);
}

TEST(ThreadGroup, the_first_error_stops_the_others_and_comes_out_of_join) {
  ThreadGroup group;
  for (int i = 0; i < 3; ++i) group.spawn(wait_for_stop);
  group.spawn([](std::stop_token) { throw Error(ErrorKind::io, "broken"); });
  try {
    group.join();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "broken");
  }
}

TEST(ThreadGroup, an_error_while_stopping_is_not_lost_behind_a_cancel) {
  ThreadGroup group;
  group.spawn([](std::stop_token) { throw Cancelled(); });
  group.spawn([](std::stop_token stop) {
    wait_for_stop(stop);
    throw Error(ErrorKind::io, "while stopping");
  });
  EXPECT_THROW(group.join(), Error);
}

TEST(ThreadGroup, a_stop_from_outside_is_a_cancel) {
  std::stop_source outer;
  ThreadGroup group(outer.get_token());
  group.spawn(wait_for_stop);
  outer.request_stop();
  EXPECT_THROW(group.join(), Cancelled);
}

TEST(ThreadGroup, a_stop_from_before_counts_too) {
  std::stop_source outer;
  outer.request_stop();
  ThreadGroup group(outer.get_token());
  group.spawn(wait_for_stop);
  EXPECT_THROW(group.join(), Cancelled);
}

TEST(ThreadGroup, going_away_ends_its_threads) {
  std::atomic<bool> ended = false;
  {
    ThreadGroup group;
    group.spawn([&](std::stop_token stop) {
      wait_for_stop(stop);
      ended = true;
    });
  }
  EXPECT_TRUE(ended);
}

TEST(BoundedQueue, keeps_order_and_drains_after_close) {
  BoundedQueue<int> queue(4);
  EXPECT_TRUE(queue.push(1, {}));
  EXPECT_TRUE(queue.push(2, {}));
  queue.close();
  EXPECT_FALSE(queue.push(3, {}));
  EXPECT_EQ(queue.pop({}), 1);
  EXPECT_EQ(queue.pop({}), 2);
  EXPECT_FALSE(queue.pop({}));
}

TEST(BoundedQueue, a_full_queue_holds_its_writer_until_there_is_room) {
  BoundedQueue<int> queue(1);
  ASSERT_TRUE(queue.push(1, {}));
  std::atomic<bool> pushed = false;
  std::jthread writer([&](std::stop_token stop) {
    queue.push(2, stop);
    pushed = true;
  });
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(pushed);
  EXPECT_EQ(queue.pop({}), 1);
  EXPECT_EQ(queue.pop({}), 2);
}

TEST(BoundedQueue, a_stop_request_wakes_readers_and_writers) {
  std::stop_source stop;
  BoundedQueue<int> full(1), empty(1);
  ASSERT_TRUE(full.push(1, stop.get_token()));
  std::jthread writer([&] { EXPECT_FALSE(full.push(2, stop.get_token())); });
  std::jthread reader([&] { EXPECT_FALSE(empty.pop(stop.get_token())); });
  std::this_thread::sleep_for(20ms);
  stop.request_stop();
}

TEST(BoundedQueue, nothing_is_lost_or_doubled_between_many_threads) {
  constexpr int kWriters = 3, kEach = 2000;
  for (int round = 0; round < 5; ++round) {
    BoundedQueue<int> queue(7);
    std::atomic<long> sum = 0;
    std::atomic<int> count = 0;
    ThreadGroup readers, writers;
    for (int i = 0; i < 3; ++i)
      readers.spawn([&](std::stop_token stop) {
        while (auto item = queue.pop(stop)) {
          sum += *item;
          ++count;
        }
      });
    for (int i = 0; i < kWriters; ++i)
      writers.spawn([&](std::stop_token stop) {
        for (int n = 1; n <= kEach; ++n) ASSERT_TRUE(queue.push(n, stop));
      });
    writers.join();
    queue.close();
    readers.join();
    ASSERT_EQ(count, kWriters * kEach);
    ASSERT_EQ(sum, static_cast<long>(kWriters) * kEach * (kEach + 1) / 2);
  }
}

TEST(ThrowIfStopped, throws_only_then) {
  std::stop_source stop;
  throw_if_stopped(stop.get_token());
  stop.request_stop();
  EXPECT_THROW(throw_if_stopped(stop.get_token()), Cancelled);
}

}  // namespace
}  // namespace respaldo::os
