// What the stores far away have in common: sizes, comparisons, and ranges that cannot be.
#pragma once

#include <cstdint>
#include <span>

#include "store/backend.h"

namespace respaldo::store {

std::uint64_t size_of(std::span<const ByteView> parts);
bool equals(ByteView whole, std::span<const ByteView> parts);

// Error(internal) when the handle's name is not 64 hex digits.
void require_object_name(const Handle& handle);
// Error(corrupt) when no object is that long.
void require_possible(const Handle& handle, std::uint64_t offset, std::uint64_t length);
// Nothing, from `offset` of an object that reaches there.
Bytes load_nothing(Backend& backend, const Handle& handle, std::uint64_t offset);
// Reads the object back; Error(io) when it is not what was saved.
void require_stored(Backend& backend, const Handle& handle, std::span<const ByteView> parts);

}  // namespace respaldo::store
