// A store for the tests of this room: objects without meaning, and damage.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>

#include "base/hex.h"
#include "crypto/crypto.h"
#include "parity/parity_backend.h"
#include "store/backend.h"
#include "testing/temp.h"

namespace respaldo::parity::testing {

using respaldo::testing::random_bytes;
using Contents = std::map<store::Handle, std::string>;

inline constexpr store::FileType kAllTypes[] = {
    store::FileType::config,       store::FileType::key,
    store::FileType::snapshot,     store::FileType::index,
    store::FileType::pack,         store::FileType::parity,
    store::FileType::parity_group, store::FileType::parity_settings};

inline Contents contents_of(store::Backend& backend) {
  Contents contents;
  for (const store::FileType type : kAllTypes)
    for (const store::FileInfo& file : backend.list(type)) {
      const store::Handle handle{type, file.name};
      contents[handle] = as_text(backend.load_all(handle));
    }
  return contents;
}

inline void put(store::Backend& backend, const store::Handle& handle, ByteView bytes) {
  backend.save(handle, {&bytes, 1}, store::Durability::now);
}

inline store::Handle save_new(store::Backend& backend, store::FileType type, std::size_t size,
                              std::uint64_t seed) {
  const Bytes bytes = random_bytes(size, seed);
  const store::Handle handle{type,
                             type == store::FileType::config ? std::string() : to_hex(crypto::sha256(bytes))};
  put(backend, handle, bytes);
  return handle;
}

// Some of each kind, packs of many sizes.
inline void fill(store::Backend& backend, unsigned packs, std::uint64_t seed = 1) {
  save_new(backend, store::FileType::config, 155, seed);
  for (unsigned i = 0; i < 2; ++i) save_new(backend, store::FileType::key, 450 + i, seed + 10 + i);
  for (unsigned i = 0; i < packs; ++i)
    save_new(backend, store::FileType::pack, 20000 + 30011 * ((i * 7) % 20), seed + 100 + i);
  for (unsigned i = 0; i < 3; ++i) save_new(backend, store::FileType::index, 900 + 40000 * i, seed + 20 + i);
  for (unsigned i = 0; i < 3; ++i) save_new(backend, store::FileType::snapshot, 290 + 5 * i, seed + 30 + i);
}

}  // namespace respaldo::parity::testing
