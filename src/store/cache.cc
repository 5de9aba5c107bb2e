#include "store/cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <set>
#include <unordered_set>

#include "base/hex.h"
#include "base/printable.h"
#include "crypto/crypto.h"
#include "store/cache_folder.h"
#include "store/compare.h"

namespace respaldo::store {

namespace {

constexpr std::uint64_t kLongestPack = 256U << 20;  // that is loaded for the sake of one tree

bool is_hash_of(const std::string& name, ByteView bytes) { return to_hex(crypto::sha256(bytes)) == name; }

class Caching final : public CachingBackend {
 public:
  Caching(std::unique_ptr<Backend> below, const CacheOptions& options)
      : below_(std::move(below)), options_(options) {}

  void use(const std::string& repository_id) override {
    try {
      folder_ = std::make_unique<CacheFolder>(options_.folder, repository_id, options_.limit);
      usable_ = true;
    } catch (const Error& error) {
      give_up(error);
    }
  }
  void tree_packs(std::function<bool(const std::string&)> holds_trees) override {
    quietly([&] { folder_->keep_only(FileType::pack, holds_trees); });
    std::lock_guard lock(mutex_);
    holds_trees_ = std::make_shared<const std::function<bool(const std::string&)>>(std::move(holds_trees));
  }
  void keep_tree_pack(const std::string& name, ByteView pack) override {
    quietly([&] { folder_->put({FileType::pack, name}, pack); });
    std::lock_guard lock(mutex_);
    if (usable_) own_.insert(name);
  }

