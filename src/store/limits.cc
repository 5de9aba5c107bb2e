// Not more bytes in a second than the line is to carry.
#include <algorithm>
#include <condition_variable>
#include <functional>
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

void RateLimit::wait(const std::stop_token& stop) {
  if (impl_->rate == 0) return;
  std::unique_lock lock(impl_->mutex);
  std::condition_variable_any never;
  while (Clock::now() < impl_->paid_until && !stop.stop_requested()) {
    const auto until = impl_->paid_until;  // it is read without the lock
    never.wait_until(lock, stop, until, [] { return false; });
  }
  os::throw_if_stopped(stop);
}

void RateLimit::charge(std::uint64_t bytes) {
  if (impl_->rate == 0) return;
  const std::chrono::duration<double> costs(static_cast<double>(bytes) / static_cast<double>(impl_->rate));
  std::lock_guard lock(impl_->mutex);
  // What was not used in the past is gone.
  impl_->paid_until =
      std::max(impl_->paid_until, Clock::now()) + std::chrono::duration_cast<Clock::duration>(costs);
}

namespace {

class Limited final : public Forward {
 public:
  Limited(std::unique_ptr<Backend> below, std::uint64_t upload, std::uint64_t download, std::stop_token stop,
          std::stop_token failed)
      : Forward(std::move(below)),
        up_(upload),
        down_(download),
        stop_(std::move(stop)),
        on_stop_(stop_, [this] { no_uploads_.request_stop(); }),
        on_failure_(std::move(failed), [this] { no_uploads_.request_stop(); }) {}

  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    if (handle.type == FileType::lock) return below_->save(handle, parts, durability);
    wait(up_, no_uploads_.get_token());
    below_->save(handle, parts, durability);
    up_.charge(size_of(parts));
  }
  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    return charged(handle, [&] { return below_->load(handle, offset, length); });
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    return charged(handle, [&] { return below_->load_all(handle, limit); });
  }
  std::optional<std::vector<std::vector<FileInfo>>> list_together(std::span<const FileType> types) override {
    return below_->list_together(types);
  }
  Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    return below_->read_from_medium(handle, [&](ByteView bytes) {
      wait(down_, stop_);
      down_.charge(bytes.size());
      piece(bytes);
    });
  }

 private:
  // Whoever was stopped tidies up, and does not wait for that.
  static void wait(RateLimit& limit, const std::stop_token& stop) {
    if (!stop.stop_requested()) limit.wait(stop);
  }
  template <class Load>
  Bytes charged(const Handle& handle, Load load) {
    if (handle.type == FileType::lock) return load();
    wait(down_, stop_);
    Bytes bytes = load();
    down_.charge(bytes.size());
    return bytes;
  }

  RateLimit up_, down_;
  const std::stop_token stop_;
  std::stop_source no_uploads_;
  const std::stop_callback<std::function<void()>> on_stop_, on_failure_;
};

}  // namespace

std::unique_ptr<Backend> with_limits(std::unique_ptr<Backend> below, std::uint64_t upload,
                                     std::uint64_t download, std::stop_token stop, std::stop_token failed) {
  return std::make_unique<Limited>(std::move(below), upload, download, std::move(stop), std::move(failed));
}

}  // namespace respaldo::store
