#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

#include "base/printable.h"
#include "base/units.h"
#include "cli/background.h"
#include "cli/care_options.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "serve/mount.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::string folder, cache_size;
  FilterWords filter;
  bool foreground = false, allow_other = false;
  int ready_fd = -1, password_fd = -1;
};

std::uint64_t cache_bytes(const Options& options) {
  if (options.cache_size.empty()) return serve::kDefaultMountCache;
  const std::uint64_t bytes = parse_size(options.cache_size, "--cache-size", kMiB);
  if (bytes < kMiB || bytes > kTiB)
    throw Error(ErrorKind::usage, "--cache-size is between 1M and 1T", "it is memory: 256M is the default");
  return bytes;
}

app::ExitCode serve_backups(app::Context& context, const Options& options) {
  serve::MountOptions how;
  how.mount_point = options.folder;
  how.allow_other = options.allow_other || ::geteuid() == 0;
  how.cache_bytes = cache_bytes(options);
  how.wanted = [filter = options.filter.filter()](const repo::Snapshot& snapshot) { return filter.matches(snapshot); };
  repo::Repository& repository = context.repository();
  if (options.password_fd >= 0) ::close(options.password_fd);
  const auto lock = lock_for_reading(context);
  how.lock_lost = [&] { return lock && lock->lost(); };
  std::optional<os::Path> log;
  how.ready = [&] {
    if (options.ready_fd >= 0) {
      log = background_log("mount");
      detach(options.ready_fd, *log);
    } else if (context.options().json) {
      context.print_json(dump({{"mount_point", options.folder}, {"pid", ::getpid()}}));
    } else if (context.options().verbosity > 0) {
      context.print(fmt::format("the backups are at {}; ends with Ctrl-C, or with: fusermount3 -u {}",
                                printable(options.folder), printable(options.folder)));
    }
  };
  serve::mount_backups(repository, how, context.progress(), context.stop());
  if (log) remove_if_empty(*log);
  return app::ExitCode::ok;
}

// What was typed here is nothing that a process in the background could ask for: it reads it from memory.
os::UniqueFd typed_password(app::Context& context) {
  const std::string password = context.password();
  os::UniqueFd memory(::memfd_create("password", 0));
  if (memory.get() < 0) throw os::system_error(errno, "memfd_create", "password");
  os::write_all(memory.get(), as_bytes(password), "password");
  return memory;
}

app::ExitCode start_daemon(app::Context& context, const Options& options) {
  cache_bytes(options);
  options.filter.filter();
  const app::CommonOptions& common = context.options();
  std::vector<std::string> words;
  const auto add = [&](const char* option, const std::string& value) {
    if (!value.empty()) words.insert(words.end(), {option, value});
  };
  std::optional<os::UniqueFd> password;
  add("-r", common.repository);
  if (context.has_password()) {
    add("-p", common.password_file);
    add("--password-command", common.password_command);
  } else {
    password = typed_password(context);
    add("-p", fmt::format("/proc/self/fd/{}", password->get()));
  }
  if (common.lock_patience_seconds) add("--retry-lock", std::to_string(*common.lock_patience_seconds));
  if (common.no_lock) words.emplace_back("--no-lock");
  for (std::string& word : common.store.words()) words.push_back(std::move(word));
  words.insert(words.end(), {"mount", std::filesystem::absolute(options.folder).native(), "--foreground"});
  if (password) add("--password-fd", std::to_string(password->get()));
  if (options.allow_other) words.emplace_back("--allow-other");
  add("--cache-size", options.cache_size);
  const auto add_all = [&](const char* option, const std::vector<std::string>& values) {
    for (const std::string& value : values) words.push_back(option + value);
  };
  add_all("--host=", options.filter.hosts);
  add_all("--tag=", options.filter.tags);
  add_all("--path=", options.filter.paths);
  add_all("--volume=", options.filter.volumes);
  return start_in_background(context, std::move(words), options.folder, "the backups are files under");
}

}  // namespace

Action configure_mount(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("folder", options->folder, "an empty folder; ids, times, hosts and latest appear in it")
      ->required()
      ->type_name("DIR");
  add_filter_options(app, options->filter);
  app.add_flag("--foreground", options->foreground, "do not go into the background");
  app.add_flag("--allow-other", options->allow_other,
               "let other users in (needs user_allow_other in fuse.conf); always so for root");
  app.add_option("--cache-size", options->cache_size, "memory for what was read lately (256M)")
      ->type_name("SIZE");
  app.add_option("--ready-fd", options->ready_fd)->group("");
  app.add_option("--password-fd", options->password_fd)->group("");
  return [options](app::Context& context) {
    return options->foreground ? serve_backups(context, *options) : start_daemon(context, *options);
  };
}

}  // namespace respaldo::cli
