#include "parity/object_reading.h"

#include <algorithm>
#include <cstring>

#include "base/hex.h"
#include "store/damage.h"

namespace respaldo::parity {

namespace {

constexpr std::uint64_t kPiece = 64U << 10, kSector = 512;
constexpr std::uint64_t kLongestSidecar = std::uint64_t{1} << 33;

// Halves what cannot be read until single sectors are left.
void read_pieces(store::Backend& backend, const store::Handle& object, Extent extent, Reading& reading) {
  try {
    const Bytes bytes = backend.load(object, extent.offset, extent.length);
    std::memcpy(reading.bytes.data() + extent.offset, bytes.data(), bytes.size());
  } catch (const Error& error) {
    if (reading.first_problem.empty()) reading.first_problem = error.what();
    if (extent.length <= kSector) {
      reading.only_damage &= store::is_damage(error);
      reading.unreadable.add(extent);
      return;
    }
    const std::uint64_t half = (extent.length / 2 + kSector - 1) / kSector * kSector;
    read_pieces(backend, object, {extent.offset, half}, reading);
    if (half < extent.length)
      read_pieces(backend, object, {extent.offset + half, extent.length - half}, reading);
  }
}

std::optional<Reading> read_up_to(store::Backend& backend, const store::Handle& object, std::uint64_t limit) {
  const auto info = backend.stat(object);
  if (!info) return std::nullopt;
  Reading reading;
  const std::uint64_t size = std::min(info->size, limit);
  if (size == info->size) {
    try {
      reading.bytes = backend.load_all(object, size);
      return reading;
    } catch (const Error& error) {
      reading.first_problem = error.what();
    }
  }
  reading.bytes = Bytes::zeroed(size);
  for (std::uint64_t at = 0; at < size; at += kPiece)
    read_pieces(backend, object, {at, std::min(kPiece, size - at)}, reading);
  return reading;
}

}  // namespace

std::optional<Reading> read_tolerantly(store::Backend& backend, const store::Handle& object) {
  // What was extended is read to a sector behind the longest that it can be.
  return read_up_to(backend, object, kLongestObject + kSector);
}

FoundSidecar find_sidecar(store::Backend& backend, const store::Handle& object) {
  FoundSidecar found;
  auto reading = read_up_to(backend, sidecar_of(object), kLongestSidecar);
  if (!reading) return found;
  found.present = true;
  found.sidecar = Sidecar::parse(std::move(reading->bytes));
  if (!found.sidecar) return found;
  // A sidecar that was made for something else is none.
  const SidecarHeader& header = found.sidecar->header();
  if (file_type_of(header.type) != object.type ||
      (is_named_by_hash(object.type) && to_hex(header.sha256) != object.name))
    found.sidecar.reset();
  return found;
}

void save_proven(store::Backend& backend, const store::Handle& object, ByteView bytes) {
  backend.save(object, {&bytes, 1}, store::Durability::proven);
}

}  // namespace respaldo::parity