  std::string location() const override { return below_->location(); }
  void create() override { below_->create(); }
  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    below_->save(handle, parts, durability);
    if (handle.type != FileType::snapshot && handle.type != FileType::index) return;
    quietly([&] {
      Bytes joined;
      const ByteView whole = parts.size() == 1 ? parts.front() : join(parts, joined);
      if (is_hash_of(handle.name, whole)) folder_->put(handle, whole);
    });
  }
  void sync() override { below_->sync(); }

  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    if (handle.type == FileType::pack && usable_ && is_tree_pack(handle.name))
      if (auto bytes = load_cached(handle, offset, length)) return std::move(*bytes);
    return below_->load(handle, offset, length);
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    if (handle.type != FileType::snapshot && handle.type != FileType::index)
      return below_->load_all(handle, limit);
    std::optional<Bytes> cached;
    quietly([&] { cached = folder_->get(handle); });
    if (cached && cached->size() <= limit) return std::move(*cached);
    Bytes bytes = below_->load_all(handle, limit);
    quietly([&] {
      if (is_hash_of(handle.name, bytes)) folder_->put(handle, bytes);
    });
    return bytes;
  }
  std::optional<FileInfo> stat(const Handle& handle) override { return below_->stat(handle); }
  void will_save(FileType type) override { below_->will_save(type); }
  std::vector<FileInfo> list(FileType type) override {
    std::vector<FileInfo> found = below_->list(type);
    if (CacheFolder::caches(type))
      quietly([&] {
        std::unordered_set<std::string_view> names;
        for (const FileInfo& file : found) names.insert(file.name);
        folder_->keep_only(type, [&](const std::string& name) { return names.contains(name); });
      });
    return found;
  }
  void remove(const Handle& handle) override { remove_many({&handle, 1}); }
  void remove_many(std::span<const Handle> handles) override {
    below_->remove_many(handles);
    for (const Handle& handle : handles)
      if (CacheFolder::caches(handle.type)) quietly([&] { folder_->drop(handle); });
  }
  // What is read to see whether it is there is not in the cache.
  Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    return below_->read_from_medium(handle, piece);
  }
  bool is_permanent(const Error& error) const override { return below_->is_permanent(error); }

 private:
  static ByteView join(std::span<const ByteView> parts, Bytes& joined) {
    joined = Bytes(size_of(parts));
    std::size_t at = 0;
    for (const ByteView part : parts) {
      if (!part.empty()) std::memcpy(joined.data() + at, part.data(), part.size());
      at += part.size();
    }
    return joined;
  }

  bool is_tree_pack(const std::string& name) {
    std::shared_ptr<const std::function<bool(const std::string&)>> holds;
    {
      std::lock_guard lock(mutex_);
      if (unfit_.contains(name)) return false;
      if (own_.contains(name)) return true;
      holds = holds_trees_;
    }
    return holds && (*holds)(name);
  }

  // A range of a pack that is cached, after it was loaded if need be: once, however many ask.
  std::optional<Bytes> load_cached(const Handle& handle, std::uint64_t offset, std::uint64_t length) {
    std::optional<Bytes> range;
    quietly([&] { range = folder_->get_range(handle, offset, length); });
    if (range) return range;
    {
      std::unique_lock lock(mutex_);
      if (loading_.contains(handle.name)) {
        loaded_.wait(lock, [&] { return !loading_.contains(handle.name); });
        lock.unlock();
        quietly([&] { range = folder_->get_range(handle, offset, length); });
        return range;
      }
      loading_.insert(handle.name);
    }
    struct Loaded {
      Caching& cache;
      const std::string& name;
      ~Loaded() {
        std::lock_guard lock(cache.mutex_);
        cache.loading_.erase(name);
        cache.loaded_.notify_all();
      }
    } const loaded{*this, handle.name};
    std::optional<Bytes> whole;
    quietly([&] { whole = folder_->get(handle); });
    if (!whole) whole = fetch(handle);
    if (!whole || offset > whole->size() || length > whole->size() - offset) return std::nullopt;
    return Bytes::copy_of(whole->view(offset, length));
  }
  // Absent when it is damaged: its blobs are then read one by one, and each says for itself how it is.
  std::optional<Bytes> fetch(const Handle& handle) {
    std::optional<Bytes> whole;
    bool kept = false;
    try {
      whole = below_->load_all(handle, kLongestPack);
      if (!is_hash_of(handle.name, *whole)) whole.reset();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
    }
    if (whole) quietly([&] { kept = folder_->put(handle, *whole); });
    if (!kept) {
      std::lock_guard lock(mutex_);
      unfit_.insert(handle.name);
    }
    return whole;
  }

  template <class Body>
  void quietly(Body body) {
    if (!usable_) return;
    try {
      body();
    } catch (const Error& error) {
      give_up(error);
    }
  }
  void give_up(const Error& error) {
    usable_ = false;
    if (!told_.exchange(true) && options_.tell)
      options_.tell(fmt::format("the cache in {} cannot be used, going on without it: {}",
                                printable(options_.folder), error.what()));
  }

  const std::unique_ptr<Backend> below_;
  const CacheOptions options_;
  std::unique_ptr<CacheFolder> folder_;  // set before usable_
  std::atomic<bool> usable_ = false, told_ = false;
  std::mutex mutex_;
  std::condition_variable loaded_;
  std::shared_ptr<const std::function<bool(const std::string&)>> holds_trees_;
  std::set<std::string> own_, unfit_, loading_;  // packs
};

}  // namespace

std::string usual_cache_folder(const std::function<std::optional<std::string>(const char*)>& environment) {
  const auto value = [&](const char* name) { return environment(name).value_or(""); };
  if (std::string own = value("RESPALDO_CACHE_DIR"); !own.empty()) return own;
  if (const std::string base = value("XDG_CACHE_HOME"); base.starts_with('/')) return base + "/respaldo";
  if (const std::string home = value("HOME"); home.starts_with('/') && home != "/")
    return home + "/.cache/respaldo";
  return ::geteuid() == 0 ? "/var/cache/respaldo" : "";
}

std::unique_ptr<CachingBackend> with_cache(std::unique_ptr<Backend> below, const CacheOptions& options) {
  return std::make_unique<Caching>(std::move(below), options);
}

}  // namespace respaldo::store
