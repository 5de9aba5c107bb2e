#include "crypto/scrypt_mix.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"

static_assert(std::endian::native == std::endian::little, "Salsa20's words are read as the host's");

namespace respaldo::crypto {

namespace {

constexpr std::size_t kWords = 16, kLine = 4 * kWords;  // of a Salsa20 block
constexpr std::size_t kMostShared = 128U << 20;         // tables of several blocks at a time
constexpr std::size_t kMostInSmallPages = 8U << 20;     // so much of them where each 4 KiB is a fault

// Four words: a register of every 64-bit processor. Salsa20 is one long chain of sums, turns and exclusive
// ors, so that a block alone leaves most of a core idle; several in turns fill it.
using Row = std::uint32_t __attribute__((vector_size(16)));
constexpr std::size_t kRows = kLine / sizeof(Row);

class Mapping {
 public:
  explicit Mapping(std::size_t size)
      : size_(size), at_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (!*this) return;
    ::madvise(at_, size, MADV_HUGEPAGE);
    ::madvise(at_, size, MADV_DONTDUMP);
#ifdef MADV_POPULATE_WRITE
    ::madvise(at_, size, MADV_POPULATE_WRITE);  // a fault for each 4 KiB can take longer than the work
#endif
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (*this) ::munmap(at_, size_);
  }
  explicit operator bool() const { return at_ != MAP_FAILED; }
  Row* rows() { return static_cast<Row*>(at_); }

 private:
  std::size_t size_;
  void* at_;
};

// Whether the kernel gives pages of 2 MiB to who asks (Documentation/admin-guide/mm/transhuge.rst). Where it has none, the
// first touch of the tables can take far longer than the mixing: most in a guest without hardware's page tables.
bool has_large_pages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string modes;
  return std::getline(file, modes) && modes.find("[never]") == std::string::npos;
}

// What Salsa20's rounds do to columns and to rows is one thing when the words lie along the diagonals: word i
// is where word 5 i mod 16 was. Word 0 stays.
void to_diagonals(const std::uint8_t* from, std::uint8_t* to, std::size_t length) {
  for (std::size_t line = 0; line < length; line += kLine)
    for (std::size_t i = 0; i < kWords; ++i)
      std::memcpy(to + line + 4 * i, from + line + 4 * (i * 5 % kWords), 4);
}
void from_diagonals(const std::uint8_t* from, std::uint8_t* to, std::size_t length) {
  for (std::size_t line = 0; line < length; line += kLine)
    for (std::size_t i = 0; i < kWords; ++i)
      std::memcpy(to + line + 4 * (i * 5 % kWords), from + line + 4 * i, 4);
}

template <int kBy>
inline Row left(Row x) {
  return (x << kBy) | (x >> (32 - kBy));
}
template <int kBy>
inline Row turned(Row x) {
  return __builtin_shufflevector(x, x, kBy, (kBy + 1) % 4, (kBy + 2) % 4, (kBy + 3) % 4);
}

// Salsa20/8 of a line in each lane. Every step is done for all lanes before the next one.
template <std::size_t kLanes>
inline void salsa20_8(Row (&x)[kLanes][kRows]) {
  const auto each = [&x](const auto& step) {
#pragma GCC unroll 4
    for (std::size_t lane = 0; lane < kLanes; ++lane) step(x[lane]);
  };
  Row before[kLanes][kRows];
  std::memcpy(before, x, sizeof before);
#pragma GCC unroll 1
  for (int round = 0; round < 8; round += 2) {
    each([](Row* a) { a[1] ^= left<7>(a[0] + a[3]); });
    each([](Row* a) { a[2] ^= left<9>(a[1] + a[0]); });
    each([](Row* a) { a[3] ^= left<13>(a[2] + a[1]); });
    each([](Row* a) { a[0] ^= left<18>(a[3] + a[2]); });
    each([](Row* a) { a[1] = turned<3>(a[1]), a[2] = turned<2>(a[2]), a[3] = turned<1>(a[3]); });
    each([](Row* a) { a[3] ^= left<7>(a[0] + a[1]); });
    each([](Row* a) { a[2] ^= left<9>(a[3] + a[0]); });
    each([](Row* a) { a[1] ^= left<13>(a[2] + a[3]); });
    each([](Row* a) { a[0] ^= left<18>(a[1] + a[2]); });
    each([](Row* a) { a[1] = turned<1>(a[1]), a[2] = turned<2>(a[2]), a[3] = turned<3>(a[3]); });
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane)
    for (std::size_t i = 0; i < kRows; ++i) x[lane][i] += before[lane][i];
}

