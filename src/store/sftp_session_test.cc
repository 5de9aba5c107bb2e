// One connection: store/sftp_session.h, and the flush of folders over it.
#include "store/sftp_session.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <tuple>

#include "os/child_process.h"
#include "store/sftp_files.h"
#include "testing/errors.h"
#include "testing/memory_folder.h"

namespace respaldo::store::sftp {
namespace {

using ::testing::HasSubstr;
constexpr const char* kServer = "/usr/lib/openssh/sftp-server";

using testing::error_of;

class SftpSession : public ::testing::Test {
 protected:
  // Programs write their process numbers there.
  os::Path pids() const { return folder_.path() / "pids"; }
  std::vector<pid_t> started() const {
    std::ifstream file(pids());
    return {std::istream_iterator<pid_t>(file), {}};
  }

  testing::MemoryFolder folder_;
};

TEST_F(SftpSession, requests_need_not_wait_for_the_servers_hello) {
  Request request(PacketType::stat);
  request.text("file");
  const auto bytes = [](std::initializer_list<std::uint8_t> values) { return std::string(values.begin(), values.end()); };
  const os::Path answers = folder_.path() / "answers";
  std::ofstream(answers, std::ios::binary) << bytes({0, 0, 0, 5, 2, 0, 0, 0, 3})
                                           << bytes({0, 0, 0, 9, 105, 0, 0, 0, 1, 0, 0, 0, 0});
  // It says nothing before it was asked.
  SessionOptions options;
  options.command = {"sh", "-c",
                     fmt::format("head -c {} >/dev/null; cat {}; exec cat >/dev/null",
                                 Request::init().size() + request.packet(1).size(), answers.native())};
  options.ahead = true;
  std::atomic<bool> reached = false;
  options.reached = &reached;
  Session session(options);
  EXPECT_EQ(session.ask(std::move(request)).type, PacketType::attributes);
  EXPECT_TRUE(reached);
  EXPECT_FALSE(session.abilities().flush);
}

TEST_F(SftpSession, whoever_waits_for_a_hello_that_does_not_come_is_told_why) {
  SessionOptions options;
  options.command = {"sh", "-c", "head -c 1 >/dev/null; echo 'me@host: Permission denied (publickey).' >&2; exit 255"};
  options.place = "host";
  options.ahead = true;
  Session session(options);
  EXPECT_EQ(error_of([&] { session.abilities(); }).kind(), ErrorKind::refused);
  EXPECT_EQ(error_of([&] { session.ask(Request(PacketType::stat)); }).kind(), ErrorKind::refused);
  EXPECT_FALSE(session.alive());
  options.command = {"sleep", "1000"};
  { const Session silent(options); }
  Session cancelled(options);
  std::thread canceller([&] { cancelled.cancel(); });
  EXPECT_THROW(cancelled.abilities(), Cancelled);
  canceller.join();
}

TEST_F(SftpSession, a_program_that_ends_by_itself_is_not_waited_for) {
  const os::Path go = folder_.path() / "go", done = folder_.path() / "done";
  for (const bool by_itself : {true, false}) {
    for (const os::Path& file : {go, done, pids()}) std::filesystem::remove(file);
    SessionOptions options;
    options.command = {"sh", "-c",
                       fmt::format("echo $$ >>{}; {}; while ! test -e {}; do sleep 0.01; done; touch {}", pids().native(),
                                   kServer, go.native(), done.native())};
    options.ends_by_itself = by_itself;
    { const Session session(options); }
    EXPECT_EQ(os::ChildProcess::reap(), by_itself ? 1U : 0U);
    EXPECT_EQ(::kill(started().at(0), 0), by_itself ? 0 : -1);
    std::ofstream{go};
    if (!by_itself) continue;
    while (os::ChildProcess::reap() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_TRUE(std::filesystem::exists(done));
    EXPECT_EQ(::kill(started().at(0), 0), -1);
  }
}

TEST_F(SftpSession, a_folder_that_cannot_be_flushed_is_an_error_and_a_server_that_never_can_is_not) {
  const auto bytes = [](std::initializer_list<std::uint8_t> values) {
    return std::string(values.begin(), values.end());
  };
  const auto text = [&](std::string_view value) {
    return bytes({0, 0, 0, static_cast<std::uint8_t>(value.size())}) + std::string(value);
  };
  const auto packet = [&](const std::string& body) {
    return bytes({0, 0, 0, static_cast<std::uint8_t>(body.size())}) + body;
  };
  const std::string greeting = packet(bytes({2, 0, 0, 0, 3}) + text("fsync@openssh.com") + text("1"));
  const std::string opened = packet(bytes({102, 0, 0, 0, 1}) + text("h"));
  const auto status = [&](std::uint8_t number, std::uint8_t code) {
    return packet(bytes({101, 0, 0, 0, number, 0, 0, 0, code}) + text("so it is") + text(""));
  };
  // The init packet and the requests have these lengths: what is answered was asked.
  const std::string folders[] = {"folder"};
  Request open_folder(PacketType::open), close_folder(PacketType::close);
  open_folder.text(folders[0]).u32(kRead).no_attributes();
  close_folder.text("h");
  Request flush = Request::extended("fsync@openssh.com");
  flush.text("h");
  const std::size_t begin = Request::init().size(), one = open_folder.packet(1).size(),
                    two = flush.packet(2).size() + close_folder.packet(3).size();
  const auto flushed = [&](const std::string& first, const std::string& second, std::size_t asked_second) {
    const os::Path files[] = {folder_.path() / "a", folder_.path() / "b", folder_.path() / "c"};
    std::ofstream(files[0], std::ios::binary) << greeting;
    std::ofstream(files[1], std::ios::binary) << first;
    std::ofstream(files[2], std::ios::binary) << second;
    SessionOptions options;
    options.command = {"sh", "-c",
                       fmt::format("head -c {} >/dev/null; cat {}; head -c {} >/dev/null; cat {}; head -c {} "
                                   ">/dev/null; cat {}; exec cat >/dev/null",
                                   begin, files[0].native(), one, files[1].native(), asked_second,
                                   files[2].native())};
    options.place = "host";
    Session session(options);
    return flush_folders(session, folders);
  };
  const std::string closed = status(3, 0);
  EXPECT_TRUE(flushed(opened, status(2, 0) + closed, two));
  EXPECT_FALSE(flushed(opened, status(2, 8) + closed, two));  // unsupported
  EXPECT_FALSE(flushed(opened, status(2, 5) + closed, two));  // EINVAL: this filesystem flushes no folders
  EXPECT_FALSE(flushed(status(1, 4), "", two));               // no folders are opened there
  // A folder that is missing is asked for once more: somebody else may have made it since.
  for (const auto& [first, second, asked_second] :
       {std::tuple(opened, status(2, 4) + closed, two), std::tuple(status(1, 2), status(2, 2), one)}) {
    const Error error = error_of([&] { flushed(first, second, asked_second); });
    EXPECT_EQ(error.kind(), ErrorKind::io) << error.what();
    EXPECT_NE(error.error_number(), 0);  // another attempt fails, too
    EXPECT_THAT(error.what(), HasSubstr("so it is"));
    EXPECT_FALSE(error.hint().empty());
  }
}

}  // namespace
}  // namespace respaldo::store::sftp
