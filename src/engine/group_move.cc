#include "engine/group_move.h"

#include <fmt/format.h>

#include <ctime>
#include <optional>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "block/copy.h"
#include "engine/base.h"
#include "engine/snapshot_guard.h"
#include "engine/volume_changes.h"
#include "journal/names.h"
#include "os/crash_point.h"
#include "os/thread_group.h"

namespace respaldo::engine {

namespace {

using block::CopyMode;

std::string new_token() {
  return fmt::format("{:08x}{}{}", static_cast<std::uint32_t>(std::time(nullptr)), kMoveTokenMark,
                     journal::random_hex(16));
}

VolumeCopies& copies_in(VolumeEngine& engine) {
  VolumeCopies* const copies = volume_copies(engine);
  if (copies == nullptr)
    throw Error(ErrorKind::unsupported, "volumes move to other groups on the running system only",
                "on disk images: back the volume up, and respaldo restore --create it there");
  return *copies;
}

BaseEngine& bases_of(VolumeEngine& engine) {
  BaseEngine* const bases = base_engine(engine);
  if (bases == nullptr) throw Error(ErrorKind::unsupported, "this engine keeps no bases");
  return *bases;
}

// But one; false when there was none.
bool remove_bases(VolumeEngine& engine, const VolumeName& volume, const std::string& but) {
  BaseEngine& bases = bases_of(engine);
  bool any = false;
  for (const BaseInfo& base : bases.list_bases()) {
    const bool ours = base.name.vg == volume.vg && base.volume == volume.lv && is_base_of_move(base.token);
    if (!ours || base.token == but) continue;
    bases.remove_base(base.name, base.uuid);
    any = true;
  }
  return any;
}

// What is held still of the source while it is read.
class Held {
 public:
  Held(VolumeEngine& engine, const GroupMoveOptions& options, Progress& progress)
      : lease_(bases_of(engine).acquire_for_base(options.from, options.how)),
        guard_(std::in_place,
               GuardOptions{.min_pool_free = options.how.min_pool_free, .work = "copying", .outcome = "nothing was moved"},
               progress, [] { return std::nullopt; }) {
    guard_->watch(*lease_, options.from.str());
  }
  ~Held() {
    if (guard_) guard_->forget(*lease_);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  const block::Device& device() const { return lease_->device(); }
  // Waits for nothing.
  void check() const { guard_->check(); }
  void require_valid() const {
    guard_->check();
    lease_->require_valid();
  }
  std::vector<std::unique_ptr<Base>> bases() {
    BaseKeeper* const keeps = keeper(*lease_);
    return keeps == nullptr ? std::vector<std::unique_ptr<Base>>() : keeps->bases_of_moves();
  }
  // The token; empty when it cannot be kept.
  std::string keep_as_base() {
    BaseKeeper* const keeps = keeper(*lease_);
    if (keeps == nullptr || !keeps->as_base()) return {};
    std::string token = new_token();
    keeps->keep_as_base(token);
    return token;
  }
  void release() {
    guard_->forget(*lease_);
    guard_.reset();
    lease_->release();
  }

 private:
  const std::unique_ptr<SnapshotLease> lease_;
  std::optional<SnapshotGuard> guard_;
};

void copy_ranges(const Held& held, block::WritableDevice& target, const ExtentSet& ranges, CopyMode mode,
                 std::string_view phase, const GroupMoveOptions& options, Progress& progress,
                 const std::stop_token& stop, std::uint64_t& changed) {
  try {
    const ProgressPhase shown(progress, phase, ranges.total());
    changed += block::copy(held.device(), target, ranges, mode, options.threads, progress, stop,
                           [&] { held.check(); })
                   .changed;
  } catch (const Error&) {
    held.require_valid();  // a dead snapshot cannot be read, and that is what should be told
    throw;
  }
  held.require_valid();
}

class GroupMove {
 public:
  GroupMove(VolumeEngine& engine, const GroupMoveOptions& options, Progress& progress, const std::stop_token& stop)
      : engine_(engine), copies_(copies_in(engine)), options_(options), progress_(progress), stop_(stop),
        source_(engine.find(options.from)), lock_(copies_.lock_move(source_.uuid)) {
    result_.size = source_.size;
  }

  GroupMoveResult run() {
    if (source_.origin)
      throw Error(ErrorKind::unsupported, fmt::format("{} is a snapshot", printable(from())),
                  fmt::format("move its origin: {}/{}", options_.from.vg, *source_.origin));
    std::optional<CopyInfo> copy = find_copy();
    if (const auto retired = copies_.retired(options_.from); retired && !copy) was_moved(*retired);
    if (copy) {
      // Whatever ended the last run: nothing takes over that was not compared with what is here now.
      copies_.reinstate(options_.from);
    } else {
      engine_.open_read(options_.from);  // what cannot be read is told before anything is made
      first_copy();
      copy = find_copy();
      if (!copy) throw Error(ErrorKind::io, fmt::format("the copy {} is gone", printable(options_.to.str())));
    }
    catch_up(*copy);
    return result_;
  }

