#include "parity/parity_backend.h"

#include <fmt/format.h>

#include <cstring>
#include <set>

#include "parity/group_builder.h"
#include "parity/sidecar.h"

namespace respaldo::parity {

namespace {

using store::FileType;
using store::Handle;

class Keeping final : public ParityBackend {
 public:
  Keeping(std::unique_ptr<store::Backend> backend, const FoundSettings& found)
      : below_(std::move(backend)), settings_(found.settings), damaged_(found.damaged) {
    if (settings_.has_groups()) groups_ = std::make_unique<GroupBuilder>(*below_, settings_);
  }

  const Settings& settings() const override { return settings_; }
  bool settings_damaged() const override { return damaged_; }
  store::Backend& plain() override { return *below_; }
  void warn_with(std::function<void(std::string_view)> warn) override { warn_ = std::move(warn); }
  void ask_named_packs(AskNamedPacks ask) override { ask_ = std::move(ask); }

  std::string location() const override { return below_->location(); }
  void create() override {
    below_->create();
    save_settings(*below_, settings_);
  }

  void save(const Handle& handle, std::span<const ByteView> parts, store::Durability durability) override {
    if (!object_type_of(handle.type)) {
      below_->save(handle, parts, durability);
      return;
    }
    Bytes joined;
    const ByteView whole = parts.size() == 1 ? parts.front() : join(parts, joined);
    if (whole.empty() || whole.size() > kLongestObject) {
      below_->save(handle, parts, durability);
      return;
    }
    // What an index or a snapshot names is protected before it is named.
    if (handle.type == FileType::index || handle.type == FileType::snapshot) {
      if (groups_) groups_->flush();
      below_->sync();
    }
    const Bytes sidecar = make_sidecar(handle, whole, settings_);
    const ByteView view = sidecar;
    if (handle.type == FileType::snapshot) {
      // A backup that never came to be is not to be taken for one that was lost: not after a power cut
      // either.
      if (durability == store::Durability::at_sync) durability = store::Durability::now;
      try {
        below_->save(handle, {&whole, 1}, durability);
      } catch (const Cancelled&) {
        // The stop may have come behind it: who saves looks, and then it counts.
        if (is_there(handle)) save_late(handle, view, durability);
        throw;
      }
      save_late(handle, view, durability);
      return;
    }
    below_->save(sidecar_of(handle), {&view, 1}, durability);
    below_->save(handle, {&whole, 1}, durability);
    if (handle.type == FileType::pack && groups_) groups_->add(handle.name, whole);
  }
  void sync() override { below_->sync(); }

  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    return below_->load(handle, offset, length);
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    return below_->load_all(handle, limit);
  }
  std::optional<store::FileInfo> stat(const Handle& handle) override { return below_->stat(handle); }
  std::vector<store::FileInfo> list(FileType type) override { return below_->list(type); }
  void will_save(FileType type) override { below_->will_save(type); }
  store::Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    return below_->read_from_medium(handle, piece);
  }
  bool is_permanent(const Error& error) const override { return below_->is_permanent(error); }

  void remove(const Handle& handle) override { remove_many({&handle, 1}); }
  void remove_many(std::span<const Handle> handles) override {
    std::set<std::string> packs;
    for (const Handle& handle : handles)
      if (handle.type == FileType::pack) packs.insert(handle.name);
    LeftGroups left;
    if (!packs.empty() && groups_) left = leave_groups(*below_, *groups_, packs, ask_);
    std::vector<Handle> gone, sidecars, emptied;
    for (const Handle& handle : handles) {
      if (handle.type == FileType::pack && left.needed.contains(handle.name)) continue;
      gone.push_back(handle);
      if (object_type_of(handle.type)) sidecars.push_back(sidecar_of(handle));
    }
    for (const std::string& name : left.emptied) emptied.push_back({FileType::parity_group, name});
    below_->remove_many(sidecars);
    below_->remove_many(gone);
    below_->remove_many(emptied);
    if (groups_) left.bare = cover(*below_, *groups_, std::move(left.bare));
    if (warn_) tell(left);
  }

 private:
  static ByteView join(std::span<const ByteView> parts, Bytes& joined) {
    std::size_t size = 0;
    for (const ByteView part : parts) size += part.size();
    joined = Bytes(size);
    std::size_t at = 0;
    for (const ByteView part : parts) {
      if (!part.empty()) std::memcpy(joined.data() + at, part.data(), part.size());
      at += part.size();
    }
    return joined;
  }

  // The object is there and whole: that its sidecar is not is no reason to fail.
  bool is_there(const Handle& handle) const {
    try {
      return below_->stat(handle).has_value();
    } catch (const std::exception&) {
      return false;  // nobody can tell
    }
  }
  void save_late(const Handle& object, ByteView sidecar, store::Durability durability) {
    try {
      below_->save(sidecar_of(object), {&sidecar, 1}, durability);
    } catch (const std::exception& error) {
      if (warn_)
        warn_(fmt::format("{} has no parity yet: {}; `respaldo parity update` makes it", object.str(),
                          error.what()));
    }
  }

  void tell(const LeftGroups& left) const {
    for (const std::string& pack : left.damaged)
      warn_(
          fmt::format("{} is damaged and could not be healed; its group stays, in case more comes back. "
                      "`respaldo repair packs {}` gives it up",
                      Handle{FileType::pack, pack}.str(), pack.substr(0, 8)));
    for (const std::string& pack : left.lost)
      warn_(
          fmt::format("{} was lost and could not be brought back; its group stays, in case more comes back. "
                      "`respaldo repair snapshots --forget`, then `respaldo repair index` give it up",
                      Handle{FileType::pack, pack}.str()));
    if (!left.bare.empty())
      warn_(fmt::format("{} packs are in no group any more, and could not be brought back whole: there was no room for new "
                        "groups. When there is: `respaldo parity update`",
                        left.bare.size()));
    if (!left.needed.empty())
      warn_(fmt::format("{} packs of such groups were not removed: the next prune tries again",
                        left.needed.size()));
  }

  const std::unique_ptr<store::Backend> below_;
  const Settings settings_;
  const bool damaged_;
  std::unique_ptr<GroupBuilder> groups_;
  std::function<void(std::string_view)> warn_;
  AskNamedPacks ask_;
};

}  // namespace

std::unique_ptr<ParityBackend> with_parity(std::unique_ptr<store::Backend> backend,
                                           const Settings& settings) {
  return std::make_unique<Keeping>(std::move(backend), FoundSettings{settings, false});
}

std::unique_ptr<store::Backend> open_with_parity(std::unique_ptr<store::Backend> backend) {
  if (const auto found = load_settings(*backend))
    return std::make_unique<Keeping>(std::move(backend), *found);
  return backend;
}

ParityBackend* parity_of(store::Backend& backend) { return dynamic_cast<ParityBackend*>(&backend); }

std::string heal_first(store::Backend& backend) {
  return parity_of(backend) != nullptr ? "`respaldo check --repair` heals what parity can; for the rest: "
                                       : "";
}

store::Backend& plain(store::Backend& backend) {
  ParityBackend* parity = parity_of(backend);
  return parity != nullptr ? parity->plain() : backend;
}

}  // namespace respaldo::parity
