// Scanning images: labels, metadata areas, and the groups that they describe.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "block/layers.h"
#include "engine/image/disk_set_impl.h"

namespace respaldo::engine {

namespace {

// Text of one group in one area of one PV.
struct Copy {
  std::size_t pv = 0, area = 0;
  const std::string* text = nullptr;
  std::shared_ptr<const lvm::VolumeGroup> vg;
};

// Areas of one group carry one text: each is parsed once.
class Texts {
 public:
  // Null when it is not metadata; `problem` says why, once for each text.
  std::shared_ptr<const lvm::VolumeGroup> parse(const std::string& text, std::string& problem) {
    if (auto it = parsed_.find(text); it != parsed_.end()) return it->second;
    std::shared_ptr<const lvm::VolumeGroup> vg;
    try {
      vg = std::make_shared<lvm::VolumeGroup>(lvm::VolumeGroup::parse(text));
    } catch (const Error& error) {
      problem = error.what();
    }
    return parsed_[text] = vg;
  }

 private:
  std::map<std::string, std::shared_ptr<const lvm::VolumeGroup>> parsed_;
};

// Names that tell images in different folders apart: the last component where that is enough.
std::vector<std::string> short_names(const std::vector<FoundDisk>& disks) {
  std::map<std::string, int> count;
  for (const FoundDisk& disk : disks) ++count[disk.path.filename().native()];
  std::vector<std::string> names;
  for (const FoundDisk& disk : disks) {
    const bool device = disk.path.native().starts_with("/dev/");
    const std::string last = disk.path.filename().native();
    names.push_back(device || count[last] > 1 ? disk.path.native() : last);
  }
  return names;
}

}  // namespace

void DiskSet::Impl::scan() {
  disks.clear();
  pvs.clear();
  groups.clear();
  warnings.clear();
  for (const auto& device : devices) disks.push_back({device->path(), device->size(), std::nullopt});
  for (std::size_t i = 0; i < disks.size(); ++i) scan_disk(i);
  assemble_groups();
}

void DiskSet::Impl::scan_disk(std::size_t disk) {
  const std::string name = short_names(disks)[disk];
  try {
    disks[disk].partitions = fs::read_partition_table(*devices[disk]);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::io) throw;
    warnings.push_back(fmt::format("{}: its partition table cannot be read: {}", printable(name), error.what()));
    return;
  }
  const auto& table = disks[disk].partitions;
  if (table)
    for (const std::string& problem : table->problems)
      warnings.push_back(fmt::format("{}: {}", printable(name), problem));
  // As lvm2: a disk with partitions is not itself a PV.
  if (!table || table->partitions.empty()) {
    scan_place(disk, std::nullopt, {0, devices[disk]->size()}, name);
    return;
  }
  std::vector<std::string> ignored;
  if (lvm::read_label(*devices[disk], &ignored))
    warnings.push_back(fmt::format(
        "{}: the LVM label of the whole disk is not used, because the disk has partitions", printable(name)));
  for (const fs::Partition& partition : table->partitions)
    scan_place(disk, partition.number, partition.extent, fmt::format("{}:{}", name, partition.number));
}

void DiskSet::Impl::scan_place(std::size_t disk, std::optional<unsigned> partition, Extent extent,
                               const std::string& name) {
  FoundPv pv;
  pv.disk = disk;
  pv.partition = partition;
  pv.extent = extent;
  pv.name = name;
  const block::DevicePtr device = extent_device(pv);
  std::optional<lvm::PvLabel> label;
  try {
    label = lvm::read_label(*device, &warnings);
  } catch (const Error& error) {
    warnings.push_back(fmt::format("{}: {}", printable(name), error.what()));
  }
  if (!label) return;
  pv.label = *label;
  if (pv.label.device_size > extent.length)
    warnings.push_back(
        fmt::format("{}: the PV says that it has {}, but only {} are there: is the image truncated?",
                    printable(name), format_size(pv.label.device_size), format_size(extent.length)));
  for (const Extent& area : pv.label.metadata_areas)
    pv.areas.push_back(lvm::read_metadata_area(*device, area));
  pvs.push_back(std::move(pv));
}

