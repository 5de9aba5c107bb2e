#include "machine/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/units.h"
#include "journal/names.h"

namespace respaldo::machine {

namespace {

std::string disk_words(const Device& disk) {
  return disk.model.empty() ? disk.path : fmt::format("{} ({})", disk.path, disk.model);
}

template <class Items, class Words>
std::string joined(const Items& items, Words words) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + std::string(words(item));
  return text;
}

// Volumes that a backup would be made of: no snapshots, no insides of pools.
bool is_origin(const engine::LvRow& lv) { return !lv.hidden && !lv.is_thick_snapshot() && !lv.is_pool(); }

bool is_snapshot(const engine::LvRow& lv) { return !lv.origin.empty(); }

}  // namespace

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::ok:
      return "ok";
    case Severity::note:
      return "note";
    case Severity::warning:
      return "warning";
    case Severity::problem:
      return "problem";
  }
  return "note";
}

std::uint64_t cow_worst_case(std::uint64_t origin, std::uint64_t chunk) {
  if (chunk < 16) return 0;
  const std::uint64_t chunks = (origin + chunk - 1) / chunk, entries = chunk / 16;
  return (1 + chunks + chunks / entries + 1) * chunk;
}

Findings repository_on_same_disk(const Picture& picture, std::string_view repository) {
  if (repository.empty()) return {};
  const Mount* mount = mount_holding(picture, repository);
  const Device* device = mount == nullptr ? nullptr : device_of(picture, *mount);
  if (device == nullptr) return {};
  const auto below = disks_below(picture, *device);
  const std::set<const Device*> repository_disks(below.begin(), below.end());
  // The repository's own volume is none to be saved, unless it is the system's.
  const engine::LvRow* own = mount->target == "/" ? nullptr : volume_of(picture, *device);
  std::map<const Device*, std::vector<std::string>> shared;
  for (const engine::LvRow& lv : picture.lvs) {
    if (!is_origin(lv) || &lv == own) continue;
    for (const Device* disk : disks_below(picture, lv))
      if (repository_disks.contains(disk)) shared[disk].push_back(lv.str());
  }
  Findings found;
  for (const auto& [disk, volumes] : shared)
    found.push_back(
        {Severity::warning, "repository_on_same_disk", std::string(repository),
         fmt::format("the repository {} lies on {}, and so do {}: when that disk dies, the backups die with "
                     "the volumes",
                     repository, disk_words(*disk), joined(volumes, [](const auto& v) { return v; })),
         "keep the repository on another disk (`respaldo target create DISK`) or on another machine"});
  return found;
}

Findings misaligned_pvs(const Picture& picture) {
  Findings found;
  for (const engine::PvRow& pv : picture.pvs) {
    const Device* device = pv.missing ? nullptr : resolve(picture, pv.name);
    if (device == nullptr) continue;
    const Topology& topology = device->topology;
    const std::uint64_t sector = topology.physical_sector;
    if (sector <= 512) continue;
    const auto offset = [&](std::uint64_t at) {
      const auto shift = static_cast<std::uint64_t>(std::max<std::int64_t>(topology.alignment_offset, 0));
      return (at + sector - shift % sector) % sector;
    };
    const bool partition = device->kind == DeviceKind::partition;
    // Of a partition the kernel says how far its first byte is from a physical sector's.
    const bool start_off = topology.alignment_offset != 0 && partition;
    const bool data_off = pv.data_start % sector != 0 && !start_off;
    if (!start_off && !data_off && !(topology.alignment_offset < 0)) {
      if (partition || offset(pv.data_start) == 0) continue;
    }
    found.push_back(
        {Severity::warning, "pv_misaligned", pv.name,
         start_off
             ? fmt::format(
                   "{} starts between two physical sectors of its disk ({} each): every write costs a read",
                   pv.name, format_size(sector))
             : fmt::format("the data of the PV {} starts at byte {}, which is no multiple of its disk's "
                           "physical sector ({})",
                           pv.name, pv.data_start, format_size(sector)),
         "move its volumes away (`pvmove`) and make the partition and the PV anew, aligned to 1 MiB"});
  }
  return found;
}

