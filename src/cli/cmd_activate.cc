#include <unistd.h>

#include <filesystem>

#include "base/printable.h"
#include "cli/background.h"
#include "cli/command.h"
#include "cli/lvm/lvm_command.h"
#include "cli/shared.h"
#include "serve/activate.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::string folder;
  bool read_only = false, foreground = false, allow_other = false;
  int ready_fd = -1;
};

engine::ActivationClient::CommandReply run_verb(
    engine::DiskSet& disks, const std::vector<std::string>& argv, const serve::VolumeStates& states) {
  engine::ActivationClient::CommandReply reply;
  LvmWorld world;
  world.print = [&](std::string_view line) { reply.out += std::string(line) + "\n"; };
  world.warn = [&](std::string_view line) { reply.err += std::string(line) + "\n"; };
  world.confirm = [](std::string_view question) -> bool {
    throw Error(ErrorKind::refused, std::string(question) + ": give -y if it is meant");
  };
  world.active = true;
  world.is_open = states.is_open;
  world.has_died = states.has_died;
  if (const auto help = lvm_help(argv))
    reply.out = *help;
  else
    reply.exit_code = run_lvm_verb(argv, disks, world);
  return reply;
}

app::ExitCode serve_volumes(app::Context& context, const Options& options) {
  serve::ActivateOptions how;
  how.images = context.images();
  how.mount_point = options.folder;
  how.read_only = options.read_only;
  how.allow_other = options.allow_other;
  std::optional<os::Path> log;
  how.ready = [&] {
    if (options.ready_fd >= 0) {
      log = background_log("activate");
      detach(options.ready_fd, *log);
    } else if (context.options().json) {
      context.print_json(dump({{"mount_point", options.folder}, {"pid", ::getpid()}}));
    } else if (context.options().verbosity > 0) {
      context.print(fmt::format("serving at {}; ends with Ctrl-C, or with: fusermount3 -u {}",
                                printable(options.folder), printable(options.folder)));
    }
  };
  serve::activate(how, run_verb, context.progress(), context.stop());
  if (log) remove_if_empty(*log);
  return app::ExitCode::ok;
}

app::ExitCode start_daemon(app::Context& context, const Options& options) {
  std::vector<std::string> words;
  for (const os::Path& image : context.images()) {
    words.emplace_back("--disk");
    words.push_back(std::filesystem::absolute(image).native());
  }
  words.insert(words.end(), {"activate", std::filesystem::absolute(options.folder).native(), "--foreground"});
  if (options.read_only) words.emplace_back("--read-only");
  if (options.allow_other) words.emplace_back("--allow-other");
  return start_in_background(context, std::move(words), options.folder, "the volumes are files under");
}

}  // namespace

Action configure_activate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("folder", options->folder, "an empty folder; VG/LV and mapper/VG-LV appear in it")
      ->required()
      ->type_name("DIR");
  app.add_flag("--read-only", options->read_only,
               "nothing can be written; others may read the images as well");
  app.add_flag("--foreground", options->foreground, "do not go into the background");
  app.add_flag("--allow-other", options->allow_other,
               "let other users in (needs root, or user_allow_other in fuse.conf)");
  app.add_option("--ready-fd", options->ready_fd)->group("");
  return [options](app::Context& context) {
    return options->foreground ? serve_volumes(context, *options) : start_daemon(context, *options);
  };
}

}  // namespace respaldo::cli
