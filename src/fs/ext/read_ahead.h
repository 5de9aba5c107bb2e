// Ordered reads of many small places, ahead of who uses them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>

#include "block/device.h"

namespace respaldo::fs::ext {

// A place to read; tag is the caller's.
struct Piece {
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t tag = 0;
};

// What was read of one piece: `bytes` is empty when it could not be read, and `error` says why.
using PieceHandler = std::function<void(const Piece& piece, ByteView bytes, const std::string& error)>;

// Calls `handle` for each piece in order, in the calling thread. REQUIRES pieces ascending by offset, each of
// at most 1 MiB and within the device; they may overlap. Neighbours are read together in requests of up to 1
// MiB by `readers` threads, a few requests ahead. A request that fails is read again piece by piece, so that
// only what is really lost is lost. Memory: about ten requests. A stop throws Cancelled.
void for_each_piece(const block::Device& device, std::span<const Piece> pieces, unsigned readers,
                    const std::stop_token& stop, const PieceHandler& handle);

}  // namespace respaldo::fs::ext
