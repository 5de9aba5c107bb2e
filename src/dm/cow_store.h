// The persistent exception store of dm-snapshot ("COW store"), read and appended to as the kernel does.
// Format: docs/formats/dm-snapshot.md (facts proven against kernel 6.1, target version 1.16).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/device.h"
#include "dm/exception_map.h"

namespace respaldo::dm {

struct CowStatus {
  bool valid = true;           // false: the store overflowed or failed; its contents must not be used
  std::uint64_t chunk = 0;     // bytes
  std::uint64_t total = 0;     // bytes of the store
  std::uint64_t used = 0;      // bytes, as the kernel's status line counts them
  std::uint64_t metadata = 0;  // bytes of header and exception areas, likewise
  std::uint64_t exceptions = 0;
  // lvs' Data%: hundredths of a percent, with lvm2's clamping (0 when empty, 10000 when full or invalid).
  std::uint32_t percent_x100() const;
};

// chunks = 1 + n + floor(n / E) + 1 in bytes: the store size that can never overflow.
std::uint64_t cow_store_maximum(std::uint64_t origin_bytes, std::uint64_t chunk_bytes);

// A store opened for reading. Immutable after load; thread-safe.
class CowStore {
 public:
  // Reads header and exceptions. Throws Error(corrupt) for a store that is not one, or whose exceptions point
  // outside it, repeat, or loop. An invalid (overflowed) store loads, with status().valid false and no
  // exceptions. A store of zeros (never activated) is a fresh one with chunk `fallback_chunk` bytes.
  static CowStore load(const block::Device& cow, std::uint64_t fallback_chunk);

  const CowStatus& status() const { return status_; }
  // True for a store of zeros, which has no header yet.
  bool fresh() const { return fresh_; }
  // The chunk of the store that holds chunk `old_chunk` of the snapshot, if any.
  std::optional<std::uint64_t> lookup(std::uint64_t old_chunk) const { return map_.find(old_chunk); }
  const ExceptionMap& map() const { return map_; }
  // (old chunk, store chunk) in commit order.
  struct Exception {
    std::uint64_t old_chunk = 0, new_chunk = 0;
  };
  const std::vector<Exception>& exceptions() const { return exceptions_; }

 private:
  CowStatus status_;
  bool fresh_ = false;
  std::vector<Exception> exceptions_;
  ExceptionMap map_;
};

// Writes header and an empty first area, as a new snapshot has them; flushes.
void format_cow_store(block::WritableDevice& cow, std::uint64_t chunk_bytes);

// The origin and its snapshots, live: a write to the origin first saves the old chunks to every snapshot
// that lacks them, in the kernel's order (data, flush, area, flush, then the origin). A store that
// is full, or that cannot be written, is marked invalid on disk and dropped; the origin's write succeeds.
// While that mark cannot be written, neither is the origin: its writes and flushes fail with Error(overflow), each after
// another try. Thread-safe.
class SnapshotSet {
 public:
  explicit SnapshotSet(block::WritableDevicePtr origin_real);
  ~SnapshotSet();
  SnapshotSet(const SnapshotSet&) = delete;
  SnapshotSet& operator=(const SnapshotSet&) = delete;

  // Adds a snapshot of `size` bytes whose store is `cow`. May be called while devices are in use.
  void add(const std::string& name, block::WritableDevicePtr cow, std::uint64_t size,
           std::uint64_t fallback_chunk);
  // Removes it from the set: its device fails from now on, the origin no longer copies to it.
  void remove(const std::string& name);
  // The store's device has grown (lvextend of the snapshot): use `cow` from now on.
  void grow(const std::string& name, block::WritableDevicePtr cow);
  CowStatus status(const std::string& name) const;

  // Valid while the set lives. Reads of a dead snapshot fail with Error(overflow).
  block::WritableDevicePtr origin_device();
  block::WritableDevicePtr snapshot_device(const std::string& name);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Merges the store back into the origin in the kernel's order (from the last entry backwards, entries cleared
// only after the origin is flushed), so that a merge killed at any moment resumes. `merged` is told the bytes
// of each step. Error(overflow) when the store is invalid.
void merge_snapshot(block::WritableDevice& origin, block::WritableDevice& cow, std::uint64_t fallback_chunk,
                    const std::function<void(std::uint64_t)>& merged = {});

}  // namespace respaldo::dm
