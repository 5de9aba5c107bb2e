#include "store/prefetch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>

#include "store/forward.h"

namespace respaldo::store {

namespace {

constexpr std::uint64_t kLongest = 1U << 20;
constexpr auto kLocksKept = std::chrono::seconds(5);
constexpr std::size_t kMostKeys = 4;  // who has more waits for the others when their turn comes

const Handle kConfig{FileType::config, ""}, kSettings{FileType::parity_settings, ""};
// Asked for where there are no settings: it has them when they were lost. docs/formats/parity.md.
const Handle kSettingsSidecar{FileType::parity, std::string(64, 'f')};

class Prefetching final : public Forward {
 public:
  Prefetching(std::unique_ptr<Backend> below, const Entrance& entrance)
      : Forward(std::move(below)), at_hand_(entrance.key), will_write_(entrance.will_write) {
    try {
      // In the order in which they count: a backup that is listed has its blobs in an index that is.
      if (entrance.snapshots && entrance.indexes)
        listings_ = started_listings(FileType::snapshot, {FileType::index});
      else if (entrance.snapshots)
        listings_[FileType::snapshot] = started_listing(FileType::snapshot);
      if (will_write_) listings_[FileType::lock] = started_listing(FileType::lock);
      for (const Handle& handle : {kConfig, kSettings})
        files_.emplace(handle, std::async(std::launch::async, [this, handle] { return found(handle); }));
      files_.emplace(kSettingsSidecar, std::async(std::launch::async, [this, settings = files_.at(kSettings)] {
                       const bool may_be_there = !is_absent(kSettingsSidecar);
                       if (!settings.get().absent) return File();
                       return may_be_there ? found(kSettingsSidecar) : File{nullptr, true};
                     }));
      keys_ = std::async(std::launch::async, [this] { return all_keys(); });
    } catch (const std::system_error&) {
      // No room for threads: what is needed is asked for when it is.
    }
  }

