#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "engine/kernel/in_use.h"
#include "engine/kernel/kernel_lease.h"
#include "engine/kernel/live_changes.h"
#include "engine/kernel/tools/dm_status.h"
#include "journal/names.h"
#include "os/crash_point.h"

namespace respaldo::engine {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kLook{100};      // between two looks at the kernel
constexpr std::chrono::milliseconds kSettle{1500};   // until what lvm2 and the kernel say must agree
constexpr std::chrono::seconds kFinishPatience{30};  // for lvm2 to take the empty store away

// "2026-11-25 22:00:11 +0000", as lvs prints it unless lvm.conf says otherwise.
std::optional<std::int64_t> time_of(const std::string& text) {
  std::tm parts{};
  const char* const end = ::strptime(text.c_str(), "%Y-%m-%d %H:%M:%S %z", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  const long east = parts.tm_gmtoff;
  return static_cast<std::int64_t>(::timegm(&parts)) - east;
}

std::optional<LvRow> row_of_uuid(World& world, const std::string& vg_uuid, const std::string& uuid) {
  for (LvRow& row : world.lvm().lvs({}).rows)
    if (row.vg_uuid == vg_uuid && row.uuid == uuid) return std::move(row);
  return std::nullopt;
}

std::string origin_device(const LvRow& snapshot) { return dm_uuid(snapshot.vg_uuid, snapshot.origin_uuid); }

void tell_uses(World& world, const std::string& title, const std::string& uuid, std::vector<std::string>& uses) {
  const auto info = world.dm().info(DmRef::by_uuid(uuid));
  if (!info || info->open_count == 0) return;
  const std::vector<std::string> known = uses_of(makedev(info->major, info->minor));
  for (const std::string& use : known) uses.push_back(fmt::format("{} is {}", title, use));
  if (known.empty()) uses.push_back(title + " is open");
}

// Bytes that are still to be put back; absent when the kernel does not merge into this volume.
std::optional<std::uint64_t> left_to_merge(World& world, const std::string& origin, const std::string& title) {
  const auto lines = world.dm().status(DmRef::by_uuid(origin));
  if (!lines || lines->empty() || lines->front().type != "snapshot-merge") return std::nullopt;
  const auto status = parse_snapshot_status(lines->front().words);
  if (!status || status->state != SnapshotState::valid)
    throw Error(ErrorKind::io,
                fmt::format("merging {} failed (device-mapper: {})", title, printable(lines->front().words)),
                "the kernel log says why; the snapshot is kept, what was not put back yet is read from it, and the "
                "merge goes on with `lvchange --refresh` of the origin once the cause is gone");
  return status->used - std::min(status->metadata, status->used);
}

// Follows one merge until it is over, or is seen not to happen now.
class Watch {
 public:
  Watch(World& world, const LvRow& snapshot, Progress& progress, const std::stop_token& stop)
      : world_(world),
        snapshot_(snapshot),
        origin_(origin_device(snapshot)),
        title_(printable(snapshot.str())),
        progress_(progress),
        stop_(stop) {}

  MergeOutcome run() {
    auto since = Clock::now();  // when the kernel last had something to merge
    for (;; std::this_thread::sleep_for(kLook)) {
      if (stop_.stop_requested()) return MergeOutcome::runs;
      if (const auto left = left_to_merge(world_, origin_, title_)) {
        show(*left);
        if (*left > 0) since = Clock::now();
        if (Clock::now() - since > kSettle && !polled_) poll();
      } else if (const auto row = row_of_uuid(world_, snapshot_.vg_uuid, snapshot_.uuid); !row) {
        return MergeOutcome::done;
      } else if (!phase_ && Clock::now() - since > kSettle) {
        return MergeOutcome::waits;
      }
      if (Clock::now() - since > kFinishPatience)
        throw Error(ErrorKind::io, fmt::format("{} is merged, but lvm2 does not take it away", title_),
                    fmt::format("lvchange --poll y {}/{}", snapshot_.vg, snapshot_.origin));
    }
  }

 private:
  void show(std::uint64_t left) {
    if (!phase_) {
      phase_.emplace(progress_, "merge", left);
      left_ = left;
    }
    if (left < left_) progress_.advance(left_ - left);
    left_ = std::min(left, left_);
  }
  // Without lvmpolld, lvm2's process in the background may have died.
  void poll() {
    polled_ = true;
    world_.lvm().change({"lvchange", "--poll", "y", fmt::format("{}/{}", snapshot_.vg, snapshot_.origin)});
  }

  World& world_;
  const LvRow& snapshot_;
  const std::string origin_, title_;
  Progress& progress_;
  const std::stop_token& stop_;
  std::optional<ProgressPhase> phase_;
  std::uint64_t left_ = 0;
  bool polled_ = false;
};

}  // namespace

MergePlan plan_live_merge(World& world, const LvRow& row) {
  const std::string title = printable(row.str());
  if (!row.is_snapshot() || row.origin.empty())
    throw Error(ErrorKind::refused, fmt::format("{} is not a snapshot", title), "`respaldo snapshot list` shows them");
  for (const std::string& tag : row.tags)
    if (const auto owner = journal::Owner::from_tag(tag); owner && owner->alive())
      throw Error(ErrorKind::busy,
                  fmt::format("{} belongs to a backup that runs (process {})", title, owner->pid),
                  "wait until that ends; it takes its snapshot along");
  if (row.is_thick_snapshot() && row.snapshot_invalid)
    throw Error(ErrorKind::overflow, fmt::format("snapshot {} is invalid: its COW store overflowed or failed", title),
                "there is nothing to go back to any more; remove it: respaldo snapshot remove " + title);
  MergePlan plan;
  plan.snapshot = {row.vg, row.name};
  plan.uuid = row.uuid;
  plan.origin = {row.vg, row.origin};
  plan.thin = !row.is_thick_snapshot();
  plan.made = time_of(row.time);
  plan.begun = row.merging;
  if (!plan.thin && row.is_active() && !row.merging)
    if (const auto cow = cow_figures(world.dm(), dm_uuid(row.vg_uuid, row.uuid),
                                     {row.origin_size, 0, 0, 512, row.chunk_size}))
      plan.changed = cow->used;
  tell_uses(world, printable(plan.origin.str()), origin_device(row), plan.uses);
  tell_uses(world, title, dm_uuid(row.vg_uuid, row.uuid), plan.uses);
  return plan;
}

MergeOutcome merge_live_snapshot(World& world, const LvRow& row, Progress& progress, const std::stop_token& stop) {
  if (!row.merging)
    world.lvm().change({"lvconvert", "-y", "-b", "-i", "1", "--merge", row.str()}, stop);
  else if (!left_to_merge(world, origin_device(row), printable(row.str())))
    // It waits for an activation; when nobody uses the origin, this is one.
    world.lvm().change({"lvchange", "--refresh", fmt::format("{}/{}", row.vg, row.origin)}, stop);
  os::crash_point("merge begun");
  return Watch(world, row, progress, stop).run();
}

}  // namespace respaldo::engine
