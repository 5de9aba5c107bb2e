// SHA-256 of several messages at once, on processors with the SHA extensions.
//
// One stream of sha256rnds2 waits for its own results most of the time; four interleaved ones keep the unit
// busy. Sixteen in the parts of AVX-512 registers are faster still, while there are so many. FIPS 180-4; Intel, "Intel SHA Extensions", 2013. Internal to the room: crypto.h has the door.
#pragma once

#include <span>

#include "crypto/crypto.h"

namespace respaldo::crypto {

// The processor has what sha256_in_lanes needs.
bool have_sha_lanes();
// REQUIRES have_sha_lanes() and as many digests as messages. Thread-safe.
void sha256_in_lanes(std::span<const ByteView> messages, std::span<Digest> digests);

}  // namespace respaldo::crypto
