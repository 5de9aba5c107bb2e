#include "machine/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "base/units.h"
#include "engine/base.h"
#include "engine/volume_engine.h"
#include "journal/names.h"

namespace respaldo::machine {

namespace {

// A first backup has no history: a fifth of the volume is written anew in few backups.
constexpr std::uint64_t kUnknownShare = 5;

std::string expected_words(std::uint64_t expected, bool known) {
  return fmt::format("{} {}", format_size(expected),
                     known ? "were used by its last backup" : "(a fifth of it) are expected");
}

Finding ok(std::string kind, std::string message) {
  return {Severity::ok, std::move(kind), "", std::move(message), ""};
}

void check_thin(const Picture& picture, const engine::LvRow& lv, Findings& found) {
  const engine::LvRow* pool = find_volume(picture, lv.vg, lv.pool);
  if (pool == nullptr) return;
  const double data = pool->data_percent_x100.value_or(0) / 100.0,
               metadata = pool->metadata_percent_x100.value_or(0) / 100.0;
  if (std::max(data, metadata) < 80)
    found.push_back({Severity::ok, "room_for_snapshot", lv.str(),
                     fmt::format("{}: its pool {} has room (data {:.2f}%, metadata {:.2f}% used)", lv.str(),
                                 pool->str(), data, metadata),
                     ""});
}

void check_thick(const Picture& picture, const DoctorFacts& facts, const engine::LvRow& lv, Findings& found) {
  const engine::VgRow* vg = find_group(picture, lv.vg);
  if (vg == nullptr) return;
  const auto history = facts.cow.find(lv.str());
  const bool known = history != facts.cow.end();
  const std::uint64_t worst = cow_worst_case(lv.size, 4096);
  const std::uint64_t expected = std::min(worst, known ? history->second : lv.size / kUnknownShare);
  if (vg->free < vg->extent_size || vg->free == 0) {
    found.push_back(
        {Severity::problem, "no_room_for_snapshot", lv.str(),
         fmt::format("{} has no free extents: no snapshot can be made of {}", vg->name, lv.str()),
         fmt::format("free some space in {}, or add a disk to it (`vgextend {} DISK`)", vg->name, vg->name)});
  } else if (vg->free < expected) {
    found.push_back(
        {Severity::warning, "little_room_for_snapshot", lv.str(),
         fmt::format("{}: {} has {} free, but {} of COW store; more writes than that during a backup end it",
                     lv.str(), vg->name, format_size(vg->free), expected_words(expected, known)),
         fmt::format("free some space in {}, or back up at a quiet hour", vg->name)});
  } else {
    found.push_back({Severity::ok, "room_for_snapshot", lv.str(),
                     fmt::format("{}: {} has {} free, and {} of COW store", lv.str(), vg->name,
                                 format_size(vg->free), expected_words(expected, known)),
                     ""});
  }
}

// What bases cost: nobody should have to wonder where room and speed have gone.
void check_bases(const Picture& picture, Findings& found) {
  for (const engine::LvRow& lv : picture.lvs) {
    if (!lv.has_tag(engine::kBaseTag) || lv.snapshot_invalid) continue;
    std::string origin = lv.vg + "/" + lv.origin;
    if (lv.origin.empty())
      for (const engine::LvRow& other : picture.lvs)
        if (lv.has_tag(std::string(journal::kBaseOfTagPrefix) + other.uuid)) origin = other.str();
    const bool moves = engine::is_base_of_move(engine::base_token(lv.tags));
    const std::string since = moves ? "it was copied (`respaldo migrate`)" : "its last backup";
    found.push_back(
        {Severity::ok, "base", lv.str(),
         lv.is_thick_snapshot()
             ? fmt::format("{} tells what changes on {}: it takes {} of {} ({:.2f}% used), and the first write to each "
                           "block since {} is copied there",
                           lv.str(), origin, format_size(lv.size), lv.vg, lv.data_percent_x100.value_or(0) / 100.0, since)
             : fmt::format("{} tells what changes on {}: what was overwritten since {} stays in the pool {}/{}",
                           lv.str(), origin, since, lv.vg, lv.pool),
         ""});
  }
}

void check_volumes(const Picture& picture, const DoctorFacts& facts, Findings& found) {
  std::vector<const engine::LvRow*> volumes;
  for (const std::string& name : facts.volumes) {
    const auto parsed = engine::VolumeName::parse(name);
    const engine::LvRow* lv = find_volume(picture, parsed.vg, parsed.lv);
    if (lv == nullptr)
      found.push_back({Severity::problem, "no_such_volume", name, fmt::format("there is no volume {}", name),
                       "`respaldo layout` shows what there is"});
    else
      volumes.push_back(lv);
  }
  if (facts.volumes.empty()) volumes = volumes_to_save(picture);
  if (facts.volumes.empty() && volumes.empty() && picture.lvm_known)
    found.push_back({Severity::warning, "no_volumes", "", "this host has no volumes to back up",
                     "`respaldo layout` shows what there is"});
  for (const engine::LvRow* lv : volumes) {
    if (!lv->is_active())
      found.push_back({Severity::problem, "volume_not_active", lv->str(),
                       fmt::format("{} is not active", lv->str()),
                       fmt::format("`lvchange -ay {}`", lv->str())});
    else if (lv->is_thin_volume())
      check_thin(picture, *lv, found);
    else
      check_thick(picture, facts, *lv, found);
  }
}

std::optional<unsigned> number(const LvmSettings& settings, const std::string& name) {
  const auto at = settings.find(name);
  if (at == settings.end()) return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(at->second.data(), at->second.data() + at->second.size(), value);
  return error == std::errc() && end == at->second.data() + at->second.size() ? std::optional(value)
                                                                              : std::nullopt;
}

void check_settings(const Picture& picture, const LvmSettings& settings, Findings& found) {
  const auto monitoring = number(settings, "activation/monitoring");
  const auto snapshots = number(settings, "activation/snapshot_autoextend_threshold");
  const auto pools = number(settings, "activation/thin_pool_autoextend_threshold");
  const bool any_pool = std::any_of(picture.lvs.begin(), picture.lvs.end(),
                                    [](const auto& lv) { return lv.segment_type == "thin-pool"; });
  if (snapshots && *snapshots < 100 && monitoring == 1U)
    found.push_back(
        ok("snapshot_autoextend", fmt::format("dmeventd extends snapshots, too, from {}% on", *snapshots)));
  else if (snapshots)
    found.push_back(
        ok("snapshot_autoextend",
           "dmeventd does not extend snapshots (snapshot_autoextend_threshold); respaldo watches its own"));
  if (any_pool && pools && (*pools >= 100 || monitoring == 0U))
    found.push_back({Severity::warning, "pool_autoextend", "",
                     "dmeventd does not extend thin pools (thin_pool_autoextend_threshold is 100, or "
                     "monitoring is off): a pool that fills stops its volumes",
                     "set thin_pool_autoextend_threshold=80 and thin_pool_autoextend_percent=20 in the "
                     "section activation of /etc/lvm/lvm.conf"});
}

// A family of findings, or one row that says that there was nothing.
void family(Findings& found, Findings some, const char* kind, const char* nothing) {
  if (some.empty()) found.push_back(ok(kind, nothing));
  std::move(some.begin(), some.end(), std::back_inserter(found));
}

}  // namespace

LvmSettings parse_lvm_settings(std::string_view text) {
  LvmSettings settings;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const std::size_t equals = line.find('=');
    if (line.starts_with('#') || equals == std::string_view::npos) continue;
    settings.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  return settings;
}

std::vector<std::string> wanted_lvm_settings() {
  return {"activation/monitoring", "activation/snapshot_autoextend_threshold",
          "activation/thin_pool_autoextend_threshold"};
}

std::vector<const engine::LvRow*> volumes_to_save(const Picture& picture) {
  std::vector<const engine::LvRow*> volumes;
  for (const engine::LvRow& lv : picture.lvs) {
    if (lv.hidden || lv.is_thick_snapshot() || lv.is_pool() || lv.has_tag("backup_target")) continue;
    if (lv.is_thin_volume() && !lv.origin.empty()) continue;
    // Neither of a move that is under way, nor what it left.
    if (std::ranges::any_of(lv.tags, [&](const std::string& tag) {
          return tag.starts_with(journal::kCopyOfTagPrefix) ||
                 (tag.starts_with(journal::kMovedTagPrefix) && !lv.is_active());
        }))
      continue;
    const Device* device = device_of(picture, lv);
    if (device != nullptr && device->content.type == "swap") continue;
    volumes.push_back(&lv);
  }
  return volumes;
}

Findings examine_host(const Picture& picture, const DoctorFacts& facts) {
  Findings found;
  if (facts.root)
    found.push_back(ok("root", "running as root"));
  else
    found.push_back({Severity::problem, "root", "",
                     "not running as root: snapshots can neither be made nor read",
                     "run it as root, as the backup will be"});
  if (facts.lvm_version.empty())
    found.push_back(
        {Severity::problem, "lvm2", "", "lvm2 does not answer", "install the package lvm2, and run as root"});
  else
    found.push_back(ok("lvm2", fmt::format("lvm2 {} answers", facts.lvm_version)));
  if (!picture.lvm_known) return found;
  check_volumes(picture, facts, found);
  check_bases(picture, found);
  check_settings(picture, facts.settings, found);
  family(found, missing_pvs(picture), "group_partial", "all PVs are there");
  family(found, duplicates(picture), "duplicates", "no group's name and no PV is there twice");
  family(found, hidden_pvs(picture), "pv_hidden", "lvm2 shows all PVs that lie on the disks");
  family(found, stale_respaldo_snapshots(picture), "stale_snapshot",
         "nothing was left behind by earlier runs");
  family(found, endangered_snapshots(picture), "snapshots", "no snapshot is dead or in danger");
  family(found, full_thin_pools(picture), "thin_pools", "no thin pool is nearly full");
  family(found, groups_on_removable_disks(picture), "group_needs_removable_disk",
         "no group of several disks depends on one that can be unplugged");
  family(found, fstab_that_hangs_the_boot(picture), "fstab", "fstab would not hang the boot");
  if (!facts.repository.empty())
    family(found, repository_on_same_disk(picture, facts.repository), "repository_on_same_disk",
           "the repository is on no disk of these volumes");
  return found;
}

}  // namespace respaldo::machine
