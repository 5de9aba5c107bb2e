// A store that loses power: what was not yet durable may be gone, what was removed may be back.
#pragma once

#include <fmt/format.h>

#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "store/backend.h"

namespace respaldo::testing {

struct PowerCut {};

// The medium outlives the backends on it. Counts every change; throws PowerCut instead of the change number
// `cut_at` (from 1; 0: never), and at every access after it.
class PowerDisk {
 public:
  using Key = std::pair<store::FileType, std::string>;
  using Objects = std::map<Key, std::shared_ptr<const std::string>>;

  std::unique_ptr<store::Backend> open();
  void cut_at(std::uint64_t change) {
    std::lock_guard lock(mutex_);
    cut_at_ = change;
    changes_ = 0;
    off_ = false;
  }
  std::uint64_t changes() const { return changes_; }
  // What a reboot finds: each change that was not durable happened, or did not.
  void reboot(std::uint64_t seed) {
    std::lock_guard lock(mutex_);
    std::mt19937_64 generator(seed);
    std::map<Key, int> keys;
    for (const auto& [key, object] : now_) keys[key] = 0;
    for (const auto& [key, object] : durable_) keys[key] = 0;
    Objects found;
    for (const auto& [key, ignored] : keys) {
      const Objects& side = generator() % 2 == 0 ? now_ : durable_;
      if (const auto at = side.find(key); at != side.end()) found.insert(*at);
    }
    now_ = durable_ = std::move(found);
    off_ = false;
    cut_at_ = 0;
  }
  Objects objects() const { return now_; }
  void set_objects(Objects objects) {
    now_ = std::move(objects);
    durable_ = now_;
  }

 private:
  class Face;
  void change() {
    if (off_ || ++changes_ == cut_at_) {
      off_ = true;
      throw PowerCut();
    }
  }
  mutable std::mutex mutex_;
  Objects now_, durable_;
  std::uint64_t changes_ = 0, cut_at_ = 0;
  bool off_ = false;
};

class PowerDisk::Face final : public store::Backend {
 public:
  explicit Face(PowerDisk& disk) : disk_(disk) {}
  std::string location() const override { return "a disk that loses power"; }
  void create() override {}
  void save(const store::Handle& handle, std::span<const ByteView> parts,
            store::Durability durability) override {
    auto whole = std::make_shared<std::string>();
    for (const ByteView part : parts) *whole += as_text(part);
    std::lock_guard lock(disk_.mutex_);
    disk_.change();
    const Key key(handle.type, handle.name);
    disk_.now_[key] = whole;
    if (durability != store::Durability::at_sync) disk_.durable_[key] = whole;
  }
  void sync() override {
    std::lock_guard lock(disk_.mutex_);
    disk_.change();
    disk_.durable_ = disk_.now_;
  }
  Bytes load(const store::Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    const auto object = find(handle);
    if (offset > object->size() || length > object->size() - offset)
      throw Error(ErrorKind::corrupt, fmt::format("{} is too short", handle.str()));
    return Bytes::copy_of(as_bytes(*object).subspan(offset, length));
  }
  Bytes load_all(const store::Handle& handle, std::uint64_t) override {
    return Bytes::copy_of(as_bytes(*find(handle)));
  }
  std::optional<store::FileInfo> stat(const store::Handle& handle) override {
    std::lock_guard lock(disk_.mutex_);
    const auto at = disk_.now_.find({handle.type, handle.name});
    if (at == disk_.now_.end()) return std::nullopt;
    return store::FileInfo{handle.name, at->second->size()};
  }
  std::vector<store::FileInfo> list(store::FileType type) override {
    std::lock_guard lock(disk_.mutex_);
    std::vector<store::FileInfo> files;
    for (const auto& [key, object] : disk_.now_)
      if (key.first == type) files.push_back({key.second, object->size()});
    return files;
  }
  void remove(const store::Handle& handle) override {
    std::lock_guard lock(disk_.mutex_);
    disk_.change();
    disk_.now_.erase({handle.type, handle.name});
  }
  bool is_permanent(const Error&) const override { return true; }

 private:
  std::shared_ptr<const std::string> find(const store::Handle& handle) {
    std::lock_guard lock(disk_.mutex_);
    if (disk_.off_) throw PowerCut();
    const auto at = disk_.now_.find({handle.type, handle.name});
    if (at == disk_.now_.end()) throw Error(ErrorKind::not_found, fmt::format("{} is missing", handle.str()));
    return at->second;
  }
  PowerDisk& disk_;
};

inline std::unique_ptr<store::Backend> PowerDisk::open() { return std::make_unique<Face>(*this); }

}  // namespace respaldo::testing
