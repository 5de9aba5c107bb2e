#include "cli/restore_volume.h"

#include <fcntl.h>

#include <algorithm>
#include <thread>

#include "base/printable.h"
#include "base/units.h"
#include "block/device.h"
#include "cli/shared.h"
#include "engine/volume_changes.h"
#include "verify/compare.h"

namespace respaldo::cli {

namespace {

using engine::VolumeInfo;
using engine::VolumeName;

// The first bytes of a device: a target may be larger than the image.
class Head final : public block::Device {
 public:
  Head(const block::Device& below, std::uint64_t size) : below_(below), size_(size) {}
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return below_.describe(); }
  void read_at(std::uint64_t offset, MutableBytes out) const override { below_.read_at(offset, out); }
  std::vector<block::Run> runs(Extent range) const override {
    return below_.runs(intersect(range, {0, size_}));
  }
  void drop_cache() const override { below_.drop_cache(); }

 private:
  const block::Device& below_;
  const std::uint64_t size_;
};

// Only what is clean is dropped: REQUIRES that it was flushed. Where nothing can be dropped the reading still tells
// whether the right bytes went to the right place.
void drop_cache(app::Context& context, const block::Device& target) {
  target.drop_cache();
  for (const std::string& image : context.options().disks)
    if (const auto fd = os::try_open_file(image, O_RDONLY | O_CLOEXEC))
      ::posix_fadvise(fd->get(), 0, 0, POSIX_FADV_DONTNEED);
}

std::optional<VolumeInfo> find_there(engine::VolumeEngine& engine, const VolumeName& name) {
  for (VolumeInfo& info : engine.list())
    if (info.name == name) return std::move(info);
  return std::nullopt;
}

// Every write to an origin costs its thick snapshots a copy.
void look_at_snapshots(app::Context& context, const VolumeInfo& target, std::uint64_t image_size, bool in_place) {
  for (const VolumeInfo& info : context.engine().list()) {
    if (!info.cow || !info.cow->valid || info.name.vg != target.name.vg || info.origin != target.name.lv) continue;
    const engine::CowFigures& cow = *info.cow;
    const std::uint64_t free = cow.size - std::min(cow.used, cow.size);
    // Each chunk needs an entry of 16 bytes besides.
    const std::uint64_t need = image_size + image_size / 16 + cow.chunk * 4;
    if ((cow.maximum != 0 && cow.size >= cow.maximum) || free >= need) continue;
    const std::string what =
        fmt::format("{} is a snapshot of {} with {} left in its COW store, and writing {} would be too much for it",
                    printable(info.name.str()), printable(target.name.str()), format_size(free),
                    format_size(image_size));
    if (!in_place)
      throw Error(ErrorKind::refused, what,
                  fmt::format("give --in-place, which writes only what differs, or extend the snapshot (respaldo "
                              "snapshot extend {0} --by SIZE), or remove it (respaldo snapshot remove {0})",
                              info.name.str()));
    context.warn(what + "; if more than that differs, the snapshot will be lost");
  }
}

restore::ImageRestoreResult write(app::Context& context, const view::StoredVolume& volume,
                                  const VolumeRestoreOptions& options, block::WritableDevice& target,
                                  std::function<void()> half_written = {}) {
  restore::ImageRestoreOptions how;
  how.in_place = options.in_place;
  how.threads = options.threads;
  how.half_written = std::move(half_written);
  return restore::restore_image(*context.indexed(), volume, target, how, context.progress(), context.stop());
}

// Another disk may well have volumes of the same names; or this is not the host that it is thought to be.
void warn_of_namesake(app::Context& context, const repo::NamedSnapshot& backup, const view::StoredVolume& volume,
                      const VolumeInfo& info) {
  if (!volume.facts || volume.facts->how == "given" || volume.facts->lv_uuid.empty() || info.uuid.empty() ||
      volume.str() != info.name.str() || volume.facts->lv_uuid == info.uuid)
    return;
  context.warn(fmt::format("{} here is not the volume that was saved on host {}, only one of its name: its UUID is {}, that of "
                           "the saved one {}",
                           printable(info.name.str()), printable(backup.snapshot.hostname), printable(info.uuid),
                           printable(volume.facts->lv_uuid)));
}

app::ExitCode onto(app::Context& context, const repo::NamedSnapshot& backup, const view::StoredVolume& volume,
                   const VolumeRestoreOptions& options, const VolumeInfo& info) {
  engine::VolumeEngine& engine = context.engine();
  engine::VolumeChanges& changes = engine::volume_changes(engine);
  const VolumeName& name = info.name;
  const bool abandoned = changes.is_abandoned(name);
  if (info.size < volume.image_size)
    throw Error(ErrorKind::no_space,
                fmt::format("{} has {}, the backup of {} needs {}", printable(name.str()), format_size(info.size),
                            printable(volume.str()), format_size(volume.image_size)),
                fmt::format("make it larger first: {}lvextend -L {}b {}",
                            engine.kind() == engine::EngineKind::image ? "lvm " : "", volume.image_size, name.str()));
  look_at_snapshots(context, info, volume.image_size, options.in_place);
  // Refuses what is in use before anybody is asked, and keeps it so.
  auto target = engine.open_write(name);
  warn_of_namesake(context, backup, volume, info);
  if (!context.confirm(fmt::format("overwrite {} ({}, UUID {}) with {}?", printable(name.str()), format_size(info.size),
                                   info.uuid, title_of(backup, volume)),
                       options.yes))
    throw Error(ErrorKind::refused, "nothing was written");
  if (abandoned) {
    target.reset();
    changes.adopt(name, info.uuid);
    target = engine.open_write(name);
  }
  const auto half_written = [&] { warn_half_written(context, name.str()); };
  RestoreReport report{name.str(), write(context, volume, options, *target, half_written), false, options.verify};
  if (options.verify) verify_restored(context, volume, *target, options.threads);
  report_restore(context, backup, volume, report);
  return app::ExitCode::ok;
}

app::ExitCode into_new(app::Context& context, const repo::NamedSnapshot& backup, const view::StoredVolume& volume,
                       const VolumeRestoreOptions& options, const VolumeName& name) {
  const auto made = engine::volume_changes(context.engine()).make_volume({name, volume.image_size, options.pv});
  if (context.options().verbosity > 0)
    context.progress().note(fmt::format("made {} ({})", printable(name.str()), format_size(made->size())));
  VolumeRestoreOptions how = options;
  how.in_place = false;  // what lies there is foreign
  RestoreReport report{name.str(), {}, true, options.verify};
  {
    const auto target = context.engine().open_write(name);
    report.result = write(context, volume, how, *target);
    if (target->size() > volume.image_size) {
      target->zero({volume.image_size, target->size() - volume.image_size});
      target->flush();
    }
    if (options.verify) verify_restored(context, volume, *target, options.threads);
  }
  made->keep();
  report_restore(context, backup, volume, report);
  return app::ExitCode::ok;
}

}  // namespace

