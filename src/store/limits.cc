// Not more bytes in a second than the line is to carry.
#include <condition_variable>
#include <mutex>

#include "os/thread_group.h"
#include "store/compare.h"
#include "store/forward.h"
#include "store/layers.h"

namespace respaldo::store {

using Clock = std::chrono::steady_clock;

struct RateLimit::Impl {
  std::uint64_t rate;
  std::mutex mutex;
  Clock::time_point paid_until = Clock::now();
};

RateLimit::RateLimit(std::uint64_t bytes_per_second) : impl_(std::make_unique<Impl>()) {
  impl_->rate = bytes_per_second;
}
RateLimit::~RateLimit() = default;

void RateLimit::pay(std::uint64_t bytes, const std::stop_token& stop) {
  if (impl_->rate == 0 || bytes == 0) return;
  const std::chrono::duration<double> costs(static_cast<double>(bytes) / static_cast<double>(impl_->rate));
  std::unique_lock lock(impl_->mutex);
  // What was not used in the past is gone.
  const auto until =
      std::max(impl_->paid_until, Clock::now()) + std::chrono::duration_cast<Clock::duration>(costs);
  impl_->paid_until = until;
  std::condition_variable_any never;
  never.wait_until(lock, stop, until, [] { return false; });
  os::throw_if_stopped(stop);
}

namespace {

class Limited final : public Forward {
 public:
  Limited(std::unique_ptr<Backend> below, std::uint64_t upload, std::uint64_t download, std::stop_token stop)
      : Forward(std::move(below)), up_(upload), down_(download), stop_(std::move(stop)) {}

  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    below_->save(handle, parts, durability);
    pay(up_, size_of(parts));
  }
  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    return paid(below_->load(handle, offset, length));
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    return paid(below_->load_all(handle, limit));
  }
  std::optional<std::vector<std::vector<FileInfo>>> list_together(std::span<const FileType> types) override {
    return below_->list_together(types);
  }
  Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    return below_->read_from_medium(handle, [&](ByteView bytes) {
      pay(down_, bytes.size());
      piece(bytes);
    });
  }

 private:
  // Whoever was stopped tidies up, and does not wait for that.
  void pay(RateLimit& limit, std::uint64_t bytes) {
    if (!stop_.stop_requested()) limit.pay(bytes, stop_);
  }
  Bytes paid(Bytes bytes) {
    pay(down_, bytes.size());
    return bytes;
  }

  RateLimit up_, down_;
  const std::stop_token stop_;
};

}  // namespace

std::unique_ptr<Backend> with_limits(std::unique_ptr<Backend> below, std::uint64_t upload,
                                     std::uint64_t download, std::stop_token stop) {
  return std::make_unique<Limited>(std::move(below), upload, download, std::move(stop));
}

}  // namespace respaldo::store
