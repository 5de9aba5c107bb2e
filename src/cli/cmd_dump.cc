#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/printable.h"
#include "base/units.h"
#include "block/file_device.h"
#include "cli/command.h"
#include "cli/overwrite.h"
#include "cli/shared.h"
#include "engine/quiet_reads.h"
#include "os/output_stream.h"
#include "os/thread_group.h"

namespace respaldo::cli {

namespace {

constexpr std::uint64_t kStep = 4 * kMiB, kHole = 64 * kKiB;

struct Options {
  std::string volume, output;
  bool yes = false;
};

// Zeros become holes.
void write_sparse(int fd, std::uint64_t offset, ByteView bytes, const os::Path& name) {
  for (std::size_t at = 0; at < bytes.size(); at += kHole) {
    const ByteView part = bytes.subspan(at, std::min<std::size_t>(kHole, bytes.size() - at));
    if (!is_zero(part)) os::write_all_at(fd, offset + at, part, name);
  }
}

// Something that takes bytes as they come, such as /dev/null or a pipe. A block device is no such thing:
// `restore` asks before it overwrites one.
std::optional<os::OutputStream> open_stream(const std::string& name, const std::stop_token& stop) {
  struct stat st {};
  if (::stat(name.c_str(), &st) != 0) return std::nullopt;
  if (S_ISBLK(st.st_mode))
    throw Error(ErrorKind::usage, fmt::format("{} is a disk, and no file", printable(name)),
                "`-o -` writes to another program; `restore --to-file` writes a backup to a disk");
  if (!S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode)) return std::nullopt;
  return std::optional<os::OutputStream>(std::in_place, os::Path(name), stop);
}

app::ExitCode dump_volume(app::Context& context, const Options& options) {
  const engine::VolumeName name = engine::VolumeName::parse(options.volume);
  const bool named = !options.output.empty() && options.output != "-";
  std::optional<os::OutputStream> stream;
  if (named) stream = open_stream(options.output, context.stop());
  const bool to_file = named && !stream;
  const auto claim = to_file ? claim_to_overwrite(context, options.output, options.yes) : nullptr;
  engine::QuietReads* quiet = engine::quiet_reads(context.engine());
  const std::unique_ptr<engine::SnapshotLease> lease = quiet != nullptr ? quiet->hold_as_it_lies(name) : nullptr;
  const block::DevicePtr opened = lease ? nullptr : context.engine().open_read(name);
  const block::Device* device = lease ? &lease->device() : opened.get();
  for (const std::string& warning : context.engine().warnings()) context.warn(warning);
  std::optional<os::AtomicFile> file;
  if (to_file) {
    file.emplace(options.output, 0600);
    if (::ftruncate(file->fd(), static_cast<off_t>(device->size())) != 0)
      throw os::system_error(errno, "ftruncate", options.output);
  }
  {
    ProgressPhase phase(context.progress(), "reading " + name.str(), device->size());
    Bytes buffer(kStep);
    for (std::uint64_t at = 0; at < device->size();) {
      os::throw_if_stopped(context.stop());
      const std::uint64_t length = std::min(kStep, device->size() - at);
      for (const block::Run& run : device->runs({at, length})) {
        const MutableBytes part = buffer.span().first(run.extent.length);
        if (run.kind == block::RunKind::zero) {
          if (!to_file) std::memset(part.data(), 0, part.size());
        } else {
          in_context(
              [&] { return fmt::format("reading {} at byte {}", printable(name.str()), run.extent.offset); },
              [&] { device->read_at(run.extent.offset, part); });
          if (to_file) write_sparse(file->fd(), run.extent.offset, part, options.output);
        }
        if (stream) {
          stream->write(part);
        } else if (!to_file) {
          write_out(context, part);
        }
      }
      context.progress().advance(length);
      at += length;
    }
  }
  if (lease) {
    try {
      lease->require_valid();
    } catch (const Error& error) {
      if (to_file || error.kind() != ErrorKind::busy) throw;
      throw Error(ErrorKind::busy,
                  fmt::format("the disks of {} were written to while it was read: what was put out mixes old and new",
                              printable(name.str())),
                  error.hint());
    }
  }
  if (!named) return app::ExitCode::ok;
  if (to_file) {
    if (claim) {
      warn_of_other_names(context, options.output);
      file->look_like_replaced();
    }
    file->commit();
  }
  if (context.options().json)
    context.print_json(dump({{"volume", name.str()}, {"file", options.output}, {"size", device->size()}}));
  else if (context.options().verbosity > 0)
    context.print(fmt::format("wrote {} ({} bytes) to {}", printable(name.str()), device->size(),
                              printable(options.output)));
  return app::ExitCode::ok;
}

}  // namespace

Action configure_dump(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("volume", options->volume, "the volume or snapshot")->required()->type_name("VG/LV");
  app.add_option("-o,--output", options->output, "a file (made sparse) instead of standard output")
      ->type_name("FILE");
  app.add_flag("-y,--yes", options->yes, "do not ask before overwriting");
  return [options](app::Context& context) { return dump_volume(context, *options); };
}

}  // namespace respaldo::cli
