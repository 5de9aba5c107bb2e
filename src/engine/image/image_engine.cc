// The image engine: every call opens the images, or talks to the activation that serves them.
#include "engine/image/image_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "block/file_device.h"
#include "dm/cow_store.h"
#include "engine/image/activation_client.h"
#include "engine/image/base_client.h"
#include "engine/image/hand_snapshots.h"
#include "engine/image/hand_volumes.h"
#include "engine/image/leases.h"
#include "engine/image/live_volumes.h"
#include "engine/image/vg_edit.h"
#include "engine/quiet_reads.h"

namespace respaldo::engine {

namespace {

// The PVs below an LV that are not there.
void collect_missing(const DiskSet::Group& group, const lvm::LogicalVolume& lv, std::set<std::string>& seen,
                     std::set<std::string>& missing) {
  if (!seen.insert(lv.name).second) return;
  for (const lvm::Segment& segment : lv.segments) {
    const auto area = [&](const lvm::SegmentArea& a) {
      if (const lvm::PhysicalVolume* pv = group.vg.find_pv(a.name); pv != nullptr) {
        if (!group.pvs.contains(pv->id.plain()) || pv->missing_flag()) missing.insert(pv->id.dashed());
      }
    };
    if (const auto* striped = std::get_if<lvm::StripedSegment>(&segment.body))
      std::for_each(striped->areas.begin(), striped->areas.end(), area);
    if (const auto* mirror = std::get_if<lvm::MirrorSegment>(&segment.body))
      std::for_each(mirror->areas.begin(), mirror->areas.end(), area);
    lvm::Segment copy = segment;
    for_each_lv_reference(group.vg, copy, [&](std::string& name) {
      if (const lvm::LogicalVolume* below = group.vg.find_lv(name))
        collect_missing(group, *below, seen, missing);
    });
  }
  if (const auto binding = group.vg.snapshot_binding(lv))
    collect_missing(group, *binding->origin, seen, missing);
}

bool listed(const lvm::LogicalVolume& lv, const lvm::VolumeGroup& vg) {
  return lv.visible() || vg.snapshot_binding(lv).has_value();
}

VolumeInfo info_of(const DiskSet& disks, const DiskSet::Group& group, const lvm::LogicalVolume& lv) {
  VolumeInfo info;
  info.name = {group.vg.name, lv.name};
  info.uuid = lv.id.dashed();
  info.vg_uuid = group.vg.id.dashed();
  info.size = group.vg.lv_bytes(lv);
  info.kind = lv.kind();
  std::set<std::string> seen, missing;
  collect_missing(group, lv, seen, missing);
  info.missing_pvs.assign(missing.begin(), missing.end());
  try {
    if (const auto binding = group.vg.snapshot_binding(lv)) {
      info.kind = "snapshot";
      info.origin = binding->origin->name;
      info.size = binding->virtual_extents * group.vg.extent_bytes();
      info.cow = figures_of(disks, group, *binding);
    } else if (const auto* thin =
                   lv.segments.empty() ? nullptr : std::get_if<lvm::ThinSegment>(&lv.segments.front().body)) {
      info.origin = thin->origin;
    }
    disks.open_lv(group, lv);
  } catch (const Error& error) {
    info.unreadable = error.what();
  }
  return info;
}

// Offers names that the user may have meant.
Error no_such_volume(const VolumeName& name, const std::vector<std::string>& there,
                     const std::vector<std::string>& warnings = {}) {
  std::string hint = there.empty() ? "the given disks hold no volume" : "there is: ";
  for (std::size_t i = 0; i < there.size(); ++i) {
    if (i == 12) {
      hint += ", ...";
      break;
    }
    hint += (i == 0 ? "" : ", ") + printable(there[i]);
  }
  // A disk that cannot be read may be why.
  for (const std::string& warning : warnings) hint += "; " + warning;
  return Error(ErrorKind::not_found, fmt::format("there is no volume {}", printable(name.str())), hint);
}

struct Place {
  const DiskSet::Group* group;
  const lvm::LogicalVolume* lv;
};

Place locate(const DiskSet& disks, const VolumeName& name) {
  const auto names = [&] {
    std::vector<std::string> all;
    for (const DiskSet::Group& group : disks.groups())
      for (const lvm::LogicalVolume& lv : group.vg.lvs)
        if (listed(lv, group.vg) && !is_snapshot_pseudo(lv)) all.push_back(group.vg.name + "/" + lv.name);
    return all;
  };
  const bool known = std::any_of(disks.groups().begin(), disks.groups().end(), [&](const DiskSet::Group& g) {
    return g.vg.name == name.vg || g.vg.id.dashed() == name.vg;
  });
  if (!known) throw no_such_volume(name, names(), disks.warnings());
  const DiskSet::Group& group = disks.group(name.vg);
  const lvm::LogicalVolume* lv = group.vg.find_lv(name.lv);
  if (lv == nullptr || is_snapshot_pseudo(*lv)) throw no_such_volume(name, names(), disks.warnings());
  return {&group, lv};
}

// Error(refused), with the reason, for a volume that cannot be written.
std::shared_ptr<LiveVolumes::Handle> open_to_write(LiveVolumes& volumes, const VolumeName& name) {
  const auto volume = volumes.find(name);
  if (volume && !volume->unwritable.empty())
    throw Error(ErrorKind::refused, fmt::format("volume {} is not written: {}", printable(name.str()), volume->unwritable));
  return volumes.open(name);
}

// Writing to a quiet image, with copy on write towards the volume's snapshots.
class QuietVolume final : public block::WritableDevice {
 public:
  QuietVolume(std::unique_ptr<DiskSet> disks, const VolumeName& name)
      : volumes_(std::move(disks), false),
        handle_(open_to_write(volumes_, name)),
        name_(name.str()),
        size_(handle_->size()) {}
  ~QuietVolume() override {
    handle_.reset();
    try {
      volumes_.flush();
    } catch (...) {
      // flush() is where a failure is told.
    }
  }
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    handle_->read(offset, out);
  }
  std::vector<block::Run> runs(Extent range) const override { return handle_->runs(range); }
  void write_at(std::uint64_t offset, ByteView bytes) override { handle_->write(offset, bytes); }
  void zero(Extent range) override { handle_->zero(range); }
  void flush() override { handle_->flush(); }

