#include "engine/kernel/live_moves.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "engine/kernel/tools/dm_status.h"
#include "engine/kernel/volume_segments.h"
#include "lvm/volume_group.h"
#include "os/crash_point.h"

namespace respaldo::engine {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kLook{100};      // between two looks at the kernel
constexpr std::chrono::seconds kAsk{1};              // between two questions to lvm2, when the kernel is done
constexpr std::chrono::seconds kPollPatience{5};     // for lvm2's own process to record the end
constexpr std::chrono::seconds kFinishPatience{60};  // for lvm2 to take its hidden volume away

std::string resolved(const std::string& path) {
  std::error_code failed;
  const os::Path real = std::filesystem::canonical(path, failed);
  return failed ? path : real.native();
}

PvRow target_of(World& world, const LvRow& volume, const std::string& to) {
  std::string there;
  for (PvRow& pv : world.lvm().pvs({}, world.stop()).rows) {
    if (pv.vg_uuid != volume.vg_uuid) continue;
    if (pv.name == to || pv.uuid == to || resolved(pv.name) == resolved(to)) return std::move(pv);
    there += (there.empty() ? "" : ", ") + printable(pv.name);
  }
  if (to == volume.vg)
    throw Error(ErrorKind::refused,
                fmt::format("{} is in the volume group {} already", printable(volume.str()), printable(to)),
                "name a physical volume of it: " + there);
  throw Error(ErrorKind::not_found,
              fmt::format("volume group {} has no physical volume {}", printable(volume.vg), printable(to)),
              fmt::format("it has: {}; `vgextend {} {}` gives it one more", there, volume.vg, to));
}

std::string direction(const Pvmove& move) {
  return printable(fmt::format("{} to {}", move.from, fmt::join(move.to, ", ")));
}

void require_no_other(const Whereabouts& now, const LvRow& volume) {
  if (now.others.empty()) return;
  throw Error(
      ErrorKind::busy,
      fmt::format("another volume of {} is being moved, from {}", printable(volume.vg),
                  direction(now.others[0])),
      fmt::format(
          "wait until that is over (`lvs -a -o+copy_percent,move_pv {}`), or end it: pvmove --abort {}",
          volume.vg, now.others[0].from));
}

void require_movable(const LvRow& volume, const Whereabouts& now) {
  const std::string title = printable(volume.str());
  if (volume.is_thin_volume())
    throw Error(ErrorKind::unsupported,
                fmt::format("{} is thin: its bytes are in the pool {}", title, printable(volume.pool)),
                fmt::format("move the pool: pvmove -n {} FROM TO", volume.pool));
  if (!volume.is_public() || volume.is_pool() || !now.strange.empty())
    throw Error(ErrorKind::unsupported,
                fmt::format("{} is no plain volume ({}); only linear ones are moved", title,
                            now.strange.empty() ? printable(volume.segment_type) : printable(now.strange)),
                "lvm2 may know how: pvmove -n LV FROM TO");
  if (volume.merging) throw Error(ErrorKind::busy, title + " is being merged", "wait until that is over");
}

// Somebody records the end of a move that was begun. Never `pvmove SOURCE`: when the move has ended in
// between, that would begin to empty the whole disk.
std::vector<std::string> go_on(const LvRow& volume) { return {"lvchange", "--poll", "y", volume.str()}; }

// Follows one pvmove until lvm2's metadata no longer tells of it.
class Watch {
 public:
  Watch(World& world, const LvRow& volume, Pvmove move, Progress& progress, const std::stop_token& stop)
      : world_(world), volume_(volume), move_(std::move(move)), progress_(progress), stop_(stop) {}

  // False: a stop was asked for.
  bool run() {
    auto since = Clock::now(), asked = since - kAsk;  // since: when the kernel last had something to copy
    for (;; std::this_thread::sleep_for(kLook)) {
      if (stop_.stop_requested()) return false;
      if (copies()) {
        since = Clock::now();
        continue;
      }
      if (Clock::now() - asked < kAsk) continue;
      asked = Clock::now();
      if (!whereabouts_of(world_, volume_).moving) return true;
      if (Clock::now() - since > kFinishPatience)
        throw Error(
            ErrorKind::io,
            fmt::format("{} is copied, but lvm2 does not end the move", printable(volume_.str())),
            fmt::format("end it: lvchange --poll y {0}; or take it back: respaldo migrate {0} --abort",
                        volume_.str()));
      if (Clock::now() - since > kPollPatience && !polled_) poll();
    }
  }

