#include "cli/migrate_group.h"

#include <sstream>

#include "base/printable.h"
#include "base/units.h"
#include "cli/shared.h"
#include "engine/group_move.h"
#include "journal/names.h"
#include "lvm/volume_group.h"
#include "os/file.h"

namespace respaldo::cli {

namespace {

using engine::GroupMoveOptions;
using engine::GroupMoveResult;
using engine::VolumeName;

VolumeName target_of(const VolumeName& volume, const std::string& to) {
  return to.find('/') == std::string::npos ? VolumeName{to, volume.lv} : VolumeName::parse(to);
}

// Lines of fstab that find the volume by a name that is no longer right; by UUID and label all stay as they are.
std::vector<std::string> lines_of_fstab(const VolumeName& volume) {
  const std::string names[] = {"/dev/" + volume.str(), "/dev/mapper/" + lvm::dm_name(volume.vg, volume.lv)};
  std::vector<std::string> found;
  std::istringstream text(os::try_read_text("/etc/fstab", 1U << 20).value_or(""));
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    std::string device, point;
    words >> device >> point;
    if (device == names[0] || device == names[1]) found.push_back(device + " on " + point);
  }
  return found;
}

void report_json(app::Context& context, const GroupMoveOptions& options, const GroupMoveResult& result) {
  context.print_json(dump({{"volume", options.from.str()},
                           {"to", options.to.str()},
                           {"bytes", result.size},
                           {"copied", result.copied},
                           {"caught_up", result.caught_up},
                           {"compared", result.compared},
                           {"outcome", result.moved ? "moved" : "copied"}}));
}

void report_moved(app::Context& context, const GroupMoveOptions& options, const GroupMoveResult& result) {
  const std::string from = printable(options.from.str()), to = printable(options.to.str());
  context.print(result.compared > 0
                    ? fmt::format("{} is now {}: {} compared, all equal", from, to, format_size(result.compared))
                    : fmt::format("{} is now {}", from, to));
  context.print(fmt::format(
      "the old volume stays out of use, at boot, too; when nobody needs it any more: lvremove {}", from));
  for (const std::string& line : lines_of_fstab(options.from))
    context.warn(fmt::format("/etc/fstab still says {}: name /dev/{} there", printable(line), to));
}

void report_copied(app::Context& context, const GroupMoveOptions& options, const GroupMoveResult& result) {
  const std::string from = printable(options.from.str()), to = printable(options.to.str());
  context.print(fmt::format("{} is a copy of {}, {} in all, {} of that changed meanwhile", to, from,
                            format_size(result.size), format_size(result.caught_up)));
  context.print(printable(result.in_use));
  context.print(
      fmt::format("next: end what uses it (unmount it) and run this command again: it copies what changed since, "
                  "compares all, and {} takes the place of {}",
                  to, from));
  context.print(fmt::format("until then a snapshot tells what changes on {}, and writing to it costs more; to end it: "
                            "respaldo migrate {} --abort",
                            from, from));
}

}  // namespace

bool is_other_group(app::Context& context, const VolumeName& volume, const std::string& to) {
  if (to.empty() || to.starts_with("/")) return false;
  const std::string group = to.substr(0, to.find('/'));
  if (group == volume.vg) return false;
  engine::VolumeCopies* const copies = engine::volume_copies(context.engine());
  return copies != nullptr && copies->has_group(group);
}

app::ExitCode migrate_to_group(app::Context& context, const VolumeName& volume, const std::string& to,
                               const std::string& cow) {
  GroupMoveOptions options;
  options.from = volume;
  options.to = target_of(volume, to);
  options.how.run_tag = journal::new_run_tag();
  if (const auto size = parse_cow(cow)) {
    if (size->of == engine::Amount::Of::bytes)
      options.how.cow_size = size->value;
    else
      options.how.cow_share = *size;
  }
  const bool talks = !context.options().json && context.options().verbosity > 0;
  for (const engine::VolumeInfo& info : context.engine().list())
    if (info.name.vg == volume.vg && info.origin == volume.lv && !journal::is_volume_name(info.name.lv))
      context.warn(fmt::format("the snapshot {} stays with the old volume", printable(info.name.str())));
  if (talks)
    context.print(fmt::format("copying {} to {}", printable(volume.str()), printable(options.to.str())));
  const GroupMoveResult result =
      engine::move_to_group(context.engine(), options, context.progress(), context.stop());
  for (const std::string& warning : context.engine().warnings()) context.warn(warning);
  if (context.options().json) {
    report_json(context, options, result);
  } else if (talks) {
    if (result.moved)
      report_moved(context, options, result);
    else
      report_copied(context, options, result);
  }
  return result.moved ? app::ExitCode::ok : app::ExitCode::locked;
}

bool abort_migration_to_group(app::Context& context, const VolumeName& volume) {
  const engine::TakenBack found = engine::abort_group_move(context.engine(), volume);
  if (found == engine::TakenBack::nothing) return false;
  if (context.options().json) {
    context.print_json(dump({{"volume", volume.str()}, {"to", nullptr}, {"outcome", "taken back"}}));
  } else if (context.options().verbosity > 0) {
    context.print(found == engine::TakenBack::copy
                      ? fmt::format("the copy of {} is removed", printable(volume.str()))
                      : fmt::format("the base that a move of {} had left is removed", printable(volume.str())));
  }
  return true;
}

}  // namespace respaldo::cli
