// restore: a stored image back into the world.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/printable.h"
#include "base/units.h"
#include "block/file_device.h"
#include "cli/command.h"
#include "cli/overwrite.h"
#include "cli/restore_files.h"
#include "cli/restore_image.h"
#include "cli/restore_volume.h"
#include "cli/shared.h"
#include "cli/threads_option.h"
#include "restore/image_restore.h"

namespace respaldo::cli {

namespace {

struct RestoreOptions {
  std::string backup, host, volume, to, to_file;
  bool in_place = false, yes = false, files = false, create = false, verify = false;
  std::string pv;
  std::vector<std::string> paths;
  std::string overwrite;
  unsigned threads = 0;
};

}  // namespace

void warn_of_losses(app::Context& context, const view::StoredVolume& volume) {
  if (!volume.facts) return;
  for (const view::LostRange& lost : volume.facts->lost)
    context.warn(fmt::format("{} at byte {} are not in the backup, and are zeros: {}", format_size(lost.extent.length),
                             lost.extent.offset, printable(lost.why)));
}

namespace {

// A new file gets its name when it is whole.
app::ExitCode to_new_file(app::Context& context, const RestoreOptions& options, const repo::NamedSnapshot& backup,
                          const view::StoredVolume& volume) {
  const os::Path path = options.to_file;
  os::AtomicFile made(path, 0600);
  if (::ftruncate(made.fd(), static_cast<off_t>(volume.image_size)) != 0)
    throw os::system_error(errno, "ftruncate", path);
  const int copy = ::fcntl(made.fd(), F_DUPFD_CLOEXEC, 3);
  if (copy < 0) throw os::system_error(errno, "dup", path);
  block::FileDevice target(path, os::UniqueFd(copy), block::FileDevice::Access::read_write);
  restore::ImageRestoreOptions how;
  how.target_reads_zero = true;
  how.threads = options.threads;
  const auto result =
      restore::restore_image(*context.indexed(), volume, target, how, context.progress(), context.stop());
  if (options.verify) verify_restored(context, volume, target, options.threads);
  warn_of_other_names(context, path);
  made.look_like_replaced();
  made.commit();
  report_restore(context, backup, volume, {options.to_file, result, true, options.verify});
  return app::ExitCode::ok;
}

app::ExitCode to_file(app::Context& context, const RestoreOptions& options, const repo::NamedSnapshot& backup,
                      const view::StoredVolume& volume) {
  struct stat st {};
  if (::stat(options.to_file.c_str(), &st) != 0)
    return to_new_file(context, options, backup, volume);
  if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
    throw Error(ErrorKind::usage,
                fmt::format("{} is neither a file nor a block device", printable(options.to_file)));
  const auto claim = claim_to_overwrite(context, options.to_file, options.yes, title_of(backup, volume));
  if (!claim || (S_ISREG(st.st_mode) && !options.in_place))
    return to_new_file(context, options, backup, volume);
  const bool is_file = S_ISREG(st.st_mode);
  // A file becomes as long as the image, a device is as long as it is.
  const auto resize = [&](std::uint64_t to) {
    if (::truncate(options.to_file.c_str(), static_cast<off_t>(to)) != 0)
      throw os::system_error(errno, "truncate", options.to_file);
  };
  const auto size = static_cast<std::uint64_t>(st.st_size);
  const bool grown = is_file && size < volume.image_size;
  if (grown) resize(volume.image_size);
  const block::WritableDevicePtr claimed =
      is_file ? std::make_shared<block::FileDevice>(options.to_file, block::FileDevice::Access::read_write)
              : claim->writable_disk(0);
  block::WritableDevice& target = *claimed;
  restore::ImageRestoreOptions how;
  how.in_place = options.in_place;
  how.threads = options.threads;
  bool touched = false;
  how.half_written = [&] {
    touched = true;
    warn_half_written(context, options.to_file);
  };
  restore::ImageRestoreResult result;
  try {
    result = restore::restore_image(*context.indexed(), volume, target, how, context.progress(), context.stop());
  } catch (...) {
    if (grown && !touched) resize(size);  // nothing was written: as it was
    throw;
  }
  if (is_file && size > volume.image_size) {
    resize(volume.image_size);
    target.flush();
  }
  if (options.verify) verify_restored(context, volume, target, options.threads);
  report_restore(context, backup, volume, {options.to_file, result, false, options.verify});
  return app::ExitCode::ok;
}

app::ExitCode restore_files(app::Context& context, const RestoreOptions& options) {
  if (options.to.empty()) throw Error(ErrorKind::usage, "say where to restore to", "give --to DIR");
  if (!options.to_file.empty() || options.in_place || options.create || options.verify)
    throw Error(ErrorKind::usage, "--to-file, --in-place, --create and --verify are for images, not for --files");
  if (!options.pv.empty())
    throw Error(ErrorKind::usage, "--pv is for --create, not for --files", "leave it out: files go into --to DIR");
  RestoreFilesOptions files;
  files.backup = options.backup;
  files.host = options.host;
  files.volume = options.volume;
  files.target = options.to;
  files.paths = options.paths;
  files.overwrite = options.overwrite;
  files.threads = options.threads;
  return restore_files(context, files);
}

app::ExitCode restore_volume(app::Context& context, const RestoreOptions& options) {
  if (options.files) return restore_files(context, options);
  if (!options.paths.empty() || !options.overwrite.empty())
    throw Error(ErrorKind::usage, "paths and --overwrite are for the restore of files", "give --files, too");
  if (options.to.empty() == options.to_file.empty())
    throw Error(ErrorKind::usage, "say where to restore to", "give either --to VG/LV or --to-file FILE");
  if (options.create && options.to.empty()) throw Error(ErrorKind::usage, "--create is for --to VG/LV");
  if (!options.pv.empty() && !options.create) throw Error(ErrorKind::usage, "--pv is for --create");
  const auto lock = lock_for_reading(context);
  const FoundBackup found = find_backup(context, options.backup, Latest::certain, options.host);
  const view::StoredVolume volume = find_volume(context, found, options.volume);
  if (!volume.has_image)
    throw Error(ErrorKind::unsupported,
                fmt::format("the backup of {} has no image", printable(volume.str())));
  warn_of_losses(context, volume);
  if (options.to.empty()) return to_file(context, options, found.backup, volume);
  return restore_to_volume(context, found.backup, volume,
                           {.to = options.to,
                            .pv = options.pv,
                            .create = options.create,
                            .in_place = options.in_place,
                            .verify = options.verify,
                            .yes = options.yes,
                            .threads = options.threads});
}

}  // namespace

app::ExitCode restore_image_to_file(app::Context& context, const ImageToFile& what) {
  RestoreOptions options;
  options.backup = what.backup;
  options.host = what.host;
  options.volume = what.volume;
  options.to_file = what.file;
  options.yes = what.yes;
  return restore_volume(context, options);
}

Action configure_restore(CLI::App& app) {
  auto options = std::make_shared<RestoreOptions>();
  app.add_option("backup", options->backup, kBackupHelp)->required()->type_name("BACKUP");
  app.add_option("--volume", options->volume, "which volume of the backup, when it holds several")
      ->type_name("VG/LV");
  add_host_option(app, options->host);
  app.add_option("path", options->paths, "with --files: what to bring back; all when none is given")
      ->type_name("PATH");
  app.add_flag("--files", options->files, "files into a folder, not the image");
  app.add_option("--to", options->to, "the volume to write onto; with --files: the folder")
      ->type_name("VG/LV|DIR");
  app.add_option("--to-file", options->to_file, "the file (made sparse) or block device to write")
      ->type_name("FILE");
  app.add_option("--overwrite", options->overwrite,
                 "with --files, what becomes of files that are there: always (default), if-changed or never")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"always", "if-changed", "never"}));
  app.add_flag("--create", options->create, "make the volume when it is not there, of the stored size");
  app.add_option("--pv", options->pv, "the physical volume that a volume made by --create lies on")->type_name("PV");
  app.add_flag("--in-place", options->in_place, "read the target and write only what differs");
  app.add_flag("--verify", options->verify, "read the target again afterwards and compare it with the backup");
  add_threads_option(app, options->threads);
  app.add_flag("-y,--yes", options->yes, "do not ask before overwriting");
  return [options](app::Context& context) { return restore_volume(context, *options); };
}

}  // namespace respaldo::cli
