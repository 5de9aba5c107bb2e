#include "engine/image/hand_snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <ctime>

#include "base/printable.h"
#include "base/units.h"
#include "engine/cow_size.h"
#include "engine/image/activation_client.h"
#include "engine/image/hand_work.h"
#include "engine/image/leases.h"
#include "journal/names.h"

namespace respaldo::engine {

namespace {

std::uint64_t size_for(const CowSpace& space, const VolumeName& origin, const AcquireOptions& options) {
  std::optional<Amount> asked = options.cow_share;
  if (options.cow_size) asked = Amount::bytes(*options.cow_size);
  const std::uint64_t size = new_cow_size(space, asked, options.cow_expected, options.keep_free);
  if (size == 0 || size > space.vg_free)
    throw Error(ErrorKind::no_space,
                fmt::format("volume group {} has not enough free extents for a snapshot of {}",
                            printable(origin.vg), printable(origin.lv)),
                "extend the group, or remove a volume that is not needed");
  return size;
}

const lvm::LogicalVolume& volume_in(const DiskSet::Group& group, const VolumeName& name) {
  const lvm::LogicalVolume* lv = group.vg.find_lv(name.lv);
  if (lv == nullptr)
    throw Error(ErrorKind::not_found, fmt::format("there is no volume {}", printable(name.str())));
  return *lv;
}

Error no_snapshot(const VolumeName& name) {
  return Error(ErrorKind::refused, fmt::format("{} is not a snapshot", printable(name.str())),
               "volumes are removed with `lvm lvremove`");
}

CowSpace space_of(const DiskSet::Group& group, std::uint64_t origin) {
  CowSpace space;
  space.origin = origin;
  space.extent = group.vg.extent_bytes();
  for (const lvm::PhysicalVolume& pv : group.vg.pvs) space.vg_size += pv.pe_count * space.extent;
  space.vg_free = group.vg.free_extent_count() * space.extent;
  return space;
}

CowSpace space_of(const ActivationClient& client, const VolumeName& origin) {
  CowSpace space;
  for (const VolumeInfo& info : client.list())
    if (info.name == origin) space.origin = info.size;
  if (space.origin == 0)
    throw Error(ErrorKind::not_found, fmt::format("there is no volume {}", printable(origin.str())));
  const auto reply = client.lvm({"vgs", "--noheadings", "--nosuffix", "--units", "b", "-o",
                                 "vg_size,vg_free,vg_extent_size", origin.vg});
  must(reply, "vgs");
  if (std::sscanf(reply.out.c_str(), "%" SCNu64 " %" SCNu64 " %" SCNu64, &space.vg_size, &space.vg_free,
                  &space.extent) != 3 ||
      space.extent == 0)
    throw Error(ErrorKind::io, fmt::format("the size of volume group {} is not told", printable(origin.vg)));
  return space;
}

constexpr const char* kDead = "its COW store has overflowed";

// By how much, or why not.
SnapshotLease::Growth growth_of(const CowSpace& space, const CowFigures& cow, const VolumeName& name, std::uint64_t bytes,
                                std::uint64_t keep_free) {
  if (!cow.valid) return {0, kDead};
  if (const std::uint64_t more = cow_growth(space, cow.size, bytes, keep_free); more > 0) return {more, ""};
  if (cow.size >= largest_cow(space)) return {0, "it is as large as can ever be used"};
  return {0, space.vg_free < space.extent
                 ? fmt::format("volume group {} has no free extents", printable(name.vg))
                 : fmt::format("volume group {} has only {} free, which are kept free", printable(name.vg),
                               format_size(space.vg_free))};
}

std::string name_for(const VolumeName& origin) {
  return fmt::format("{}_{}", origin.lv.substr(0, 64), journal::random_hex(8));
}

}  // namespace

VolumeName create_hand_snapshot(const std::vector<os::Path>& images, const VolumeName& origin,
                                const std::string& given, const AcquireOptions& options) {
  const VolumeName made{origin.vg, given.empty() ? name_for(origin) : given};
  try {
    const auto disks = DiskSet::open(images, LockMode::exclusive);
    const DiskSet::Group& group = disks->group(origin.vg);
    const CowSpace space = space_of(group, group.vg.lv_bytes(volume_in(group, origin)));
    SnapshotRequest request;
    request.store.vg = origin.vg;
    request.store.name = made.lv;
    request.store.size = {SizeSign::none, SizeBase::bytes, size_for(space, origin, options)};
    request.store.tags = {std::string(journal::kManualTag)};
    request.origin = origin.lv;
    OpContext context = quiet_context(*disks, "respaldo snapshot create " + origin.str());
    create_snapshot(context, request);
  } catch (const HeldByActivation& held) {
    const ActivationClient client(held.address());
    const std::uint64_t size = size_for(space_of(client, origin), origin, options);
    must(client.lvm({"lvcreate", "-s", "-n", made.lv, "-L", fmt::format("{}b", size), "--addtag",
                     std::string(journal::kManualTag), origin.str()}),
         "lvcreate");
  }
  return made;
}

SnapshotLease::Growth extend_hand_snapshot(const std::vector<os::Path>& images, const VolumeName& snapshot,
                                           std::uint64_t bytes) {
  try {
    const auto disks = DiskSet::open(images, LockMode::exclusive);
    const DiskSet::Group& group = disks->group(snapshot.vg);
    const auto binding = group.vg.snapshot_binding(volume_in(group, snapshot));
    if (!binding) throw no_snapshot(snapshot);
    CowSpace space = space_of(group, binding->virtual_extents * group.vg.extent_bytes());
    space.chunk = binding->chunk_sectors * kSector;
    const auto growth = growth_of(space, figures_of(*disks, group, *binding), snapshot, bytes, 0);
    if (growth.added == 0) return growth;
    ResizeRequest request;
    request.name = snapshot;
    request.size = {SizeSign::plus, SizeBase::bytes, growth.added};
    OpContext context = quiet_context(*disks, "respaldo snapshot extend " + snapshot.str());
    resize_lv(context, request);
    return growth;
  } catch (const HeldByActivation& held) {
    return extend_served_snapshot(ActivationClient(held.address()), snapshot, bytes, Amount::bytes(0));
  }
}

SnapshotLease::Growth extend_served_snapshot(const ActivationClient& client, const VolumeName& snapshot,
                                             std::uint64_t bytes, const std::optional<Amount>& keep_free) {
  const auto all = client.list();
  const auto info = std::ranges::find(all, snapshot, &VolumeInfo::name);
  if (info == all.end() || !info->origin || !info->cow) throw no_snapshot(snapshot);
  CowSpace space = space_of(client, {snapshot.vg, *info->origin});
  space.chunk = info->cow->chunk;
  const auto growth = growth_of(space, *info->cow, snapshot, bytes, kept_free(space, keep_free));
  if (growth.added == 0) return growth;
  must(client.lvm({"lvextend", "-y", "-L", fmt::format("+{}b", growth.added), snapshot.str()}), "lvextend");
  // Larger, and dead all the same: it was full before.
  if (!client.status(snapshot).valid) return {0, kDead};
  return growth;
}

void remove_hand_snapshot(const std::vector<os::Path>& images, const VolumeName& snapshot, const std::string& uuid) {
  try {
    const auto disks = DiskSet::open(images, LockMode::exclusive);
    const DiskSet::Group& group = disks->group(snapshot.vg);
    const lvm::LogicalVolume& lv = volume_in(group, snapshot);
    if (!group.vg.snapshot_binding(lv)) throw no_snapshot(snapshot);
    require_same(snapshot, uuid, lv.id.dashed());
    OpContext context = quiet_context(*disks, "respaldo snapshot remove " + snapshot.str());
    remove_lv(context, snapshot);
  } catch (const HeldByActivation& held) {
    const ActivationClient client(held.address());
    bool found = false;
    for (const VolumeInfo& info : client.list())
      if (info.name == snapshot) {
        found = true;
        if (!info.origin || !info.cow) throw no_snapshot(snapshot);
        require_same(snapshot, uuid, info.uuid);
      }
    if (!found)
      throw Error(ErrorKind::not_found, fmt::format("there is no volume {}", printable(snapshot.str())));
    client.remove(snapshot);
  }
}

}  // namespace respaldo::engine