 private:
  std::string from() const { return options_.from.str(); }
  std::string command_to_use_again(const std::string& copy_uuid) const {
    return fmt::format("lvchange -kn --deltag {0}{1} {2} && lvchange -ay {2}", journal::kMovedTagPrefix, copy_uuid,
                       from());
  }

  [[noreturn]] void was_moved(const VolumeCopies::Retired& retired) {
    remove_bases(engine_, options_.from, "");
    const std::string again = command_to_use_again(retired.copy_uuid);
    if (retired.copy.empty())
      throw Error(ErrorKind::refused,
                  fmt::format("{} was moved, but the volume that took its place (UUID {}) is not here: this may be "
                              "all that is left of it",
                              printable(from()), printable(retired.copy_uuid)),
                  "to use it again: " + again);
    throw Error(ErrorKind::refused,
                fmt::format("{} was moved: it is {} now, and the old volume is kept out of use", printable(from()),
                            printable(retired.copy)),
                fmt::format("when nobody needs the old one any more: lvremove {}; to use it again: {}", from(), again));
  }

  std::optional<CopyInfo> find_copy() {
    std::optional<CopyInfo> found;
    for (CopyInfo& copy : copies_.copies_of(source_.uuid)) {
      if (copy.name == options_.to) {
        found = std::move(copy);
        continue;
      }
      throw Error(ErrorKind::busy,
                  fmt::format("moving {} to {} was begun", printable(from()), printable(copy.name.str())),
                  fmt::format("go on with that (--to {}), or end it: respaldo migrate {} --abort", copy.name.str(),
                              from()));
    }
    return found;
  }

  void first_copy() {
    remove_bases(engine_, options_.from, "");
    const auto made = volume_changes(engine_).make_volume({options_.to, source_.size, "", true});
    std::string token;
    try {
      Held held(engine_, options_, progress_);
      {
        const auto target = engine_.open_write(options_.to);
        const std::uint64_t size = held.device().size();
        os::crash_point("copy begun");
        copy_ranges(held, *target, {{0, size}}, CopyMode::all, "copy", options_, progress_, stop_, result_.copied);
        if (target->size() > size) target->zero({size, target->size() - size});
        target->flush();
      }
      token = held.keep_as_base();
      os::crash_point("copy has a base");
      held.release();
      copies_.mark_copy(options_.to, source_.uuid, token);
    } catch (...) {
      if (!token.empty()) forget_bases();
      throw;
    }
    os::crash_point("copy marked");
    made->keep();
    os::crash_point("copy made");
  }

  void forget_bases() noexcept {
    try {
      remove_bases(engine_, options_.from, "");
    } catch (...) {
      progress_.note(fmt::format("a snapshot of {0} stays: respaldo base remove {0}", printable(from())));
    }
  }

  // Nothing when somebody uses the source.
  std::unique_ptr<HeldVolume> hold_source() {
    try {
      return copies_.hold(options_.from);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::busy) throw;
      result_.in_use = error.what();
      return nullptr;
    }
  }

  void catch_up(const CopyInfo& copy) {
    remove_bases(engine_, options_.from, copy.base_token);
    copies_.set_active(copy.name, true);
    bool retired = false;
    try {
      // Before the snapshot: what is written from now on shows, or is in the snapshot.
      std::unique_ptr<HeldVolume> source = hold_source();
      std::string token;
      {
        Held held(engine_, options_, progress_);
        {
          const auto target = engine_.open_write(copy.name);
          os::crash_point("catching up");
          bring_up_to_date(held, copy, *target);
          if (source) make_sure(held, *target);
        }
        if (!source) token = held.keep_as_base();
        held.release();
      }
      if (source) {
        os::crash_point("copy compared");
        copies_.retire(options_.from, std::move(source), copy.uuid);
        retired = true;
        os::crash_point("volume retired");
        copies_.take_over(copy.name);
        os::crash_point("copy took over");
        result_.moved = true;
      } else {
        copies_.mark_copy(copy.name, source_.uuid, token);
        os::crash_point("copy caught up");
        remove_bases(engine_, options_.from, token);
        copies_.set_active(copy.name, false);
      }
    } catch (...) {
      if (retired) bring_back(copy);
      rest(copy);
      throw;
    }
    if (result_.moved) forget_bases();
  }

