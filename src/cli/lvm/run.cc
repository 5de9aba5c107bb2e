// From a verb's words to an operation.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "cli/lvm/display.h"
#include "cli/lvm/lvm_command.h"
#include "cli/lvm/options.h"
#include "cli/lvm/report.h"
#include "os/file.h"

namespace respaldo::cli {

namespace {

using engine::DiskSet;
using engine::display_size;
using engine::OpContext;

constexpr int kBadCommandLine = 3, kFailed = 5;

// The rows of one group, one for each LV or for each segment.
void add_lv_rows(std::vector<ReportRow>& rows, const DiskSet::Group& group, bool hidden, bool segments,
                 const std::string& only) {
  for (const lvm::LogicalVolume& lv : group.vg.lvs) {
    if (engine::is_snapshot_pseudo(lv) || (!only.empty() && lv.name != only)) continue;
    if (!hidden && only.empty() && !lv.visible() && !group.vg.snapshot_binding(lv)) continue;
    if (!segments) {
      rows.push_back({&group, &lv, lv.segments.empty() ? nullptr : &lv.segments.front(), nullptr, nullptr});
      continue;
    }
    for (const lvm::Segment& segment : lv.segments) rows.push_back({&group, &lv, &segment, nullptr, nullptr});
  }
}

std::vector<ReportRow> lv_rows(const DiskSet& disks, const LvmArguments& arguments, bool hidden,
                               bool segments) {
  std::vector<ReportRow> rows;
  if (arguments.positional().empty())
    for (const DiskSet::Group& group : disks.groups()) add_lv_rows(rows, group, hidden, segments, "");
  for (std::string name : arguments.positional()) {
    if (name.starts_with("/dev/") && name.find('/', 5) == std::string::npos) name.erase(0, 5);
    if (name.find('/') == std::string::npos) {
      add_lv_rows(rows, engine::require_group(disks, name), hidden, segments, "");
      continue;
    }
    const engine::VolumeName volume = engine::parse_lv_argument(name);
    const DiskSet::Group& group = engine::require_group(disks, volume.vg);
    const std::size_t before = rows.size();
    add_lv_rows(rows, group, true, segments, volume.lv);
    if (rows.size() == before)
      throw Error(ErrorKind::not_found,
                  fmt::format("Failed to find logical volume \"{}\"", printable(volume.str())));
  }
  return rows;
}

std::vector<ReportRow> vg_rows(const DiskSet& disks, const LvmArguments& arguments) {
  std::vector<ReportRow> rows;
  if (arguments.positional().empty())
    for (const DiskSet::Group& group : disks.groups())
      rows.push_back({&group, nullptr, nullptr, nullptr, nullptr});
  for (const std::string& name : arguments.positional())
    rows.push_back({&engine::require_group(disks, name), nullptr, nullptr, nullptr, nullptr});
  return rows;
}

std::vector<ReportRow> pv_rows(const DiskSet& disks, const LvmArguments& arguments) {
  std::vector<ReportRow> rows;
  std::vector<std::size_t> wanted;
  for (const std::string& name : arguments.positional()) {
    const auto target = engine::find_pv_target(disks, name);
    if (!target || !target->found)
      throw Error(ErrorKind::not_found,
                  fmt::format("Failed to find physical volume \"{}\".", printable(name)));
    wanted.push_back(*target->found);
  }
  const auto asked = [&](std::size_t pv) {
    return wanted.empty() || std::find(wanted.begin(), wanted.end(), pv) != wanted.end();
  };
  for (std::size_t p = 0; p < disks.pvs().size(); ++p) {
    if (!asked(p)) continue;
    ReportRow row;
    row.found = &disks.pvs()[p];
    for (const DiskSet::Group& group : disks.groups())
      if (const auto at = group.pvs.find(row.found->label.id.plain());
          at != group.pvs.end() && at->second == p) {
        row.group = &group;
        row.pv = group.vg.find_pv(row.found->label.id);
      }
    rows.push_back(row);
  }
  if (wanted.empty())
    for (const DiskSet::Group& group : disks.groups())
      for (const lvm::PhysicalVolume& pv : group.vg.pvs)
        if (!group.pvs.contains(pv.id.plain())) rows.push_back({&group, nullptr, nullptr, &pv, nullptr});
  return rows;
}

void print_block(const LvmWorld& world, std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    world.print(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

struct Call {
  OpContext& op;
  const LvmArguments& arguments;
  const LvmWorld& world;
};

std::string field_help() {
  std::string out;
  for (const ReportField& field : lvm_report_fields())
    out += fmt::format("  {:<22} {}\n", field.id, field.heading);
  return out;
}

void report(const Call& call, std::string_view kind, std::string_view fields, std::string_view sort) {
  const auto options = call.arguments.values("options");
  if (std::find(options.begin(), options.end(), "help") != options.end()) {
    print_block(call.world, field_help());
    return;
  }
  const Report table(kind, fields, sort, call.arguments);
  ReportContext context(call.op, table.units());
  std::vector<ReportRow> rows;
  if (kind == "lv")
    rows = lv_rows(call.op.disks, call.arguments, call.arguments.has("all"),
                   call.arguments.has("segments") || table.needs('s'));
  else if (kind == "vg" && (table.needs('l') || table.needs('s')))
    rows = lv_rows(call.op.disks, call.arguments, false, table.needs('s'));
  else if (kind == "vg")
    rows = vg_rows(call.op.disks, call.arguments);
  else
    rows = pv_rows(call.op.disks, call.arguments);
  print_block(call.world, table.render(std::move(rows), context));
}

void report_lvs(const Call& call) {
  report(call, "lv",
         call.arguments.has("segments") ? "lv_name,vg_name,lv_attr,stripes,segtype,seg_size"
                                        : "lv_name,vg_name,lv_attr,lv_size,pool_lv,origin,data_percent,"
                                          "metadata_percent,move_pv,mirror_log,copy_percent,convert_lv",
         call.arguments.has("segments") ? "vg_name,lv_name,seg_start" : "vg_name,lv_name");
}
void report_vgs(const Call& call) {
  report(call, "vg", "vg_name,pv_count,lv_count,snap_count,vg_attr,vg_size,vg_free", "vg_name");
}
void report_pvs(const Call& call) {
  report(call, "pv", "pv_name,vg_name,pv_fmt,pv_attr,pv_size,pv_free", "pv_name");
}

void lvdisplay(const Call& call) {
  if (call.arguments.has("columns")) return report_lvs(call);
  const engine::SizeUnits units = units_of(call.arguments);
  ReportContext context(call.op, units);
  for (const ReportRow& row : lv_rows(call.op.disks, call.arguments, call.arguments.has("all"), false))
    print_block(call.world, display_lv(row, context, units));
}
void vgdisplay(const Call& call) {
  if (call.arguments.has("columns")) return report_vgs(call);
  for (const ReportRow& row : vg_rows(call.op.disks, call.arguments))
    print_block(call.world, display_vg(call.op.disks, *row.group, units_of(call.arguments)));
}
void pvdisplay(const Call& call) {
  if (call.arguments.has("columns")) return report_pvs(call);
  const engine::SizeUnits units = units_of(call.arguments);
  ReportContext context(call.op, units);
  for (const ReportRow& row : pv_rows(call.op.disks, call.arguments)) {
    if (row.found == nullptr) {
      call.world.warn(fmt::format("  WARNING: PV {} of VG {} is missing.", row.pv->id.dashed(),
                                  printable(row.group->vg.name)));
      continue;
    }
    print_block(call.world, display_pv(row, context, units));
  }
}
void lvscan(const Call& call) {
  for (const ReportRow& row : lv_rows(call.op.disks, call.arguments, call.arguments.has("all"), false)) {
    const auto binding = row.group->vg.snapshot_binding(*row.lv);
    const char* role = binding ? "Snapshot" : row.group->vg.snapshots_of(*row.lv).empty() ? "" : "Original";
    call.world.print(fmt::format("  {:<16}{:>8} '{}' [{}] {}", call.op.active ? "ACTIVE" : "inactive", role,
                                 printable("/dev/" + row.group->vg.name + "/" + row.lv->name),
                                 display_size(row.group->vg.lv_bytes(*row.lv)),
                                 row.lv->allocation_policy.value_or("inherit")));
  }
}
void vgscan(const Call& call) {
  for (const DiskSet::Group& group : call.op.disks.groups())
    call.world.print(
        fmt::format("  Found volume group \"{}\" using metadata type lvm2", printable(group.vg.name)));
}
void pvscan(const Call& call) {
  std::uint64_t in_use = 0, free = 0, count_in_use = 0, count_free = 0;
  for (const ReportRow& row : pv_rows(call.op.disks, call.arguments)) {
    if (row.found == nullptr) continue;
    if (row.pv == nullptr) {
      ++count_free;
      free += row.found->label.device_size;
      call.world.print(fmt::format("  PV {}                 lvm2 [{}]", printable(row.found->name),
                                   display_size(row.found->label.device_size)));
      continue;
    }
    const std::uint64_t extent = row.group->vg.extent_bytes(), size = row.pv->pe_count * extent;
    ++count_in_use;
    in_use += size;
    call.world.print(fmt::format("  PV {}   VG {}   lvm2 [{} / {} free]", printable(row.found->name),
                                 printable(row.group->vg.name), display_size(size),
                                 display_size(size - engine::used_extents(row.group->vg, *row.pv) * extent)));
  }
  call.world.print(fmt::format("  Total: {} [{}] / in use: {} [{}] / in no VG: {} [{}]",
                               count_in_use + count_free, display_size(in_use + free), count_in_use,
                               display_size(in_use), count_free, display_size(free)));
}

// --- Words that several verbs take
// ---------------------------------------------------------------------------

std::uint64_t size_option(const LvmArguments& arguments, std::string_view option, std::uint64_t unit,
                          std::uint64_t otherwise) {
  if (!arguments.has(option)) return otherwise;
  return parse_size(arguments.value(option), fmt::format("--{}", option), unit);
}
std::uint64_t count_option(const LvmArguments& arguments, std::string_view option, std::uint64_t otherwise,
                           std::uint64_t most) {
  if (!arguments.has(option)) return otherwise;
  const std::string text = arguments.value(option);
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos ||
      std::stoull(text) > most)
    throw Error(ErrorKind::usage, fmt::format("Invalid argument for --{}: {}", option, printable(text)));
  return std::stoull(text);
}
bool yes_option(const LvmArguments& arguments, std::string_view option, bool otherwise) {
  if (!arguments.has(option)) return otherwise;
  const std::string text = arguments.value(option);
  if (text == "y" || text == "yes" || text == "1") return true;
  if (text == "n" || text == "no" || text == "0") return false;
  throw Error(ErrorKind::usage, fmt::format("Invalid argument for --{}: {}", option, printable(text)));
}

std::vector<std::string> tags_of(const LvmArguments& arguments) {
  std::vector<std::string> tags = arguments.values("addtag");
  for (std::string& tag : tags) {
    if (tag.starts_with('@')) tag.erase(0, 1);
    if (tag.empty() || tag.size() > 1024 ||
        tag.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-/=!:&#") !=
            std::string::npos ||
        tag[0] == '-')
      throw Error(ErrorKind::usage, fmt::format("Tag {} is not acceptable", printable(tag)));
  }
  return tags;
}

std::optional<engine::AllocationPolicy> policy_of(const LvmArguments& arguments) {
  if (arguments.has("contiguous") && yes_option(arguments, "contiguous", false))
    return engine::AllocationPolicy::contiguous;
  if (!arguments.has("alloc") || arguments.value("alloc") == "inherit") return std::nullopt;
  const auto policy = engine::parse_allocation_policy(arguments.value("alloc"));
  if (!policy)
    throw Error(ErrorKind::usage,
                fmt::format("Invalid argument for --alloc: {}", printable(arguments.value("alloc"))));
  return policy;
}

engine::SizeSpec size_of(const LvmArguments& arguments) {
  if (arguments.has("size") == arguments.has("extents"))
    throw Error(ErrorKind::usage, "Please specify either size or extents (not both).");
  return arguments.has("size") ? engine::parse_size_spec(arguments.value("size"))
                               : engine::parse_extents_spec(arguments.value("extents"));
}

engine::PvFormat pv_format(const LvmArguments& arguments) {
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

const std::string& word(const LvmArguments& arguments, std::size_t index, std::string_view what) {
  if (index >= arguments.positional().size())
    throw Error(ErrorKind::usage, fmt::format("Please give {}.", what));
  return arguments.positional()[index];
}
std::vector<std::string> words_from(const LvmArguments& arguments, std::size_t first) {
  const auto& all = arguments.positional();
  return {all.begin() + static_cast<std::ptrdiff_t>(std::min(first, all.size())), all.end()};
}
std::string without_dev(std::string name) {
  if (name.starts_with("/dev/")) name.erase(0, 5);
  return name;
}

// --- Changes
// -------------------------------------------------------------------------------------------------

void pvcreate(const Call& call) {
  engine::PvFormat format = pv_format(call.arguments);
  word(call.arguments, 0, "a physical volume path");
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
void pvremove(const Call& call) {
  word(call.arguments, 0, "a physical volume path");
  engine::remove_pvs(call.op, call.arguments.positional());
}
void pvmove(const Call& call) {
  engine::MoveRequest request;
  request.source = word(call.arguments, 0, "a physical volume path");
  request.destinations = words_from(call.arguments, 1);
  if (call.arguments.has("abort"))
    throw Error(ErrorKind::unsupported, "There is nothing to abort: each piece that was moved is committed.");
  request.lv = call.arguments.value("name");
  if (request.lv.find('/') != std::string::npos) request.lv = engine::parse_lv_argument(request.lv).lv;
  request.policy = policy_of(call.arguments).value_or(engine::AllocationPolicy::normal);
  engine::move_pv(call.op, request);
}
void vgcreate(const Call& call) {
  engine::GroupOptions options;
  if (call.arguments.has("shared"))
    throw Error(ErrorKind::unsupported, "Shared volume groups are not made here.");
  options.extent_bytes = size_option(call.arguments, "physicalextentsize", kMiB, 4 * kMiB);
  options.max_lv = count_option(call.arguments, "maxlogicalvolumes", 0, 1000000);
  options.max_pv = count_option(call.arguments, "maxphysicalvolumes", 0, 1000000);
  options.tags = tags_of(call.arguments);
  if (const auto policy = policy_of(call.arguments))
    options.allocation_policy = std::string(to_string(*policy));
  options.pv_format = pv_format(call.arguments);
  const std::string name = without_dev(word(call.arguments, 0, "a volume group name"));
  word(call.arguments, 1, "physical volumes");
  engine::create_group(call.op, name, words_from(call.arguments, 1), options);
}
void vgextend(const Call& call) {
  const std::string name = without_dev(word(call.arguments, 0, "a volume group name"));
  word(call.arguments, 1, "physical volumes");
  engine::extend_group(call.op, name, words_from(call.arguments, 1), pv_format(call.arguments),
                       call.arguments.has("restoremissing"));
}
void vgreduce(const Call& call) {
  const std::string name = without_dev(word(call.arguments, 0, "a volume group name"));
  if (call.arguments.has("removemissing")) return engine::remove_missing_pvs(call.op, name);
  if (call.arguments.has("all")) return engine::reduce_group_by_unused(call.op, name);
  word(call.arguments, 1, "physical volumes, --all or --removemissing");
  engine::reduce_group(call.op, name, words_from(call.arguments, 1));
}
void vgremove(const Call& call) {
  word(call.arguments, 0, "a volume group name");
  for (const std::string& name : call.arguments.positional())
    engine::remove_group(call.op, without_dev(name));
}
void vgcfgbackup(const Call& call) {
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
    call.op.print(fmt::format("  Volume group \"{}\" successfully backed up to {}.",
                              printable(group->vg.name), printable(file)));
  }
}
void vgcfgrestore(const Call& call) {
  const std::string name = word(call.arguments, 0, "a volume group name");
  if (!call.arguments.has("file")) throw Error(ErrorKind::usage, "Please name the file with -f.");
  engine::restore_group(call.op, name, os::read_text(call.arguments.value("file")));
}
void vgck(const Call& call) {
  std::vector<std::string> names = call.arguments.positional();
  if (names.empty())
    for (const DiskSet::Group& group : call.op.disks.groups()) names.push_back(group.vg.name);
  for (const std::string& name : names)
    engine::check_group(call.op, name, call.arguments.has("updatemetadata"));
}

engine::LvRequest lv_request(const Call& call, std::size_t first_pv) {
  engine::LvRequest request;
  const LvmArguments& a = call.arguments;
  request.size = size_of(a);
  if (request.size.sign != engine::SizeSign::none)
    throw Error(ErrorKind::usage, "A new volume has no size to add to.");
  request.name = a.value("name");
  if (const std::size_t slash = request.name.rfind('/'); slash != std::string::npos)
    request.name.erase(0, slash + 1);
  request.stripes = static_cast<unsigned>(count_option(a, "stripes", 1, 128));
  if (request.stripes == 0) throw Error(ErrorKind::usage, "Number of stripes (0) must be between 1 and 128.");
  request.stripe_bytes = size_option(a, "stripesize", kKiB, 0);
  request.policy = policy_of(a);
  request.pvs = words_from(a, first_pv);
  request.tags = tags_of(a);
  if (const std::string permission = a.value("permission", "rw"); permission != "rw" && permission != "r")
    throw Error(ErrorKind::usage,
                fmt::format("Invalid argument for --permission: {}", printable(permission)));
  request.writable = a.value("permission", "rw") == "rw";
  request.zero = request.writable && yes_option(a, "zero", true);
  request.wipe_signatures = yes_option(a, "wipesignatures", request.zero);
  const std::string type = a.value("type", "striped");
  if (type == "error" || type == "zero")
    request.type = type;
  else if (type != "linear" && type != "striped" && type != "snapshot")
    throw Error(ErrorKind::unsupported,
                fmt::format("Volumes of type {} are read here, but not made.", printable(type)),
                "make it with lvm2");
  return request;
}

void lvcreate(const Call& call) {
  const LvmArguments& a = call.arguments;
  if (!a.has("snapshot") && a.value("type") != "snapshot") {
    engine::LvRequest request = lv_request(call, 1);
    request.vg = without_dev(word(a, 0, "a volume group name"));
    engine::create_lv(call.op, request);
    return;
  }
  engine::SnapshotRequest request;
  request.store = lv_request(call, 1);
  const engine::VolumeName origin = engine::parse_lv_argument(word(a, 0, "the origin as VG/LV"));
  request.store.vg = origin.vg;
  request.origin = origin.lv;
  request.chunk_bytes = size_option(a, "chunksize", kKiB, 4 * kKiB);
  engine::create_snapshot(call.op, request);
}

void resize(const Call& call, bool extend, bool reduce) {
  const LvmArguments& a = call.arguments;
  engine::ResizeRequest request;
  request.name = engine::parse_lv_argument(word(a, 0, "a logical volume as VG/LV"));
  request.size = size_of(a);
  if (a.has("stripes")) request.stripes = static_cast<unsigned>(count_option(a, "stripes", 1, 128));
  request.stripe_bytes = size_option(a, "stripesize", kKiB, 0);
  request.policy = policy_of(a);
  request.pvs = words_from(a, 1);
  request.may_extend = extend;
  request.may_reduce = reduce;
  engine::resize_lv(call.op, request);
}
void lvextend(const Call& call) { resize(call, true, false); }
void lvreduce(const Call& call) { resize(call, false, true); }

void lvremove(const Call& call) {
  word(call.arguments, 0, "a logical volume as VG/LV");
  for (const std::string& name : call.arguments.positional()) {
    const std::string bare = without_dev(name);
    if (name.starts_with("/dev/mapper/") || bare.find('/') != std::string::npos) {
      engine::remove_lv(call.op, engine::parse_lv_argument(name));
      continue;
    }
    // A group's name: everything in it.
    for (;;) {
      const DiskSet::Group& group = engine::require_group(call.op.disks, bare);
      const auto it = std::find_if(group.vg.lvs.begin(), group.vg.lvs.end(), [](const auto& lv) {
        return lv.visible() && !engine::is_snapshot_pseudo(lv);
      });
      if (it == group.vg.lvs.end() || call.op.test) break;
      engine::remove_lv(call.op, {group.vg.name, it->name});
    }
  }
}
void lvrename(const Call& call) {
  const auto& words = call.arguments.positional();
  if (words.size() == 3)
    return engine::rename_lv(call.op, {without_dev(words[0]), words[1].substr(words[1].rfind('/') + 1)},
                             words[2].substr(words[2].rfind('/') + 1));
  if (words.size() != 2) throw Error(ErrorKind::usage, "Please give the old and the new name.");
  engine::rename_lv(call.op, engine::parse_lv_argument(words[0]), words[1].substr(words[1].rfind('/') + 1));
}
void lvconvert(const Call& call) {
  const LvmArguments& a = call.arguments;
  if (a.has("merge") || a.has("mergesnapshot")) {
    word(a, 0, "a snapshot as VG/LV");
    for (const std::string& name : a.positional())
      engine::merge_snapshot(call.op, engine::parse_lv_argument(name));
  } else if (a.has("splitsnapshot")) {
    engine::split_snapshot(call.op, engine::parse_lv_argument(word(a, 0, "a snapshot as VG/LV")));
  } else if (a.has("snapshot") || a.value("type") == "snapshot") {
    const engine::VolumeName origin = engine::parse_lv_argument(word(a, 0, "the origin as VG/LV"));
    const std::string store = word(a, 1, "the volume that becomes the store");
    engine::pair_existing(call.op, origin, store.substr(store.rfind('/') + 1),
                          size_option(a, "chunksize", kKiB, 4 * kKiB), yes_option(a, "zero", true));
  } else {
    throw Error(ErrorKind::unsupported, "Only --merge, --splitsnapshot and --snapshot are known here.");
  }
}

using Run = void (*)(const Call&);
const std::vector<std::pair<std::string_view, Run>> kRuns = {
    {"lvconvert", lvconvert},
    {"lvcreate", lvcreate},
    {"lvdisplay", lvdisplay},
    {"lvextend", lvextend},
    {"lvreduce", lvreduce},
    {"lvremove", lvremove},
    {"lvrename", lvrename},
    {"lvs", report_lvs},
    {"lvscan", lvscan},
    {"pvcreate", pvcreate},
    {"pvdisplay", pvdisplay},
    {"pvmove", pvmove},
    {"pvremove", pvremove},
    {"pvs", report_pvs},
    {"pvscan", pvscan},
    {"vgcfgbackup", vgcfgbackup},
    {"vgcfgrestore", vgcfgrestore},
    {"vgck", vgck},
    {"vgcreate", vgcreate},
    {"vgdisplay", vgdisplay},
    {"vgextend", vgextend},
    {"vgreduce", vgreduce},
    {"vgremove", vgremove},
    {"vgs", report_vgs},
    {"vgscan", vgscan},
};

std::string host_name() {
  char name[256] = "";
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

}  // namespace

bool lvm_verb_writes(const std::vector<std::string>& argv) {
  const LvmVerb* verb = argv.empty() ? nullptr : find_lvm_verb(argv.front());
  return verb != nullptr && verb->writes;
}

std::optional<std::string> lvm_help(const std::vector<std::string>& argv) {
  if (argv.empty() || argv.front() == "help" || argv.front() == "-h" || argv.front() == "--help") {
    std::string out = "LVM on disk images. Options and output are lvm2's.\n\nVerbs:\n";
    for (const LvmVerb& verb : lvm_verbs()) out += fmt::format("  {:<14} {}\n", verb.name, verb.summary);
    return out +
           "\nPhysical volumes are named as the images are: disk.img, or disk.img:1 for its first "
           "partition.\nExample:\n"
           "  respaldo --disk a.img lvm vgcreate vg0 a.img\n  respaldo --disk a.img lvm lvcreate -L 1G -n "
           "root vg0\n";
  }
  const LvmVerb* verb = find_lvm_verb(argv.front());
  if (verb == nullptr || std::none_of(argv.begin() + 1, argv.end(),
                                      [](const std::string& a) { return a == "--help" || a == "-h"; }))
    return std::nullopt;
  std::string out = fmt::format("{}: {}\n\n  {}\n\nOptions:\n", verb->name, verb->summary, verb->usage);
  for (const LvmOption& option : verb->options)
    out += fmt::format("  {}--{}{}\n", option.short_name != 0 ? fmt::format("-{}|", option.short_name) : "",
                       option.long_name, option.takes_value ? " VALUE" : "");
  return out;
}

int run_lvm_verb(const std::vector<std::string>& argv, DiskSet& disks, const LvmWorld& world) {
  const auto complain = [&](const Error& error) {
    std::string text = error.what();
    std::size_t at = 0;
    for (; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      world.warn("  " + text.substr(at, end - at));
      at = end + 1;
    }
    if (!error.hint().empty()) world.warn("  " + error.hint());
  };
  try {
    if (argv.empty()) throw Error(ErrorKind::usage, "Please give a verb.");
    const LvmVerb* verb = find_lvm_verb(argv.front());
    const auto run =
        std::find_if(kRuns.begin(), kRuns.end(), [&](const auto& r) { return r.first == argv.front(); });
    if (verb == nullptr || run == kRuns.end())
      throw Error(ErrorKind::usage,
                  fmt::format("No such command '{}'.  Try 'help'.", printable(argv.front())));
    const LvmArguments arguments = LvmArguments::parse(*verb, {argv.begin() + 1, argv.end()});
    const bool yes = arguments.has("yes");
    std::string command = argv.front();
    for (std::size_t i = 1; i < argv.size(); ++i) command += " " + argv[i];
    OpContext op{disks,
                 world.print,
                 world.warn,
                 [&](std::string_view question) { return yes || world.confirm(question); },
                 [] { return static_cast<std::int64_t>(std::time(nullptr)); },
                 host_name(),
                 command,
                 arguments.has("test"),
                 yes,
                 static_cast<unsigned>(argv.front() == "vgcfgbackup" ? 0 : arguments.count("force")),
                 world.active,
                 world.is_open,
                 world.progress,
                 world.stop};
    if (op.test)
      world.warn("  TEST MODE: Metadata will NOT be updated and volumes will not be (de)activated.");
    run->second({op, arguments, world});
    return 0;
  } catch (const Error& error) {
    complain(error);
    return error.kind() == ErrorKind::usage ? kBadCommandLine : kFailed;
  }
}

}  // namespace respaldo::cli
