// Identities in a repository: SHA-256 of contents, one type for each kind of thing.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/hex.h"

namespace respaldo::repo {

template <class Tag>
struct Id {
  std::array<std::uint8_t, 32> bytes{};

  static std::optional<Id> parse(std::string_view hex) {
    Id id;
    if (!from_hex(hex, id.bytes)) return std::nullopt;
    return id;
  }
  std::string hex() const { return to_hex(bytes); }
  std::string short_hex() const { return hex().substr(0, 8); }
  bool is_null() const { return bytes == std::array<std::uint8_t, 32>{}; }
  friend auto operator<=>(const Id&, const Id&) = default;
};

using BlobId = Id<struct BlobTag>;
using PackId = Id<struct PackTag>;
using IndexId = Id<struct IndexTag>;
using SnapshotId = Id<struct SnapshotTag>;
using KeyId = Id<struct KeyTag>;

enum class BlobType : std::uint8_t { data, tree };

}  // namespace respaldo::repo

template <class Tag>
struct std::hash<respaldo::repo::Id<Tag>> {
  // Ids are hashes already.
  std::size_t operator()(const respaldo::repo::Id<Tag>& id) const {
    std::size_t value;
    std::memcpy(&value, id.bytes.data(), sizeof value);
    return value;
  }
};
