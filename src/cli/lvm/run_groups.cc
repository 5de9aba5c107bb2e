// Verbs that change PVs and groups.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "cli/lvm/verb.h"
#include "os/file.h"

namespace respaldo::cli {

namespace {

using engine::DiskSet;

engine::PvFormat pv_format(const LvmArguments& arguments) {
  require_lvm2_format(arguments);
  engine::PvFormat format;
  if (arguments.has("uuid")) {
    format.uuid = lvm::Uuid::parse(arguments.value("uuid"));
    if (!format.uuid)
      throw Error(ErrorKind::usage, fmt::format("Invalid UUID {}", printable(arguments.value("uuid"))));
  }
  format.data_alignment = size_option(arguments, "dataalignment", kKiB, 0);
  format.data_alignment_offset = size_option(arguments, "dataalignmentoffset", kKiB, 0);
  format.metadata_size = size_option(arguments, "metadatasize", kMiB, 0);
  format.metadata_copies = static_cast<unsigned>(count_option(
      arguments, arguments.has("pvmetadatacopies") ? "pvmetadatacopies" : "metadatacopies", 1, 2));
  format.label_sector = static_cast<unsigned>(count_option(arguments, "labelsector", 1, 3));
  format.bootloader_size = size_option(arguments, "bootloaderareasize", kMiB, 0);
  if (arguments.has("setphysicalvolumesize"))
    format.device_size = size_option(arguments, "setphysicalvolumesize", kMiB, 0);
  format.zero = yes_option(arguments, "zero", true);
  return format;
}

void require_no_activation(const LvmArguments& arguments) {
  if (arguments.has("activate"))
    throw Error(ErrorKind::unsupported, "Volumes of images are not activated in the kernel.",
                "`respaldo --disk IMAGE activate DIR` shows them as files");
}

engine::TagChange tag_change(const LvmArguments& arguments) {
  return {tags_option(arguments, "addtag"), tags_option(arguments, "deltag")};
}

}  // namespace

void run_pvcreate(const Call& call) {
  engine::PvFormat format = pv_format(call.arguments);
  word(call, 0);
  if (call.arguments.has("restorefile")) {
    // The layout that the PV had.
    const auto vg = lvm::VolumeGroup::parse(os::read_text(call.arguments.value("restorefile")));
    const lvm::PhysicalVolume* pv = format.uuid ? vg.find_pv(*format.uuid) : nullptr;
    if (pv == nullptr) throw Error(ErrorKind::usage, "Can't find uuid in backup file.");
    format.data_alignment = pv->pe_start_sectors * kSector;
  } else if (format.uuid && !call.arguments.has("norestorefile")) {
    throw Error(ErrorKind::usage, "--restorefile is required with --uuid");
  }
  engine::create_pvs(call.op, call.arguments.positional(), format);
}

void run_pvremove(const Call& call) {
  word(call, 0);
  engine::remove_pvs(call.op, call.arguments.positional());
}

void run_pvmove(const Call& call) {
  if (call.arguments.has("abort"))
    throw Error(ErrorKind::unsupported, "There is nothing to abort: each piece that was moved is committed.");
  // Without a PV lvm2 goes on with moves that were interrupted: there are none here.
  if (call.arguments.positional().empty()) return;
  engine::MoveRequest request;
  request.source = word(call, 0);
  request.destinations = words_from(call.arguments, 1);
  request.lv = call.arguments.value("name");
  if (request.lv.find('/') != std::string::npos) request.lv = engine::parse_lv_argument(request.lv).lv;
  request.policy = policy_of(call.arguments).value_or(engine::AllocationPolicy::normal);
  engine::move_pv(call.op, request);
}

void run_pvchange(const Call& call) {
  engine::PvChange change;
  change.tags = tag_change(call.arguments);
  if (call.arguments.has("allocatable")) change.allocatable = yes_option(call.arguments, "allocatable", true);
  if (!change.allocatable && change.tags.empty()) throw no_matching_syntax(call.verb);
  std::vector<std::string> names = call.arguments.positional();
  if (call.arguments.has("all"))
    for (const engine::FoundPv& pv : call.op.disks.pvs()) names.push_back(pv.name);
  if (names.empty()) throw no_matching_syntax(call.verb);
  engine::change_pvs(call.op, names, change);
}

void run_vgcreate(const Call& call) {
  engine::GroupOptions options;
  if (call.arguments.has("shared") || yes_option(call.arguments, "clustered", false))
    throw Error(ErrorKind::unsupported, "Shared volume groups are not made here.");
  options.extent_bytes = size_option(call.arguments, "physicalextentsize", kMiB, 4 * kMiB);
  options.max_lv = count_option(call.arguments, "maxlogicalvolumes", 0, 1000000);
  options.max_pv = count_option(call.arguments, "maxphysicalvolumes", 0, 1000000);
  options.metadata_copies = count_option(call.arguments, "vgmetadatacopies", 0, 1000000);
  options.tags = tags_option(call.arguments, "addtag");
  if (const auto policy = policy_of(call.arguments))
    options.allocation_policy = std::string(to_string(*policy));
  options.pv_format = pv_format(call.arguments);
  const std::string name = without_dev(word(call, 0));
  word(call, 1);
  engine::create_group(call.op, name, words_from(call.arguments, 1), options);
}

void run_vgextend(const Call& call) {
  const std::string name = without_dev(word(call, 0));
  word(call, 1);
  engine::extend_group(call.op, name, words_from(call.arguments, 1), pv_format(call.arguments),
                       call.arguments.has("restoremissing"));
}

void run_vgreduce(const Call& call) {
  const std::string name = without_dev(word(call, 0));
  if (call.arguments.has("removemissing")) return engine::remove_missing_pvs(call.op, name);
  if (call.arguments.has("all")) return engine::reduce_group_by_unused(call.op, name);
  word(call, 1);
  engine::reduce_group(call.op, name, words_from(call.arguments, 1));
}

void run_vgremove(const Call& call) {
  word(call, 0);
  for (const std::string& name : call.arguments.positional())
    engine::remove_group(call.op, without_dev(name));
}

void run_vgrename(const Call& call) {
  word(call, 1);
  if (call.arguments.positional().size() != 2) throw no_matching_syntax(call.verb);
  engine::rename_group(call.op, without_dev(word(call, 0)), without_dev(word(call, 1)));
}

void run_vgchange(const Call& call) {
  const LvmArguments& a = call.arguments;
  require_no_activation(a);
  engine::GroupChange change;
  change.tags = tag_change(a);
  if (a.has("logicalvolume")) change.max_lv = count_option(a, "logicalvolume", 0, 1000000);
  if (a.has("maxphysicalvolumes")) change.max_pv = count_option(a, "maxphysicalvolumes", 0, 1000000);
  if (a.has("resizeable")) change.resizeable = yes_option(a, "resizeable", true);
  if (a.has("alloc"))
    change.policy = std::string(to_string(policy_of(a).value_or(engine::AllocationPolicy::normal)));
  if (!change.max_lv && !change.max_pv && !change.resizeable && !change.policy && change.tags.empty())
    throw no_matching_syntax(call.verb);
  std::vector<std::string> names;
  for (const std::string& name : a.positional()) names.push_back(without_dev(name));
  if (names.empty())
    for (const DiskSet::Group& group : call.op.disks.groups()) names.push_back(group.vg.name);
  for (const std::string& name : names) engine::change_group(call.op, name, change);
}

void run_vgcfgbackup(const Call& call) {
  std::vector<const DiskSet::Group*> groups;
  for (const std::string& name : call.arguments.positional())
    groups.push_back(&engine::require_group(call.op.disks, name));
  if (groups.empty())
    for (const DiskSet::Group& group : call.op.disks.groups()) groups.push_back(&group);
  for (const DiskSet::Group* group : groups) {
    std::string file = call.arguments.value("file", "%s.vg");
    if (const std::size_t at = file.find("%s"); at != std::string::npos)
      file.replace(at, 2, group->vg.name);
    else if (groups.size() > 1)
      throw Error(ErrorKind::usage, "The file name needs a %s for the group's name, when there are several.");
    os::AtomicFile out(file, 0600);
    out.write(as_bytes(engine::backup_text(call.op, *group)));
    out.commit();
    call.op.print(fmt::format("  Volume group \"{}\" successfully backed up.", printable(group->vg.name)));
  }
}

void run_vgcfgrestore(const Call& call) {
  const std::string name = word(call, 0);
  if (!call.arguments.has("file"))
    throw Error(ErrorKind::usage, "There is no archive here to restore from: please name the file with -f.");
  engine::restore_group(call.op, name, os::read_text(call.arguments.value("file")));
}

void run_vgck(const Call& call) {
  std::vector<std::string> names = call.arguments.positional();
  if (names.empty())
    for (const DiskSet::Group& group : call.op.disks.groups()) names.push_back(group.vg.name);
  for (const std::string& name : names)
    engine::check_group(call.op, name, call.arguments.has("updatemetadata"));
}

void run_lvchange(const Call& call) {
  const LvmArguments& a = call.arguments;
  require_no_activation(a);
  engine::LvChange change;
  change.tags = tag_change(a);
  if (a.has("permission")) {
    const std::string permission = a.value("permission");
    if (permission != "r" && permission != "rw")
      throw Error(ErrorKind::usage,
                  fmt::format("Invalid argument for --permission: {}", printable(permission)));
    change.writable = permission == "rw";
  }
  if (a.has("setactivationskip")) change.activation_skip = yes_option(a, "setactivationskip", true);
  if (a.has("alloc"))
    change.policy = policy_of(a) ? std::string(to_string(*policy_of(a))) : std::string("inherit");
  if (a.has("contiguous"))
    change.policy = yes_option(a, "contiguous", false) ? std::string("contiguous") : std::string("inherit");
  if (!change.writable && !change.activation_skip && !change.policy && change.tags.empty())
    throw no_matching_syntax(call.verb);
  word(call, 0);
  for (const std::string& name : a.positional()) {
    const std::string bare = without_dev(name);
    if (name.starts_with("/dev/mapper/") || bare.find('/') != std::string::npos) {
      engine::change_lv(call.op, engine::parse_lv_argument(name), change);
      continue;
    }
    std::vector<engine::VolumeName> all;
    const lvm::VolumeGroup& vg = engine::require_group(call.op.disks, bare).vg;
    for (const lvm::LogicalVolume& lv : vg.lvs)
      if (lv.visible() || vg.snapshot_binding(lv)) all.push_back({vg.name, lv.name});
    for (const engine::VolumeName& volume : all) engine::change_lv(call.op, volume, change);
  }
}

}  // namespace respaldo::cli
