// scrypt's ROMix (RFC 7914, sections 3 to 5). Internal to the room: crypto::scrypt is the door.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace respaldo::crypto {

// Mixes p blocks of 128 * r bytes, which lie one after the other, in place: three at a time, in 3 * 128 * n *
// r bytes of memory, and fewer where that would be more than 128 MiB (8 MiB on a kernel without large pages),
// or more than the process may have. Error(io) when there is none for one. REQUIRES n a power of two and at
// most 2^30, 128 * n * r at most 2^30. Thread-safe.
void scrypt_mix(MutableBytes blocks, std::uint64_t n, std::uint32_t r);

}  // namespace respaldo::crypto