 private:
  // Whether the kernel has something to copy; tells how far it is.
  bool copies() {
    const auto lines = world_.dm().status(DmRef::by_name(lvm::dm_name(volume_.vg, move_.lv)));
    if (!lines) return false;
    MirrorTotals totals;
    for (const DmLine& line : *lines)
      if (line.type == "mirror") add(line, totals);
    if (totals.total == 0) return false;
    if (!phase_) phase_.emplace(progress_, "move", totals.total);
    if (totals.done > shown_) {
      progress_.advance(totals.done - shown_);
      shown_ = totals.done;
    }
    return totals.done < totals.total;
  }
  struct MirrorTotals {
    std::uint64_t done = 0, total = 0;  // bytes
  };
  void add(const DmLine& line, MirrorTotals& totals) const {
    const auto status = parse_mirror_status(line.words);
    if (!status) return;
    if (status->failed)
      throw Error(ErrorKind::io,
                  fmt::format("moving {} from {} failed (device-mapper: {})", printable(volume_.str()),
                              direction(move_), printable(line.words)),
                  "the kernel log names the sectors that could not be read or written");
    const std::uint64_t bytes = line.length * 512;
    totals.total += bytes;
    totals.done +=
        status->done == status->total
            ? bytes
            : static_cast<std::uint64_t>(static_cast<double>(bytes) * static_cast<double>(status->done) /
                                         static_cast<double>(status->total));
  }
  // lvm2's process in the background may have died.
  void poll() {
    polled_ = true;
    world_.lvm().change(go_on(volume_));
  }

  World& world_;
  const LvRow& volume_;
  const Pvmove move_;
  Progress& progress_;
  const std::stop_token& stop_;
  std::optional<ProgressPhase> phase_;
  std::uint64_t shown_ = 0;
  bool polled_ = false;
};

void take_back(World& world, const LvRow& volume, const Pvmove& move) {
  try {
    world.lvm().change({"pvmove", "--abort", "-i", "1", move.from});
  } catch (const Error&) {
    if (whereabouts_of(world, volume).moving) throw;  // else it has ended in between
  }
  if (whereabouts_of(world, volume).moving)
    throw Error(ErrorKind::io, fmt::format("lvm2 did not end the move of {}", printable(volume.str())),
                fmt::format("see `lvs -a -o+devices,move_pv {}`", volume.vg));
}

// Begins the move of what lies on `from`, and takes it back unless it comes to its end.
class Begun {
 public:
  Begun(World& world, const LvRow& volume, const std::string& from, const std::string& to)
      : world_(world), volume_(volume) {
    try {
      // Atomic: all of it is moved, or nothing.
      world.lvm().change({"pvmove", "-b", "-i", "1", "--atomic", "-n", volume.name, from, to});
    } catch (...) {
      undo_quietly();  // it may have come half the way
      throw;
    }
    os::crash_point("move begun");
  }
  ~Begun() {
    if (!over_) undo_quietly();
  }
  void over() { over_ = true; }
  void undo() {
    over_ = true;
    if (const auto moving = whereabouts_of(world_, volume_).moving) take_back(world_, volume_, *moving);
  }

 private:
  void undo_quietly() noexcept {
    try {
      undo();
    } catch (...) {
      world_.warn(fmt::format("the move of {} could not be taken back: respaldo migrate {} --abort",
                              printable(volume_.str()), printable(volume_.str())));
    }
  }
  World& world_;
  const LvRow& volume_;
  bool over_ = false;
};

}  // namespace

