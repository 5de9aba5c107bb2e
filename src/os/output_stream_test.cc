#include "os/output_stream.h"

#include <fcntl.h>
#include <signal.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "base/error.h"

namespace respaldo::os {
namespace {

std::string read_all(int fd) {
  std::string text;
  char buffer[65536];
  for (ssize_t n = 0; (n = ::read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  return text;
}
std::string long_text() {
  std::string text;
  for (int i = 0; text.size() < 3'000'000; ++i) text += std::to_string(i);
  return text;
}

TEST(OutputStream, a_slow_reader_gets_everything) {
  for (const bool socket : {false, true}) {
    int ends[2];
    ASSERT_EQ(socket ? ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : ::pipe(ends), 0);
    const UniqueFd in(ends[0]);
    UniqueFd out(ends[1]);
    auto text = std::async(std::launch::async, [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return read_all(in.get());
    });
    OutputStream(out.get(), "it", {}).write(as_bytes(long_text()));
    out.reset();
    EXPECT_TRUE(text.get() == long_text()) << socket;
  }
}

TEST(OutputStream, the_callers_description_stays_as_it_is) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd in(ends[0]), out(ends[1]);
  OutputStream(out.get(), "it", {}).write(as_bytes("text"));
  EXPECT_EQ(::fcntl(out.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(OutputStream, a_stop_ends_the_wait_for_a_reader_who_takes_nothing) {
  for (const bool socket : {false, true}) {
    int ends[2];
    ASSERT_EQ(socket ? ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : ::pipe(ends), 0);
    const UniqueFd in(ends[0]), out(ends[1]);
    std::stop_source stop;
    auto ended = std::async(std::launch::async, [&] {
      EXPECT_THROW(OutputStream(out.get(), "it", stop.get_token()).write(as_bytes(long_text())), Cancelled);
    });
    stop.request_stop();
    ended.get();
  }
}

TEST(OutputStream, a_fifo_waits_for_its_reader_and_for_a_stop) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "fifo";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::stop_source stop;
  auto stopped = std::async(std::launch::async, [&] { EXPECT_THROW(OutputStream(path, stop.get_token()), Cancelled); });
  stop.request_stop();
  stopped.get();
  auto text = std::async(std::launch::async, [&] { return read_all(open_file(path, O_RDONLY).get()); });
  OutputStream(path, {}).write(as_bytes(long_text()));
  EXPECT_TRUE(text.get() == long_text());
}

TEST(OutputStream, a_reader_who_left_is_an_error) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd out(ends[1]);
  const auto previous = ::signal(SIGPIPE, SIG_IGN);
  ::close(ends[0]);
  EXPECT_THROW(OutputStream(out.get(), "it", {}).write(as_bytes("text")), Error);
  ::signal(SIGPIPE, previous);
}

TEST(OutputStream, a_device_that_is_not_there_is_not_waited_for) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();  // without a terminal
    ::alarm(20);
    int code = 1;
    try {
      OutputStream("/dev/tty", {});
    } catch (const Error& error) {
      code = error.error_number() == ENXIO ? 0 : 2;
    }
    ::_exit(code);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(OutputStream, what_replaces_a_file_looks_like_it) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "file", link = folder.path() / "link";
  { open_file(path, O_WRONLY | O_CREAT, 0600); }
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  if (::getuid() == 0) { ASSERT_EQ(::chown(path.c_str(), 1234, 567), 0); }
  AtomicFile file(path, 0600);
  file.write(as_bytes("new"));
  file.look_like_replaced();
  file.commit();
  struct stat st {};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777U, 0640U);
  EXPECT_TRUE(::getuid() != 0 || (st.st_uid == 1234 && st.st_gid == 567));
  EXPECT_EQ(read_text(path), "new");
  // A link that leads to nothing yet stays a link.
  std::filesystem::create_symlink("other", link);
  AtomicFile behind(link, 0600);
  behind.write(as_bytes("text"));
  behind.look_like_replaced();
  behind.commit();
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(read_text(folder.path() / "other"), "text");
}

}  // namespace
}  // namespace respaldo::os
