// A thin volume that is written to: each first write takes room of its pool, and a full pool fails every volume in it.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <shared_mutex>
#include <string>

#include "block/device.h"
#include "engine/volume_engine.h"

namespace respaldo::engine {

// Passes everything on, and gives up (Error(no_space)) before the pool has less than a hundredth free. Asks how much is
// free only when what was written since might have used it up, so that a large pool costs nothing. Thread-safe.
class ThinTarget final : public block::WritableDevice {
 public:
  // `pool` gives the figures of now, or nothing when nobody knows.
  ThinTarget(block::WritableDevicePtr below, std::function<std::optional<PoolFigures>()> pool);

  std::uint64_t size() const override { return below_->size(); }
  std::string describe() const override { return below_->describe(); }
  void read_at(std::uint64_t offset, MutableBytes out) const override { below_->read_at(offset, out); }
  std::vector<block::Run> runs(Extent range) const override { return below_->runs(range); }
  void drop_cache() const override { below_->drop_cache(); }
  void write_at(std::uint64_t offset, ByteView bytes) override;
  void zero(Extent range) override;
  void flush() override { below_->flush(); }

 private:
  using Writing = std::shared_lock<std::shared_mutex>;
  Writing reserve(Extent range);
  bool take(std::uint64_t bytes);
  void look(std::uint64_t wanted);

  const block::WritableDevicePtr below_;
  const std::function<std::optional<PoolFigures>()> pool_;
  const std::optional<PoolFigures> before_;
  std::shared_mutex mutex_;  // shared: a write is under way; alone: none is, and what the pool says is true
  std::atomic<std::uint64_t> allowed_ = 0;  // bytes that may be written until the pool is asked again
};

}  // namespace respaldo::engine
