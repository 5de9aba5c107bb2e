#include "base/bytes.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <thread>

namespace respaldo {

namespace buffers {

namespace {

#if !defined(__has_feature)
#define __has_feature(name) 0
#endif
// A buffer that is kept hides from sanitizers who uses it too late, beyond its end, or without a lock.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) || \
    __has_feature(memory_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kKeep = false;
#else
constexpr bool kKeep = true;
#endif
constexpr std::size_t kSmallest = 128U << 10;  // malloc keeps smaller ones itself
constexpr std::size_t kLargest = 24U << 20;  // a pack of the usual size and the blob that filled it

std::size_t most_idle() {
  return std::size_t{std::clamp(std::thread::hardware_concurrency(), 2U, 4U)} * (32U << 20);
}

// Eight sizes for each power of two: at most an eighth is too much.
std::size_t rounded(std::size_t size) {
  const std::size_t step = std::bit_floor(size) / 8;
  return (size + step - 1) / step * step;
}

// Large ones come from the system and go back to it: malloc keeps holes of that size in each thread's heap, and the peak is
// twice what is in use.
bool is_large(std::size_t capacity) { return kKeep && capacity >= kSmallest; }

std::uint8_t* allocate(std::size_t size) {
  if (!is_large(size)) return static_cast<std::uint8_t*>(::operator new[](size, std::align_val_t{kAlignment}));
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::uint8_t*>(memory);
}
void free(std::uint8_t* memory, std::size_t capacity) {
  if (is_large(capacity))
    ::munmap(memory, capacity);
  else
    ::operator delete[](memory, std::align_val_t{kAlignment});
}

// Never waits: who does not get the lock does without, and so does the child of a fork() that another thread's lock
// came with.
class Idle {
 public:
  // The smallest that is large enough, up to twice as large; of equal ones the last given back, which is the likeliest to
  // be in the processor's cache.
  std::uint8_t* take(std::size_t& capacity) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return nullptr;
    std::size_t best = count_;
    for (std::size_t i = count_; i-- > 0;) {
      const std::size_t has = kept_[i].capacity;
      if (has >= capacity && has <= 2 * capacity && (best == count_ || has < kept_[best].capacity)) best = i;
    }
    if (best == count_) return nullptr;
    capacity = kept_[best].capacity;
    return drop(best);
  }
  // False when it is not kept. The oldest make room.
  bool give(std::uint8_t* memory, std::size_t capacity) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    while (count_ == kept_.size() || bytes_ + capacity > most_) {
      const std::size_t oldest = kept_[0].capacity;
      free(drop(0), oldest);
    }
    kept_[count_++] = {memory, capacity};
    bytes_ += capacity;
    return true;
  }

 private:
  struct Buffer {
    std::uint8_t* memory = nullptr;
    std::size_t capacity = 0;
  };
  std::uint8_t* drop(std::size_t at) {
    const Buffer buffer = kept_[at];
    std::copy(kept_.begin() + at + 1, kept_.begin() + count_, kept_.begin() + at);
    --count_;
    bytes_ -= buffer.capacity;
    return buffer.memory;
  }
  std::mutex mutex_;
  std::array<Buffer, 64> kept_;
  std::size_t count_ = 0, bytes_ = 0;
  const std::size_t most_ = most_idle();
};

// Never destroyed: buffers of static lifetime come back after the end of main().
Idle& idle() {
  static Idle* const pool = new Idle;
  return *pool;
}

}  // namespace

std::uint8_t* acquire(std::size_t& capacity) {
  if (!is_large(capacity)) return allocate(capacity);
  capacity = rounded(capacity);
  if (capacity > kLargest) return allocate(capacity);
  std::uint8_t* const memory = idle().take(capacity);
  return memory != nullptr ? memory : allocate(capacity);
}

void release(std::uint8_t* memory, std::size_t capacity) noexcept {
  if (memory == nullptr) return;
  if (!is_large(capacity) || capacity > kLargest || !idle().give(memory, capacity)) free(memory, capacity);
}

}  // namespace buffers

bool is_zero(ByteView bytes) {
  const std::uint8_t* p = bytes.data();
  std::size_t n = bytes.size();
  // Most data that is not zero says so in its first words.
  while (n >= 64) {
    std::uint64_t w[8];
    std::memcpy(w, p, 64);
    if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0) return false;
    p += 64;
    n -= 64;
  }
  std::uint8_t any = 0;
  for (std::size_t i = 0; i < n; ++i) any = static_cast<std::uint8_t>(any | p[i]);
  return any == 0;
}

}  // namespace respaldo