Findings groups_on_removable_disks(const Picture& picture) {
  Findings found;
  for (const engine::VgRow& vg : picture.vgs) {
    std::set<const Device*> removable, fixed;
    for (const engine::PvRow& pv : picture.pvs) {
      const Device* device = pv.vg == vg.name ? resolve(picture, pv.name) : nullptr;
      if (device == nullptr) continue;
      for (const Device* disk : disks_below(picture, *device))
        (disk->removable || disk->transport == "usb" ? removable : fixed).insert(disk);
    }
    // A group that is all on one such disk goes and comes as a whole; that is how backup disks are made.
    if (removable.empty() || (fixed.empty() && removable.size() == 1)) continue;
    found.push_back({Severity::warning, "group_needs_removable_disk", vg.name,
                     fmt::format("the group {} depends on {}, which can be unplugged: without it the group "
                                 "is partial, and its volumes there are gone",
                                 vg.name, joined(removable, [](const Device* d) { return disk_words(*d); })),
                     fmt::format("give the disk a group of its own: `pvmove` what lies on it away, then "
                                 "`vgreduce {}` and `respaldo target create`",
                                 vg.name)});
  }
  return found;
}

Findings fstab_that_hangs_the_boot(const Picture& picture) {
  Findings found;
  for (const FstabEntry& entry : picture.fstab) {
    const bool device_like = entry.source.starts_with("/dev/") || entry.source.starts_with("UUID=") ||
                             entry.source.starts_with("LABEL=") || entry.source.starts_with("PARTUUID=") ||
                             entry.source.starts_with("PARTLABEL=");
    if (!device_like || entry.source.starts_with("/dev/root")) continue;
    const bool optional = entry.has_option("nofail") || entry.has_option("noauto");
    const Device* device = resolve(picture, entry.source);
    const std::string what = entry.type == "swap" ? "swap" : entry.target;
    if (device == nullptr && !optional)
      found.push_back({Severity::problem, "fstab_device_missing", what,
                       fmt::format("{} names {} for {}, which is not there, without nofail: the next boot "
                                   "waits for it and stops in the emergency shell",
                                   picture.fstab_path, entry.source, what),
                       "add the options nofail,x-systemd.device-timeout=10s to the line, or remove it"});
    else if (device == nullptr)
      found.push_back(
          {Severity::note, "fstab_device_absent", what,
           fmt::format("{} for {} is not there now; the boot does not need it", entry.source, what), ""});
    constexpr std::string_view kUnstable[] = {"/dev/sd",  "/dev/hd",   "/dev/vd",
                                              "/dev/xvd", "/dev/nvme", "/dev/dm-"};
    const bool unstable =
        std::any_of(std::begin(kUnstable), std::end(kUnstable),
                    [&](std::string_view prefix) { return entry.source.starts_with(prefix); });
    if (unstable)
      found.push_back(
          {Severity::warning, "fstab_unstable_name", what,
           fmt::format("{} names {} for {}: such names change when disks are added or found in another order",
                       picture.fstab_path, entry.source, what),
           device != nullptr && !device->content.uuid.empty()
               ? fmt::format("write UUID={} instead", device->content.uuid)
               : std::string("write UUID=... instead (blkid shows it)")});
    const bool removable = device != nullptr && [&] {
      const auto disks = disks_below(picture, *device);
      return std::any_of(disks.begin(), disks.end(),
                         [](const Device* d) { return d->removable || d->transport == "usb"; });
    }();
    if (removable && !optional && entry.target != "/")
      found.push_back({Severity::warning, "fstab_removable_without_nofail", what,
                       fmt::format("{} wants {} at {}, which is on a disk that can be unplugged, without "
                                   "nofail: a boot without that disk hangs",
                                   picture.fstab_path, entry.source, what),
                       "add the options nofail,x-systemd.device-timeout=10s to the line"});
  }
  return found;
}

