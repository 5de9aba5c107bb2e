#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "engine/kernel/cleaning.h"
#include "engine/kernel/live_changes.h"
#include "journal/names.h"
#include "lvm/volume_group.h"
#include "os/crash_point.h"

namespace respaldo::engine {

namespace {

constexpr std::chrono::milliseconds kPatience = std::chrono::seconds(15);
// Each waits a minute for the group's lock. A finished restore is worth some of them.
constexpr int kAttempts = 5;
constexpr int kPauses = 10;  // of 100 ms, between two

class LiveVolume final : public NewVolume {
 public:
  LiveVolume(std::shared_ptr<World> world, LvRow row, std::uint64_t intent)
      : world_(std::move(world)), row_(std::move(row)), intent_(intent) {}
  ~LiveVolume() override {
    if (kept_) return;
    try {
      world_->remove_volume(row_.vg, row_.vg_uuid, row_.uuid, kPatience);
      world_->end(intent_);
    } catch (...) {
      // Whatever went wrong is being told; `clean` knows the volume.
    }
  }
  std::uint64_t size() const override { return row_.size; }
  void keep() override {
    os::crash_point("volume written");
    kept_ = true;  // it is whole: whatever comes now, it is not thrown away
    for (int attempt = 1;; ++attempt) {
      try {
        // One change of the group: it is ours, or it is the user's. The first look at the lock is never
        // stopped.
        world_->lvm().change(untag_words(row_), attempt == 1 ? std::stop_token() : world_->stop());
        break;
      } catch (const Error& error) {
        const bool passes = error.kind() == ErrorKind::busy || error.kind() == ErrorKind::io;
        if (!passes || attempt == kAttempts || !pause()) not_untagged(error.kind(), error.what());
      } catch (const Cancelled& stopped) {
        not_untagged(ErrorKind::busy, stopped.what());
      }
    }
    world_->end(intent_);
  }

 private:
  // False when a stop was asked for.
  bool pause() const {
    for (int i = 0; i < kPauses && !world_->stop().stop_requested(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return !world_->stop().stop_requested();
  }
  // The journal tells `clean` that this is no leftover.
  [[noreturn]] void not_untagged(ErrorKind kind, const std::string& why) const {
    std::string clean = "; `respaldo clean` does the same";
    try {
      world_->add(intent_, {{kWholeFact, "yes"}});
      if (intent_ == 0) throw Error(ErrorKind::io, "no journal");
    } catch (const Error&) {
      clean = "; before that `respaldo clean` would take it for a leftover, and remove it";
    }
    throw Error(kind,
                fmt::format("{} is whole and stays, but the tags of its restore could not be taken off: {}",
                            printable(row_.str()), why),
                fmt::format("take them off: {}{}", fmt::join(untag_words(row_), " "), clean));
  }

  const std::shared_ptr<World> world_;
  const LvRow row_;
  const std::uint64_t intent_;
  bool kept_ = false;
};

// Never stopped: what was made must be found again.
std::optional<LvRow> row_named(World& world, const VolumeName& name, const std::string& vg_uuid) {
  for (LvRow& row : world.lvm().lvs({}).rows)
    if (row.vg_uuid == vg_uuid && row.name == name.lv) return std::move(row);
  return std::nullopt;
}

std::string resolved(const std::string& path) {
  std::error_code failed;
  const os::Path real = std::filesystem::canonical(path, failed);
  return failed ? path : real.native();
}

// Free bytes on a PV of that group, and lvm2's name of it.
PvRow pv_of(World& world, const std::string& vg, const std::string& name) {
  std::string there;
  for (PvRow& pv : world.lvm().pvs({}, world.stop()).rows) {
    if (pv.vg != vg) continue;
    if (pv.name == name || pv.uuid == name || resolved(pv.name) == resolved(name)) return std::move(pv);
    there += (there.empty() ? "" : ", ") + printable(pv.name);
  }
  throw Error(ErrorKind::not_found,
              fmt::format("volume group {} has no physical volume {}", printable(vg), printable(name)),
              "it has: " + there);
}

void require_room(World& world, const VgRow& vg, const NewVolumeRequest& request, std::uint64_t size,
                  std::string& pv_name) {
  std::uint64_t free = vg.free;
  std::string where = "volume group " + printable(vg.name);
  if (!request.pv.empty()) {
    const PvRow pv = pv_of(world, vg.name, request.pv);
    if (pv.missing || !pv.allocatable)
      throw Error(ErrorKind::refused,
                  fmt::format("physical volume {} is {}", printable(pv.name),
                              pv.missing ? "missing" : "not allocatable"),
                  pv.missing ? "" : "pvchange --allocatable y " + pv.name);
    pv_name = pv.name;
    free = pv.free;
    where = "physical volume " + printable(pv.name);
  }
  if (free < size)
    throw Error(ErrorKind::no_space,
                fmt::format("{} has {} free, the volume needs {}", where, format_size(free), format_size(size)),
                "extend the group (vgextend), name another physical volume (--pv), or remove a volume that is "
                "not needed; nothing was changed");
}

}  // namespace

std::unique_ptr<NewVolume> make_live_volume(std::shared_ptr<World> world, const NewVolumeRequest& request) {
  const VolumeName& name = request.name;
  if (const auto problem = lvm::lv_name_problem(name.vg, name.lv))
    throw Error(ErrorKind::usage, fmt::format("'{}' is no name for a volume: {}", printable(name.lv), *problem));
  const VgRow vg = world->group(name.vg);
  require_changeable(vg);
  if (vg.extent_size == 0) throw Error(ErrorKind::corrupt, "lvm2 does not tell the size of an extent");
  if (const auto old = row_named(*world, name, vg.uuid)) {
    if (!is_leftover(*old) || is_whole(*world, *old) || !remove_leftover(*world, *old, kPatience))
      throw Error(ErrorKind::refused, fmt::format("there is a volume {} already", printable(name.str())));
  }
  const std::uint64_t extents =
      std::max<std::uint64_t>(1, request.size / vg.extent_size + (request.size % vg.extent_size != 0 ? 1 : 0));
  std::string pv;
  require_room(*world, vg, request, extents * vg.extent_size, pv);

  std::vector<std::string> command = {
      "lvcreate", "-y", "-Wy", "-Zy", "-n", name.lv, "-l", std::to_string(extents), "--addtag",
      std::string(journal::kTag), "--addtag", journal::Owner::self().tag(), name.vg};
  if (request.skipped_at_boot) command.insert(command.begin() + 1, {"-ky", "-K", "-ay"});
  if (!pv.empty()) command.push_back(pv);
  const std::uint64_t intent =
      world->begin("volume", {{"vg", vg.name}, {"vg_uuid", vg.uuid}, {"lv", name.lv}});
  try {
    world->lvm().change(command, world->stop());
    os::crash_point("volume made");
    auto row = row_named(*world, name, vg.uuid);
    if (!row || !row->has_tag(journal::kTag))
      throw Error(ErrorKind::io, fmt::format("the new volume {} is not there", printable(name.str())),
                  "see dmesg and `lvs -a`");
    world->add(intent, {{"lv_uuid", row->uuid}});
    return std::make_unique<LiveVolume>(world, std::move(*row), intent);
  } catch (...) {
    try {
      if (const auto row = row_named(*world, name, vg.uuid); row && row->has_tag(journal::Owner::self().tag()))
        world->remove_volume(row->vg, row->vg_uuid, row->uuid, kPatience);
      world->end(intent);
    } catch (...) {
      // The failure itself is being told; `clean` knows the rest.
    }
    throw;
  }
}

}  // namespace respaldo::engine
