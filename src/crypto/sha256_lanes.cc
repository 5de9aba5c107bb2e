#include "crypto/sha256_lanes.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/endian.h"
#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

namespace respaldo::crypto {

namespace {

constexpr std::size_t kLanes = 4, kBlock = 64;

// FIPS 180-4, 4.2.2 and 5.3.3.
alignas(16) constexpr std::array<std::uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
constexpr std::array<std::uint32_t, 8> kStart = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// The hash words in the order that sha256rnds2 wants: A is the highest word of `abef`.
struct State {
  __m128i abef, cdgh;
};

// A message on its way: its whole blocks where they lie, then a tail of one or two blocks of our own.
struct Lane {
  State state;
  const std::uint8_t* next = nullptr;
  std::size_t blocks = 0;  // left from `next` on
  bool in_tail = false;
  std::size_t tail_blocks = 0, message = 0;
  std::array<std::uint8_t, 2 * kBlock> tail;

  void begin(ByteView bytes, std::size_t number) {
    const auto word = [](std::size_t i) { return static_cast<int>(kStart[i]); };
    state = {_mm_set_epi32(word(0), word(1), word(4), word(5)),
             _mm_set_epi32(word(2), word(3), word(6), word(7))};
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
    alignas(16) std::array<std::uint32_t, 4> abef, cdgh;
    _mm_store_si128(reinterpret_cast<__m128i*>(abef.data()), state.abef);
    _mm_store_si128(reinterpret_cast<__m128i*>(cdgh.data()), state.cdgh);
    const std::array<std::uint32_t, 8> words = {abef[3], abef[2], cdgh[3], cdgh[2],
                                                abef[1], abef[0], cdgh[1], cdgh[0]};
    Digest digest;
    for (std::size_t i = 0; i < 32; ++i)
      digest[i] = static_cast<std::uint8_t>(words[i / 4] >> (24 - 8 * (i % 4)));
    return digest;
  }
};

// `count` blocks of each of N lanes.
template <std::size_t N>
[[gnu::target("sha,sse4.1")]] void compress(std::array<Lane*, kLanes>& lanes, std::size_t count) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i abef[N], cdgh[N], w[N][4];  // std::array warns of vector types
  const std::uint8_t* from[N];
  for (std::size_t l = 0; l < N; ++l) {
    abef[l] = lanes[l]->state.abef;
    cdgh[l] = lanes[l]->state.cdgh;
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
  for (std::size_t l = 0; l < N; ++l) lanes[l]->state = {abef[l], cdgh[l]};
}

void compress_all(std::array<Lane*, kLanes>& lanes, std::size_t active, std::size_t count) {
  switch (active) {
    case 1:
      return compress<1>(lanes, count);
    case 2:
      return compress<2>(lanes, count);
    case 3:
      return compress<3>(lanes, count);
    default:
      return compress<4>(lanes, count);
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

  std::array<Lane, kLanes> lanes;
  std::array<Lane*, kLanes> active{};
  std::size_t count = 0, taken = 0;
  for (; count < std::min(kLanes, order.size()); ++count, ++taken) {
    active[count] = &lanes[count];
    active[count]->begin(messages[order[taken]], order[taken]);
  }
  while (count > 0) {
    std::size_t blocks = active[0]->blocks;
    for (std::size_t i = 1; i < count; ++i) blocks = std::min(blocks, active[i]->blocks);
    compress_all(active, count, blocks);
    for (std::size_t i = 0; i < count;) {
      if (!active[i]->advance(blocks)) {
        ++i;
      } else {
        digests[active[i]->message] = active[i]->digest();
        if (taken < order.size()) {
          active[i]->begin(messages[order[taken]], order[taken]);
          ++taken;
          ++i;
        } else {
          std::swap(active[i], active[--count]);
        }
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
