// A set of blobs by their numbers in an index: one bit for each.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

namespace respaldo::care {

// Thread-safe. The size never changes.
class BlobBits {
 public:
  explicit BlobBits(std::uint64_t blobs) : words_((blobs + 63) / 64) {}

  // True when it was not there; erase: true when it was.
  bool insert(std::uint64_t number) {
    return (words_[number / 64].fetch_or(bit(number), std::memory_order_relaxed) & bit(number)) == 0;
  }
  bool erase(std::uint64_t number) {
    return (words_[number / 64].fetch_and(~bit(number), std::memory_order_relaxed) & bit(number)) != 0;
  }
  bool contains(std::uint64_t number) const {
    return (words_[number / 64].load(std::memory_order_relaxed) & bit(number)) != 0;
  }
  std::uint64_t count() const {
    std::uint64_t total = 0;
    for (const auto& word : words_) total += static_cast<std::uint64_t>(std::popcount(word.load()));
    return total;
  }

 private:
  static std::uint64_t bit(std::uint64_t number) { return std::uint64_t{1} << (number % 64); }
  std::vector<std::atomic<std::uint64_t>> words_;
};

}  // namespace respaldo::care