void warn_half_written(app::Context& context, const std::string& target) {
  context.warn(fmt::format("{} is written over in part: it is neither what it was nor the backup; the same restore again, with "
                           "--in-place, goes on where this one stopped",
                           printable(target)));
}

void verify_restored(app::Context& context, const view::StoredVolume& volume, const block::Device& target,
                     unsigned threads) {
  drop_cache(context, target);
  const Head head(target, volume.image_size);
  const verify::Comparison found = verify::compare(
      *view::open_image(context.indexed(), volume), head, {},
      threads != 0 ? threads : std::max(1U, std::thread::hardware_concurrency()), context.progress(), context.stop());
  if (found.differing_ranges == 0) return;
  const std::uint64_t bytes = found.differing_bytes;
  const Extent first = found.differing.front();
  throw app::NotOnMedium(
      ErrorKind::io,
      fmt::format("{} does not read back as it was written: {} differ, the first at byte {}", target.describe(),
                  format_size(bytes), first.offset),
      "the disk below it, or what leads to it, is not to be trusted: see dmesg and smartctl; restore to another disk");
}

std::string title_of(const repo::NamedSnapshot& backup, const view::StoredVolume& volume) {
  return fmt::format("{} of {}", printable(volume.str()), title_of(backup));
}

void report_restore(app::Context& context, const repo::NamedSnapshot& backup, const view::StoredVolume& volume,
                    const RestoreReport& report) {
  const restore::ImageRestoreResult& result = report.result;
  if (context.options().json) {
    Json json = fields_of(backup);
    json.update(Json{{"volume", volume.str()},
                     {"target", report.target},
                     {"size", volume.image_size},
                     {"bytes_written", result.bytes_written},
                     {"bytes_zero", result.bytes_zero},
                     {"bytes_unchanged", result.bytes_unchanged},
                     {"created", report.created},
                     {"verified", report.verified},
                     {"seconds", result.seconds}});
    context.print_json(dump(json));
    return;
  }
  if (context.options().verbosity == 0) return;
  context.print(fmt::format(
      "restored {} onto {}: {} in {} ({}); written {}, zeros {}{}{}", title_of(backup, volume),
      printable(report.target), format_size(volume.image_size), format_duration(result.seconds),
      format_rate(static_cast<double>(volume.image_size) / std::max(result.seconds, 1e-3)),
      format_size(result.bytes_written), format_size(result.bytes_zero),
      result.bytes_unchanged > 0 ? fmt::format(", unchanged {}", format_size(result.bytes_unchanged)) : "",
      report.verified ? "; read back and compared" : ""));
}

app::ExitCode restore_to_volume(app::Context& context, const repo::NamedSnapshot& backup,
                                const view::StoredVolume& volume, const VolumeRestoreOptions& options) {
  const VolumeName name = VolumeName::parse(options.to);
  if (!options.create) return onto(context, backup, volume, options, context.engine().find(name));
  const auto there = find_there(context.engine(), name);
  if (!there) return into_new(context, backup, volume, options, name);
  // What a restore that died had made is made anew.
  if (engine::volume_changes(context.engine()).is_half_made(name)) return into_new(context, backup, volume, options, name);
  if (!options.pv.empty())
    throw Error(ErrorKind::refused,
                fmt::format("{} is there already: --pv is for a volume that is made", printable(name.str())),
                "leave --create and --pv out to overwrite it, or give another name");
  return onto(context, backup, volume, options, *there);
}

}  // namespace respaldo::cli
