// How many bytes of a file are on their way to an SFTP server at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

namespace respaldo::store::sftp {

// As many as keep the line busy (twice the least time that an answer took lately times the rate that is seen), and kSpare
// more. What is beyond that gains nothing and lies in buffers: sshd's holds up to 2 MiB, and sshd moves what is left in it
// with every piece that it hands on, which took most of two processors' time. For servers that do one request after the
// other: with several at once, a write that takes longer than other requests would look like a line that is full.
// Thread-safe.
class Pace {
 public:
  static constexpr std::uint64_t kSpare = 256U << 10, kMost = 32U << 20;  // bytes
  // The least time is that of so many bytes, and of as many before: a line may become longer. Several packs, before each of
  // which requests go through an empty line.
  static constexpr std::uint64_t kLately = 256U << 20;

  // Any answer came `latency` after its request was sent.
  void answered(std::chrono::nanoseconds latency);
  // One came to a write of `length` bytes, with which `under_way` bytes were unanswered when it was sent.
  void wrote(std::uint64_t length, std::uint64_t under_way, std::chrono::nanoseconds latency);
  // The shortest time that an answer took lately; zero before the first.
  std::chrono::nanoseconds least_latency() const;
  // Bytes; kSpare at least and kMost at most.
  std::uint64_t window() const;

 private:
  double least() const;

  mutable std::mutex mutex_;
  double least_ = 0, least_before_ = 0;  // seconds; 0: no answer has come
  std::uint64_t written_ = 0;            // bytes, since least_ is counted
  double rate_ = 32U << 20;              // bytes a second; until it is known, that of a fast line
};

}  // namespace respaldo::store::sftp
