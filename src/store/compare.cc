#include "store/compare.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "base/hex.h"
#include "base/printable.h"

namespace respaldo::store {

std::uint64_t size_of(std::span<const ByteView> parts) {
  std::uint64_t size = 0;
  for (const ByteView part : parts) size += part.size();
  return size;
}

bool equals(ByteView whole, std::span<const ByteView> parts) {
  if (whole.size() != size_of(parts)) return false;
  for (const ByteView part : parts) {
    if (!part.empty() && std::memcmp(whole.data(), part.data(), part.size()) != 0) return false;
    whole = whole.subspan(part.size());
  }
  return true;
}

void require_object_name(const Handle& handle) {
  if (handle.name.size() != 64 || !is_hex(handle.name))
    throw Error(ErrorKind::internal, fmt::format("'{}' is not an object's name", printable(handle.name)));
}

void require_possible(const Handle& handle, std::uint64_t offset, std::uint64_t length) {
  if (length > std::numeric_limits<std::uint64_t>::max() - offset)
    throw Error(ErrorKind::corrupt,
                fmt::format("{} is shorter: there are no {} bytes at byte {}", handle.str(), length, offset));
}

Bytes load_nothing(Backend& backend, const Handle& handle, std::uint64_t offset) {
  const auto info = backend.stat(handle);
  if (!info) throw Error(ErrorKind::not_found, fmt::format("{} is missing", handle.str()));
  if (offset > info->size)
    throw Error(ErrorKind::corrupt,
                fmt::format("{} ends at byte {}, before byte {}", handle.str(), info->size, offset));
  return {};
}

void require_stored(Backend& backend, const Handle& handle, std::span<const ByteView> parts) {
  if (!equals(backend.load_all(handle, size_of(parts) + 1), parts))
    throw Error(ErrorKind::io, fmt::format("{} did not read back as it was saved", handle.str()),
                "the server, or the way to it, changes what it is given: copy the repository to another one");
}

}  // namespace respaldo::store