  // What the copy could not take the place of.
  void bring_back(const CopyInfo& copy) noexcept {
    try {
      copies_.reinstate(options_.from);
      progress_.note(fmt::format("nothing was moved: {} is back in use", printable(from())));
    } catch (const std::exception& error) {
      progress_.note(fmt::format("{} is out of use, and could not be brought back: {}; to use it again: {}",
                                 printable(from()), error.what(), printable(command_to_use_again(copy.uuid))));
    }
  }

  void rest(const CopyInfo& copy) noexcept {
    try {
      copies_.set_active(copy.name, false);
    } catch (...) {
      progress_.note(fmt::format("the copy {0} is active: lvchange -an {0}", printable(copy.name.str())));
    }
  }

  void bring_up_to_date(Held& held, const CopyInfo& copy, block::WritableDevice& target) {
    const std::uint64_t size = held.device().size();
    if (size > target.size())
      throw Error(ErrorKind::refused,
                  fmt::format("{} has grown since its copy {} was made", printable(from()), printable(copy.name.str())),
                  fmt::format("make it anew: respaldo migrate {} --abort, then this command again", from()));
    if (size != source_.size) throw Error(ErrorKind::busy, fmt::format("{} is being resized", printable(from())));
    const auto changed = changes(held, copy);
    if (changed)
      copy_ranges(held, target, changed->within({0, size}), CopyMode::all, "copy what changed", options_, progress_,
                  stop_, result_.caught_up);
    else
      copy_ranges(held, target, {{0, size}}, CopyMode::differing, "find and copy what changed", options_, progress_,
                  stop_, result_.caught_up);
    if (target.size() > size) target.zero({size, target.size() - size});
    target.flush();
  }

  // Absent: nobody can tell, which is noted.
  std::optional<ExtentSet> changes(Held& held, const CopyInfo& copy) {
    for (const auto& base : held.bases()) {
      if (copy.base_token.empty() || base->identity().token != copy.base_token) continue;
      try {
        if (base->identity().size != held.device().size()) throw Error(ErrorKind::refused, "it was resized");
        change::ChangeMap map = base->changes();
        held.require_valid();
        return std::move(map.changed);
      } catch (const Error& error) {
        progress_.note(fmt::format("what changed on {} is not told by {}: {}", printable(from()),
                                   printable(base->name()), error.what()));
        return std::nullopt;
      }
    }
    progress_.note(fmt::format("nothing tells what changed on {}: it and the copy are read and compared",
                               printable(from())));
    return std::nullopt;
  }

  // Both are read, whatever was told before.
  void make_sure(const Held& held, block::WritableDevice& target) {
    const ExtentSet all{{0, held.device().size()}};
    const auto differ = [&] {
      target.drop_cache();
      std::uint64_t differing = 0;
      copy_ranges(held, target, all, CopyMode::compare, "compare", options_, progress_, stop_, differing);
      result_.compared = all.total();
      return differing;
    };
    const std::uint64_t differing = differ();
    if (differing == 0) return;
    progress_.note(fmt::format("{} of the copy differ from {}, and are copied again", format_size(differing),
                               printable(from())));
    copy_ranges(held, target, all, CopyMode::differing, "copy again", options_, progress_, stop_, result_.caught_up);
    target.flush();
    if (const std::uint64_t still = differ(); still != 0)
      throw Error(ErrorKind::io,
                  fmt::format("{} does not read back as it was written: {} differ", printable(options_.to.str()),
                              format_size(still)),
                  fmt::format("the disk below it is not to be trusted: see dmesg and smartctl; {} is as it was",
                              from()));
  }

  VolumeEngine& engine_;
  VolumeCopies& copies_;
  const GroupMoveOptions& options_;
  Progress& progress_;
  const std::stop_token& stop_;
  const VolumeInfo source_;
  const std::shared_ptr<void> lock_;
  GroupMoveResult result_;
};

}  // namespace

GroupMoveResult move_to_group(VolumeEngine& engine, const GroupMoveOptions& options, Progress& progress,
                              const std::stop_token& stop) {
  return GroupMove(engine, options, progress, stop).run();
}

TakenBack abort_group_move(VolumeEngine& engine, const VolumeName& from) {
  VolumeCopies* const copies = volume_copies(engine);
  if (copies == nullptr) return TakenBack::nothing;
  const VolumeInfo source = engine.find(from);
  const auto lock = copies->lock_move(source.uuid);
  const auto begun = copies->copies_of(source.uuid);
  // A source that was retired a moment before a crash comes back; a copy that took over is none any more.
  if (!begun.empty()) copies->reinstate(from);
  for (const CopyInfo& copy : begun) copies->remove_copy(copy.name, source.uuid);
  const bool bases = remove_bases(engine, from, "");
  if (!begun.empty()) return TakenBack::copy;
  return bases ? TakenBack::base : TakenBack::nothing;
}

}  // namespace respaldo::engine