  void create() override {
    forget();
    below_->create();
  }
  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    forget_listings();
    if (concerns(handle.type)) forget();
    below_->save(handle, parts, durability);
    if (handle.type == FileType::lock && will_write_.exchange(false)) list_behind_lock();
  }
  void remove(const Handle& handle) override {
    forget_listings();
    if (concerns(handle.type)) forget();
    below_->remove(handle);
  }
  void remove_many(std::span<const Handle> handles) override {
    forget_listings();
    if (std::ranges::any_of(handles, [](const Handle& handle) { return concerns(handle.type); })) forget();
    below_->remove_many(handles);
  }
  std::optional<FileInfo> stat(const Handle& handle) override {
    if (const auto file = awaited(handle); file.valid()) {
      const File& known = file.get();
      if (known.bytes) return FileInfo{handle.name, known.bytes->size()};
      if (known.absent) return std::nullopt;
    }
    return below_->stat(handle);
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    if (const auto file = awaited(handle);
        file.valid() && file.get().bytes && file.get().bytes->size() <= limit) {
      Bytes bytes = file.get().bytes->clone();
      std::lock_guard lock(mutex_);
      files_.erase(handle);
      return bytes;
    }
    if (handle.type == FileType::key)
      if (auto key = prefetched_key(handle.name); key && key->size() <= limit) return std::move(*key);
    return below_->load_all(handle, limit);
  }
  std::vector<FileInfo> list(FileType type) override {
    if (type != FileType::key) {
      if (const Listing listing = taken_listing(type); listing.valid() && listing.get()) return *listing.get();
      return below_->list(type);
    }
    std::shared_future<Keys> keys;
    {
      std::lock_guard lock(mutex_);
      if (!std::exchange(keys_listed_, true)) keys = keys_;
    }
    if (keys.valid() && keys.get().listed) return keys.get().files;
    return below_->list(type);
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Listing = std::shared_future<std::optional<std::vector<FileInfo>>>;
  using Listings = std::optional<std::vector<std::vector<FileInfo>>>;
  struct File {
    std::shared_ptr<const Bytes> bytes;
    bool absent = false;
  };
  struct Keys {
    bool listed = false;
    std::vector<FileInfo> files;
    std::map<std::string, std::shared_ptr<const Bytes>> loaded;
  };
  static bool concerns(FileType type) {
    return type == FileType::config || type == FileType::key || type == FileType::parity_settings;
  }

  std::optional<std::vector<FileInfo>> listed(FileType type) {
    try {
      return below_->list(type);
    } catch (const std::exception&) {
      return std::nullopt;  // the error is for who asks
    }
  }
  Listing started_listing(FileType type) {
    return std::async(std::launch::async, [this, type] { return listed(type); });
  }
  // Of one, and behind it of the others: these in no order.
  std::map<FileType, Listing> started_listings(FileType first, const std::vector<FileType>& others) {
    std::vector<FileType> types = {first};
    types.insert(types.end(), others.begin(), others.end());
    const std::shared_future<Listings> together =
        std::async(std::launch::async, [this, types] { return listed_together(types); });
    std::map<FileType, Listing> all;
    for (std::size_t i = 0; i < types.size(); ++i)
      all[types[i]] = std::async(std::launch::async, [this, together, i, type = types[i],
                                                      before = i > 0 ? all.at(first) : Listing()] {
        if (const Listings& known = together.get()) return std::optional((*known)[i]);
        if (before.valid()) before.wait();
        return listed(type);
      });
    return all;
  }
  Listings listed_together(std::span<const FileType> types) {
    try {
      return below_->list_together(types);
    } catch (const std::exception&) {
      return std::nullopt;
    }
  }
  // What was listed before we held our lock is not what we work on.
  void list_behind_lock() {
    try {
      // Who had locked before us is seen in this one, or had ended before the indexes were listed.
      // Those that may be long come last.
      auto listings = started_listings(FileType::lock, {FileType::index, FileType::pack, FileType::snapshot});
      std::lock_guard lock(mutex_);
      listings_ = std::move(listings);
    } catch (const std::system_error&) {
      // No room for threads.
    }
  }
  Listing taken_listing(FileType type) {
    std::lock_guard lock(mutex_);
    const auto at = listings_.find(type);
    if (at == listings_.end()) return {};
    Listing listing = at->second;
    listings_.erase(at);
    // A password may have been asked for meanwhile, and a lock removed.
    if (type == FileType::lock && Clock::now() - begun_ > kLocksKept) return {};
    return listing;
  }
  void forget_listings() {
    std::map<FileType, Listing> gone;  // whose end is awaited without the lock
    std::lock_guard lock(mutex_);
    gone.swap(listings_);
  }

  bool is_absent(const Handle& handle) {
    try {
      return !below_->stat(handle);
    } catch (const std::exception&) {
      return false;
    }
  }
  File found(const Handle& handle) {
    try {
      return {std::make_shared<const Bytes>(below_->load_all(handle, kLongest)), false};
    } catch (const Error& error) {
      return {nullptr, error.kind() == ErrorKind::not_found};
    } catch (const std::exception&) {
      return {};
    }
  }
  Keys all_keys() {
    Keys keys;
    try {
      keys.files = below_->list(FileType::key);
      keys.listed = true;
      // In the order in which they are tried; a key that is listed no more was taken away.
      std::ranges::sort(keys.files, {}, &FileInfo::name);
      if (std::ranges::find(keys.files, at_hand_, &FileInfo::name) != keys.files.end()) return keys;
      for (std::size_t i = 0; i < std::min(keys.files.size(), kMostKeys); ++i)
        if (File key = found({FileType::key, keys.files[i].name}); key.bytes)
          keys.loaded[keys.files[i].name] = key.bytes;
    } catch (const std::exception&) {
      // The error is for who asks.
    }
    return keys;
  }

  std::shared_future<File> awaited(const Handle& handle) {
    std::lock_guard lock(mutex_);
    const auto found = files_.find(handle);
    return found == files_.end() ? std::shared_future<File>() : found->second;
  }
  std::optional<Bytes> prefetched_key(const std::string& name) {
    std::shared_future<Keys> keys;
    {
      std::lock_guard lock(mutex_);
      keys = keys_;
      if (!keys.valid() || !given_keys_.insert({name, true}).second) return std::nullopt;
    }
    const auto found = keys.get().loaded.find(name);
    if (found == keys.get().loaded.end()) return std::nullopt;
    return found->second->clone();
  }
  void forget() {
    std::map<Handle, std::shared_future<File>> files;
    std::shared_future<Keys> keys;
    std::lock_guard lock(mutex_);
    files.swap(files_);
    std::swap(keys, keys_);
  }

  const Clock::time_point begun_ = Clock::now();
  const std::string at_hand_;
  std::atomic<bool> will_write_;
  std::mutex mutex_;
  std::map<FileType, Listing> listings_;
  std::map<Handle, std::shared_future<File>> files_;
  std::shared_future<Keys> keys_;
  std::map<std::string, bool> given_keys_;
  bool keys_listed_ = false;
};

}  // namespace

std::unique_ptr<Backend> with_prefetched_entrance(std::unique_ptr<Backend> below, const Entrance& entrance) {
  return std::make_unique<Prefetching>(std::move(below), entrance);
}

}  // namespace respaldo::store