Findings endangered_snapshots(const Picture& picture) {
  Findings found;
  for (const engine::LvRow& lv : picture.lvs) {
    if (!lv.is_thick_snapshot()) continue;
    if (lv.snapshot_invalid) {
      found.push_back({Severity::problem, "snapshot_invalid", lv.str(),
                       fmt::format("the snapshot {} of {} is dead: its COW store of {} overflowed", lv.str(),
                                   lv.origin, format_size(lv.size)),
                       fmt::format("nothing in it can be saved; remove it with `lvremove {}`", lv.str())});
      continue;
    }
    if (lv.merging) continue;
    const double fill = lv.data_percent_x100.value_or(0) / 100.0;
    if (fill >= 80)
      found.push_back(
          {fill >= 95 ? Severity::problem : Severity::warning, "snapshot_nearly_full", lv.str(),
           fmt::format("the COW store of {} ({}) is {:.2f}% full; when it is full the snapshot dies",
                       lv.str(), format_size(lv.size), fill),
           fmt::format("extend it (`lvextend -L +SIZE {0}`), or remove it (`lvremove {0}`)", lv.str())});
    const std::uint64_t origin = lv.origin_size;
    const std::uint64_t worst = cow_worst_case(origin, lv.chunk_size);
    if (lv.size < worst)
      found.push_back(
          {Severity::note, "snapshot_can_overflow", lv.str(),
           fmt::format(
               "the COW store of {} ({}) is smaller than the worst case ({}): enough writes to {} kill it",
               lv.str(), format_size(lv.size), format_size(worst), lv.origin),
           "watch it while it lives, or extend it"});
  }
  return found;
}

Findings stale_respaldo_snapshots(const Picture& picture) {
  Findings found;
  for (const engine::LvRow& lv : picture.lvs) {
    if (lv.hidden) continue;
    for (const std::string& tag : lv.tags) {
      const auto owner = journal::Owner::from_tag(tag);
      if (!owner || (owner->here() && owner->alive())) continue;
      found.push_back(
          {Severity::warning, "stale_snapshot", lv.str(),
           owner->here()
               ? fmt::format("{} was made by a run of respaldo that has ended, and was left behind", lv.str())
               : fmt::format("{} was made by respaldo on another machine, and was left behind", lv.str()),
           // Whether that machine still works with it cannot be seen from here.
           owner->here()
               ? std::string("`respaldo clean` removes it")
               : fmt::format("`respaldo clean` leaves it alone: when nobody works with it there any more, "
                             "`lvremove {}` removes it",
                             lv.str())});
    }
  }
  return found;
}

Findings mounted_snapshots(const Picture& picture) {
  Findings found;
  for (const engine::LvRow& lv : picture.lvs) {
    const Device* device = is_snapshot(lv) ? device_of(picture, lv) : nullptr;
    if (device == nullptr || lv.is_thin_volume()) continue;
    for (const Mount* mount : mounts_of(picture, *device))
      found.push_back({Severity::warning, "snapshot_mounted", lv.str(),
                       fmt::format("{} is mounted from the snapshot {}: it cannot be removed, and when its "
                                   "COW store fills, the files there give errors",
                                   mount->target, lv.str()),
                       fmt::format("`umount {}` when it is no longer needed", mount->target)});
  }
  return found;
}

Findings duplicates(const Picture& picture) {
  Findings found;
  std::map<std::string, std::set<std::string>> groups;
  for (const engine::VgRow& vg : picture.vgs) groups[vg.name].insert(vg.uuid);
  for (const auto& [name, uuids] : groups)
    if (uuids.size() > 1)
      found.push_back({Severity::problem, "duplicate_group_name", name,
                       fmt::format("{} groups are named {}: {}", uuids.size(), name,
                                   joined(uuids, [](const auto& u) { return u; })),
                       fmt::format("rename one by its UUID: `vgrename {} NEWNAME`", *uuids.rbegin())});
  std::map<std::string, std::vector<const Device*>> pvs;
  for (const Device& device : picture.devices) {
    if (device.content.type != "LVM2_member" || device.content.uuid.empty()) continue;
    pvs[device.content.uuid].push_back(&device);
  }
  for (auto& [uuid, devices] : pvs) {
    // One of an array's legs, a multipath's paths or a crypt layer shows the same bytes as what stands on it.
    const auto stands_on_another = [&, &all = devices](const Device* device) {
      return std::any_of(all.begin(), all.end(), [&](const Device* other) {
        if (other == device) return false;
        const auto above = all_above(picture, *other);
        return std::find(above.begin(), above.end(), device) != above.end();
      });
    };
    std::vector<const Device*> apart;
    for (const Device* device : devices)
      if (!stands_on_another(device)) apart.push_back(device);
    if (apart.size() > 1)
      found.push_back(
          {Severity::problem, "duplicate_pv_uuid", uuid,
           fmt::format("the PV {} is there {} times: {}. lvm2 takes one of them, perhaps the wrong one", uuid,
                       apart.size(), joined(apart, [](const Device* d) { return d->shown_path(); })),
           "unplug the copy, or give it new UUIDs with `vgimportclone`"});
  }
  return found;
}

