#include "engine/thin_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kSparedShare = 100;  // one part of so many stays free
constexpr std::uint64_t kLook = 64 * kMiB;   // others write to the pool, too

std::uint64_t free_of(std::uint64_t size, std::uint64_t used) { return size - std::min(size, used); }

}  // namespace

ThinTarget::ThinTarget(block::WritableDevicePtr below, std::function<std::optional<PoolFigures>()> pool)
    : below_(std::move(below)), pool_(std::move(pool)), before_((below_->flush(), pool_())) {}

void ThinTarget::write_at(std::uint64_t offset, ByteView bytes) {
  const Writing writing = reserve({offset, bytes.size()});
  below_->write_at(offset, bytes);
}

void ThinTarget::zero(Extent range) {
  // Piece by piece, since where nothing can be punched zeros are written.
  for (std::uint64_t at = range.offset; at < range.end(); at += kLook) {
    const Extent piece{at, std::min(kLook, range.end() - at)};
    const Writing writing = reserve(piece);
    below_->zero(piece);
  }
}

ThinTarget::Writing ThinTarget::reserve(Extent range) {
  const std::uint64_t chunk = before_ ? std::max<std::uint64_t>(before_->chunk, 1) : 1;
  const std::uint64_t first = range.offset / chunk, end = (range.end() + chunk - 1) / chunk;
  const std::uint64_t wanted = (end - first) * chunk;
  Writing writing(mutex_);
  while (!take(wanted)) {
    writing.unlock();
    {
      std::unique_lock alone(mutex_);
      if (allowed_ < wanted) look(wanted);
    }
    writing.lock();
  }
  return writing;
}

bool ThinTarget::take(std::uint64_t bytes) {
  std::uint64_t now = allowed_;
  while (now >= bytes)
    if (allowed_.compare_exchange_weak(now, now - bytes)) return true;
  return false;
}

void ThinTarget::look(std::uint64_t wanted) {
  below_->flush();  // what waits in the page cache has taken nothing yet
  const auto pool = pool_();
  allowed_ = std::max(wanted, kLook);
  if (!pool || !before_) return;
  const std::uint64_t data = free_of(pool->data_size, pool->data_used),
                      metadata = free_of(pool->metadata_size, pool->metadata_used);
  const std::uint64_t spared = pool->data_size / kSparedShare;
  const bool data_short = data < spared + wanted, metadata_short = metadata < pool->metadata_size / kSparedShare;
  if (pool->writable && !data_short && !metadata_short) {
    allowed_ = std::clamp(data - spared, wanted, kLook + wanted);
    return;
  }
  // What is written may have its room already: it is only too much when the pool loses by it.
  const bool loses = data < free_of(before_->data_size, before_->data_used) ||
                     metadata < free_of(before_->metadata_size, before_->metadata_used);
  allowed_ = wanted;
  if (pool->writable && !loses) return;
  allowed_ = 0;
  throw Error(ErrorKind::no_space,
              !pool->writable
                  ? fmt::format("the thin pool {} is full or has failed: {} cannot be written", printable(pool->name),
                                describe())
                  : fmt::format("the thin pool {} has only {} of {} free for {}: writing {} was given up to spare it",
                                printable(pool->name), format_size(data_short ? data : metadata),
                                format_size(data_short ? pool->data_size : pool->metadata_size),
                                data_short ? "data" : "metadata", describe()),
              !pool->writable
                  ? "it needs help first: see `lvs -a` and dmesg"
                  : fmt::format("extend the pool ({}), then run this again",
                          data_short ? fmt::format("lvextend -L+SIZE {}", pool->name)
                                     : fmt::format("lvextend --poolmetadatasize +SIZE {}", pool->name)));
}

}  // namespace respaldo::engine
