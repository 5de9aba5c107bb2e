#include "crypto/sha256_wide.h"

#include "base/error.h"
#include "crypto/sha256_round.h"

#if defined(__x86_64__)
// The intrinsics of GCC 12 leave undefined on purpose what their masks do not take, and warn of it.
#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#define RESPALDO_WIDE [[gnu::target("avx512f,avx512bw")]]

namespace respaldo::crypto {

namespace {

using Words = __m512i;  // one of each message

RESPALDO_WIDE inline Words exclusive_or(Words a, Words b, Words c) {
  return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}
RESPALDO_WIDE inline Words choose(Words e, Words f, Words g) {
  return _mm512_ternarylogic_epi32(e, f, g, 0xca);
}
RESPALDO_WIDE inline Words majority(Words a, Words b, Words c) {
  return _mm512_ternarylogic_epi32(a, b, c, 0xe8);
}

// FIPS 180-4, 4.1.2: the capital sigmas rotate three times, the small ones rotate twice and shift.
template <int A, int B, int C>
RESPALDO_WIDE inline Words capital_sigma(Words x) {
  return exclusive_or(_mm512_ror_epi32(x, A), _mm512_ror_epi32(x, B), _mm512_ror_epi32(x, C));
}
template <int A, int B, int C>
RESPALDO_WIDE inline Words small_sigma(Words x) {
  return exclusive_or(_mm512_ror_epi32(x, A), _mm512_ror_epi32(x, B), _mm512_srli_epi32(x, C));
}

// A block of each message becomes its sixteen words, each with those of the other messages.
RESPALDO_WIDE inline void load_words(const std::uint8_t** from, Words* w) {
  Words in[16], pairs[16];  // std::array warns of vector types
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) in[i] = _mm512_loadu_si512(from[i]);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(in[i], in[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(in[i], in[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    in[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    in[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    in[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    in[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  const Words swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Words even = _mm512_shuffle_i32x4(in[i], in[i + 4], 0x88),
                odd = _mm512_shuffle_i32x4(in[i], in[i + 4], 0xdd);
    const Words more = _mm512_shuffle_i32x4(in[i + 8], in[i + 12], 0x88);
    const Words rest = _mm512_shuffle_i32x4(in[i + 8], in[i + 12], 0xdd);
    w[i] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4(even, more, 0x88), swap);
    w[i + 4] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4(odd, rest, 0x88), swap);
    w[i + 8] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4(even, more, 0xdd), swap);
    w[i + 12] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4(odd, rest, 0xdd), swap);
  }
}

RESPALDO_WIDE void compress(std::uint32_t (&states)[8][kWideLanes], const std::uint8_t** from,
                            std::size_t count) {
  Words state[8];
  for (int i = 0; i < 8; ++i) state[i] = _mm512_loadu_si512(states[i]);
  for (; count > 0; --count) {
    Words w[16];
    load_words(from, w);
    for (std::size_t l = 0; l < kWideLanes; ++l) from[l] += 64;
    Words a = state[0], b = state[1], c = state[2], d = state[3];
    Words e = state[4], f = state[5], g = state[6], h = state[7];
#pragma GCC unroll 64
    for (int i = 0; i < 64; ++i) {
      if (i >= 16)
        w[i % 16] =
            _mm512_add_epi32(_mm512_add_epi32(w[i % 16], small_sigma<7, 18, 3>(w[(i + 1) % 16])),
                             _mm512_add_epi32(w[(i + 9) % 16], small_sigma<17, 19, 10>(w[(i + 14) % 16])));
      const Words word = _mm512_add_epi32(w[i % 16], _mm512_set1_epi32(static_cast<int>(kRound[i])));
      const Words first = _mm512_add_epi32(_mm512_add_epi32(h, word),
                                           _mm512_add_epi32(capital_sigma<6, 11, 25>(e), choose(e, f, g)));
      const Words second = _mm512_add_epi32(capital_sigma<2, 13, 22>(a), majority(a, b, c));
      h = g;
      g = f;
      f = e;
      e = _mm512_add_epi32(d, first);
      d = c;
      c = b;
      b = a;
      a = _mm512_add_epi32(first, second);
    }
    const Words done[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; ++i) state[i] = _mm512_add_epi32(state[i], done[i]);
  }
  for (int i = 0; i < 8; ++i) _mm512_storeu_si512(states[i], state[i]);
}

}  // namespace

bool have_wide_lanes() {
  // Processors before Ice Lake, which have no VBMI2, lower their clock for such registers. Others than
  // Intel's were not measured.
  static const bool have = __builtin_cpu_is("intel") != 0 && __builtin_cpu_supports("avx512f") != 0 &&
                           __builtin_cpu_supports("avx512bw") != 0 &&
                           __builtin_cpu_supports("avx512vbmi2") != 0;
  return have;
}

void sha256_wide(std::span<HashWords* const> states, std::span<const std::uint8_t* const> from,
                 std::size_t count) {
  alignas(64) std::uint32_t words[8][kWideLanes] = {};
  const std::uint8_t* next[kWideLanes];
  for (std::size_t l = 0; l < kWideLanes; ++l) {
    next[l] = from[l < from.size() ? l : 0];  // lanes without a message read along
    for (std::size_t i = 0; l < states.size() && i < 8; ++i) words[i][l] = (*states[l])[i];
  }
  compress(words, next, count);
  for (std::size_t l = 0; l < states.size(); ++l)
    for (std::size_t i = 0; i < 8; ++i) (*states[l])[i] = words[i][l];
}

}  // namespace respaldo::crypto

#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#else

namespace respaldo::crypto {

bool have_wide_lanes() { return false; }
void sha256_wide(std::span<HashWords* const>, std::span<const std::uint8_t* const>, std::size_t) {
  throw Error(ErrorKind::internal, "this processor has no AVX-512");
}

}  // namespace respaldo::crypto

#endif
