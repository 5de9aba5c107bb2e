// Leases on images that nobody else may write.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "base/hex.h"
#include "base/printable.h"
#include "base/units.h"
#include "dm/cow_store.h"
#include "engine/image/hand_work.h"
#include "engine/image/leases.h"
#include "engine/image/lvm_ops.h"
#include "engine/image/vg_edit.h"
#include "journal/names.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kStoreChunk = 4096;

std::string host_name() {
  char name[256] = "";
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

// As a backup's own work: of this host, and without a question.
OpContext lease_context(DiskSet& disks, std::string command) {
  OpContext context = quiet_context(disks, std::move(command));
  context.host = host_name();
  context.force = 1;
  return context;
}

BaseIdentity identity_of(const DiskSet::Group& group, const lvm::VolumeGroup::SnapshotBinding& binding) {
  BaseIdentity identity;
  identity.token = base_token(binding.cow->tags);
  identity.source = change::Source::thick;
  identity.snapshot_uuid = binding.cow->id.dashed();
  identity.origin_uuid = binding.origin->id.dashed();
  identity.vg_uuid = group.vg.id.dashed();
  identity.size = binding.virtual_extents * group.vg.extent_bytes();
  identity.chunk = binding.chunk_sectors * kSector;
  return identity;
}

class QuietBase final : public Base {
 public:
  QuietBase(std::shared_ptr<DiskSet> disks, VolumeName name, BaseIdentity identity)
      : disks_(std::move(disks)), name_(std::move(name)), identity_(std::move(identity)) {}
  std::string name() const override { return name_.str(); }
  const BaseIdentity& identity() const override { return identity_; }
  change::ChangeMap changes() const override {
    const DiskSet::Group& group = disks_->group(identity_.vg_uuid);
    const lvm::LogicalVolume* lv = group.vg.find_lv(name_.lv);
    if (lv == nullptr || lv->id.dashed() != identity_.snapshot_uuid)
      throw Error(ErrorKind::not_found, fmt::format("{} is gone", printable(name_.str())));
    return change::cow_delta(*disks_->open_layer(group, *lv, "cow"), identity_.chunk, identity_.size,
                             identity_.token);
  }
  void remove() override { remove_quiet_snapshot(*disks_, name_, "respaldo backup: the old base"); }

 private:
  std::shared_ptr<DiskSet> disks_;
  VolumeName name_;
  BaseIdentity identity_;
};

class QuietLease : public SnapshotLease, public BaseKeeper {
 public:
  QuietLease(std::shared_ptr<DiskSet> disks, VolumeName volume, std::string how)
      : disks_(std::move(disks)), volume_(std::move(volume)), how_(std::move(how)) {
    disks_->watch();
    const auto& [group, lv] = locate();
    device_ = disks_->open_lv(*group, *lv);
    if (const auto binding = group->vg.snapshot_binding(*lv)) cow_ = figures_of(*disks_, *group, *binding);
  }
  const block::Device& device() const override { return *device_; }
  std::string_view how() const override { return how_; }
  std::string snapshot_name() const override { return how_ == "given" ? volume_.str() : ""; }
  std::optional<CowFigures> cow() const override { return cow_; }
  // The store was whole when it was opened. Our lock keeps our own commands out; who does not ask for it is found out.
  void require_valid() const override { disks_->require_unwritten(); }
  void release() override {}
  std::optional<BaseIdentity> as_base() const override { return std::nullopt; }
  std::string base_problem() const override { return "no snapshot was made"; }
  void keep_as_base(const std::string&) override {
    throw Error(ErrorKind::unsupported, "no base can be kept: " + base_problem());
  }

  std::vector<std::unique_ptr<Base>> bases() override {
    if (how_ == "given") return {};
    const auto [group, lv] = locate();
    std::vector<std::pair<std::int64_t, std::unique_ptr<Base>>> found;
    for (const auto& binding : group->vg.snapshots_of(*lv)) {
      if (binding.merging || base_token(binding.cow->tags).empty()) continue;
      found.emplace_back(binding.cow->creation_time.value_or(0),
                         std::make_unique<QuietBase>(disks_, VolumeName{group->vg.name, binding.cow->name},
                                                     identity_of(*group, binding)));
    }
    std::ranges::sort(found, std::greater(), [](const auto& base) { return base.first; });
    std::vector<std::unique_ptr<Base>> bases;
    for (auto& base : found) bases.push_back(std::move(base.second));
    return bases;
  }

 protected:
  struct Place {
    const DiskSet::Group* group;
    const lvm::LogicalVolume* lv;
  };
  Place locate() const {
    const DiskSet::Group& group = disks_->group(volume_.vg);
    return {&group, group.vg.find_lv(volume_.lv)};
  }

  std::shared_ptr<DiskSet> disks_;
  const VolumeName volume_;

 private:
  const std::string how_;
  block::DevicePtr device_;
  std::optional<CowFigures> cow_;
};

// A fifth of the volume, as any snapshot of a run; never more than can be used, nor than there is.
std::uint64_t store_extents(const DiskSet::Group& group, const lvm::LogicalVolume& lv,
                            std::optional<std::uint64_t> wanted) {
  const std::uint64_t origin = group.vg.lv_bytes(lv), extent = group.vg.extent_bytes();
  const std::uint64_t bytes = wanted.value_or(
      std::min(dm::cow_store_maximum(origin, kStoreChunk), std::max<std::uint64_t>(origin / 5, 64 * kMiB)));
  const std::uint64_t free = group.vg.free_extent_count(), extents = (bytes + extent - 1) / extent;
  if (free == 0)
    throw Error(ErrorKind::no_space,
                fmt::format("volume group {} has no free extent for it", printable(group.vg.name)));
  return wanted ? extents : std::min(extents, free);
}

// With a snapshot of what is read: empty, since nobody writes.
class KeepingLease final : public QuietLease {
 public:
  KeepingLease(std::shared_ptr<DiskSet> disks, VolumeName volume, const AcquireOptions& options)
      : QuietLease(std::move(disks), std::move(volume), "direct"), run_tag_(options.run_tag) {
    try {
      disks_->write_ourselves([&] { make(options); });
    } catch (const Error& error) {
      problem_ = error.what();
    }
  }
  ~KeepingLease() override {
    try {
      release();
    } catch (...) {
      // The caller is already told of a failure; the snapshot carries our tag and can be found.
    }
  }

  std::optional<BaseIdentity> as_base() const override {
    if (snapshot_.empty()) return std::nullopt;
    const auto [group, lv] = locate();
    const lvm::LogicalVolume* snapshot = group->vg.find_lv(snapshot_);
    return identity_of(*group, *group->vg.snapshot_binding(*snapshot));
  }
  std::string base_problem() const override { return problem_; }
  void keep_as_base(const std::string& token) override {
    if (snapshot_.empty()) return QuietLease::keep_as_base(token);
    OpContext context = lease_context(*disks_, "respaldo backup: the new base");
    LvChange change;
    change.tags.add = {std::string(kBaseTag), std::string(kBaseTokenTagPrefix) + token};
    change.tags.remove = tags();
    // Refused when another program wrote: the store does not know of that.
    disks_->write_ourselves([&] { change_lv(context, {volume_.vg, snapshot_}, change); });
    kept_ = true;
  }
  void release() override {
    if (snapshot_.empty() || kept_) return;
    const std::string snapshot = std::exchange(snapshot_, {});
    remove_quiet_snapshot(*disks_, {volume_.vg, snapshot}, "respaldo backup: no base");
  }

 private:
  // With the owner, so that `clean` finds it when we could not remove it.
  std::vector<std::string> tags() const {
    return {run_tag_, std::string(journal::kTag), journal::Owner::self().tag()};
  }
  void make(const AcquireOptions& options) {
    const auto [group, lv] = locate();
    if (group->vg.snapshot_binding(*lv)) throw Error(ErrorKind::refused, "it is a snapshot itself");
    SnapshotRequest request;
    request.store.vg = volume_.vg;
    request.store.name = journal::new_volume_name();  // a run has several when it has several volumes
    request.store.size = {SizeSign::none, SizeBase::extents, store_extents(*group, *lv, options.cow_size)};
    request.store.tags = tags();
    request.origin = volume_.lv;
    request.chunk_bytes = kStoreChunk;
    OpContext context = lease_context(*disks_, "respaldo backup --keep-base");
    // The groups are new afterwards: names are kept, not places.
    create_snapshot(context, request);
    snapshot_ = request.store.name;
  }

  const std::string run_tag_;
  std::string snapshot_, problem_;
  bool kept_ = false;
};

}  // namespace

