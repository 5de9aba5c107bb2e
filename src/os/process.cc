#include "os/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "os/child_process.h"
#include "os/file.h"

extern char** environ;

namespace respaldo::os {

namespace {

// Reads what is there; closes fd at the end of it.
void take(UniqueFd& fd, std::string& into, std::size_t limit) {
  char buffer[65536];
  const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) {
    fd.reset();
    return;
  }
  const std::size_t room = into.size() < limit ? limit - into.size() : 0;
  into.append(buffer, std::min(room, static_cast<std::size_t>(n)));
}

constexpr std::chrono::seconds kPatience{3};  // for what was killed to end

// The next bytes of input into the program; closes fd after the last, or when nobody reads them.
void give(UniqueFd& fd, std::string_view input, std::size_t& sent) {
  const ssize_t n = write_quietly(fd.get(), input.substr(sent));
  if (n > 0) sent += static_cast<std::size_t>(n);
  if ((n < 0 && errno != EAGAIN && errno != EINTR) || sent == input.size()) fd.reset();
}

}  // namespace

std::vector<std::string> environment_with(std::vector<std::string> own,
                                          const std::function<bool(std::string_view name)>& withheld) {
  const std::size_t count = own.size();
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string_view entry(*e);
    const std::string_view name = entry.substr(0, entry.find('=') + 1);
    const bool given = std::any_of(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(count),
                                   [&](const std::string& one) { return one.starts_with(name); });
    if (withheld && withheld(entry.substr(0, entry.find('=')))) continue;
    if (name != "LC_ALL=" && !given) own.emplace_back(entry);
  }
  own.emplace_back("LC_ALL=C");
  return own;
}

CommandResult run_command(const std::vector<std::string>& argv, const CommandOptions& options,
                          std::stop_token stop) {
  ChildProcess child(argv, environment_with(options.environment));
  for (const UniqueFd* fd : {&child.in, &child.out, &child.err}) ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  if (options.input.empty()) child.in.reset();

  CommandResult result;
  std::size_t sent = 0;
  bool ended = false, late = false, stopped = false;
  std::optional<std::chrono::steady_clock::time_point> interrupted;
  const auto started = std::chrono::steady_clock::now();
  for (;;) {
    pollfd fds[4] = {{child.out.get(), POLLIN, 0},
                     {child.err.get(), POLLIN, 0},
                     {child.in.get(), POLLOUT, 0},
                     {ended ? -1 : child.process(), POLLIN, 0}};
    const int ready = ::poll(fds, 4, ended ? 0 : 100);
    if (ended && ready == 0) break;  // whoever still holds the pipes is not who we ran
    if (child.out && fds[0].revents != 0) take(child.out, result.out, options.output_limit);
    if (child.err && fds[1].revents != 0) take(child.err, result.err, options.output_limit);
    if (child.in && fds[2].revents != 0) give(child.in, options.input, sent);
    // Without pidfd_open (an old container runtime) we ask.
    if (fds[3].revents != 0 || (child.process() < 0 && child.ended())) ended = true;
    if (ended && !child.out && !child.err) break;
    if (ended) child.in.reset();
    const auto now = std::chrono::steady_clock::now();
    late = options.limit && now - started > *options.limit;
    stopped = stop.stop_requested();
    if (!late && !stopped) continue;
    if (options.grace.count() > 0 && !interrupted) {
      interrupted = now;
      child.kill(SIGINT);
    } else if (!interrupted || now - *interrupted > options.grace) {
      child.kill(SIGKILL);
      break;
    }
  }
  // Absent when the kernel does not let it go: it waits for a device that does not answer, and takes no signal before
  // that does. It is left behind then.
  const auto left = child.wait(kPatience);
  if (!left) child.leave_behind();
  if (!left && stopped) throw Cancelled();
  if (!left)
    throw CommandTimeout(
        ErrorKind::io,
        fmt::format("{} did not finish{}, and could not be ended: a device does not answer", argv[0],
                    late ? fmt::format(" within {} ms", options.limit->count()) : ""),
        fmt::format("process {} is left behind; `dmesg` may say which device", child.pid()));
  const int status = *left;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (interrupted && result.exit_code == 0) return result;
  if (stopped) throw Cancelled();
  if (late)
    throw CommandTimeout(ErrorKind::io,
                         fmt::format("{} did not finish within {} ms and was {}", argv[0],
                                     options.limit->count(), interrupted ? "interrupted" : "killed"));
  return result;
}

}  // namespace respaldo::os
