#include "cli/snapshot_merge.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <ctime>

#include "base/printable.h"
#include "base/units.h"
#include "cli/shared.h"
#include "engine/volume_changes.h"

namespace respaldo::cli {

namespace {

using engine::MergeOutcome;
using engine::MergePlan;

std::string age(const MergePlan& plan) {
  if (!plan.made) return "";
  const double seconds = std::difftime(std::time(nullptr), static_cast<std::time_t>(*plan.made));
  return fmt::format(", made {}{}", local_time({*plan.made, 0}),
                     seconds >= 0 ? fmt::format(" ({} ago)", format_duration(seconds)) : "");
}

// What is written to the origin while it is put back is copied for its other snapshots.
void warn_of_others(app::Context& context, const MergePlan& plan) {
  if (!plan.changed) return;
  for (const engine::VolumeInfo& info : context.engine().list()) {
    if (!info.cow || !info.cow->valid || info.name == plan.snapshot || info.name.vg != plan.origin.vg ||
        info.origin != plan.origin.lv)
      continue;
    const std::uint64_t free = info.cow->size - std::min(info.cow->used, info.cow->size);
    if (free < *plan.changed)
      context.warn(fmt::format("{} is another snapshot of {} with only {} left in its COW store: the merge may be too "
                               "much for it; `respaldo snapshot extend` gives it more",
                               printable(info.name.str()), printable(plan.origin.str()), format_size(free)));
  }
}

std::string question(const MergePlan& plan) {
  const std::string origin = printable(plan.origin.str());
  return fmt::format(
      "roll {} back to snapshot {}{}? {} and the snapshot goes away", origin, printable(plan.snapshot.str()), age(plan),
      plan.changed
          ? fmt::format("What was written to {} since then is undone ({} to put back),", origin, format_size(*plan.changed))
          : fmt::format("What was written to {} since then is undone,", origin));
}

void tell_waiting(app::Context& context, const MergePlan& plan) {
  const std::string origin = printable(plan.origin.str()), vg = printable(plan.origin.vg);
  context.print(fmt::format("the merge of {} waits: {}", printable(plan.snapshot.str()),
                            plan.uses.empty() ? origin + " or the snapshot is in use"
                                              : fmt::format("{}", fmt::join(plan.uses, ", "))));
  context.print(fmt::format(
      "it happens when {0} is activated the next time: at the next boot, or now, when nothing uses it any more:\n"
      "  lvchange -an {0} && lvchange -ay {0}   (or this command again)\n"
      "until then {0} goes on as it is, and what is written to it is undone as well. To see it:\n"
      "  lvs -a -o name,origin,lv_merging,data_percent {1}",
      origin, vg));
}

void report(app::Context& context, const MergePlan& plan, MergeOutcome outcome) {
  if (context.options().json) {
    Json json = {{"snapshot", plan.snapshot.str()}, {"origin", plan.origin.str()}};
    json["outcome"] = outcome == MergeOutcome::done ? "merged" : outcome == MergeOutcome::waits ? "waits" : "runs";
    json["changed_bytes"] = plan.changed ? Json(*plan.changed) : Json();
    json["uses"] = plan.uses;
    context.print_json(dump(json));
    return;
  }
  if (outcome == MergeOutcome::waits) return tell_waiting(context, plan);
  if (outcome == MergeOutcome::runs)
    context.print(fmt::format("the merge goes on by itself; this command again shows how far it is"));
  else if (context.options().verbosity > 0)
    context.print(fmt::format("{} is what {} was; the snapshot has gone", printable(plan.origin.str()),
                              printable(plan.snapshot.str())));
}

}  // namespace

app::ExitCode merge_snapshot(app::Context& context, const engine::VolumeName& snapshot, bool yes) {
  engine::VolumeChanges& changes = engine::volume_changes(context.engine());
  const MergePlan plan = changes.plan_merge(snapshot);
  for (const std::string& warning : context.engine().warnings()) context.warn(warning);
  if (!plan.begun) {
    warn_of_others(context, plan);
    if (!plan.uses.empty())
      context.warn(fmt::format("{}: the merge will wait until {} is activated the next time",
                               fmt::format("{}", fmt::join(plan.uses, ", ")), printable(plan.origin.str())));
    if (!context.confirm(question(plan), yes)) throw Error(ErrorKind::refused, "nothing was changed");
  }
  const MergeOutcome outcome = changes.merge(plan, context.progress(), context.stop());
  report(context, plan, outcome);
  return outcome == MergeOutcome::runs ? app::ExitCode::interrupted : app::ExitCode::ok;
}

}  // namespace respaldo::cli
