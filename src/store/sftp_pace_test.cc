#include "store/sftp_pace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

namespace respaldo::store::sftp {
namespace {

using namespace std::chrono_literals;
using Seconds = std::chrono::duration<double>;

constexpr std::uint64_t kWrite = 255U << 10, kPack = 17U << 20;

// A line in time of its own: what is sent waits for what was sent before, passes at `rate`, and its answer comes `latency`
// later.
class Line {
 public:
  // `pause`: of the writer, behind every forty writes.
  Line(double rate, Seconds latency, Seconds pause = {}) : rate_(rate), latency_(latency), pause_(pause) {}
  void become_longer(Seconds latency) { latency_ = latency; }

  // One file's writes, as write_and_close() sends them. How long it took.
  Seconds send(Pace& pace, std::uint64_t size) {
    const Seconds begin = now_;
    pace.answered(std::chrono::duration_cast<std::chrono::nanoseconds>(latency_));  // it was opened
    now_ += latency_;
    std::deque<Write> sent;
    std::uint64_t under_way = 0;
    const auto settle_one = [&] {
      const Write& first = sent.front();
      now_ = std::max(now_, first.answered);
      const auto latency = std::chrono::duration_cast<std::chrono::nanoseconds>(first.answered - first.sent);
      pace.answered(latency);
      pace.wrote(kWrite, first.under_way, latency);
      under_way -= kWrite;
      sent.pop_front();
    };
    for (std::uint64_t at = 0; at < size; at += kWrite) {
      if (at / kWrite % 40 == 39) now_ += pause_;
      while (!sent.empty() && sent.front().answered <= now_) settle_one();
      under_way += kWrite;
      free_ = std::max(free_, now_) + Seconds(static_cast<double>(kWrite) / rate_);
      sent.push_back({now_, free_ + latency_, under_way});
      most_ = std::max(most_, under_way);
      while (under_way > pace.window()) settle_one();
    }
    while (!sent.empty()) settle_one();
    return now_ - begin;
  }
  std::uint64_t most_under_way() const { return most_; }

 private:
  struct Write {
    Seconds sent, answered;
    std::uint64_t under_way;
  };
  const double rate_;
  Seconds latency_;
  const Seconds pause_;
  Seconds now_{}, free_{};
  std::uint64_t most_ = 0;
};

Seconds shortest(double rate, Seconds latency) { return 2 * latency + Seconds(static_cast<double>(kPack) / rate); }

TEST(SftpPace, little_lies_in_buffers_on_a_short_line) {
  for (const double rate : {10e6, 100e6, 1e9}) {
    Pace pace;
    Line line(rate, 100us);
    for (int file = 0; file < 5; ++file) {
      EXPECT_LT(line.send(pace, kPack) / shortest(rate, 100us), 1.1) << rate;
      EXPECT_LE(line.most_under_way(), Pace::kSpare + kWrite + rate * 2e-4) << rate;
    }
  }
}

TEST(SftpPace, a_long_line_is_kept_busy) {
  for (const Seconds latency : {10ms, 100ms, 300ms})
    for (const double rate : {1e6, 10e6, 40e6, 100e6}) {
      Pace pace;
      Line line(rate, latency);
      for (int file = 0; file < 10; ++file) {
        const double ratio = line.send(pace, kPack) / shortest(rate, latency);
        // The first files measure the line.
        EXPECT_LT(ratio, file < 3 ? 3.0 : 1.25) << rate << " bytes a second, " << latency.count() << " s, file " << file;
      }
    }
}

TEST(SftpPace, a_line_that_became_slower_is_not_filled_up) {
  Pace pace;
  Line fast(100e6, 20ms), slow(2e6, 20ms);
  for (int file = 0; file < 5; ++file) fast.send(pace, kPack);
  EXPECT_GT(pace.window(), std::uint64_t{1} << 20);
  for (int file = 0; file < 10; ++file) slow.send(pace, kPack);
  EXPECT_LT(pace.window(), 2 * Pace::kSpare);
}

TEST(SftpPace, a_writer_who_pauses_does_not_fill_the_line) {
  Pace pace;
  Line line(110e6, 10ms, 50ms);
  for (int file = 0; file < 10; ++file) line.send(pace, kPack);
  EXPECT_LE(line.most_under_way(), std::uint64_t{3} << 20);
}

TEST(SftpPace, a_line_that_became_longer_is_kept_busy_again) {
  Pace pace;
  Line line(100e6, 5ms);
  for (int file = 0; file < 5; ++file) line.send(pace, kPack);
  line.become_longer(60ms);
  double last = 0;
  for (std::uint64_t sent = 0; sent < 3 * Pace::kLately; sent += kPack) last = line.send(pace, kPack) / shortest(100e6, 60ms);
  EXPECT_LT(last, 1.25);
}

TEST(SftpPace, knows_bounds) {
  Pace pace;
  EXPECT_EQ(pace.window(), Pace::kSpare);
  EXPECT_EQ(pace.least_latency(), 0ns);
  pace.answered(0ns);  // a clock that stands still
  pace.wrote(1, 1U << 20, 0ns);
  EXPECT_GE(pace.window(), Pace::kSpare);
  Pace wide;
  wide.answered(1h);
  wide.wrote(1, std::uint64_t{1} << 40, 1ns);
  EXPECT_EQ(wide.window(), Pace::kMost);
  wide.answered(5ms);
  wide.answered(7ms);
  EXPECT_EQ(wide.least_latency(), 5ms);
}

}  // namespace
}  // namespace respaldo::store::sftp
