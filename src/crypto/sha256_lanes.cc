#include "crypto/sha256_lanes.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/endian.h"
#include "base/error.h"
#include "crypto/sha256_round.h"
#include "crypto/sha256_wide.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

namespace respaldo::crypto {

namespace {

constexpr std::size_t kLanes = 4, kBlock = 64;
// From so many messages on, all sixteen wide lanes cost less than kLanes at a time (measured: 2.9 and 1.8
// GiB/s).
constexpr std::size_t kWideFrom = 11;

// A message on its way: its whole blocks where they lie, then a tail of one or two blocks of our own.
struct Lane {
  HashWords state;
  const std::uint8_t* next = nullptr;
  std::size_t blocks = 0;  // left from `next` on
  bool in_tail = false;
  std::size_t tail_blocks = 0, message = 0;
  std::array<std::uint8_t, 2 * kBlock> tail;

  void begin(ByteView bytes, std::size_t number) {
    state = kStart;
    next = bytes.data();
    blocks = bytes.size() / kBlock;
    message = number;
    const std::size_t rest = bytes.size() % kBlock;
    tail_blocks = rest < kBlock - 8 ? 1 : 2;
    tail.fill(0);
    std::copy_n(bytes.data() + blocks * kBlock, rest, tail.data());
    tail[rest] = 0x80;
    const std::uint64_t bits = std::uint64_t{bytes.size()} * 8;
    for (std::size_t i = 0; i < 8; ++i)
      tail[tail_blocks * kBlock - 1 - i] = static_cast<std::uint8_t>(bits >> (8 * i));
    in_tail = false;
    if (blocks == 0) enter_tail();
  }
  void enter_tail() {
    in_tail = true;
    next = tail.data();
    blocks = tail_blocks;
  }
  // True when the whole message is hashed.
  bool advance(std::size_t count) {
    next += count * kBlock;
    blocks -= count;
    if (blocks > 0) return false;
    if (in_tail) return true;
    enter_tail();
    return false;
  }
  Digest digest() const {
    Digest digest;
    for (std::size_t i = 0; i < 32; ++i)
      digest[i] = static_cast<std::uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
    return digest;
  }
};

// The words as sha256rnds2 wants them, the first of these the highest.
__m128i packed(const HashWords& words, std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
  const auto word = [&](std::size_t i) { return static_cast<int>(words[i]); };
  return _mm_set_epi32(word(a), word(b), word(c), word(d));
}
void unpack(__m128i packed, HashWords& words, std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
  alignas(16) std::array<std::uint32_t, 4> from;
  _mm_store_si128(reinterpret_cast<__m128i*>(from.data()), packed);
  words[a] = from[3];
  words[b] = from[2];
  words[c] = from[1];
  words[d] = from[0];
}

// `count` blocks of each of N lanes.
template <std::size_t N>
[[gnu::target("sha,sse4.1")]] void compress(std::span<Lane* const> lanes, std::size_t count) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i abef[N], cdgh[N], w[N][4];  // std::array warns of vector types
  const std::uint8_t* from[N];
  for (std::size_t l = 0; l < N; ++l) {
    abef[l] = packed(lanes[l]->state, 0, 1, 4, 5);
    cdgh[l] = packed(lanes[l]->state, 2, 3, 6, 7);
    from[l] = lanes[l]->next;
  }
  for (; count > 0; --count) {
    __m128i abef_before[N], cdgh_before[N];
#pragma GCC unroll 4
    for (std::size_t l = 0; l < N; ++l) {
      abef_before[l] = abef[l];
      cdgh_before[l] = cdgh[l];
#pragma GCC unroll 4
      for (std::size_t i = 0; i < 4; ++i)
        w[l][i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from[l] + 16 * i)), swap);
      from[l] += kBlock;
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 16; ++i) {  // four rounds each
      const __m128i k = _mm_load_si128(reinterpret_cast<const __m128i*>(kRound.data() + 4 * i));
#pragma GCC unroll 4
      for (std::size_t l = 0; l < N; ++l) {
        __m128i sum = _mm_add_epi32(w[l][i % 4], k);
        cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], sum);
        sum = _mm_shuffle_epi32(sum, 0x0e);
        abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], sum);
        if (i < 12) {
          const __m128i middle = _mm_alignr_epi8(w[l][(i + 3) % 4], w[l][(i + 2) % 4], 4);
          const __m128i first = _mm_sha256msg1_epu32(w[l][i % 4], w[l][(i + 1) % 4]);
          w[l][i % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(first, middle), w[l][(i + 3) % 4]);
        }
      }
    }