void DiskSet::Impl::assemble_groups() {
  Texts texts;
  std::vector<Copy> copies;
  std::map<std::string, std::string> own_group;  // PV UUID -> UUID of the group that its own areas tell
  for (std::size_t p = 0; p < pvs.size(); ++p) {
    for (std::size_t a = 0; a < pvs[p].areas.size(); ++a) {
      const lvm::MetadataAreaState& area = pvs[p].areas[a];
      const auto damaged = [&](std::string_view what) {
        warnings.push_back(fmt::format("{}: the metadata area at byte {} is damaged: {}",
                                       printable(pvs[p].name), area.area.offset, what));
      };
      if (!area.problem.empty()) damaged(area.problem);
      if (!area.current) continue;
      std::string problem;
      auto vg = texts.parse(area.current->text, problem);
      if (!problem.empty()) damaged(problem);
      if (!vg) continue;
      const std::string uuid = pvs[p].label.id.plain();
      // An older copy in the other area does not change where the PV belongs.
      const auto own = own_group.find(uuid);
      if (own == own_group.end() || vg->find_pv(pvs[p].label.id) != nullptr) own_group[uuid] = vg->id.plain();
      copies.push_back({p, a, &area.current->text, std::move(vg)});
    }
  }
  std::map<std::string, std::vector<const Copy*>> by_group;
  for (const Copy& copy : copies) by_group[copy.vg->id.plain()].push_back(&copy);
  for (const auto& [id, members] : by_group) {
    const Copy* newest = *std::max_element(members.begin(), members.end(), [](const Copy* a, const Copy* b) {
      return a->vg->seqno < b->vg->seqno;
    });
    Group group;
    group.vg = *newest->vg;
    for (const Copy* copy : members) {
      if (copy->vg->seqno == newest->vg->seqno && *copy->text != *newest->text) group.inconsistent = true;
    }
    if (group.inconsistent)
      warnings.push_back(
          fmt::format("volume group {} has two different metadata texts with sequence number {}: "
                      "it is read by one of them, and not written",
                      printable(group.vg.name), group.vg.seqno));
    for (const Copy* copy : members) {
      if (group.vg.find_pv(pvs[copy->pv].label.id) == nullptr) {
        if (group.outdated_pvs.insert(pvs[copy->pv].label.id.plain()).second)
          warnings.push_back(
              fmt::format("{} carries outdated metadata of volume group {} and is no longer part of it",
                          printable(pvs[copy->pv].name), printable(group.vg.name)));
      } else if (copy->vg->seqno < newest->vg->seqno) {
        warnings.push_back(fmt::format(
            "{} has metadata of volume group {} with sequence number {}; the newest is {}",
            printable(pvs[copy->pv].name), printable(group.vg.name), copy->vg->seqno, newest->vg->seqno));
      }
    }
    attach_pvs(group, own_group);
    groups.push_back(std::move(group));
  }
  for (Group& group : groups) {
    for (const Group& other : groups)
      if (&other != &group && other.vg.name == group.vg.name) group.name_is_ambiguous = true;
    if (group.name_is_ambiguous)
      warnings.push_back(fmt::format("the name {} belongs to two volume groups; this one is {}",
                                     printable(group.vg.name), group.vg.id.dashed()));
  }
  std::sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    return std::tie(a.vg.name, a.vg.id) < std::tie(b.vg.name, b.vg.id);
  });
  for (const FoundPv& pv : pvs)
    if (pv.vg.empty() && pv.label.in_use && !own_group.contains(pv.label.id.plain()))
      warnings.push_back(fmt::format("{} belongs to a volume group whose metadata is not on the given disks",
                                     printable(pv.name)));
}

void DiskSet::Impl::attach_pvs(Group& group, const std::map<std::string, std::string>& own_group) {
  for (const lvm::PhysicalVolume& listed : group.vg.pvs) {
    const std::string uuid = listed.id.plain();
    const auto own = own_group.find(uuid);
    const bool elsewhere = own != own_group.end() && own->second != group.vg.id.plain();
    std::vector<std::size_t> places;
    for (std::size_t p = 0; p < pvs.size(); ++p)
      if (pvs[p].label.id == listed.id && !elsewhere) places.push_back(p);
    if (places.size() > 1) {
      group.duplicate_pvs.insert(uuid);
      std::string names;
      for (std::size_t p : places) names += (names.empty() ? "" : " and ") + printable(pvs[p].name);
      warnings.push_back(
          fmt::format("PV UUID {} is on {}: one is a clone of the other; volume group {} is not used "
                      "until only one of them is given",
                      listed.id.dashed(), names, printable(group.vg.name)));
    }
    for (std::size_t p : places) pvs[p].vg = group.vg.name;
    if (!places.empty()) group.pvs[uuid] = places.front();
    if (places.empty())
      warnings.push_back(fmt::format(
          "volume group {} lacks PV {}{}", printable(group.vg.name), listed.id.dashed(),
          listed.device_hint.empty() ? std::string()
                                     : fmt::format(" (last seen as {})", printable(listed.device_hint))));
  }
}

}  // namespace respaldo::engine
