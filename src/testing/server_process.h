// A real server as an ordinary process, for tests that talk to one.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "os/file.h"

namespace respaldo::testing {

// Started when made, ended (by its own pid) when destroyed; it dies with the test, too. What it says goes to
// a log.
class ServerProcess {
 public:
  // `environment`: "NAME=value", besides and before our own. Throws when the program is not there.
  explicit ServerProcess(std::vector<std::string> argv, std::vector<std::string> environment = {}) {
    const std::string log = log_file().native();
    std::vector<char*> words;
    for (std::string& word : argv) words.push_back(word.data());
    words.push_back(nullptr);
    for (char** it = environ; *it != nullptr; ++it) environment.emplace_back(*it);
    std::vector<char*> variables;
    for (std::string& variable : environment) variables.push_back(variable.data());
    variables.push_back(nullptr);
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(126);
      const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      ::dup2(fd, 1);
      ::dup2(fd, 2);
      ::execvpe(words[0], words.data(), variables.data());
      ::_exit(127);
    }
  }
  ~ServerProcess() { stop(); }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Waits until the log has the pattern; the text of its first group. Throws with the log after a minute.
  std::string wait_for(const std::string& pattern) {
    const std::regex expression(pattern);
    for (int i = 0; i < 3000 && !ended(); ++i) {
      const std::string said = log();
      if (std::smatch match; std::regex_search(said, match, expression))
        return match[match.size() > 1 ? 1 : 0];
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    throw std::runtime_error(
        "the server did not start (is its package installed? tools/install_dependencies): " + log());
  }
  std::string log() const { return os::try_read_text(log_file()).value_or(""); }

  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    for (int i = 0; i < 250 && !ended(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = 0;
    }
  }

 private:
  os::Path log_file() const { return folder_.path() / "log"; }
  bool ended() {
    if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = 0;
    return pid_ <= 0;
  }
  os::TemporaryFolder folder_;
  pid_t pid_ = 0;
};

}  // namespace respaldo::testing
