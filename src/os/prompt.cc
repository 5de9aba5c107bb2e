#include "os/prompt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "base/bytes.h"
#include "base/error.h"
#include "os/file.h"

namespace respaldo::os {

namespace {

std::mutex secrecy;
std::optional<termios> shown;  // how the terminal was, while it hides what is typed

// Nothing is flushed: an answer that was typed early is not lost. Nor drained: a terminal that is held
// (Ctrl-S) does not drain, and the lock is not for long.
void hide() {
  termios before{};
  if (::tcgetattr(0, &before) != 0) return;
  termios quiet = before;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  const std::lock_guard lock(secrecy);
  shown = before;
  ::tcsetattr(0, TCSANOW, &quiet);
}

struct Secrecy {
  explicit Secrecy(bool secret) {
    if (secret) hide();
  }
  ~Secrecy() { end_secrecy(); }
  Secrecy(const Secrecy&) = delete;
  Secrecy& operator=(const Secrecy&) = delete;
  static bool kept() {
    const std::lock_guard lock(secrecy);
    return shown.has_value();
  }
};

void say(std::string_view text) {
  try {
    write_all(2, as_bytes(text), "standard error");
  } catch (const Error&) {
    // Who asked without being heard may be answered all the same.
  }
}

// True when there is something to read, or the end; false when a stop came first.
bool wait_for_input(int stopped) {
  for (;;) {
    pollfd fds[2] = {{0, POLLIN, 0}, {stopped, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return true;
    if (fds[1].revents != 0) return false;
    if (fds[0].revents != 0) return true;
  }
}

}  // namespace

void end_secrecy() noexcept {
  const std::lock_guard lock(secrecy);
  if (shown) ::tcsetattr(0, TCSANOW, &*shown);
  shown.reset();
}

std::optional<std::string> ask(std::string_view question, bool secret, const std::stop_token& stop) {
  const UniqueFd stopped(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stopped) throw system_error(errno, "eventfd", "standard input");
  const std::stop_callback tell(stop, [&] { ::eventfd_write(stopped.get(), 1); });
  const Secrecy hidden(secret);
  say(question);  // only now: an answer that comes at once is not shown
  std::string line;
  for (;;) {
    if (!wait_for_input(stopped.get())) {
      if (Secrecy::kept()) ::tcflush(0, TCIFLUSH);  // half a secret is not for the shell
      say("\n");
      throw Cancelled();
    }
    // By the byte: what comes after the line is for the next question.
    char c = 0;
    const ssize_t n = ::read(0, &c, 1);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n == 1 && c != '\n') {
      line += c;
      continue;
    }
    if (Secrecy::kept()) say("\n");
    if (n <= 0 && line.empty()) return std::nullopt;
    return line;
  }
}

}  // namespace respaldo::os
