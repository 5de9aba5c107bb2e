// An engine of volumes in memory.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/base.h"

namespace respaldo::backup {

// A base that says what it is told to say.
struct FakeBase {
  engine::BaseIdentity identity;
  ExtentSet changed;
  std::optional<Error> failure;
};

struct FakeVolume {
  block::DevicePtr device;
  std::string how = "snapshot", uuid;  // uuid: empty: by its name
  std::optional<std::string> origin;
  std::optional<engine::CowFigures> cow;
  bool release_fails = false;
  std::optional<engine::BaseIdentity> next_base;  // what its snapshot would be as one
  bool base_is_lost_meanwhile = false;            // while it is read: its store was extended elsewhere
  std::vector<FakeBase> bases;
};

class FakeEngine final : public engine::VolumeEngine, public engine::BaseEngine {
 public:
  std::map<engine::VolumeName, FakeVolume> volumes;
  std::atomic<bool> snapshots_live = true;  // false: every lease is dead
  int acquired = 0, held = 0;
  std::optional<std::uint64_t> asked_cow_size;
  std::function<void()> on_release = [] {};
  std::string config;  // of every group; empty: something that is none
  std::function<void()> on_config = [] {};

  engine::EngineKind kind() const override { return engine::EngineKind::image; }
  std::vector<engine::VolumeInfo> list() override { return {}; }
  engine::VolumeInfo find(const engine::VolumeName& name) override {
    const auto found = volumes.find(name);
    if (found == volumes.end()) throw Error(ErrorKind::not_found, "there is no volume " + name.str());
    engine::VolumeInfo info;
    info.name = name;
    info.uuid = found->second.uuid.empty() ? "uuid-of-" + name.lv : found->second.uuid;
    info.vg_uuid = "uuid-of-" + name.vg;
    info.size = found->second.device->size();
    info.kind = found->second.origin ? "snapshot" : "linear";
    info.origin = found->second.origin;
    return info;
  }
  std::string vg_config(const std::string& vg) override {
    on_config();
    return config.empty() ? "# group " + vg + "\n" : config;
  }
  std::vector<std::string> warnings() override { return {}; }
  block::DevicePtr open_read(const engine::VolumeName& name) override { return volumes.at(name).device; }
  block::WritableDevicePtr open_write(const engine::VolumeName&) override {
    throw Error(ErrorKind::unsupported, "not here");
  }
  std::unique_ptr<engine::SnapshotLease> acquire(const engine::VolumeName& name,
                                                 const engine::AcquireOptions& options) override {
    asked_cow_size = options.cow_size;
    return lease(name, volumes.at(name).how);
  }
  std::unique_ptr<engine::SnapshotLease> acquire_for_base(const engine::VolumeName& name,
                                                          const engine::AcquireOptions& options) override {
    return acquire(name, options);
  }
  std::vector<engine::BaseInfo> list_bases() override { return {}; }
  void remove_base(const engine::VolumeName&, const std::string&) override {}
  std::unique_ptr<engine::SnapshotLease> acquire_snapshot(const engine::VolumeName& name,
                                                          engine::SnapshotUse) override {
    return lease(name, "given");
  }

 private:
  class Lease final : public engine::SnapshotLease, public engine::BaseKeeper {
   public:
    Lease(FakeEngine& engine, FakeVolume& volume, std::string name, std::string how)
        : engine_(engine), volume_(volume), name_(std::move(name)), how_(std::move(how)) {
      ++engine_.acquired;
      ++engine_.held;
    }
    ~Lease() override {
      if (!released_) --engine_.held;
    }
    const block::Device& device() const override { return *volume_.device; }
    std::string_view how() const override { return how_; }
    std::string snapshot_name() const override { return how_ == "direct" ? "" : name_; }
    std::optional<engine::CowFigures> cow() const override { return volume_.cow; }
    void require_valid() const override {
      if (!engine_.snapshots_live) throw Error(ErrorKind::overflow, "the snapshot died");
    }
    void release() override {
      if (volume_.release_fails) throw Error(ErrorKind::busy, "somebody has it open");
      released_ = true;
      engine_.on_release();
      --engine_.held;
    }
    std::vector<std::unique_ptr<engine::Base>> bases() override {
      std::vector<std::unique_ptr<engine::Base>> found;
      for (const FakeBase& base : volume_.bases) found.push_back(std::make_unique<FoundBase>(volume_, base));
      return found;
    }
    std::optional<engine::BaseIdentity> as_base() const override {
      const bool lost = volume_.base_is_lost_meanwhile && asked_++ > 0;
      return lost ? std::nullopt : volume_.next_base;
    }
    std::string base_problem() const override { return "there is no room"; }
    void keep_as_base(const std::string& token) override {
      FakeBase base{*volume_.next_base, {}, {}};
      base.identity.token = token;
      volume_.bases.insert(volume_.bases.begin(), base);
    }

   private:
    class FoundBase final : public engine::Base {
     public:
      FoundBase(FakeVolume& volume, FakeBase base) : volume_(volume), base_(std::move(base)) {}
      std::string name() const override { return "vg0/base"; }
      const engine::BaseIdentity& identity() const override { return base_.identity; }
      change::ChangeMap changes() const override {
        if (base_.failure) throw Error(*base_.failure);
        return {base_.identity.size, base_.changed, base_.identity.source, base_.identity.token};
      }
      void remove() override {
        std::erase_if(volume_.bases,
                      [&](const FakeBase& other) { return other.identity.token == base_.identity.token; });
      }

     private:
      FakeVolume& volume_;
      const FakeBase base_;
    };

    FakeEngine& engine_;
    mutable int asked_ = 0;
    FakeVolume& volume_;
    const std::string name_, how_;
    bool released_ = false;
  };

  std::unique_ptr<engine::SnapshotLease> lease(const engine::VolumeName& name, std::string how) {
    return std::make_unique<Lease>(*this, volumes.at(name), name.str(), std::move(how));
  }
};

// Data in a sea of known zeros, as large as wanted.
class SparseDevice final : public block::Device {
 public:
  SparseDevice(std::uint64_t size, std::map<std::uint64_t, Bytes> islands, bool tells_holes = true)
      : size_(size), islands_(std::move(islands)), tells_holes_(tells_holes) {}
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return "sparse"; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    if (out.empty()) return;
    std::memset(out.data(), 0, out.size());
    for (const auto& [at, bytes] : islands_) {
      const Extent both = intersect({at, bytes.size()}, {offset, out.size()});
      if (!both.empty())
        std::memcpy(out.data() + (both.offset - offset), bytes.data() + (both.offset - at), both.length);
    }
  }
  std::vector<block::Run> runs(Extent range) const override {
    const Extent inside = intersect(range, {0, size_});
    if (!tells_holes_) return block::Device::runs(range);
    std::vector<block::Run> runs;
    std::uint64_t done = inside.offset;
    for (const auto& [at, bytes] : islands_) {
      const Extent both = intersect({at, bytes.size()}, inside);
      if (both.empty()) continue;
      block::append_run(runs, {{done, both.offset - done}, block::RunKind::zero});
      block::append_run(runs, {both, block::RunKind::data});
      done = both.end();
    }
    block::append_run(runs, {{done, inside.end() - done}, block::RunKind::zero});
    return runs;
  }

 private:
  const std::uint64_t size_;
  const std::map<std::uint64_t, Bytes> islands_;
  const bool tells_holes_;
};

}  // namespace respaldo::backup
