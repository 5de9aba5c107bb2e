// Again, after a while, what may succeed then.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <type_traits>

#include "base/units.h"
#include "os/thread_group.h"
#include "store/forward.h"
#include "store/layers.h"

namespace respaldo::store {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

class Retrying final : public Forward {
 public:
  Retrying(std::unique_ptr<Backend> below, const RetryOptions& options)
      : Forward(std::move(below)), options_(options), random_(std::random_device{}()) {}

  void create() override {
    again([&] { below_->create(); });
  }
  // An answer that took no request does not mean that the store can be reached.
  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    if (!keeps(handle.type)) return below_->save(handle, parts, durability);
    again([&] { below_->save(handle, parts, durability); });
  }
  void sync() override {
    again([&] { below_->sync(); });
  }
  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    if (!keeps(handle.type)) return below_->load(handle, offset, length);
    return again([&] { return below_->load(handle, offset, length); });
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    if (!keeps(handle.type)) return below_->load_all(handle, limit);
    return again([&] { return below_->load_all(handle, limit); });
  }
  std::optional<FileInfo> stat(const Handle& handle) override {
    if (!keeps(handle.type)) return below_->stat(handle);
    return again([&] { return below_->stat(handle); });
  }
  std::vector<FileInfo> list(FileType type) override {
    if (!keeps(type)) return below_->list(type);
    return each_once(again([&] { return below_->list(type); }));
  }
  std::optional<std::vector<std::vector<FileInfo>>> list_together(std::span<const FileType> types) override {
    if (!std::ranges::all_of(types, [this](FileType type) { return keeps(type); })) return std::nullopt;
    auto lists = again([&] { return below_->list_together(types); });
    if (lists)
      for (std::vector<FileInfo>& listed : *lists) listed = each_once(std::move(listed));
    return lists;
  }
  void remove(const Handle& handle) override {
    again([&] { below_->remove(handle); }, handle.type == FileType::lock);
  }
  void remove_many(std::span<const Handle> handles) override {
    again([&] { below_->remove_many(handles); });
  }
  Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    // What was given away once is not given again.
    std::uint64_t given = 0;
    return again([&] {
      std::uint64_t at = 0;
      return below_->read_from_medium(handle, [&](ByteView bytes) {
        const std::uint64_t known = std::min<std::uint64_t>(given - std::min(given, at), bytes.size());
        at += bytes.size();
        if (known == bytes.size()) return;
        given = at;
        piece(bytes.subspan(known));
      });
    });
  }

 private:
  struct GivenUp {
    Error cause;
    Clock::time_point until;
  };

  template <class Body>
  auto again(Body body, bool tidies = false) -> decltype(body()) {
    const auto start = Clock::now();
    std::optional<Clock::time_point> failing_since;  // an attempt may take longer than all the waits
    bool once = has_one_attempt(tidies);
    for (milliseconds step = options_.first;; step = std::min(step * 2, options_.longest)) {
      milliseconds pause{0};
      try {
        if constexpr (std::is_void_v<decltype(body())>) {
          body();
          heard();
          reached_ = true;
          return;
        } else {
          auto result = body();
          heard();
          reached_ = true;
          return result;
        }
      } catch (const Error& error) {
        const bool permanent = below_->is_permanent(error), answered = permanent || error.error_number() != 0;
        if (answered) heard();
        if (permanent) reached_ = true;
        if (permanent) throw;
        os::throw_if_stopped(options_.stop);
        if (answered) once = false;
        if (!failing_since) failing_since = Clock::now();
        pause = shortened(step);
        const milliseconds total =
            reached_ ? options_.total : std::min(options_.total, options_.first_contact);
        if (once || Clock::now() - *failing_since + pause > total) {
          if (!answered) give_up(error, start);
          throw;
        }
        tell(error, pause);
      }
      wait(pause);
    }
  }
  // True while the store is given up and this is to tell whether it is back; throws the cause when it is not.
  bool has_one_attempt(bool tidies) {
    std::lock_guard lock(mutex_);
    if (!given_up_) return false;
    const auto now = Clock::now();
    // A lock that stays shuts others out: worth an attempt.
    if (now < given_up_->until && !(tidies && reached_)) throw Error(given_up_->cause);
    given_up_->until = now + options_.silence;
    return true;
  }
  void heard() {
    std::lock_guard lock(mutex_);
    heard_ = Clock::now();
    given_up_.reset();
  }
  // Not when others were answered: then it is this request that fails.
  void give_up(const Error& cause, Clock::time_point start) {
    std::lock_guard lock(mutex_);
    if (heard_ && *heard_ > start) return;
    given_up_ = GivenUp{cause, Clock::now() + options_.silence};
    changed_.notify_all();
  }
  // Between half and the whole of it.
  milliseconds shortened(milliseconds step) {
    std::lock_guard lock(mutex_);
    return milliseconds(
        std::uniform_int_distribution<milliseconds::rep>(step.count() / 2, step.count())(random_));
  }
  void tell(const Error& error, milliseconds pause) {
    if (!options_.tell) return;
    {
      std::lock_guard lock(mutex_);
      const auto now = Clock::now();
      if (told_ && now - *told_ < options_.tell_every) return;
      told_ = now;
    }
    options_.tell(fmt::format("{}; trying again in {}", error.what(),
                              format_duration(static_cast<double>(pause.count()) / 1000)));
  }
  void wait(milliseconds pause) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, options_.stop, pause, [&] { return given_up_.has_value(); });
    os::throw_if_stopped(options_.stop);
    if (given_up_) throw Error(given_up_->cause);
  }

  const RetryOptions options_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::minstd_rand random_;
  std::optional<Clock::time_point> told_, heard_;
  std::optional<GivenUp> given_up_;
  std::atomic<bool> reached_ = false;
};

}  // namespace

std::unique_ptr<Backend> with_retries(std::unique_ptr<Backend> below, const RetryOptions& options) {
  return std::make_unique<Retrying>(std::move(below), options);
}

}  // namespace respaldo::store
