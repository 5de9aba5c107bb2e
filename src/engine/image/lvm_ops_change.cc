// pvchange, vgchange, lvchange, vgrename: words of the metadata, no data.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "engine/image/lvm_ops.h"
#include "engine/image/vg_edit.h"

namespace respaldo::engine {

namespace {

void apply(std::vector<std::string>& tags, const TagChange& change) {
  for (const std::string& tag : change.add)
    if (std::find(tags.begin(), tags.end(), tag) == tags.end()) tags.push_back(tag);
  for (const std::string& tag : change.remove) std::erase(tags, tag);
}

void set_word(std::vector<std::string>& words, std::string_view word, bool present) {
  const auto at = std::find(words.begin(), words.end(), word);
  if (present && at == words.end()) words.emplace_back(word);
  if (!present && at != words.end()) words.erase(at);
}

enum class Outcome { changed, as_wanted, impossible };

// Says why when the PV was not changed.
Outcome change_pv(OpContext& context, const std::string& name, const PvChange& change) {
  const auto target = find_pv_target(context.disks, name);
  if (!target || !target->found)
    throw Error(ErrorKind::not_found, fmt::format("Failed to find physical volume \"{}\".", printable(name)));
  const FoundPv& found = context.disks.pvs()[*target->found];
  const std::string shown = printable(found.name);
  if (found.vg.empty()) {
    context.warn(change.allocatable
                     ? fmt::format("  Allocatability not supported by orphan lvm2 format PV {}", shown)
                     : fmt::format("  Can't change tag on Physical Volume {} not in volume group", shown));
    context.warn(fmt::format("  Physical volume {} not changed", shown));
    return Outcome::impossible;
  }
  const DiskSet::Group& group = require_group(context.disks, found.vg);
  require_changeable(group);
  lvm::VolumeGroup next = group.vg;
  const auto pv = std::find_if(next.pvs.begin(), next.pvs.end(),
                               [&](const lvm::PhysicalVolume& p) { return p.id == found.label.id; });
  if (pv == next.pvs.end())
    throw Error(ErrorKind::not_found, fmt::format("Failed to find physical volume \"{}\".", printable(name)));
  if (change.allocatable && pv->allocatable() == *change.allocatable) {
    context.warn(fmt::format("  Physical volume \"{}\" is already {}allocatable.", shown,
                             *change.allocatable ? "" : "un"));
    if (change.tags.empty()) {
      context.warn(fmt::format("  Physical volume {} not changed", shown));
      return Outcome::as_wanted;
    }
  }
  if (change.allocatable) set_word(pv->status, "ALLOCATABLE", *change.allocatable);
  apply(pv->tags, change.tags);
  const std::string vg_name = next.name;
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Physical volume \"{}\" changed", shown));
  return Outcome::changed;
}

}  // namespace

void change_pvs(OpContext& context, const std::vector<std::string>& names, const PvChange& change) {
  std::size_t changed = 0, impossible = 0;
  for (const std::string& name : names) {
    const Outcome outcome = change_pv(context, name, change);
    changed += outcome == Outcome::changed ? 1 : 0;
    impossible += outcome == Outcome::impossible ? 1 : 0;
  }
  const std::size_t unchanged = names.size() - changed;
  const std::string summary =
      fmt::format("{} physical volume{} changed / {} physical volume{} not changed", changed,
                  changed == 1 ? "" : "s", unchanged, unchanged == 1 ? "" : "s");
  if (impossible > 0) throw Error(ErrorKind::refused, summary);
  context.print("  " + summary);
}

