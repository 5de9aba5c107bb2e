#include "app/password.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/printable.h"
#include "base/units.h"
#include "base/words.h"
#include "crypto/secret.h"
#include "os/file.h"
#include "os/process.h"

namespace respaldo::app {

namespace {

constexpr std::size_t kMost = 1U << 20;
constexpr int kGlance = 100;  // ms between two looks at the stop token

std::string trimmed(std::string text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  text.erase(0, std::min(text.find_first_not_of(kSpace), text.size()));
  text.erase(text.find_last_not_of(kSpace) + 1);
  return text;
}

std::string shown(std::chrono::milliseconds patience) {
  return counted(static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::minutes>(patience).count()), "minute");
}

// Pipes too, such as /dev/stdin and /dev/fd/63. Read only where poll() sees something: a named pipe that nobody has
// opened yet looks like one at its end to read().
std::string read_patiently(const os::Path& path, const std::stop_token& stop, std::chrono::milliseconds patience) {
  const os::UniqueFd fd = os::open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  const auto end = std::chrono::steady_clock::now() + patience;
  std::string text;
  char buffer[4096];
  for (;;) {
    if (stop.stop_requested()) throw Cancelled();
    if (std::chrono::steady_clock::now() > end)
      throw Error(ErrorKind::io, fmt::format("{} did not end within {}", printable(path.native()), shown(patience)),
                  "it is a pipe: whoever writes the password into it must close it");
    pollfd ready = {fd.get(), POLLIN, 0};
    if (::poll(&ready, 1, kGlance) <= 0) continue;
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) throw os::system_error(errno, "read", path);
    text.append(buffer, static_cast<std::size_t>(n));
    crypto::wipe(buffer, static_cast<std::size_t>(n));
    if (n == 0) return text;
    if (text.size() > kMost)
      throw Error(ErrorKind::corrupt, fmt::format("{} is larger than {} bytes", printable(path.native()), kMost));
  }
}

}  // namespace

std::string password_from_file(const std::string& file, const std::stop_token& stop,
                               std::chrono::milliseconds patience) {
  try {
    return trimmed(in_context([] { return "reading the password file"; },
                              [&] { return read_patiently(file, stop, patience); }));
  } catch (Error& error) {
    if (error.hint().empty()) error.set_hint("--password-file, or $RESPALDO_PASSWORD_FILE, names it");
    throw;
  }
}

std::string password_from_command(const std::string& line, const std::stop_token& stop,
                                  std::chrono::milliseconds patience) {
  const auto words = split_words(line, "the password command");
  if (words.empty()) throw Error(ErrorKind::usage, "the password command is empty");
  os::CommandResult result;
  try {
    result = os::run_command(words, {.limit = patience}, stop);
  } catch (const os::CommandTimeout&) {
    throw Error(ErrorKind::io, fmt::format("the password command did not end within {}", shown(patience)),
                "run it by hand: it must print the password, and end");
  }
  if (result.exit_code != 0)
    throw Error(ErrorKind::usage, fmt::format("the password command ended with exit code {}: {}",
                                              result.exit_code, trimmed(result.err)),
                "run it by hand: it must print the password, and end with exit code 0");
  std::string password = trimmed(result.out);
  crypto::wipe(result.out.data(), result.out.size());
  return password;
}

}  // namespace respaldo::app
