// The layout of a sidecar: the parity of one object of a repository. docs/formats/parity.md "sidecars".
// Shared by reader and writer.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/endian.h"
#include "crypto/crypto.h"
#include "parity/erasure_code.h"
#include "parity/settings.h"
#include "store/backend.h"

namespace respaldo::parity {

inline constexpr std::string_view kSidecarMagic = "RESPAR01", kGroupMagic = "RESPGR01";
inline constexpr std::uint64_t kLongestObject = std::uint64_t{1} << 32;

struct DiskSidecarHeader {
  std::uint8_t magic[8];
  Le32 object_type;  // ObjectType
  Le32 slice_size;   // bytes
  Le64 object_size;  // bytes
  std::uint8_t sha256[32];
  Le32 codewords;
  Le32 rows;
  std::uint8_t zero[56];
  Le64 crc;  // of the 120 bytes before
};
static_assert(sizeof(DiskSidecarHeader) == 128 && alignof(DiskSidecarHeader) == 1 &&
              std::is_trivially_copyable_v<DiskSidecarHeader>);

enum class ObjectType : std::uint32_t {
  pack = 1,
  index = 2,
  snapshot = 3,
  key = 4,
  config = 5,
  settings = 6
};
// Absent for what is not protected (locks, and parity itself).
std::optional<ObjectType> object_type_of(store::FileType type);
std::optional<store::FileType> file_type_of(ObjectType type);
// Its name is the SHA-256 of its contents: all but the configuration and the settings.
bool is_named_by_hash(store::FileType type);

// How an object is cut: slice i of the data lies in codeword i % codewords, column i / codewords; slice p of
// the parity in codeword p % codewords, row p / codewords. So a burst of damage is spread over all codewords.
struct Geometry {
  std::uint64_t object_size = 0;
  std::uint32_t slice_size = 0, codewords = 0, rows = 0;

  std::uint64_t data_slices() const { return (object_size + slice_size - 1) / slice_size; }
  std::uint64_t parity_slices() const { return std::uint64_t{codewords} * rows; }
  std::uint64_t slices() const { return data_slices() + parity_slices(); }
  std::uint64_t columns() const { return (data_slices() + codewords - 1) / codewords; }
  // Bytes of the object in data slice i.
  std::uint64_t length_of(std::uint64_t slice) const;

  // The sidecar: header, table, parity, table, header. The table has 8 bytes for each slice.
  std::uint64_t table_size() const { return 8 * slices(); }
  std::uint64_t parity_offset() const { return sizeof(DiskSidecarHeader) + table_size(); }
  std::uint64_t second_table_offset() const { return parity_offset() + parity_slices() * slice_size; }
  std::uint64_t sidecar_size() const {
    return second_table_offset() + table_size() + sizeof(DiskSidecarHeader);
  }
  // The numbers can be right: nothing overflows, the code can have so many shards.
  bool valid() const;
  friend bool operator==(const Geometry&, const Geometry&) = default;
};

// What a new sidecar has. Packs: slices of 4 KiB, about 100 columns. Everything else is small and dear: as
// much parity as data, so that the object comes back out of its sidecar alone.
Geometry choose_geometry(store::FileType type, std::uint64_t object_size, const Settings& settings);

struct SidecarHeader {
  ObjectType type = ObjectType::pack;
  crypto::Digest sha256{};
  Geometry geometry;
};
DiskSidecarHeader pack(const SidecarHeader& header);
// Absent when the checksum or any number is wrong.
std::optional<SidecarHeader> unpack(const DiskSidecarHeader& disk);

// CRC-64/XZ (ECMA-182, reflected): of "123456789" it is 0x995dc9bbdf1939fa.
std::uint64_t crc64(ByteView bytes);
// Of a slice that is filled up with zeros to `slice_size`.
std::uint64_t slice_crc(ByteView slice, std::uint32_t slice_size);

// The sidecar's name for an object: the object's own, and 64 zeros for the configuration, 64 f for the
// settings.
store::Handle sidecar_of(const store::Handle& object);

}  // namespace respaldo::parity