void change_group(OpContext& context, const std::string& name, const GroupChange& change) {
  const DiskSet::Group& group = require_group(context.disks, name);
  require_changeable(group);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  const bool resizeable =
      std::find(next.status.begin(), next.status.end(), "RESIZEABLE") != next.status.end();
  if (change.resizeable) {
    if (*change.resizeable == resizeable)
      throw Error(ErrorKind::refused, fmt::format("Volume group \"{}\" is already {}resizeable",
                                                  printable(vg_name), resizeable ? "" : "not "));
    set_word(next.status, "RESIZEABLE", *change.resizeable);
  }
  if (change.max_lv) {
    if (!resizeable)
      throw Error(ErrorKind::refused,
                  fmt::format("Volume group \"{}\" must be resizeable to change MaxLogicalVolume",
                              printable(vg_name)));
    const auto count = static_cast<std::uint64_t>(
        std::count_if(next.lvs.begin(), next.lvs.end(), [&](const lvm::LogicalVolume& lv) {
          return (lv.visible() || next.snapshot_binding(lv)) && !is_snapshot_pseudo(lv);
        }));
    if (*change.max_lv != 0 && *change.max_lv < count)
      throw Error(ErrorKind::refused,
                  fmt::format("MaxLogicalVolume is less than the current number {} of LVs for {}", count,
                              printable(vg_name)));
    next.max_lv = *change.max_lv;
  }
  if (change.max_pv) {
    if (*change.max_pv != 0 && *change.max_pv < next.pvs.size())
      throw Error(ErrorKind::refused,
                  fmt::format("MaxPhysicalVolumes is less than the current number {} of PVs for \"{}\"",
                              next.pvs.size(), printable(vg_name)));
    next.max_pv = *change.max_pv;
  }
  if (change.policy) {
    if (next.allocation_policy.value_or("normal") == *change.policy)
      throw Error(ErrorKind::refused,
                  fmt::format("Volume group allocation policy is already {}", printable(*change.policy)));
    next.allocation_policy = *change.policy;
  }
  apply(next.tags, change.tags);
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Volume group \"{}\" successfully changed", printable(vg_name)));
}

void rename_group(OpContext& context, const std::string& from, const std::string& to) {
  const DiskSet::Group& group = require_group(context.disks, from);
  require_valid_vg_name(to, ErrorKind::refused);
  require_changeable(group);
  const std::string old_name = group.vg.name;
  if (old_name == to) throw Error(ErrorKind::refused, "Old and new volume group names must differ");
  for (const DiskSet::Group& other : context.disks.groups())
    if (other.vg.name == to)
      throw Error(ErrorKind::refused, fmt::format("New volume group \"{}\" already exists", printable(to)));
  if (context.active)
    throw Error(ErrorKind::busy, fmt::format("Volume group \"{}\" still has active LVs", printable(old_name)),
                "end the activation first");
  lvm::VolumeGroup next = group.vg;
  for (const lvm::LogicalVolume& lv : next.lvs)
    if (to.size() + lv.name.size() + 3 >= 128)
      throw Error(ErrorKind::refused,
                  fmt::format("The new name would be too long together with that of {}", printable(lv.name)));
  next.name = to;
  commit(context, old_name, std::move(next));
  context.print(fmt::format("  Volume group \"{}\" successfully renamed to \"{}\"", printable(old_name),
                            printable(to)));
}

void change_lv(OpContext& context, const VolumeName& name, const LvChange& change) {
  const DiskSet::Group& group = require_group(context.disks, name.vg);
  require_changeable(group);
  require_lv(group, name.lv);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name, shown = printable(vg_name) + "/" + printable(name.lv);
  lvm::LogicalVolume& lv = *next.find_lv(name.lv);
  if (change.writable) {
    if (lv.writable() == *change.writable)
      throw Error(ErrorKind::refused, fmt::format("Logical volume \"{}\" is already {}.", shown,
                                                  *change.writable ? "writable" : "read only"));
    if (context.active && context.is_open && context.is_open({vg_name, lv.name}))
      throw Error(ErrorKind::busy, fmt::format("Logical volume {} in use.", shown), "close its file first");
    set_word(lv.status, "WRITE", *change.writable);
    std::erase(lv.flags, "WRITE_LOCKED");
  }
  if (change.activation_skip) {
    const bool now = std::find(lv.flags.begin(), lv.flags.end(), "ACTIVATION_SKIP") != lv.flags.end();
    if (now == *change.activation_skip)
      throw Error(ErrorKind::refused, fmt::format("Logical volume {} is already {} activation skip.", shown,
                                                  now ? "set for" : "without"));
    set_word(lv.flags, "ACTIVATION_SKIP", *change.activation_skip);
  }
  if (change.policy) {
    if (lv.allocation_policy.value_or("inherit") == *change.policy)
      throw Error(ErrorKind::refused, fmt::format("Allocation policy of logical volume {} is already {}.",
                                                  shown, printable(*change.policy)));
    if (*change.policy == "inherit")
      lv.allocation_policy.reset();
    else
      lv.allocation_policy = *change.policy;
  }
  apply(lv.tags, change.tags);
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Logical volume {} changed.", shown));
}

}  // namespace respaldo::engine
