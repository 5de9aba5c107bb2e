#include <fmt/format.h>

#include <map>
#include <mutex>

#include "store/backend.h"

namespace respaldo::store {

namespace {

class MemoryBackend final : public Backend {
 public:
  std::string location() const override { return "memory"; }
  void create() override {
    if (stat({FileType::config, ""})) throw Error(ErrorKind::refused, "memory holds a repository already");
  }
  void save(const Handle& handle, std::span<const ByteView> parts, Durability) override {
    std::string whole;
    for (const ByteView part : parts) whole += as_text(part);
    std::lock_guard lock(mutex_);
    objects_[handle.type][handle.name] = std::move(whole);
  }
  void sync() override {}
  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    std::lock_guard lock(mutex_);
    const std::string& object = find(handle);
    if (offset > object.size() || length > object.size() - offset)
      throw Error(ErrorKind::corrupt, fmt::format("{} ends before byte {}", handle.str(), offset + length));
    return Bytes::copy_of(as_bytes(object).subspan(offset, length));
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    std::lock_guard lock(mutex_);
    const std::string& object = find(handle);
    if (object.size() > limit) throw Error(ErrorKind::corrupt, fmt::format("{} is too large", handle.str()));
    return Bytes::copy_of(as_bytes(object));
  }
  std::optional<FileInfo> stat(const Handle& handle) override {
    std::lock_guard lock(mutex_);
    const auto& objects = objects_[handle.type];
    auto it = objects.find(handle.name);
    if (it == objects.end()) return std::nullopt;
    return FileInfo{it->first, it->second.size()};
  }
  std::vector<FileInfo> list(FileType type) override {
    std::lock_guard lock(mutex_);
    std::vector<FileInfo> found;
    for (const auto& [name, object] : objects_[type]) found.push_back({name, object.size()});
    return found;
  }
  void remove(const Handle& handle) override {
    std::lock_guard lock(mutex_);
    objects_[handle.type].erase(handle.name);
  }
  bool is_permanent(const Error&) const override { return true; }

 private:
  const std::string& find(const Handle& handle) {
    const auto& objects = objects_[handle.type];
    auto it = objects.find(handle.name);
    if (it == objects.end()) throw Error(ErrorKind::not_found, fmt::format("{} is missing", handle.str()));
    return it->second;
  }
  std::mutex mutex_;
  std::map<FileType, std::map<std::string, std::string>> objects_;
};

}  // namespace

std::unique_ptr<Backend> open_memory() { return std::make_unique<MemoryBackend>(); }

}  // namespace respaldo::store