Findings missing_pvs(const Picture& picture) {
  Findings found;
  for (const engine::VgRow& vg : picture.vgs) {
    if (vg.missing_pvs == 0 && !vg.partial) continue;
    std::vector<std::string> lost;
    for (const engine::LvRow& lv : picture.lvs)
      if (lv.vg == vg.name && !lv.hidden && lv.health == "partial") lost.push_back(lv.str());
    std::vector<std::string> uuids;
    for (const engine::PvRow& pv : picture.pvs)
      if (pv.missing && pv.vg == vg.name) uuids.push_back(pv.uuid);
    found.push_back(
        {Severity::problem, "group_partial", vg.name,
         fmt::format(
             "the group {} lacks {} of its {} PVs{}{}", vg.name, std::max<std::uint64_t>(vg.missing_pvs, 1),
             vg.pv_count,
             uuids.empty() ? "" : fmt::format(" ({})", joined(uuids, [](const auto& u) { return u; })),
             lost.empty() ? "; no volume lies on it"
                          : fmt::format("; damaged: {}", joined(lost, [](const auto& v) { return v; }))),
         "plug the disk in again; if it is lost, restore the volumes elsewhere before `vgreduce "
         "--removemissing`"});
  }
  return found;
}

Findings groups_without_room(const Picture& picture) {
  Findings found;
  for (const engine::VgRow& vg : picture.vgs) {
    const bool thick = std::any_of(picture.lvs.begin(), picture.lvs.end(), [&](const engine::LvRow& lv) {
      return lv.vg == vg.name && is_origin(lv) && !lv.is_thin_volume();
    });
    // A group that is one target's has nothing that would be snapshotted.
    const bool target = std::find(vg.tags.begin(), vg.tags.end(), "backup_target") != vg.tags.end();
    if (vg.free > 0 || !thick || target) continue;
    found.push_back({Severity::warning, "group_full", vg.name,
                     fmt::format("the group {} has no free extents: no snapshot of its volumes can be made "
                                 "while they are mounted",
                                 vg.name),
                     "shrink or remove a volume, or add a disk (`vgextend`)"});
  }
  return found;
}

Findings hidden_pvs(const Picture& picture) {
  Findings found;
  if (!picture.lvm_known) return found;
  std::set<std::string> listed;
  for (const engine::PvRow& pv : picture.pvs)
    if (!pv.missing) listed.insert(pv.uuid);
  for (const Device& device : picture.devices)
    if (device.content.type == "LVM2_member" && !device.content.uuid.empty() &&
        !listed.contains(device.content.uuid))
      found.push_back({Severity::warning, "pv_hidden", device.shown_path(),
                       fmt::format("{} holds a PV ({}) that lvm2 does not show", device.shown_path(),
                                   device.content.uuid),
                       "look at filter and global_filter in /etc/lvm/lvm.conf, and at the devices file "
                       "(`lvmdevices --adddev`)"});
  return found;
}

Findings full_thin_pools(const Picture& picture) {
  Findings found;
  for (const engine::LvRow& lv : picture.lvs) {
    if (lv.segment_type != "thin-pool") continue;
    const double data = lv.data_percent_x100.value_or(0) / 100.0,
                 metadata = lv.metadata_percent_x100.value_or(0) / 100.0;
    if (std::max(data, metadata) < 80) continue;
    found.push_back(
        {std::max(data, metadata) >= 95 ? Severity::problem : Severity::warning, "thin_pool_nearly_full",
         lv.str(),
         fmt::format("the thin pool {} is nearly full: data {:.2f}%, metadata {:.2f}%; when it is full, "
                     "writes to all its volumes fail",
                     lv.str(), data, metadata),
         fmt::format(
             "extend it: `lvextend -L +SIZE {0}` (data), `lvextend --poolmetadatasize +SIZE {0}` (metadata)",
             lv.str())});
  }
  return found;
}

Findings find_all(const Picture& picture, std::string_view repository) {
  Findings all = repository_on_same_disk(picture, repository);
  for (const auto family : {missing_pvs, duplicates, hidden_pvs, endangered_snapshots, full_thin_pools,
                            stale_respaldo_snapshots, mounted_snapshots, groups_without_room,
                            groups_on_removable_disks, misaligned_pvs, fstab_that_hangs_the_boot}) {
    Findings some = family(picture);
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  return all;
}

}  // namespace respaldo::machine