MovePlan plan_live_move(World& world, const LvRow& volume, const std::string& to) {
  MovePlan plan;
  plan.volume = {volume.vg, volume.name};
  const VgRow vg = world.group(volume.vg);
  const PvRow target = target_of(world, volume, to);
  plan.to = target.name;
  const Whereabouts now = whereabouts_of(world, volume);
  require_movable(volume, now);
  require_changeable(vg);
  require_no_other(now, volume);
  for (const Share& share : now.shares) {
    if (share.pv == target.name) continue;
    plan.from.push_back(share.pv);
    plan.bytes += share.bytes;
  }
  if (now.moving) {
    if (std::ranges::any_of(now.moving->to, [&](const std::string& pv) { return pv != target.name; }))
      throw Error(ErrorKind::busy,
                  fmt::format("{} is being moved from {}", printable(volume.str()), direction(*now.moving)),
                  fmt::format("go on with that (--to {}), or take it back: respaldo migrate {} --abort",
                              now.moving->to[0], volume.str()));
    plan.begun = true;
    plan.from.insert(plan.from.begin(), now.moving->from);
  }
  if (!volume.is_active() && !plan.nothing_to_do())
    throw Error(ErrorKind::missing,
                printable(volume.str()) + " is not active, and only active volumes are moved",
                fmt::format("activate it first: lvchange -ay {}", volume.str()));
  if (plan.bytes > 0 && !target.allocatable)
    throw Error(ErrorKind::refused, fmt::format("{} takes no new extents", printable(target.name)),
                fmt::format("allow it: pvchange -xy {}", target.name));
  if (plan.bytes > target.free)
    throw Error(ErrorKind::no_space,
                fmt::format("{} has {} free, moving {} there needs {}", printable(target.name),
                            format_size(target.free), printable(volume.str()), format_size(plan.bytes)),
                "nothing was changed; `pvs` shows what is free");
  return plan;
}

MoveOutcome move_live_volume(World& world, const LvRow& volume, const MovePlan& plan, Progress& progress,
                             const std::stop_token& stop) {
  if (const Whereabouts now = whereabouts_of(world, volume); now.moving) {
    // Activating a group after a power cut takes moves up, but not always somebody who records their end.
    world.lvm().change(go_on(volume), stop);
    os::crash_point("move taken up");
    if (!Watch(world, volume, *now.moving, progress, stop).run()) return MoveOutcome::goes_on;
  }
  for (std::size_t steps = 0;; ++steps) {
    const Whereabouts now = whereabouts_of(world, volume);
    const auto next =
        std::ranges::find_if(now.shares, [&](const Share& share) { return share.pv != plan.to; });
    if (next == now.shares.end() && !now.moving) return MoveOutcome::moved;
    // Each step empties one source; more steps than sources means that something else changes the volume.
    if (next == now.shares.end() || steps > plan.from.size())
      throw Error(ErrorKind::io,
                  fmt::format("{} does not get to {}", printable(volume.str()), printable(plan.to)),
                  fmt::format("see `lvs -a -o+devices,move_pv {}`", volume.vg));
    if (stop.stop_requested()) return MoveOutcome::taken_back;
    Begun begun(world, volume, next->pv, plan.to);
    const Whereabouts then = whereabouts_of(world, volume);
    if (then.moving && !Watch(world, volume, *then.moving, progress, stop).run()) {
      begun.undo();
      // It may have come to its end before.
      const Whereabouts after = whereabouts_of(world, volume);
      const bool there =
          std::ranges::all_of(after.shares, [&](const Share& share) { return share.pv == plan.to; });
      return there ? MoveOutcome::moved : MoveOutcome::taken_back;
    }
    begun.over();
  }
}

MovePlan abort_live_move(World& world, const LvRow& volume) {
  const Whereabouts now = whereabouts_of(world, volume);
  if (!now.moving)
    throw Error(ErrorKind::refused, fmt::format("{} is not being moved", printable(volume.str())),
                "nothing was changed");
  if (std::ranges::any_of(now.others, [&](const Pvmove& other) { return other.from == now.moving->from; }))
    throw Error(ErrorKind::busy,
                fmt::format("two moves from {} are under way, and lvm2 ends them by their source alone",
                            printable(now.moving->from)),
                fmt::format("`pvmove --abort {}` ends one after the other", now.moving->from));
  take_back(world, volume, *now.moving);
  MovePlan plan;
  plan.volume = {volume.vg, volume.name};
  for (const Share& share : whereabouts_of(world, volume).shares) plan.from.push_back(share.pv);
  return plan;
}

}  // namespace respaldo::engine