// BlockMix of `from`, or of `from` ^ `with`, in each lane.
template <std::size_t kLanes, bool kWith>
inline void block_mix(Row* const* from, const Row* const* with, Row* const* to, std::size_t r) {
  const auto input = [&](std::size_t lane, std::size_t at) {
    if constexpr (kWith) return from[lane][at] ^ with[lane][at];
    return from[lane][at];
  };
  Row x[kLanes][kRows];
  for (std::size_t lane = 0; lane < kLanes; ++lane)
    for (std::size_t i = 0; i < kRows; ++i) x[lane][i] = input(lane, (2 * r - 1) * kRows + i);
  for (std::size_t line = 0; line < 2 * r; ++line) {
#pragma GCC unroll 4
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      for (std::size_t i = 0; i < kRows; ++i) x[lane][i] ^= input(lane, line * kRows + i);
    salsa20_8<kLanes>(x);
    const std::size_t place = (line / 2 + line % 2 * r) * kRows;  // even lines first
#pragma GCC unroll 4
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      for (std::size_t i = 0; i < kRows; ++i) to[lane][place + i] = x[lane][i];
  }
}

constexpr std::size_t memory_of(std::size_t lanes, std::uint64_t n, std::size_t length) {
  return lanes * (n + 2) * length;
}

template <std::size_t kLanes>
void ro_mix(std::uint8_t* blocks, std::uint64_t n, std::size_t r, Row* memory) {
  const std::size_t length = 128 * r, rows = length / sizeof(Row);
  Row *table[kLanes], *now[kLanes], *next[kLanes], *to[kLanes];
  const Row* with[kLanes];
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    table[lane] = now[lane] = memory + memory_of(lane, n, length) / sizeof(Row);
    next[lane] = table[lane] + (n + 1) * rows;
    to_diagonals(blocks + lane * length, reinterpret_cast<std::uint8_t*>(now[lane]), length);
  }
  for (std::uint64_t i = 0; i < n; ++i) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) to[lane] = now[lane] + rows;
    block_mix<kLanes, false>(now, nullptr, to, r);
    for (std::size_t lane = 0; lane < kLanes; ++lane) now[lane] = to[lane];
  }
  for (std::uint64_t i = 0; i < n; ++i) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      with[lane] = table[lane] + (now[lane][(2 * r - 1) * kRows][0] & (n - 1)) * rows;
      for (std::size_t at = 0; at < rows; at += kRows) __builtin_prefetch(with[lane] + at);
    }
    block_mix<kLanes, true>(now, with, next, r);
    for (std::size_t lane = 0; lane < kLanes; ++lane) std::swap(now[lane], next[lane]);
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane)
    from_diagonals(reinterpret_cast<const std::uint8_t*>(now[lane]), blocks + lane * length, length);
}

}  // namespace

void scrypt_mix(MutableBytes blocks, std::uint64_t n, std::uint32_t r) {
  const std::size_t length = std::size_t{128} * r, count = blocks.size() / length;
  std::size_t most = std::min<std::size_t>(count, 3);
  while (most > 1 && most * n * length > kMostShared) --most;
  if (most * n * length > kMostInSmallPages && !has_large_pages()) most = 1;
  std::optional<Mapping> memory(std::in_place, memory_of(most, n, length));
  while (!*memory && most > 1) memory.emplace(memory_of(--most, n, length));  // under a limit
  if (!*memory)
    throw Error(ErrorKind::io, fmt::format("no memory to derive a key from the password ({} MiB): {}",
                                           memory_of(1, n, length) >> 20, std::strerror(errno)),
                "free memory, or raise the limit (`ulimit -v`)");
  std::size_t lanes = 0;
  for (std::size_t done = 0; done < count; done += lanes) {
    lanes = std::min(most, count - done);
    std::uint8_t* const at = blocks.data() + done * length;
    if (lanes == 3) ro_mix<3>(at, n, r, memory->rows());
    if (lanes == 2) ro_mix<2>(at, n, r, memory->rows());
    if (lanes == 1) ro_mix<1>(at, n, r, memory->rows());
  }
}

}  // namespace respaldo::crypto
