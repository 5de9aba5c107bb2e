// What lies behind a broken seal.
#pragma once

#include "crypto/crypto.h"

namespace respaldo::crypto {

// Decrypts without asking the tag, for who proves otherwise what comes out: anybody may have changed it. REQUIRES at
// least kOverhead bytes.
Bytes open_unproven(const MasterKey& key, ByteView sealed);

}  // namespace respaldo::crypto
