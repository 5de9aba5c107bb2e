#include "parity/sidecar_format.h"

#include <isa-l/crc64.h>

#include <algorithm>
#include <cstring>

namespace respaldo::parity {

namespace {

constexpr std::uint32_t kPackSlice = 4096, kSmallSlice = 512;
constexpr std::uint64_t kPackColumns = 100, kSmallColumns = 16;
constexpr std::uint64_t kSmallObject = 64U << 10;  // below: small slices
constexpr std::uint32_t kSmallestSlice = 64, kLargestSlice = 1U << 20;
constexpr std::size_t kChecked = sizeof(DiskSidecarHeader) - sizeof(Le64);

std::uint64_t divided_up(std::uint64_t n, std::uint64_t by) { return (n + by - 1) / by; }

ByteView bytes_of(const DiskSidecarHeader& header) {
  return {reinterpret_cast<const std::uint8_t*>(&header), sizeof header};
}

}  // namespace

std::optional<ObjectType> object_type_of(store::FileType type) {
  switch (type) {
    case store::FileType::pack:
      return ObjectType::pack;
    case store::FileType::index:
      return ObjectType::index;
    case store::FileType::snapshot:
      return ObjectType::snapshot;
    case store::FileType::key:
      return ObjectType::key;
    case store::FileType::config:
      return ObjectType::config;
    case store::FileType::parity_settings:
      return ObjectType::settings;
    default:
      return std::nullopt;
  }
}

std::optional<store::FileType> file_type_of(ObjectType type) {
  for (const store::FileType file :
       {store::FileType::pack, store::FileType::index, store::FileType::snapshot, store::FileType::key,
        store::FileType::config, store::FileType::parity_settings})
    if (object_type_of(file) == type) return file;
  return std::nullopt;
}

bool is_named_by_hash(store::FileType type) {
  return type != store::FileType::config && type != store::FileType::parity_settings;
}

std::uint64_t Geometry::length_of(std::uint64_t slice) const {
  return std::min<std::uint64_t>(slice_size, object_size - slice * slice_size);
}

bool Geometry::valid() const {
  if (object_size == 0 || object_size > kLongestObject || slice_size < kSmallestSlice ||
      slice_size > kLargestSlice || slice_size % kSmallestSlice != 0 || codewords == 0 || rows == 0)
    return false;
  return codewords <= data_slices() && columns() < kMostShards && rows <= kMostShards - columns();
}

Geometry choose_geometry(store::FileType type, std::uint64_t object_size, const Settings& settings) {
  const bool pack = type == store::FileType::pack;
  Geometry geometry;
  geometry.object_size = object_size;
  geometry.slice_size = pack || object_size > kSmallObject ? kPackSlice : kSmallSlice;
  const std::uint64_t codewords =
      divided_up(std::max<std::uint64_t>(geometry.data_slices(), 1), pack ? kPackColumns : kSmallColumns);
  geometry.codewords = static_cast<std::uint32_t>(codewords);
  const std::uint64_t columns = geometry.columns();
  const std::uint64_t share = (columns * settings.overhead_permille + 500) / 1000;
  geometry.rows = static_cast<std::uint32_t>(
      pack ? std::clamp<std::uint64_t>(share, std::min<std::uint64_t>(columns, 2), columns) : columns);
  return geometry;
}

DiskSidecarHeader pack(const SidecarHeader& header) {
  DiskSidecarHeader disk{};
  std::memcpy(disk.magic, kSidecarMagic.data(), sizeof disk.magic);
  disk.object_type.set(static_cast<std::uint32_t>(header.type));
  disk.slice_size.set(header.geometry.slice_size);
  disk.object_size.set(header.geometry.object_size);
  std::memcpy(disk.sha256, header.sha256.data(), sizeof disk.sha256);
  disk.codewords.set(header.geometry.codewords);
  disk.rows.set(header.geometry.rows);
  disk.crc.set(crc64(bytes_of(disk).first(kChecked)));
  return disk;
}

std::optional<SidecarHeader> unpack(const DiskSidecarHeader& disk) {
  if (std::memcmp(disk.magic, kSidecarMagic.data(), sizeof disk.magic) != 0 ||
      disk.crc.get() != crc64(bytes_of(disk).first(kChecked)))
    return std::nullopt;
  SidecarHeader header;
  header.type = static_cast<ObjectType>(disk.object_type.get());
  header.geometry = {disk.object_size.get(), disk.slice_size.get(), disk.codewords.get(), disk.rows.get()};
  std::memcpy(header.sha256.data(), disk.sha256, sizeof disk.sha256);
  if (!file_type_of(header.type) || !header.geometry.valid()) return std::nullopt;
  return header;
}

std::uint64_t crc64(ByteView bytes) { return ::crc64_ecma_refl(0, bytes.data(), bytes.size()); }

std::uint64_t slice_crc(ByteView slice, std::uint32_t slice_size) {
  if (slice.size() == slice_size) return crc64(slice);
  Bytes filled = Bytes::zeroed(slice_size);
  if (!slice.empty()) std::memcpy(filled.data(), slice.data(), slice.size());
  return crc64(filled);
}

store::Handle sidecar_of(const store::Handle& object) {
  switch (object.type) {
    case store::FileType::config:
      return {store::FileType::parity, std::string(64, '0')};
    case store::FileType::parity_settings:
      return {store::FileType::parity, std::string(64, 'f')};
    default:
      return {store::FileType::parity, object.name};
  }
}

}  // namespace respaldo::parity
