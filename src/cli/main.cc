// The program: the real world around cli::run.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "app/journal.h"
#include "cli/cli.h"
#include "cli/output_closed.h"
#include "os/file.h"
#include "os/output_stream.h"
#include "os/prompt.h"
#include "os/signals.h"

namespace {

void write_to(int fd, std::string_view text, const char* name) {
  respaldo::os::write_all(fd, respaldo::as_bytes(text), name);
}

}  // namespace

int main(int argc, char** argv) {
  respaldo::os::keep_standard_descriptors();
  respaldo::os::install_stop_signals(
      "\nrespaldo: ended at once; `respaldo clean` and `respaldo unlock` remove what is left, but for a file that was "
      "written (its name has -tmp- in it)\n");
  respaldo::app::World world;
  world.arguments.assign(argv + 1, argv + argc);
  world.environment = [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr) return std::nullopt;
    return value;
  };
  world.out = [stop = respaldo::os::stop_signals()](std::string_view text) {
    try {
      respaldo::os::OutputStream(1, "standard output", stop).write(respaldo::as_bytes(text));
    } catch (const respaldo::Error& error) {
      if (error.error_number() == EPIPE) throw respaldo::cli::OutputClosed(error);
      throw;
    }
  };
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
  world.stop = respaldo::os::stop_signals();
  world.ask = [stop = world.stop](std::string_view question, bool secret) {
    return respaldo::os::ask(question, secret, stop);
  };
  try {
    return respaldo::cli::run(std::move(world));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "respaldo: %s\n", error.what());
    return 1;
  }
}
