#include "dm/snapshot.h"

#include <fmt/format.h>

#include "base/error.h"
#include "block/layers.h"
#include "dm/cow_store.h"

namespace respaldo::dm {

namespace {

class SnapshotView final : public block::Device {
 public:
  SnapshotView(block::DevicePtr origin, block::DevicePtr cow, CowStore store, std::uint64_t size,
               std::string name)
      : origin_(std::move(origin)),
        cow_(std::move(cow)),
        store_(std::move(store)),
        size_(size),
        name_(std::move(name)) {}
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    read_snapshot(store_.map(), store_.status().chunk, *origin_, *cow_, offset, out, name_);
  }
  std::vector<block::Run> runs(Extent range) const override {
    const Extent inside = intersect(range, {0, size_});
    if (inside.empty()) return {};
    return snapshot_runs(store_.map(), store_.status().chunk, *origin_, *cow_, inside);
  }

 private:
  block::DevicePtr origin_, cow_;
  CowStore store_;
  std::uint64_t size_;
  std::string name_;
};

}  // namespace

block::DevicePtr snapshot_target(block::DevicePtr origin, const block::DevicePtr& cow, std::uint64_t size,
                                 std::uint64_t fallback_chunk, std::string name) {
  CowStore store = CowStore::load(*cow, fallback_chunk);
  if (!store.status().valid)
    throw Error(ErrorKind::overflow,
                fmt::format("snapshot {} is invalid: its COW store overflowed or failed", name),
                "its contents are lost; remove it, and give the next one a larger COW store");
  return std::make_shared<SnapshotView>(std::move(origin), cow, std::move(store), size, std::move(name));
}

block::DevicePtr snapshot_merge_target(block::DevicePtr origin, const block::DevicePtr& cow,
                                       std::uint64_t size, std::uint64_t fallback_chunk, std::string name) {
  CowStore store = CowStore::load(*cow, fallback_chunk);
  if (!store.status().valid) return block::slice(std::move(origin), {0, size}, std::move(name));
  return std::make_shared<SnapshotView>(std::move(origin), cow, std::move(store), size, std::move(name));
}

}  // namespace respaldo::dm
