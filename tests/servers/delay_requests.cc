// delay_requests SECONDS COMMAND...: the command, and what it is sent comes so much later. Nothing else is slower.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kPiece = 256U << 10, kMostPieces = 1024;
constexpr int kPipe = 1 << 20;

struct Piece {
  Clock::time_point due;
  std::vector<char> bytes;  // none: the end
  std::size_t size = 0;
};

std::mutex mutex;
std::condition_variable changed;
std::deque<Piece> waiting;
std::vector<std::vector<char>> spare;  // whose memory was touched before

void deliver(int pipe) {
  for (;;) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [] { return !waiting.empty(); });
    Piece piece = std::move(waiting.front());
    waiting.pop_front();
    lock.unlock();
    changed.notify_all();
    std::this_thread::sleep_until(piece.due);
    if (piece.size == 0) break;
    for (std::size_t at = 0; at < piece.size;) {
      const ssize_t n = ::write(pipe, piece.bytes.data() + at, piece.size - at);
      if (n < 0) break;  // the command has gone, and takes no more
      at += static_cast<std::size_t>(n);
    }
    lock.lock();
    spare.push_back(std::move(piece.bytes));
  }
  ::close(pipe);
}

}  // namespace

int main(int argc, char** argv) {
  int ends[2];
  if (argc < 3 || ::pipe2(ends, O_CLOEXEC) != 0) return 2;
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[0], 0);
    ::execvp(argv[2], argv + 2);
    std::perror(argv[2]);
    ::_exit(127);
  }
  ::close(ends[0]);
  std::signal(SIGPIPE, SIG_IGN);
  for (const int pipe : {0, ends[1]}) ::fcntl(pipe, F_SETPIPE_SZ, kPipe);
  const auto delay = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::atof(argv[1])));
  std::thread thread(deliver, ends[1]);
  for (bool open = true; open;) {
    Piece piece;
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [] { return waiting.size() < kMostPieces; });
      if (!spare.empty()) {
        piece.bytes = std::move(spare.back());
        spare.pop_back();
      }
    }
    piece.bytes.resize(kPiece);
    const ssize_t n = ::read(0, piece.bytes.data(), kPiece);
    open = n > 0;
    piece.size = open ? static_cast<std::size_t>(n) : 0;
    piece.due = Clock::now() + delay;
    {
      std::lock_guard lock(mutex);
      waiting.push_back(std::move(piece));
    }
    changed.notify_all();
  }
  thread.join();
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
