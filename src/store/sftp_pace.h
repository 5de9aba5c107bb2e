// How many bytes of a file are on their way to an SFTP server at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

namespace respaldo::store::sftp {

// As many as keep the line busy (twice the least time that an answer takes times the rate that is seen), and kSpare more.
// What is beyond that gains nothing and lies in buffers: sshd's holds up to 2 MiB, and sshd moves what is left in it with
// every piece that it hands on, which took most of two processors' time. Thread-safe.
class Pace {
 public:
  static constexpr std::uint64_t kSpare = 256U << 10, kMost = 32U << 20;  // bytes

  // Any answer came `latency` after its request was sent.
  void answered(std::chrono::nanoseconds latency);
  // One came to a write, with which `under_way` bytes were on their way when it was sent.
  void wrote(std::uint64_t under_way, std::chrono::nanoseconds latency);
  // The shortest time that an answer took; zero before the first.
  std::chrono::nanoseconds least_latency() const;
  // Bytes; kSpare at least and kMost at most.
  std::uint64_t window() const;

 private:
  mutable std::mutex mutex_;
  double least_ = 0;          // seconds; 0: no answer has come
  double rate_ = 32U << 20;   // bytes a second; until it is known, that of a fast line
};

}  // namespace respaldo::store::sftp
