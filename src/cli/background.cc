#include "cli/background.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/printable.h"
#include "cli/shared.h"
#include "engine/image/activation_address.h"

extern char** environ;

namespace respaldo::cli {

app::ExitCode start_in_background(app::Context& context, std::vector<std::string> words,
                                  const std::string& folder, std::string_view where_text) {
  int ends[2];
  if (::pipe2(ends, 0) != 0) throw os::system_error(errno, "pipe", "respaldo");
  os::UniqueFd reading(ends[0]), writing(ends[1]);
  ::fcntl(reading.get(), F_SETFD, FD_CLOEXEC);
  words.insert(words.begin(), "respaldo");
  words.insert(words.end(), {"--ready-fd", std::to_string(writing.get())});
  if (context.options().verbosity == 0) words.emplace_back("-q");
  if (context.options().json) words.emplace_back("--json");
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
      context.print_json(dump({{"mount_point", folder}, {"pid", pid}}));
    else if (context.options().verbosity > 0)
      context.print(fmt::format("{} {}; end it with: fusermount3 -u {}", where_text, printable(folder),
                                printable(folder)));
    return app::ExitCode::ok;
  }
  // It has said why.
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? static_cast<app::ExitCode>(WEXITSTATUS(status))
                                                       : app::ExitCode::failed;
}

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

os::Path background_log(std::string_view command) {
  return engine::activation_folder() / fmt::format("{}-{}.log", command, ::getpid());
}

void remove_if_empty(const os::Path& log) {
  std::error_code none;
  if (std::filesystem::file_size(log, none) == 0) std::filesystem::remove(log, none);
}

}  // namespace respaldo::cli