#pragma GCC unroll 4
    for (std::size_t l = 0; l < N; ++l) {
      abef[l] = _mm_add_epi32(abef[l], abef_before[l]);
      cdgh[l] = _mm_add_epi32(cdgh[l], cdgh_before[l]);
    }
  }
  for (std::size_t l = 0; l < N; ++l) {
    unpack(abef[l], lanes[l]->state, 0, 1, 4, 5);
    unpack(cdgh[l], lanes[l]->state, 2, 3, 6, 7);
  }
}

void compress_wide(std::span<Lane* const> lanes, std::size_t count) {
  std::array<HashWords*, kWideLanes> states;
  std::array<const std::uint8_t*, kWideLanes> from;
  for (std::size_t l = 0; l < lanes.size(); ++l) {
    states[l] = &lanes[l]->state;
    from[l] = lanes[l]->next;
  }
  sha256_wide(std::span(states).first(lanes.size()), std::span(from).first(lanes.size()), count);
}

void compress_all(std::span<Lane* const> lanes, std::size_t count) {
  switch (lanes.size()) {
    case 1:
      return compress<1>(lanes, count);
    case 2:
      return compress<2>(lanes, count);
    case 3:
      return compress<3>(lanes, count);
    case 4:
      return compress<4>(lanes, count);
    default:
      return compress_wide(lanes, count);
  }
}

}  // namespace

bool have_sha_lanes() {
  static const bool have = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kSha = 1U << 29;  // leaf 7, EBX
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & kSha) != 0 &&
           __builtin_cpu_supports("sse4.1") != 0;
  }();
  return have;
}

void sha256_in_lanes(std::span<const ByteView> messages, std::span<Digest> digests) {
  // The longest first: the lanes then end at about the same time.
  std::vector<std::size_t> order(messages.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return messages[i].size(); });

  const std::size_t most = have_wide_lanes() && messages.size() >= kWideFrom ? kWideLanes : kLanes;
  std::array<Lane, kWideLanes> lanes;
  std::array<Lane*, kWideLanes> active{};
  std::size_t count = 0, taken = 0;
  for (; count < std::min(most, order.size()); ++count, ++taken) {
    active[count] = &lanes[count];
    active[count]->begin(messages[order[taken]], order[taken]);
  }
  while (count > 0) {
    const auto at_once = std::span(active).first(count >= kWideFrom ? count : std::min(count, kLanes));
    std::size_t blocks = at_once[0]->blocks;
    for (const Lane* lane : at_once) blocks = std::min(blocks, lane->blocks);
    compress_all(at_once, blocks);
    for (std::size_t i = at_once.size(); i-- > 0;) {  // what takes an ended one's place comes from behind
      if (!active[i]->advance(blocks)) continue;
      digests[active[i]->message] = active[i]->digest();
      if (taken < order.size()) {
        active[i]->begin(messages[order[taken]], order[taken]);
        ++taken;
      } else {
        std::swap(active[i], active[--count]);
      }
    }
  }
}

}  // namespace respaldo::crypto

#else

namespace respaldo::crypto {

bool have_sha_lanes() { return false; }
void sha256_in_lanes(std::span<const ByteView>, std::span<Digest>) {
  throw Error(ErrorKind::internal, "this processor has no SHA extensions");
}

}  // namespace respaldo::crypto

#endif
