// A program that runs beside us, with pipes to its standard input, output and error.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/unique_fd.h"

namespace respaldo::os {

// In a process group of its own: a Ctrl-C at the terminal does not reach it. Destroyed while it runs: killed
// and reaped. Not thread-safe, but for kill().
class ChildProcess {
 public:
  enum class Terminal {
    left,  // the program does not get the terminal
    lent,  // its group is the terminal's foreground one, if we have one: it may ask, and has the Ctrl-C then
  };
  // argv[0] is looked up in PATH; `environment` is all it gets; only descriptors 0..2 are inherited, signals
  // are as after boot. Error(not_found), or Error(refused, io) with its error_number(), when it cannot be
  // started.
  ChildProcess(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
               Terminal terminal = Terminal::left);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  UniqueFd in, out, err;  // our ends; close-on-exec; blocking

  pid_t pid() const { return pid_; }
  // Becomes readable when the program has ended. Invalid where the kernel has no pidfd_open.
  int process() const { return process_.get(); }
  // To the whole group, unless the program was waited for. Thread-safe before that.
  void kill(int signal) const;
  // True when it has ended; its status stays for wait().
  bool ended() const;
  // The status of waitpid(). Absent when it still runs after `patience`: it is not left behind then, wait
  // again.
  std::optional<int> wait(std::chrono::milliseconds patience);
  // Not waited for any more, when the kernel does not let it go.
  void leave_behind() { status_ = 0; }
  // It ends by itself, after us perhaps; its pipes are closed. Reaped when another one is started, or by reap().
  void leave_to_end();
  // How many were left and have not ended yet. Thread-safe.
  static std::size_t reap();
  // A terminal that was lent is ours again. Also when destroyed.
  void take_terminal_back();

 private:
  UniqueFd process_, terminal_;
  pid_t pid_ = 0, group_ = 0;
  std::optional<int> status_;
};

// write(2) without the SIGPIPE of a reader that has gone, whatever the process does with that signal.
ssize_t write_quietly(int fd, std::string_view bytes);

}  // namespace respaldo::os
