// A store that hands everything on: what layers are made of.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/backend.h"

namespace respaldo::store {

class Forward : public Backend {
 public:
  // Mostly its only owner.
  explicit Forward(std::shared_ptr<Backend> below) : below_(std::move(below)) {}

  std::string location() const override { return below_->location(); }
  void create() override { below_->create(); }
  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    below_->save(handle, parts, durability);
  }
  void sync() override { below_->sync(); }
  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    return below_->load(handle, offset, length);
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    return below_->load_all(handle, limit);
  }
  std::optional<FileInfo> stat(const Handle& handle) override { return below_->stat(handle); }
  // Whoever changes it hands list_together() on, or not, in the same sense: by itself it is not handed on.
  std::vector<FileInfo> list(FileType type) override { return below_->list(type); }
  void will_save(FileType type) override { below_->will_save(type); }
  void remove(const Handle& handle) override { below_->remove(handle); }
  void remove_many(std::span<const Handle> handles) override { below_->remove_many(handles); }
  Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    return below_->read_from_medium(handle, piece);
  }
  bool keeps(FileType type) const override { return below_->keeps(type); }
  bool is_permanent(const Error& error) const override { return below_->is_permanent(error); }

 protected:
  const std::shared_ptr<Backend> below_;
};

}  // namespace respaldo::store