CowFigures figures_of(const DiskSet& disks, const DiskSet::Group& group,
                      const lvm::VolumeGroup::SnapshotBinding& binding) {
  const auto store = disks.open_layer(group, *binding.cow, "cow");
  const dm::CowStatus status = dm::CowStore::load(*store, binding.chunk_sectors * kSector).status();
  return {status.total, status.chunk, status.used, status.percent_x100(), status.valid};
}

std::vector<BaseInfo> bases_in(const DiskSet& disks, const DiskSet::Group& group) {
  std::vector<BaseInfo> bases;
  for (const lvm::LogicalVolume& lv : group.vg.lvs) {
    const auto binding = group.vg.snapshot_binding(lv);
    const std::string token = base_token(lv.tags);
    if (!binding || token.empty()) continue;
    BaseInfo info{{group.vg.name, lv.name}, binding->origin->name, lv.id.dashed(), token, {}};
    try {
      info.cow = figures_of(disks, group, *binding);
    } catch (const Error&) {
      info.cow = CowFigures{};
      info.cow->valid = false;  // it cannot be read: nobody can use it
    }
    bases.push_back(std::move(info));
  }
  return bases;
}

void remove_quiet_snapshot(DiskSet& disks, const VolumeName& snapshot, const std::string& why) {
  OpContext context = lease_context(disks, why);
  disks.write_ourselves([&] { remove_lv(context, snapshot); });
}

std::unique_ptr<SnapshotLease> lease_as_it_lies(std::shared_ptr<DiskSet> disks, const DiskSet::Group& group,
                                                const lvm::LogicalVolume& lv, bool given) {
  return std::make_unique<QuietLease>(std::move(disks), VolumeName{group.vg.name, lv.name},
                                      given ? "given" : "direct");
}

std::unique_ptr<SnapshotLease> lease_with_snapshot(std::shared_ptr<DiskSet> disks, const std::string& vg,
                                                   const std::string& lv, const AcquireOptions& options) {
  return std::make_unique<KeepingLease>(std::move(disks), VolumeName{vg, lv}, options);
}

}  // namespace respaldo::engine
