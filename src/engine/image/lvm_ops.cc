// Names on the command line, and what the operations share.
#include "engine/image/lvm_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "dm/cow_store.h"
#include "engine/image/vg_edit.h"

namespace respaldo::engine {

namespace {

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<PvTarget> find_pv_target(const DiskSet& disks, std::string_view name) {
  std::vector<PvTarget> matches;
  for (std::size_t d = 0; d < disks.disks().size(); ++d) {
    const FoundDisk& disk = disks.disks()[d];
    for (const std::string& stem : {disk.path.native(), disk.path.filename().native()}) {
      if (!name.starts_with(stem)) continue;
      const std::string_view rest = name.substr(stem.size());
      PvTarget target;
      target.disk = d;
      const bool partitioned = disk.partitions && !disk.partitions->partitions.empty();
      if (rest.empty()) {
        if (partitioned)
          throw Error(ErrorKind::refused,
                      fmt::format("Cannot use {}: device is partitioned", printable(name)),
                      fmt::format("name a partition, for example {}:{}", printable(name),
                                  disk.partitions->partitions.front().number));
        target.extent = {0, disk.size};
      } else {
        const auto wanted = rest[0] == ':' ? number(rest.substr(1)) : std::nullopt;
        if (!wanted || !partitioned) continue;
        const auto& all = disk.partitions->partitions;
        const auto it =
            std::find_if(all.begin(), all.end(), [&](const auto& p) { return p.number == *wanted; });
        if (it == all.end()) continue;
        target.partition = it->number;
        target.extent = it->extent;
      }
      for (std::size_t p = 0; p < disks.pvs().size(); ++p)
        if (disks.pvs()[p].disk == d && disks.pvs()[p].partition == target.partition) target.found = p;
      target.name = target.found ? disks.pvs()[*target.found].name : std::string(name);
      matches.push_back(std::move(target));
      break;
    }
  }
  if (matches.size() > 1)
    throw Error(ErrorKind::usage, fmt::format("{} names several images", printable(name)),
                "write its full path");
  if (matches.empty()) return std::nullopt;
  return std::move(matches.front());
}

ExtentSet parse_ranges(std::string_view text, std::uint64_t pe_count, std::string_view argument) {
  ExtentSet set;
  while (!text.empty()) {
    text.remove_prefix(1);
    const std::string_view range = text.substr(0, text.find(':'));
    text.remove_prefix(range.size());
    const std::size_t dash = range.find_first_of("-+");
    const auto first = number(range.substr(0, dash));
    std::optional<std::uint64_t> last = first;
    if (dash != std::string_view::npos) {
      const std::string_view rest = range.substr(dash + 1);
      last = rest.empty() && range[dash] == '-' ? std::optional(pe_count - 1) : number(rest);
      if (last && first && range[dash] == '+')
        last = *last == 0 ? std::nullopt : std::optional(*first + *last - 1);
    }
    if (!first || !last || *last < *first || *last >= pe_count)
      throw Error(ErrorKind::usage, fmt::format("PE range error in {}", printable(argument)));
    set.add({*first, *last - *first + 1});
  }
  return set;
}

PvArgument split_pv_argument(const DiskSet& disks, std::string_view name) {
  PvArgument argument;
  std::size_t end = name.size();
  for (;;) {
    argument.target = find_pv_target(disks, name.substr(0, end));
    if (argument.target && argument.target->found) break;
    end = end == 0 ? std::string_view::npos : name.rfind(':', end - 1);
    if (end == std::string_view::npos) return {};
  }
  argument.ranges = name.substr(end);
  return argument;
}

std::vector<PvSpace> pv_space(const OpContext& context, const DiskSet::Group& group,
                              const std::vector<std::string>& names) {
  std::vector<PvSpace> all = allocatable_space(group.vg);
  if (names.empty()) return all;
  std::vector<PvSpace> chosen;
  for (const std::string& name : names) {
    const auto [target, ranges] = split_pv_argument(context.disks, name);
    const lvm::PhysicalVolume* pv =
        target && target->found ? group.vg.find_pv(context.disks.pvs()[*target->found].label.id) : nullptr;
    if (pv == nullptr)
      throw Error(ErrorKind::not_found,
                  fmt::format("Physical Volume \"{}\" not found in Volume Group \"{}\".", printable(name),
                              printable(group.vg.name)));
    if (!pv->allocatable()) {
      context.warn(fmt::format("  WARNING: Physical volume {} not allocatable.", printable(name)));
      continue;
    }
    const ExtentSet wanted =
        ranges.empty() ? ExtentSet{{0, pv->pe_count}} : parse_ranges(ranges, pv->pe_count, name);
    for (const PvSpace& space : all) {
      if (space.pv != pv->key) continue;
      const auto before =
          std::find_if(chosen.begin(), chosen.end(), [&](const PvSpace& c) { return c.pv == pv->key; });
      if (before != chosen.end())
        before->free = before->free.united(space.free.intersected(wanted));
      else
        chosen.push_back({pv->key, space.free.intersected(wanted)});
    }
  }
  if (std::none_of(chosen.begin(), chosen.end(), [](const PvSpace& pv) { return !pv.free.empty(); }))
    throw Error(ErrorKind::no_space, "No specified PVs have space available.");
  return chosen;
}

VolumeName parse_lv_argument(std::string_view text) { return VolumeName::parse(text); }

const DiskSet::Group& require_group(const DiskSet& disks, std::string_view name) {
  constexpr std::string_view kDev = "/dev/";
  if (name.starts_with(kDev)) name.remove_prefix(kDev.size());
  try {
    return disks.group(name);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    throw Error(ErrorKind::not_found,
                fmt::format("{}\nCannot process volume group {}", error.message(), printable(name)),
                error.hint());
  }
}

const lvm::LogicalVolume& require_lv(const DiskSet::Group& group, const std::string& name) {
  const lvm::LogicalVolume* lv = group.vg.find_lv(name);
  if (lv == nullptr || is_snapshot_pseudo(*lv))
    throw Error(ErrorKind::not_found, fmt::format("Failed to find logical volume \"{}/{}\"",
                                                  printable(group.vg.name), printable(name)));
  return *lv;
}

void require_valid_lv_name(const lvm::VolumeGroup& vg, const std::string& name) {
  const auto problem = lvm::lv_name_problem(vg.name, name);
  if (!problem) return;
  for (const std::string_view prefix : {"snapshot", "pvmove"})
    if (name.starts_with(prefix))
      throw Error(
          ErrorKind::usage,
          fmt::format("Names starting \"{}\" are reserved. Please choose a different LV name.", prefix));
  // "names that contain "_tmeta" are reserved"
  if (const std::size_t quote = problem->find('"'); quote != std::string::npos)
    throw Error(ErrorKind::usage,
                fmt::format("Names including {} are reserved. Please choose a different LV name.",
                            problem->substr(quote, problem->find('"', quote + 1) - quote + 1)));
  throw Error(ErrorKind::usage, fmt::format("Logical volume name \"{}\" is invalid.", printable(name)),
              *problem);
}

void require_valid_vg_name(const std::string& name, ErrorKind kind) {
  const auto problem = lvm::vg_name_problem(name);
  if (!problem) return;
  const bool letters = std::any_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) == 0 &&
           std::string_view(".-_+").find(static_cast<char>(c)) == std::string_view::npos;
  });
  throw Error(
      kind,
      fmt::format("{}New volume group name \"{}\" is invalid.",
                  letters ? "Name contains invalid character, valid set includes: [a-zA-Z0-9.-_+].\n" : "",
                  printable(name)),
      letters ? std::string() : *problem);
}

std::uint64_t cow_maximum_extents(const lvm::VolumeGroup& vg, std::uint64_t origin_extents,
                                  std::uint64_t chunk_bytes) {
  const std::uint64_t bytes = dm::cow_store_maximum(origin_extents * vg.extent_bytes(), chunk_bytes);
  return (bytes + vg.extent_bytes() - 1) / vg.extent_bytes();
}

void commit(OpContext& context, const std::string& vg, lvm::VolumeGroup next) {
  if (context.test) return;
  context.disks.commit(vg, std::move(next), "Write from " + context.command + ".");
}

void require_changeable(const DiskSet::Group& group) {
  for (const lvm::PhysicalVolume& pv : group.vg.pvs)
    if (!group.pvs.contains(pv.id.plain()) && !pv.missing_flag())
      throw Error(ErrorKind::refused,
                  fmt::format("Cannot change VG {} while PVs are missing.", printable(group.vg.name)),
                  "See vgreduce --removemissing and vgextend --restoremissing.");
}

}  // namespace respaldo::engine