 private:
  LiveVolumes volumes_;
  std::shared_ptr<LiveVolumes::Handle> handle_;
  std::string name_;
  std::uint64_t size_;
};

class ImageEngine final : public VolumeEngine, public BaseEngine, public VolumeChanges, public QuietReads {
 public:
  explicit ImageEngine(std::vector<os::Path> images) : images_(std::move(images)) {}

  EngineKind kind() const override { return EngineKind::image; }

  std::vector<VolumeInfo> list() override {
    return with<std::vector<VolumeInfo>>(
        [](std::shared_ptr<DiskSet> disks) {
          std::vector<VolumeInfo> all;
          for (const DiskSet::Group& group : disks->groups())
            for (const lvm::LogicalVolume& lv : group.vg.lvs)
              if (listed(lv, group.vg) && !is_snapshot_pseudo(lv)) all.push_back(info_of(*disks, group, lv));
          return all;
        },
        [](const ActivationClient& client) { return client.list(); });
  }

  VolumeInfo find(const VolumeName& name) override {
    return with<VolumeInfo>(
        [&](std::shared_ptr<DiskSet> disks) {
          const Place place = locate(*disks, name);
          return info_of(*disks, *place.group, *place.lv);
        },
        [&](const ActivationClient& client) {
          std::vector<std::string> names;
          for (VolumeInfo& info : client.list()) {
            if (info.name == name) return info;
            names.push_back(info.name.str());
          }
          throw no_such_volume(name, names);
        });
  }

  std::string vg_config(const std::string& vg) override {
    return with<std::string>(
        [&](std::shared_ptr<DiskSet> disks) {
          return disks->group(vg).vg.text(lvm::TextStyle::file, "Saved by respaldo backup",
                                          static_cast<std::int64_t>(std::time(nullptr)));
        },
        [&](const ActivationClient& client) { return client.vg_config(vg); });
  }

  std::vector<std::string> warnings() override {
    return with<std::vector<std::string>>([](std::shared_ptr<DiskSet> disks) { return disks->warnings(); },
                                          [](const ActivationClient&) { return std::vector<std::string>(); });
  }

