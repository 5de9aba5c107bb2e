// The program: the real world around cli::run.
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "app/journal.h"
#include "cli/cli.h"
#include "os/file.h"
#include "os/signals.h"

namespace {

void write_to(int fd, std::string_view text, const char* name) {
  respaldo::os::write_all(fd, respaldo::as_bytes(text), name);
}

std::optional<std::string> ask(std::string_view question, bool secret) {
  termios before{};
  const bool hidden = secret && ::tcgetattr(0, &before) == 0;
  if (hidden) {
    termios quiet = before;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(0, TCSADRAIN, &quiet);
  }
  // Asked only now, and nothing is flushed: an answer that comes at once is neither shown nor lost.
  std::cerr << question << std::flush;
  std::string line;
  const bool got = static_cast<bool>(std::getline(std::cin, line));
  if (hidden) {
    ::tcsetattr(0, TCSADRAIN, &before);
    std::cerr << '\n';
  }
  if (!got) return std::nullopt;
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  respaldo::os::install_stop_signals();
  respaldo::app::World world;
  world.arguments.assign(argv + 1, argv + argc);
  world.environment = [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr) return std::nullopt;
    return value;
  };
  world.out = [](std::string_view text) { write_to(1, text, "standard output"); };
  world.err_is_journal = respaldo::app::is_journal(2, world.environment("JOURNAL_STREAM"));
  world.err = [journal = world.err_is_journal](std::string_view text) {
    try {
      write_to(2, journal ? respaldo::app::with_priorities(text) : std::string(text), "standard error");
    } catch (const respaldo::Error&) {
      // Nobody is left to tell.
    }
  };
  world.out_is_terminal = ::isatty(1) != 0;
  world.err_is_terminal = ::isatty(2) != 0;
  world.in_is_terminal = ::isatty(0) != 0;
  winsize size{};
  if (::ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) world.columns = size.ws_col;
  world.ask = ask;
  world.stop = respaldo::os::stop_signals();
  try {
    return respaldo::cli::run(std::move(world));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "respaldo: %s\n", error.what());
    return 1;
  }
}
