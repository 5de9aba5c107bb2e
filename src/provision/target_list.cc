#include "provision/target_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/units.h"
#include "engine/volume_engine.h"
#include "provision/fstab_edit.h"
#include "provision/tools.h"

namespace respaldo::provision {

namespace {

using machine::Device;
using machine::Picture;

std::string disk_words(const Device& disk) {
  std::string words;
  for (const std::string* part : {&disk.model, &disk.transport})
    if (!part->empty()) words += (words.empty() ? "" : ", ") + *part;
  return words.empty() ? disk.path : fmt::format("{} ({})", disk.path, words);
}

void add_named(std::vector<Target>& targets, const std::string& group, const std::string& volume) {
  for (const Target& target : targets)
    if (target.group == group && target.volume == volume) return;
  targets.push_back({.group = group, .volume = volume});
}

void add_volume(const Picture& picture, const engine::LvRow& lv, Target& target) {
  target.there = true;
  target.active = lv.is_active();
  target.volume_size = lv.size;
  for (const Device* disk : machine::disks_below(picture, lv)) target.disks.push_back(disk_words(*disk));
  const Device* device = machine::device_of(picture, lv);
  if (device == nullptr) return;
  target.filesystem = device->content.type;
  target.uuid = device->content.uuid;
  for (const machine::Mount* mount : machine::mounts_of(picture, *device)) {
    if (target.mounted && mount->target != target.mount_point) continue;
    target.mounted = true;
    if (target.mount_point.empty()) target.mount_point = mount->target;
    target.size = mount->size;
    target.available = mount->available;
  }
}

bool names_by_uuid(const Target& target) { return target.fstab && target.fstab->source.starts_with("UUID="); }
bool names_another(const Target& target) {
  return names_by_uuid(target) && !target.uuid.empty() && target.fstab->source != "UUID=" + target.uuid;
}

// Of lines with one mark the volume belongs to the one that names its filesystem; else to the first.
const Target& owner_of(const Picture& picture, const std::vector<Target>& targets, const engine::LvRow& lv) {
  const Device* device = machine::device_of(picture, lv);
  const Target* owner = nullptr;
  for (const Target& target : targets) {
    if (target.group != lv.vg || target.volume != lv.name) continue;
    if (owner == nullptr) owner = &target;
    if (device != nullptr && target.fstab && machine::resolve(picture, target.fstab->source) == device) return target;
  }
  return *owner;
}

void judge(const Picture& picture, Target& target) {
  if (!target.there)
    target.problems.push_back(fmt::format(
        "its volume {} is not there: plug the disk in (`vgchange -ay {}` if it does not come by itself)",
        target.full_name(), target.group));
  else if (!target.active)
    target.problems.push_back(fmt::format("its volume is not active: `vgchange -ay {}`", target.group));
  else if (!target.mounted)
    target.problems.push_back(target.mount_point.empty()
                                  ? "it is not mounted"
                                  : fmt::format("it is not mounted: `mount {}`", target.mount_point));
  if (!target.in_fstab)
    target.problems.push_back(
        fmt::format("{} has no line for it: it will not be mounted at the next boot", picture.fstab_path));
  if (target.fstab && !target.fstab->has_option("nofail"))
    target.problems.push_back("its line in fstab has no nofail: a boot without the disk hangs");
  if (names_another(target))
    target.problems.push_back(fmt::format("its line in fstab names {}, but the filesystem is UUID={}",
                                          target.fstab->source, target.uuid));
  if (target.size && target.available && *target.size > 0 && *target.available < *target.size / 10)
    target.problems.push_back(fmt::format("only {} of {} are available: `respaldo forget --prune` makes room",
                                          format_size(*target.available), format_size(*target.size)));
}

// All that the steps depend on.
std::string look_of(const RemovalPlan& plan) {
  const Target& target = plan.target;
  std::string text = fmt::format("{} {}", target.full_name(), plan.wiped_uuid);
  for (const std::string& disk : target.disks) text += ", on " + disk;
  for (const std::string* word : {&target.filesystem, &target.uuid})
    if (!word->empty()) text += ", " + *word;
  text += target.mounted ? fmt::format(", mounted at {}", target.mount_point) : ", not mounted";
  if (target.fstab)
    text += fmt::format(", in fstab as {} {} {}", target.fstab->source, target.fstab->target, target.fstab->options);
  if (plan.whole_group) text += ", alone in its group";
  for (const std::string& pv : plan.free_pvs) text += fmt::format(", alone on {}", pv);
  return text;
}

}  // namespace

std::vector<Target> find_targets(const Picture& picture) {
  std::vector<Target> targets;
  for (const machine::FstabEntry& entry : picture.fstab) {
    const auto mark = entry.option_value(kFstabMark);
    if (!mark || mark->find('/') == std::string::npos) continue;
    const std::size_t slash = mark->find('/');
    targets.push_back({.group = mark->substr(0, slash),
                       .volume = mark->substr(slash + 1),
                       .mount_point = entry.target,
                       .in_fstab = true,
                       .fstab = entry});
  }
  for (const engine::LvRow& lv : picture.lvs)
    if (lv.has_tag(kTargetTag)) add_named(targets, lv.vg, lv.name);
  for (Target& target : targets) {
    if (const engine::LvRow* lv = machine::find_volume(picture, target.group, target.volume);
        lv != nullptr && &owner_of(picture, targets, *lv) == &target) {
      add_volume(picture, *lv, target);
      // A line that the administrator wrote serves as well.
      const Device* device = machine::device_of(picture, *lv);
      for (const machine::FstabEntry& entry : picture.fstab) {
        if (target.in_fstab || device == nullptr || machine::resolve(picture, entry.source) != device)
          continue;
        target.in_fstab = true;
        target.fstab = entry;
        if (target.mount_point.empty()) target.mount_point = entry.target;
      }
    }
    judge(picture, target);
  }
  return targets;
}

const Target& choose_target(const std::vector<Target>& targets, const std::string& named) {
  std::string known;
  const Target* found = nullptr;
  for (const Target& target : targets) {
    known += (known.empty() ? "" : ", ") + target.full_name() +
             (target.mount_point.empty() ? "" : " at " + target.mount_point);
    if (!named.empty() && named == target.mount_point) return target;
    bool is_named = named == target.full_name() || named == "/dev/" + target.full_name();
    if (named.starts_with("/dev/mapper/")) {
      const auto name = engine::VolumeName::parse(named);
      is_named = name.vg == target.group && name.lv == target.volume;
    }
    if (is_named && (found == nullptr || target.there)) found = &target;
  }
  if (found != nullptr) return *found;
  if (targets.empty())
    throw Error(ErrorKind::not_found, "there is no backup target on this host",
                "`respaldo target create DISK` makes one");
  if (!named.empty())
    throw Error(ErrorKind::not_found, fmt::format("there is no target {}", named), "there are: " + known);
  if (targets.size() > 1) throw Error(ErrorKind::usage, "there are several targets", "name one of: " + known);
  return targets.front();
}

RemovalPlan plan_removal(const Picture& picture, const Target& target, const std::string& wipe) {
  RemovalPlan plan{.target = target};
  if (wipe.empty()) return plan;
  const auto name = engine::VolumeName::parse(wipe);
  if (name.vg != target.group || name.lv != target.volume)
    throw Error(ErrorKind::refused,
                fmt::format("--wipe names {}, but the target is {}", wipe, target.full_name()),
                "name the volume whose data may go exactly");
  const engine::LvRow* lv = machine::find_volume(picture, target.group, target.volume);
  if (lv == nullptr || !target.there)
    throw Error(ErrorKind::not_found,
                fmt::format("the volume {} is not there; nothing can be wiped", target.full_name()),
                "plug its disk in");
  // A group on another disk may have the same name.
  if (names_another(target))
    throw Error(ErrorKind::refused,
                fmt::format("the line in fstab of {} names {}, but the filesystem there is UUID={}", target.full_name(),
                            target.fstab->source, target.uuid),
                "it may be another disk of the same name; correct the line, if it is not");
  if (names_by_uuid(target) && !target.active)
    throw Error(ErrorKind::missing,
                fmt::format("{} is not active: whether it is what the line in fstab names cannot be seen",
                            target.full_name()),
                fmt::format("vgchange -ay {}", target.group));
  for (const engine::LvRow& other : picture.lvs)
    if (other.vg == lv->vg && other.origin == lv->name)
      throw Error(ErrorKind::refused, fmt::format("{} has the snapshot {}", target.full_name(), other.str()),
                  "remove that first");
  plan.wipe = target.full_name();
  plan.wiped_uuid = lv->uuid;
  const engine::VgRow* vg = machine::find_group(picture, target.group);
  const bool own = vg != nullptr && std::find(vg->tags.begin(), vg->tags.end(), kTargetTag) != vg->tags.end();
  plan.whole_group = own && vg->lv_count == 1;
  for (const engine::PvRow& pv : picture.pvs) {
    if (pv.vg != target.group || pv.missing) continue;
    // In a group of others only what the target alone lies on was brought by it.
    const bool targets_alone =
        pv.used == lv->size &&
        std::all_of(lv->devices.begin(), lv->devices.end(),
                    [&](const std::string& place) { return place.substr(0, place.rfind('(')) == pv.name; });
    if (plan.whole_group || (!own && targets_alone && vg != nullptr && vg->pv_count > 1))
      plan.free_pvs.push_back(pv.name);
  }
  return plan;
}

void require_unchanged(const RemovalPlan& shown, const RemovalPlan& now) {
  const std::string before = look_of(shown), after = look_of(now);
  if (before == after) return;
  throw Error(ErrorKind::refused,
              fmt::format("the target {} is not as it was shown any more: it was {}, and is {}",
                          shown.target.full_name(), before, after),
              "nothing was done; run again, and look at the new steps");
}

ActionList removal_actions(const RemovalPlan& plan, Doors& doors) {
  ActionList actions;
  const Target& target = plan.target;
  if (target.mounted)
    actions.push_back(
        {.text = fmt::format("unmount {}", target.mount_point),
         .command = fmt::format("umount {}", target.mount_point),
         .apply = [target, &doors](std::stop_token) { unmount(doors, target.mount_point); },
         .undo =
             [target, &doors] {
               if (!is_mounted(doors, target.mount_point))
                 run_tool(doors.commands, {"mount", "/dev/" + target.full_name(), target.mount_point});
             },
         .undo_text = fmt::format("mount {}", target.mount_point)});
  if (target.fstab) {
    auto change = std::make_shared<std::optional<FstabChange>>();
    actions.push_back(
        {.text = fmt::format("take its line out of {}; the old one is kept beside it", doors.fstab.native()),
         .apply =
             [target, change, &doors](std::stop_token) {
               *change = remove_from_fstab(doors.fstab, *target.fstab);
               tell_systemd(doors);
             },
         .undo =
             [target, change, &doors] {
               if (!*change) return;
               undo_removal_from_fstab(doors.fstab, **change, *target.fstab);
               tell_systemd(doors);
             },
         .undo_text =
             fmt::format("put the line of {} back into {}", target.mount_point, doors.fstab.native())});
  }
  if (plan.wipe.empty()) return actions;
  actions.push_back(
      {.text = fmt::format("destroy the volume {} and all backups on it", plan.wipe),
       .command = fmt::format("lvremove {}", plan.wipe),
       .apply = [plan,
                 &doors](std::stop_token) { remove_volume(engine::LvmCommand(doors.commands), plan.wipe); },
       .final = true});
  if (plan.whole_group)
    actions.push_back({.text = fmt::format("remove the volume group {}", target.group),
                       .command = fmt::format("vgremove {}", target.group),
                       .apply =
                           [target, &doors](std::stop_token) {
                             // Without a yes lvm2 removes only what is empty: others may have made volumes in it.
                             engine::LvmCommand(doors.commands).change({"vgremove", target.group});
                           },
                       .final = true});
  for (const std::string& pv : plan.free_pvs) {
    if (!plan.whole_group)
      actions.push_back(
          {.text = fmt::format("take {} out of the volume group {}", pv, target.group),
           .command = fmt::format("vgreduce {} {}", target.group, pv),
           .apply =
               [target, pv, &doors](std::stop_token) {
                 engine::LvmCommand(doors.commands).change({"vgreduce", "--yes", target.group, pv});
               },
           .final = true});
    actions.push_back({.text = fmt::format("remove the physical volume on {}", pv),
                       .command = fmt::format("pvremove {}", pv),
                       .apply =
                           [pv, &doors](std::stop_token) {
                             engine::LvmCommand(doors.commands).change({"pvremove", "--yes", pv});
                           },
                       .final = true});
  }
  return actions;
}

}  // namespace respaldo::provision