  block::DevicePtr open_read(const VolumeName& name) override {
    return with<block::DevicePtr>(
        [&](std::shared_ptr<DiskSet> disks) {
          const Place place = locate(*disks, name);
          return disks->open_lv(*place.group, *place.lv);
        },
        [&](const ActivationClient& client) -> block::DevicePtr {
          find(name);
          return std::make_shared<block::FileDevice>(client.file_of(name),
                                                     block::FileDevice::Access::read_only);
        });
  }

  block::WritableDevicePtr open_write(const VolumeName& name) override {
    try {
      auto disks = DiskSet::open(images_, LockMode::exclusive);
      locate(*disks, name);
      return std::make_shared<QuietVolume>(std::move(disks), name);
    } catch (const HeldByActivation& held) {
      const ActivationClient client(held.address());
      find(name);
      const os::Path file = client.file_of(name);
      try {
        auto device = std::make_shared<block::FileDevice>(file, block::FileDevice::Access::read_write);
        client.claim(name);  // after the opening, so that nobody comes in between
        return device;
      } catch (const Error& error) {
        if (error.error_number() != EBUSY) throw;
        throw Error(ErrorKind::busy, fmt::format("volume {} is in use: a restore writes it", printable(name.str())),
                    "wait until that has ended");
      }
    }
  }

  std::unique_ptr<SnapshotLease> acquire(const VolumeName& name, const AcquireOptions& options) override {
    return hold(name, options, LockMode::shared);
  }
  std::unique_ptr<SnapshotLease> acquire_for_base(const VolumeName& name,
                                                  const AcquireOptions& options) override {
    return hold(name, options, LockMode::exclusive);
  }

  std::unique_ptr<SnapshotLease> hold_as_it_lies(const VolumeName& name) override {
    return with<std::unique_ptr<SnapshotLease>>(
        [&](std::shared_ptr<DiskSet> disks) {
          const Place place = locate(*disks, name);
          return lease_as_it_lies(disks, *place.group, *place.lv, false);
        },
        [](const ActivationClient&) { return nullptr; });
  }

  VolumeName create_snapshot(const VolumeName& origin, const std::string& name,
                             const AcquireOptions& options) override {
    return create_hand_snapshot(images_, origin, name, options);
  }
  void remove_snapshot(const VolumeName& snapshot, const std::string& uuid) override {
    remove_hand_snapshot(images_, snapshot, uuid);
  }

  SnapshotLease::Growth extend_snapshot(const VolumeName& snapshot, std::uint64_t bytes) override {
    return extend_hand_snapshot(images_, snapshot, bytes);
  }

  CleanReport clean(const CleanOptions& options) override { return clean_images(images_, options); }
  bool is_half_made(const VolumeName& name) override {
    return with<bool>(
        [&](const std::shared_ptr<DiskSet>& disks) { return is_leftover(locate(*disks, name).lv->tags); },
        [&](const ActivationClient& client) { return is_served_leftover(client, name); });
  }
  bool is_abandoned(const VolumeName& name) override {
    return engine::is_abandoned(
        name, with<std::vector<std::string>>(
                  [&](const std::shared_ptr<DiskSet>& disks) { return locate(*disks, name).lv->tags; },
                  [&](const ActivationClient& client) { return served_tags(client, name); }));
  }
  void adopt(const VolumeName& name, const std::string& uuid) override { adopt_image_volume(images_, name, uuid); }
  std::unique_ptr<NewVolume> make_volume(const NewVolumeRequest& request) override {
    return make_image_volume(images_, request);
  }
  MergePlan plan_merge(const VolumeName& snapshot) override {
    return plan_image_merge(images_, find(snapshot));
  }
  MergeOutcome merge(const MergePlan& plan, Progress& progress, const std::stop_token& stop) override {
    return merge_image_snapshot(images_, plan, progress, stop);
  }

  std::unique_ptr<SnapshotLease> acquire_snapshot(const VolumeName& name, SnapshotUse) override {
    const VolumeInfo info = find(name);
    if (!info.origin)
      throw Error(ErrorKind::usage, fmt::format("{} is not a snapshot", printable(name.str())),
                  "name a snapshot, or leave --from-snapshot out");
    return with<std::unique_ptr<SnapshotLease>>(
        [&](std::shared_ptr<DiskSet> disks) -> std::unique_ptr<SnapshotLease> {
          const Place place = locate(*disks, name);
          return lease_as_it_lies(disks, *place.group, *place.lv, true);
        },
        [&](const ActivationClient& client) { return lease_of_given(client, name); });
  }

