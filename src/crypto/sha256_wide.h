// SHA-256 of sixteen messages at once, a word of each in the sixteen parts of an AVX-512 register. Internal
// to the room: sha256_lanes.cc decides when it is worth it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace respaldo::crypto {

inline constexpr std::size_t kWideLanes = 16;
using HashWords = std::array<std::uint32_t, 8>;  // A to H

// The processor has what sha256_wide needs, and does not slow down for it.
bool have_wide_lanes();
// `count` blocks of 64 bytes of each message. It costs the same for one message as for sixteen.
// REQUIRES have_wide_lanes(), 1 to kWideLanes messages. Thread-safe.
void sha256_wide(std::span<HashWords* const> states, std::span<const std::uint8_t* const> from,
                 std::size_t count);

}  // namespace respaldo::crypto
