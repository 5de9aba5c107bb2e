#include "engine/kernel/cleaning.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "engine/kernel/bases.h"
#include "engine/volume_changes.h"
#include "journal/names.h"
#include "os/crash_point.h"

namespace respaldo::engine {

namespace {

constexpr std::chrono::milliseconds kPatience = std::chrono::seconds(15);

std::string title(const LvRow& row) {
  if (!row.is_snapshot() || row.origin.empty()) return fmt::format("volume {}", printable(row.str()));
  return fmt::format("snapshot {} of {}/{}", printable(row.str()), printable(row.vg), printable(row.origin));
}

const std::string& fact(const journal::Intent& intent, const char* name) {
  static const std::string none;
  const auto at = intent.facts.find(name);
  return at == intent.facts.end() ? none : at->second;
}

// The volume that an intent speaks of, when it is there and is ours.
const LvRow* volume_of(const journal::Intent& intent, const std::vector<LvRow>& rows) {
  const std::string& uuid = fact(intent, "lv_uuid");
  const auto found = std::ranges::find_if(rows, [&](const LvRow& row) {
    const bool named = row.vg_uuid == fact(intent, "vg_uuid") && row.name == fact(intent, "lv");
    return (uuid.empty() ? named : row.uuid == uuid) && row.has_tag(journal::kTag);
  });
  return found == rows.end() ? nullptr : &*found;
}

bool says_whole(const std::vector<journal::Intent>& intents, const LvRow& row) {
  return std::ranges::any_of(intents, [&](const journal::Intent& intent) {
    return !fact(intent, kWholeFact).empty() && fact(intent, "lv_uuid") == row.uuid;
  });
}

// Its disks may be away for a while: what is not seen may come back with them.
bool sees_group(World& world, const std::vector<LvRow>& rows, const std::string& vg_uuid) {
  if (std::ranges::find(rows, vg_uuid, &LvRow::vg_uuid) != rows.end()) return true;
  const auto groups = world.lvm().vgs({}, world.stop()).rows;
  return std::ranges::find(groups, vg_uuid, &VgRow::uuid) != groups.end();
}

// A pool's metadata snapshot; false while it is still there, or may be.
bool released(World& world, const journal::Intent& intent, const std::vector<LvRow>& rows, CleanReport& report) {
  CleanReport::Item item{fmt::format("metadata snapshot of the pool {}/{}", printable(fact(intent, "vg")),
                                     printable(fact(intent, "pool"))),
                         ""};
  try {
    const auto problem = release_metadata_snapshot(world, intent);
    if (!problem)
      return std::ranges::find(rows, fact(intent, "pool_uuid"), &LvRow::uuid) == rows.end() &&
             sees_group(world, rows, fact(intent, "vg_uuid"));
    item.problem = *problem;
  } catch (const Error& error) {
    item.problem = error.what();
  }
  report.items.push_back(item);
  return item.problem.empty();
}

}  // namespace

bool is_leftover(const LvRow& row) { return is_leftover(row.tags); }

bool is_whole(World& world, const LvRow& row) {
  return says_whole(journal::all_intents(world.state()), row);
}

bool remove_leftover(World& world, const LvRow& row, std::chrono::milliseconds patience) {
  std::string owner;
  for (const std::string& tag : row.tags)
    if (journal::Owner::from_tag(tag)) owner = tag;
  return world.remove_volume(row.vg, row.vg_uuid, row.uuid, patience, owner);
}

std::vector<std::string> untag_words(const LvRow& row) { return untag_words(row.str(), tags_of_maker(row.tags)); }

CleanReport clean_leftovers(World& world, const CleanOptions& options) {
  CleanReport report;
  std::vector<journal::Intent> told;
  std::vector<journal::DeadJournal> dead;
  bool journals_read = false;
  try {
    told = journal::all_intents(world.state());
    dead = journal::dead_journals(world.state());
    journals_read = true;
  } catch (const Error& error) {
    report.items.push_back({fmt::format("journals in {}", printable(world.state().native())), error.what()});
  }
  const std::vector<LvRow> rows = world.lvm().lvs({}, world.stop()).rows;
  os::crash_point("leftovers found");
  std::vector<std::string> staying;  // UUIDs
  for (const LvRow& row : rows) {
    if (!is_leftover(row)) continue;
    // Somebody may have forgotten a journal since they were read, or have died and left one.
    const bool whole = says_whole(told, row) || (journals_read && is_whole(world, row));
    if (!whole && !options.named && !journal::is_volume_name(row.name)) {
      report.left.push_back(title(row));
      staying.push_back(row.uuid);
      continue;
    }
    CleanReport::Item item{whole ? fmt::format("tags of the restored {}", title(row)) : title(row), ""};
    try {
      if (!whole && !journals_read && !journal::is_volume_name(row.name))
        throw Error(ErrorKind::io, "only the journals know whether it was restored whole");
      if (whole && !options.dry_run) world.lvm().change(untag_words(row));
      if (!whole && !options.dry_run && !remove_leftover(world, row, kPatience)) continue;
    } catch (const Error& error) {
      item.problem = error.what();
      staying.push_back(row.uuid);
    }
    report.items.push_back(std::move(item));
  }
  if (options.dry_run) return report;
  for (journal::DeadJournal& journal : dead) {
    // What the journal speaks of and is there still: not removable now, or not ours to remove (a base by
    // now).
    const auto open = [&](const journal::Intent& intent) {
      if (intent.kind == kMetadataSnapshotIntent) return !released(world, intent, rows, report);
      if (const LvRow* row = volume_of(intent, rows))
        return std::ranges::find(staying, row->uuid) != staying.end();
      return !fact(intent, kWholeFact).empty() && !sees_group(world, rows, fact(intent, "vg_uuid"));
    };
    try {
      if (std::ranges::none_of(journal.open_intents(), open)) journal.forget();
    } catch (const Error& error) {
      report.items.push_back({fmt::format("journal {}", printable(journal.path().native())), error.what()});
    }
  }
  return report;
}

}  // namespace respaldo::engine
