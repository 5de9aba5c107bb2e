#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/printable.h"
#include "cli/command.h"
#include "cli/lvm/lvm_command.h"
#include "cli/shared.h"
#include "engine/image/activation_address.h"
#include "serve/activate.h"

extern char** environ;

namespace respaldo::cli {

namespace {

struct Options {
  std::string folder;
  bool read_only = false, foreground = false, allow_other = false;
  int ready_fd = -1;
};

engine::ActivationClient::CommandReply run_verb(
    engine::DiskSet& disks, const std::vector<std::string>& argv,
    const std::function<bool(const engine::VolumeName&)>& is_open) {
  engine::ActivationClient::CommandReply reply;
  LvmWorld world;
  world.print = [&](std::string_view line) { reply.out += std::string(line) + "\n"; };
  world.warn = [&](std::string_view line) { reply.err += std::string(line) + "\n"; };
  world.confirm = [](std::string_view question) -> bool {
    throw Error(ErrorKind::refused, std::string(question) + ": give -y if it is meant");
  };
  world.active = true;
  world.is_open = is_open;
  if (const auto help = lvm_help(argv))
    reply.out = *help;
  else
    reply.exit_code = run_lvm_verb(argv, disks, world);
  return reply;
}

// From here on a terminal that closes takes nothing with it; what there is to say goes to `log`.
void detach(int ready_fd, const os::Path& log) {
  const os::UniqueFd quiet = os::open_file("/dev/null", O_RDWR | O_CLOEXEC);
  const os::UniqueFd said = os::open_file(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ::dup2(quiet.get(), 0);
  ::dup2(quiet.get(), 1);
  ::dup2(said.get(), 2);
  const char ok = '.';
  if (::write(ready_fd, &ok, 1) != 1) return;
  ::close(ready_fd);
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
      log = engine::activation_folder() / fmt::format("activate-{}.log", ::getpid());
      detach(options.ready_fd, *log);
    } else if (context.options().verbosity > 0) {
      context.print(fmt::format("serving at {}; ends with Ctrl-C, or with: fusermount3 -u {}",
                                printable(options.folder), printable(options.folder)));
    }
  };
  serve::activate(how, run_verb, context.progress(), context.stop());
  if (log && std::filesystem::file_size(*log) == 0) ::unlink(log->c_str());
  return app::ExitCode::ok;
}

// Runs this program again as a process of its own, and waits until its files are there.
app::ExitCode start_daemon(app::Context& context, const Options& options) {
  int ends[2];
  if (::pipe2(ends, 0) != 0) throw os::system_error(errno, "pipe", "activate");
  os::UniqueFd reading(ends[0]), writing(ends[1]);
  ::fcntl(reading.get(), F_SETFD, FD_CLOEXEC);
  std::vector<std::string> words = {"respaldo"};
  for (const os::Path& image : context.images()) {
    words.emplace_back("--disk");
    words.push_back(std::filesystem::absolute(image).native());
  }
  words.insert(words.end(), {"activate", std::filesystem::absolute(options.folder).native(), "--foreground",
                             "--ready-fd", std::to_string(writing.get())});
  if (options.read_only) words.emplace_back("--read-only");
  if (options.allow_other) words.emplace_back("--allow-other");
  if (context.options().verbosity == 0) words.emplace_back("-q");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  const int failure = ::posix_spawn(&pid, "/proc/self/exe", nullptr, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  if (failure != 0) throw os::system_error(failure, "posix_spawn", "/proc/self/exe");
  writing.reset();
  char ok = 0;
  ssize_t got = 0;
  do got = ::read(reading.get(), &ok, 1);
  while (got < 0 && errno == EINTR);
  if (got == 1) {
    if (context.options().json)
      context.print_json(dump({{"mount_point", options.folder}, {"pid", pid}}));
    else if (context.options().verbosity > 0)
      context.print(fmt::format("the volumes are files under {}; end it with: fusermount3 -u {}",
                                printable(options.folder), printable(options.folder)));
    return app::ExitCode::ok;
  }
  // It has said why.
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? static_cast<app::ExitCode>(WEXITSTATUS(status))
                                                       : app::ExitCode::failed;
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