  std::vector<BaseInfo> list_bases() override {
    return with<std::vector<BaseInfo>>(
        [](const std::shared_ptr<DiskSet>& disks) {
          std::vector<BaseInfo> bases;
          for (const DiskSet::Group& group : disks->groups())
            for (BaseInfo& base : bases_in(*disks, group)) bases.push_back(std::move(base));
          return bases;
        },
        [](const ActivationClient& client) { return served_bases(client); });
  }

  void remove_base(const VolumeName& base, const std::string& uuid) override {
    const std::vector<BaseInfo> bases = list_bases();
    if (std::ranges::none_of(bases, [&](const BaseInfo& b) { return b.name == base && b.uuid == uuid; }))
      throw Error(ErrorKind::refused, fmt::format("{} is no base", printable(base.str())));
    with<bool>(
        [&](const std::shared_ptr<DiskSet>& disks) {
          remove_quiet_snapshot(*disks, base, "respaldo base remove");
          return true;
        },
        [&](const ActivationClient& client) {
          client.remove(base);
          return true;
        },
        LockMode::exclusive);
  }

 private:
  // A share of the origin, or of what the activation's `lvm vgs` says of the group.
  static std::uint64_t store_size(const ActivationClient& client, const VolumeInfo& origin, const Amount& share) {
    Amount::Whole whole;
    whole.origin = origin.size;
    if (share.of != Amount::Of::origin) {
      const auto reply = client.lvm({"vgs", "--noheadings", "--nosuffix", "--units", "b", "-o", "vg_size,vg_free",
                                     origin.name.vg});
      if (reply.exit_code != 0 ||
          std::sscanf(reply.out.c_str(), "%" SCNu64 " %" SCNu64, &whole.vg, &whole.free) != 2)
        throw Error(ErrorKind::io, fmt::format("the size of volume group {} is not told", printable(origin.name.vg)));
    }
    return std::max<std::uint64_t>(share.resolve(whole), 1);
  }

  std::unique_ptr<SnapshotLease> hold(const VolumeName& name, const AcquireOptions& options, LockMode mode) {
    return with<std::unique_ptr<SnapshotLease>>(
        [&](std::shared_ptr<DiskSet> disks) {
          const Place place = locate(*disks, name);
          return mode == LockMode::exclusive
                     ? lease_with_snapshot(disks, place.group->vg.name, place.lv->name, options)
                     : lease_as_it_lies(disks, *place.group, *place.lv, false);
        },
        [&](const ActivationClient& client) -> std::unique_ptr<SnapshotLease> {
          const VolumeInfo info = find(name);
          // A snapshot stands still by itself, unless somebody writes to it: then there is no way to hold it.
          if (info.origin && info.cow) return lease_of_given(client, name);
          std::optional<std::uint64_t> size = options.cow_size;
          if (options.cow_share) size = store_size(client, info, *options.cow_share);
          return lease_of_own(client, name, size, options);
        },
        mode);
  }

  template <class Result, class OnImages, class OnActivation>
  Result with(OnImages on_images, OnActivation on_activation, LockMode mode = LockMode::shared) {
    // While a lease of ours keeps everybody else out, it is the way in.
    std::shared_ptr<DiskSet> disks = held_.lock();
    if (disks) return on_images(std::move(disks));
    try {
      disks = DiskSet::open(images_, mode);
    } catch (const HeldByActivation& held) {
      return on_activation(ActivationClient(held.address()));
    }
    if (mode == LockMode::exclusive) held_ = disks;
    return on_images(std::move(disks));
  }

  std::vector<os::Path> images_;
  std::weak_ptr<DiskSet> held_;  // open exclusively by a lease
};

}  // namespace

std::unique_ptr<VolumeEngine> make_image_engine(std::vector<os::Path> images) {
  return std::make_unique<ImageEngine>(std::move(images));
}

}  // namespace respaldo::engine
