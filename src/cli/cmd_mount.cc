#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/printable.h"
#include "base/units.h"
#include "care/policy.h"
#include "cli/background.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "serve/mount.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::string folder, cache_size;
  std::vector<std::string> hosts, tags, paths;
  bool foreground = false, allow_other = false;
  int ready_fd = -1, password_fd = -1;
};

bool has(const std::vector<std::string>& all, const std::string& one) {
  return std::ranges::find(all, one) != all.end();
}

// Any of the hosts, all of the tags, all of the paths (volumes may be written VG/LV).
bool wanted(const repo::Snapshot& snapshot, const Options& options) {
  return (options.hosts.empty() || has(options.hosts, snapshot.hostname)) &&
         std::ranges::all_of(options.tags,
                             [&](const auto& list) { return care::has_tags(snapshot, care::parse_tag_list(list)); }) &&
         std::ranges::all_of(options.paths, [&](const auto& path) {
           return has(snapshot.paths, path) || has(snapshot.paths, "/dev/" + path);
         });
}

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
  how.wanted = [&](const repo::Snapshot& snapshot) { return wanted(snapshot, options); };
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
  for (const std::string& host : options.hosts) words.push_back("--host=" + host);
  for (const std::string& tag : options.tags) words.push_back("--tag=" + tag);
  for (const std::string& path : options.paths) words.push_back("--path=" + path);
  return start_in_background(context, std::move(words), options.folder, "the backups are files under");
}

}  // namespace

Action configure_mount(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("folder", options->folder, "an empty folder; ids, times, hosts and latest appear in it")
      ->required()
      ->type_name("DIR");
  const auto several = [&](const char* name, std::vector<std::string>& values, const char* help) {
    return app.add_option(name, values, help)
        ->take_all()
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  several("--host", options->hosts, "only backups of this host; may be given several times")
      ->type_name("NAME");
  several("--tag", options->tags,
          "only backups with this tag, or with all of these (a,b); with all of them when given several times")
      ->type_name("TAGS");
  several("--path", options->paths, "only backups of this volume (VG/LV) or path")->type_name("PATH");
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
