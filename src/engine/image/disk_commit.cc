// Committing a group's metadata to its PVs.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "base/printable.h"
#include "engine/image/disk_set_impl.h"

namespace respaldo::engine {

namespace {

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

Error refuse(const lvm::VolumeGroup& vg, std::string_view why, std::string hint) {
  return Error(ErrorKind::refused, fmt::format("volume group {} is not changed: {}", printable(vg.name), why),
               std::move(hint));
}

// Whose metadata is it? Not ours to change in these cases.
void require_ours(const DiskSet::Group& group, DiskSet::Contradiction contradiction) {
  const lvm::VolumeGroup& vg = group.vg;
  if (group.name_is_ambiguous)
    throw refuse(vg, "another group has the same name", "give the disks of one of them only");
  DiskSet::Group judged = group;
  if (contradiction == DiskSet::Contradiction::settle) judged.inconsistent = false;
  if (const auto refusal = write_refusal(judged)) throw *refusal;
  if (!group.duplicate_pvs.empty())
    throw refuse(vg, "one of its PVs is there twice (a cloned disk)", "give only one of the two disks");
  if (!has(vg.status, "WRITE")) throw refuse(vg, "it is read-only", "allow writing with lvm2: vgchange -p rw");
}

bool usable(const lvm::MetadataAreaState& area) { return area.header_valid && !area.ignored; }

}  // namespace

std::optional<Error> write_refusal(const DiskSet::Group& group) {
  const lvm::VolumeGroup& vg = group.vg;
  if (group.inconsistent)
    return refuse(vg, "its metadata copies contradict each other",
                  "take the right one from the disk that has it, given alone (vgcfgbackup -f FILE), then write it to all "
                  "disks (vgcfgrestore -f FILE)");
  if (vg.system_id && !vg.system_id->empty())
    return refuse(vg, fmt::format("it belongs to the host with system ID {}", printable(*vg.system_id)),
                  "change it there, or take the system ID away there (vgchange --systemid '')");
  if (vg.lock_type && *vg.lock_type != "none")
    return refuse(vg, fmt::format("it is shared between hosts (lock type {})", printable(*vg.lock_type)),
                  "change it on a host that holds its locks");
  if (has(vg.status, "EXPORTED")) return refuse(vg, "it is exported", "import it first (vgimport)");
  return std::nullopt;
}

void DiskSet::commit(const std::string& vg_name, lvm::VolumeGroup next, std::string_view description,
                     Contradiction contradiction) {
  Impl& impl = *impl_;
  impl.require_exclusive();
  const Group* old = nullptr;
  for (const Group& group : impl.groups)
    if (group.vg.name == vg_name) old = &group;
  if (old != nullptr) require_ours(*old, contradiction);
  if (old == nullptr || next.name != vg_name)
    for (const Group& group : impl.groups)
      if (group.vg.name == next.name)
        throw Error(ErrorKind::refused,
                    fmt::format("A volume group called {} already exists.", printable(next.name)));
  next.seqno = old != nullptr ? old->vg.seqno + 1 : 1;

  // Where the new text goes.
  std::vector<std::size_t> members, leavers;
  for (const lvm::PhysicalVolume& pv : next.pvs) {
    std::optional<std::size_t> found;
    for (std::size_t p = 0; p < impl.pvs.size(); ++p) {
      if (impl.pvs[p].label.id != pv.id) continue;
      if (found)
        throw Error(ErrorKind::refused, fmt::format("PV {} is on two disks", pv.id.dashed()),
                    "give only one of them");
      found = p;
    }
    const bool listed_before = old != nullptr && old->vg.find_pv(pv.id) != nullptr;
    if (!found && pv.missing_flag()) continue;
    if (!found)
      throw Error(ErrorKind::refused,
                  fmt::format("volume group {} is not changed while PV {} is missing", printable(next.name),
                              pv.id.dashed()),
                  "add its disk with --disk, or give it up with vgreduce --removemissing");
    const FoundPv& place = impl.pvs[*found];
    if (!listed_before && !place.vg.empty())
      throw Error(ErrorKind::refused, fmt::format("Physical volume '{}' is already in volume group '{}'",
                                                  printable(place.name), printable(place.vg)));
    members.push_back(*found);
  }
  if (old != nullptr)
    for (const lvm::PhysicalVolume& pv : old->vg.pvs)
      if (next.find_pv(pv.id) == nullptr)
        if (auto at = old->pvs.find(pv.id.plain()); at != old->pvs.end()) leavers.push_back(at->second);

  std::vector<block::WritableDevicePtr> devices;
  std::vector<lvm::CommitTarget> targets;
  for (const std::size_t p : members) {
    devices.push_back(impl.writable_pv(p));
    for (const lvm::MetadataAreaState& area : impl.pvs[p].areas)
      if (usable(area)) targets.push_back({devices.back().get(), area.area});
  }
  if (targets.empty())
    throw Error(ErrorKind::refused,
                fmt::format("volume group {} would have no metadata area to write to", printable(next.name)),
                "make one of its PVs with --metadatacopies 1");

  const std::string text =
      next.text(lvm::TextStyle::on_disk, description, static_cast<std::int64_t>(std::time(nullptr)));
  // What we write must be what we would accept.
  lvm::VolumeGroup::parse(text);
  const auto step = [&](std::string_view what) {
    if (impl.before_step) impl.before_step(what);
  };
  lvm::commit_metadata(targets, text, impl.before_step);
  // The flag follows the commit: a PV that a group lists without it is mended by the next commit, while an
  // orphan that carries it could not be used again.
  for (std::size_t i = 0; i < members.size(); ++i) {
    lvm::PvLabel label = impl.pvs[members[i]].label;
    if (label.in_use && label.extension_version >= 2) continue;
    label.in_use = true;
    step("label");
    lvm::write_label(*devices[i], label);
    devices[i]->flush();
  }
  for (const std::size_t p : leavers) {
    const auto device = impl.writable_pv(p);
    lvm::PvLabel label = impl.pvs[p].label;
    step("clear");
    for (const lvm::MetadataAreaState& area : impl.pvs[p].areas)
      if (area.header_valid) lvm::clear_metadata_area(*device, area.area);
    device->flush();
    label.in_use = false;
    step("label");
    lvm::write_label(*device, label);
    device->flush();
  }
  impl.scan();
}

void DiskSet::remove_group(const std::string& vg_name) {
  Impl& impl = *impl_;
  impl.require_exclusive();
  const Group& old = group(vg_name);
  require_ours(old, Contradiction::refuse);
  for (const lvm::PhysicalVolume& pv : old.vg.pvs)
    if (!old.pvs.contains(pv.id.plain()))
      throw Error(ErrorKind::refused,
                  fmt::format("volume group {} is not removed while PV {} is missing", printable(vg_name),
                              pv.id.dashed()),
                  "add its disk with --disk, or give it up first with vgreduce --removemissing");
  std::vector<std::size_t> places;
  for (const auto& [uuid, place] : old.pvs) places.push_back(place);
  for (const std::size_t p : places) {
    const auto device = impl.writable_pv(p);
    if (impl.before_step) impl.before_step("clear");
    for (const lvm::MetadataAreaState& area : impl.pvs[p].areas)
      if (area.header_valid) lvm::clear_metadata_area(*device, area.area);
    device->flush();
  }
  for (const std::size_t p : places) {
    const auto device = impl.writable_pv(p);
    lvm::PvLabel label = impl.pvs[p].label;
    label.in_use = false;
    if (impl.before_step) impl.before_step("label");
    lvm::write_label(*device, label);
    device->flush();
  }
  impl.scan();
}

}  // namespace respaldo::engine
