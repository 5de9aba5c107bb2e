#include "store/sftp.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <tuple>

#include "os/process.h"
#include "store/backend_suite.h"
#include "testing/errors.h"
#include "testing/memory_folder.h"
#include "testing/temp.h"

namespace respaldo::store {
namespace {

using ::testing::HasSubstr;
constexpr const char* kServer = "/usr/lib/openssh/sftp-server";

std::string name_of(unsigned number) { return fmt::format("{:064x}", number); }
void save(Backend& backend, const Handle& handle, std::string_view text, Durability how = Durability::now) {
  const ByteView whole = as_bytes(text);
  backend.save(handle, {&whole, 1}, how);
}
using testing::error_of;

class SftpPlaceOnPipes : public SuitePlace {
 public:
  explicit SftpPlaceOnPipes(std::string command) : command_(std::move(command)) {}
  std::unique_ptr<Backend> open() override {
    StoreOptions options;
    options.extended["sftp.command"] = command_;
    return open_sftp("host:" + root().native(), options);
  }
  bool plant(const std::string& path, const std::string& contents) override {
    std::filesystem::create_directories((root() / path).parent_path());
    return bool(std::ofstream(root() / path, std::ios::binary) << contents);
  }
  os::Path root() const { return folder_.path() / "deep" / "repository"; }

 private:
  const std::string command_;
  testing::MemoryFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(sftp, BackendSuite,
                         ::testing::Values([] { return std::make_unique<SftpPlaceOnPipes>(kServer); }));
// A server that has none of OpenSSH's extensions: every fallback.
INSTANTIATE_TEST_SUITE_P(sftp_bare, BackendSuite, ::testing::Values([] {
                           return std::make_unique<SftpPlaceOnPipes>(
                               std::string(kServer) +
                               " -P posix-rename,fsync,statvfs,fstatvfs,hardlink,limits,lsetstat,copy-data");
                         }));

TEST(SftpPlace, both_of_restics_forms_are_understood) {
  const auto same = [](const char* rest, const SftpPlace& expected) {
    const SftpPlace place = parse_sftp_place(rest);
    EXPECT_TRUE(place == expected) << rest << " -> " << place.user << " at " << place.host << " "
                                   << place.port << " " << place.path;
  };
  same("me@host:/srv/restic", {"me", "host", 0, "/srv/restic"});
  same("host:backups", {"", "host", 0, "backups"});
  same("host:", {"", "host", 0, "."});
  same("me@example.org@host:a/../b/", {"me@example.org", "host", 0, "b"});
  same("[::1]:/srv", {"", "::1", 0, "/srv"});
  same("me@[fe80::1%eth0]:/srv/[a]:b", {"me", "fe80::1%eth0", 0, "/srv/[a]:b"});
  same("host:/srv/a]b", {"", "host", 0, "/srv/a]b"});
  same("host:/srv/[a]:b@c", {"", "host", 0, "/srv/[a]:b@c"});
  same("//me@host:2222//srv", {"me", "host", 2222, "/srv"});
  same("//host/relative/folder", {"", "host", 0, "relative/folder"});
  same("//me:secret@[fe80::1]:22/x", {"me", "fe80::1", 22, "x"});
}

TEST(SftpPlace, what_names_no_place_is_usage) {
  for (const char* rest : {"host", "[::1/srv", "me@:/srv", "-oProxyCommand=x:/srv", "-x@host:/srv", "//host", "//host/",
                           "//host:0/x", "//host:65536/x", "//host:ssh/x", "//[::1/x", "host:~/x", "//-h/x"})
    EXPECT_EQ(error_of([&] { parse_sftp_place(rest); }).kind(), ErrorKind::usage) << rest;
  const Error error = error_of([] { parse_sftp_place("//me:secret@host:port/x"); });
  EXPECT_THAT(error.what(), ::testing::Not(HasSubstr("secret")));
}

TEST(SftpPlace, ssh_is_told_no_more_than_it_needs) {
  using ::testing::Contains, ::testing::Not;
  const auto quiet = ssh_command({"me", "host", 2222, "/srv"}, false);
  EXPECT_THAT(quiet, Contains("BatchMode=yes"));
  const std::vector<std::string> end(quiet.end() - 8, quiet.end());
  EXPECT_EQ(end, (std::vector<std::string>{"-p", "2222", "-l", "me", "-s", "--", "host", "sftp"}));
  EXPECT_THAT(ssh_command({"", "alias", 0, "/srv"}, true), Not(Contains("BatchMode=yes")));
}

class Sftp : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> open(const std::string& command = kServer) {
    StoreOptions options;
    options.extended["sftp.command"] = command;
    options.connections = 2;
    options.stall = stall_;
    options.stop = stop_.get_token();
    options.tell = [this](std::string_view text) { told_.emplace_back(text); };
    return open_sftp("host:" + root().native(), options);
  }
  os::Path root() const { return folder_.path() / "repository"; }
  // A program that sends `bytes` and then reads for ever.
  std::string saying(std::string_view bytes) {
    std::ofstream(folder_.path() / "said", std::ios::binary) << bytes;
    return fmt::format("sh -c 'cat {}; exec sleep 1000'", (folder_.path() / "said").native());
  }

  testing::MemoryFolder folder_;
  std::vector<std::string> told_;
  std::chrono::milliseconds stall_{60'000};
  std::stop_source stop_;
};

TEST_F(Sftp, objects_lie_as_restic_puts_them) {
  const auto backend = open();
  backend->create();
  save(*backend, {FileType::pack, name_of(1)}, "pack");
  save(*backend, {FileType::config, ""}, "config");
  const os::Path pack = root() / "data" / "00" / name_of(1);
  EXPECT_EQ(os::read_text(pack), "pack");
  EXPECT_EQ(std::filesystem::status(pack).permissions(), std::filesystem::perms::owner_read);
  EXPECT_EQ(os::read_text(root() / "config"), "config");
  EXPECT_TRUE(std::filesystem::is_directory(root() / "data" / "ff"));
  // No temporary file is left.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(pack.parent_path()), {}), 1);
  EXPECT_TRUE(told_.empty());
  EXPECT_EQ(backend->location(), "sftp:host:" + root().native());
}

TEST_F(Sftp, a_folder_that_is_missing_is_made) {
  std::filesystem::create_directory(root());
  const auto backend = open();
  save(*backend, {FileType::pack, name_of(1)}, "pack");
  EXPECT_EQ(os::read_text(root() / "data" / "00" / name_of(1)), "pack");
}

TEST_F(Sftp, a_server_that_cannot_flush_is_told_of_once) {
  const auto backend = open(std::string(kServer) + " -P fsync");
  backend->create();
  save(*backend, {FileType::snapshot, name_of(1)}, "x");
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_THAT(told_[0], HasSubstr("cannot flush"));
}

TEST_F(Sftp, a_server_that_cannot_rename_over_is_told_of) {
  const auto backend = open(std::string(kServer) + " -P posix-rename");
  backend->create();
  save(*backend, {FileType::config, ""}, "first");
  EXPECT_TRUE(told_.empty());
  save(*backend, {FileType::config, ""}, "second");
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_THAT(told_[0], HasSubstr("one step"));
  EXPECT_EQ(as_text(backend->load_all({FileType::config, ""})), "second");
}

TEST_F(Sftp, what_is_not_allowed_is_refused_with_the_servers_words) {
  const auto backend = open(std::string(kServer) + " -R");
  const Error error = error_of([&] { backend->create(); });
  EXPECT_EQ(error.kind(), ErrorKind::refused) << error.what();
  EXPECT_TRUE(backend->is_permanent(error));
  EXPECT_THAT(error.what(), HasSubstr("Permission denied"));
}

TEST_F(Sftp, a_program_that_is_not_there_is_no_missing_object) {
  const Error error = error_of([&] { open("/no/such/program")->stat({FileType::config, ""}); });
  EXPECT_EQ(error.kind(), ErrorKind::unsupported);
}

TEST_F(Sftp, a_program_that_ends_says_why) {
  const auto backend = open("sh -c 'echo some reason >&2; exit 255'");
  const Error error = error_of([&] { backend->stat({FileType::config, ""}); });
  EXPECT_THAT(error.what(), HasSubstr("some reason"));
  EXPECT_FALSE(backend->is_permanent(error));
}

TEST_F(Sftp, what_ssh_refuses_is_permanent) {
  const std::pair<const char*, ErrorKind> complaints[] = {
      {"Host key verification failed.", ErrorKind::refused},
      {"me@host: Permission denied (publickey).", ErrorKind::refused},
      {"subsystem request failed on channel 0", ErrorKind::unsupported},
      {"ssh: Could not resolve hostname nowhere: Name or service not known", ErrorKind::refused}};
  for (const auto& [text, kind] : complaints) {
    const auto backend = open(fmt::format("sh -c \"echo '{}' >&2; exit 255\"", text));
    const Error error = error_of([&] { backend->stat({FileType::config, ""}); });
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_TRUE(backend->is_permanent(error)) << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
  const auto backend =
      open("sh -c 'echo Could not resolve hostname x: Temporary failure in name resolution >&2; exit 255'");
  EXPECT_FALSE(backend->is_permanent(error_of([&] { backend->stat({FileType::config, ""}); })));
}

TEST_F(Sftp, a_login_script_that_talks_is_named) {
  const auto backend = open(saying("Welcome to this machine, have a nice day"));
  const Error error = error_of([&] { backend->stat({FileType::config, ""}); });
  EXPECT_EQ(error.kind(), ErrorKind::unsupported);
  EXPECT_THAT(error.what(), HasSubstr("Welcome"));
}

TEST_F(Sftp, an_answer_that_cannot_be_right_ends_the_connection) {
  // A greeting, then an answer nobody asked for.
  const auto backend = open(saying(std::string("\0\0\0\5\2\0\0\0\3\0\0\0\11\145\7\7\7\7\0\0\0\0", 22)));
  const Error error = error_of([&] { backend->stat({FileType::config, ""}); });
  EXPECT_THAT(error.what(), HasSubstr("not asked"));
}

TEST_F(Sftp, a_server_that_falls_silent_is_given_up) {
  stall_ = std::chrono::milliseconds(300);
  const auto backend = open(saying(std::string("\0\0\0\5\2\0\0\0\3", 9)));
  const Error error = error_of([&] { backend->stat({FileType::config, ""}); });
  EXPECT_THAT(error.what(), HasSubstr("no answer"));
  EXPECT_FALSE(backend->is_permanent(error));
  const auto silent = open("sleep 1000");
  EXPECT_FALSE(silent->is_permanent(error_of([&] { silent->stat({FileType::config, ""}); })));
}

TEST_F(Sftp, a_stop_request_ends_the_connecting) {
  const auto backend = open("sleep 1000");
  std::jthread stopper([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop_.request_stop();
  });
  EXPECT_THROW(backend->stat({FileType::config, ""}), Cancelled);
}

// The server writes its process number down; killing it is what a lost network looks like.
class SftpKilled : public Sftp {
 protected:
  std::string command() const {
    return fmt::format("sh -c \"echo $$ >>{}; exec {}\"", pids().native(), kServer);
  }
  os::Path pids() const { return folder_.path() / "pids"; }
  std::vector<pid_t> started() const {
    std::ifstream file(pids());
    return {std::istream_iterator<pid_t>(file), {}};
  }
  // When the temporary file has grown, it is in the middle.
  void await_half_an_object() const {
    for (;;)
      for (const auto& entry : std::filesystem::directory_iterator(root() / "data" / "00")) {
        std::error_code ignored;
        const std::uintmax_t size = entry.file_size(ignored);
        if (!ignored && size > (1U << 20)) return;
      }
  }
};

TEST_F(SftpKilled, a_lost_connection_is_made_again) {
  const auto backend = open(command());
  backend->create();
  save(*backend, {FileType::pack, name_of(1)}, "first");
  for (const pid_t pid : started()) ::kill(pid, SIGKILL);
  // It may be seen at once or at the next use; then all is well again.
  for (int attempt = 0;; ++attempt) {
    try {
      save(*backend, {FileType::pack, name_of(2)}, "second");
      break;
    } catch (const Error& error) {
      ASSERT_FALSE(backend->is_permanent(error)) << error.what();
      ASSERT_LT(attempt, 10);
    }
  }
  EXPECT_EQ(as_text(backend->load_all({FileType::pack, name_of(1)})), "first");
  EXPECT_EQ(as_text(backend->load_all({FileType::pack, name_of(2)})), "second");
  EXPECT_GE(started().size(), 2U);
}

TEST_F(SftpKilled, a_kill_in_the_middle_of_saving_leaves_no_half_object) {
  const auto backend = open(command());
  backend->create();
  const Bytes object = testing::random_bytes(64U << 20, 1);
  const ByteView whole = object;
  const Handle handle{FileType::pack, name_of(1)};
  std::thread killer([&] {
    await_half_an_object();
    for (const pid_t pid : started()) ::kill(pid, SIGKILL);
  });
  const Error error = error_of([&] { backend->save(handle, {&whole, 1}, Durability::now); });
  killer.join();
  EXPECT_FALSE(backend->is_permanent(error)) << error.what();
  EXPECT_THAT(error.what(), HasSubstr("lost"));
  EXPECT_FALSE(backend->stat(handle));
  EXPECT_TRUE(backend->list(FileType::pack).empty());
  // What was begun goes with the next save.
  save(*backend, handle, "whole");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root() / "data" / "00"), {}), 1);
  EXPECT_EQ(as_text(backend->load_all(handle)), "whole");
}

TEST_F(SftpKilled, a_stop_request_ends_a_transfer_at_once_and_its_trace_goes) {
  const auto backend = open(command());
  backend->create();
  const Handle lock{FileType::lock, name_of(9)};
  save(*backend, lock, "lock");
  std::thread stopper([&] {
    await_half_an_object();
    for (const pid_t pid : started()) ::kill(pid, SIGSTOP);  // a line as slow as can be
    stop_.request_stop();
  });
  const Bytes object = testing::random_bytes(64U << 20, 1);
  const ByteView whole = object;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THROW(backend->save({FileType::pack, name_of(1)}, {&whole, 1}, Durability::at_sync), Cancelled);
  stopper.join();
  EXPECT_LT(std::chrono::steady_clock::now() - start, stall_);
  // Tidying up has a connection of its own, and takes what the transfer left.
  backend->remove(lock);
  EXPECT_FALSE(std::filesystem::exists(root() / "locks" / lock.name));
  EXPECT_TRUE(std::filesystem::is_empty(root() / "data" / "00"));
  EXPECT_TRUE(backend->list(FileType::pack).empty());
}

TEST_F(SftpKilled, what_ssh_complains_of_may_pass_once_the_host_was_reached) {
  const auto backend =
      open(fmt::format("sh -c \"if test -e {0}; then cat {1} >&2; exit 255; fi; echo $$ >>{0}; exec {2}\"",
                       pids().native(), (folder_.path() / "said").native(), kServer));
  const std::tuple<const char*, bool> complaints[] = {
      {"me@host: Permission denied (publickey).", true},
      {"ssh: Could not resolve hostname nowhere: Name or service not known", false},
      {"subsystem request failed on channel 0", false},
      {"Host key verification failed.", true},
      {"WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!", true}};
  backend->create();
  for (const pid_t pid : started()) ::kill(pid, SIGKILL);
  // Whether that was seen already.
  for (int attempt = 0; attempt < 10; ++attempt) try {
      saying("lost");
      backend->stat({FileType::config, ""});
    } catch (const Error& error) {
      if (std::string_view(error.what()).find("no connection") != std::string_view::npos) break;
    }
  for (const auto& [text, permanent] : complaints) {
    saying(text);
    const Error error = error_of([&] { backend->stat({FileType::config, ""}); });
    EXPECT_THAT(error.what(), HasSubstr(std::string_view(text).substr(0, 20)));
    EXPECT_EQ(backend->is_permanent(error), permanent) << error.what();
  }
}

TEST_F(SftpKilled, a_repository_that_has_gone_with_its_disk_is_waited_for) {
  const auto backend = open(command());
  backend->create();
  save(*backend, {FileType::config, ""}, "config");
  const os::Path away = folder_.path() / "not mounted";
  std::filesystem::rename(root(), away);
  for (const pid_t pid : started()) ::kill(pid, SIGKILL);
  // The first may still be told of the lost connection.
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Error error = error_of([&] {
      for (int i = 0; i < 10; ++i) save(*backend, {FileType::pack, name_of(1)}, "pack");
    });
    EXPECT_FALSE(backend->is_permanent(error)) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(root()));
  std::filesystem::rename(away, root());
  save(*backend, {FileType::pack, name_of(1)}, "pack");
  EXPECT_EQ(as_text(backend->load_all({FileType::pack, name_of(1)})), "pack");
}

TEST_F(SftpKilled, large_objects_have_connections_of_their_own_and_small_ones_share) {
  const auto backend = open(command());  // two connections at most
  backend->create();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 6; ++i)
    threads.emplace_back([&, i] { save(*backend, {FileType::snapshot, name_of(i)}, "small"); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(started().size(), 1U);
  threads.clear();
  const Bytes object = testing::random_bytes(24U << 20, 1);
  for (unsigned i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      const ByteView whole = object;
      backend->save({FileType::pack, name_of(i)}, {&whole, 1}, Durability::at_sync);
    });
  for (std::thread& thread : threads) thread.join();
  backend->sync();
  EXPECT_EQ(started().size(), 2U);
  EXPECT_EQ(backend->list(FileType::pack).size(), 4U);
}

TEST_F(SftpKilled, one_connection_does_when_the_server_allows_no_more) {
  // The second start is refused.
  const auto backend =
      open(fmt::format("sh -c \"if test -e {0}; then echo Too many sessions >&2; exit 1; fi; echo $$ >>{0}; "
                       "exec {1}\"",
                       pids().native(), kServer));
  backend->create();
  std::vector<std::thread> threads;
  const Bytes object = testing::random_bytes(8U << 20, 1);
  for (unsigned i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      const ByteView whole = object;
      backend->save({FileType::pack, name_of(i)}, {&whole, 1}, Durability::at_sync);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(started().size(), 1U);
  EXPECT_EQ(backend->list(FileType::pack).size(), 4U);
}

TEST_F(SftpKilled, no_server_and_no_zombie_is_left_behind) {
  {
    const auto backend = open(command());
    backend->create();
  }
  for (const pid_t pid : started()) EXPECT_EQ(::kill(pid, 0), -1) << pid;
}

// A server that may take no request any more behind a rename.
class SftpCutOff : public SftpKilled {
 protected:
  SftpCutOff() {
    std::ofstream(program()) << fmt::format(
        "import os, struct, subprocess, sys\n"
        "server = subprocess.Popen(['{}'], stdin=subprocess.PIPE)\n"
        "cut = False\n"
        "while head := sys.stdin.buffer.read(4):\n"
        "    body = sys.stdin.buffer.read(struct.unpack('>I', head)[0])\n"
        "    if not cut:\n"
        "        server.stdin.write(head + body)\n"
        "        server.stdin.flush()\n"
        "    cut = cut or (b'posix-rename' in body and os.path.exists('{}'))\n",
        kServer, mark().native());
  }
  os::Path program() const { return folder_.path() / "cut_off.py"; }
  os::Path mark() const { return folder_.path() / "cut"; }
  // An object whose folder's flush was not answered when the connection was lost.
  std::unique_ptr<Backend> cut_off() {
    auto backend = open(fmt::format("sh -c \"echo $$ >>{}; exec python3 {}\"", pids().native(), program().native()));
    backend->create();
    save(*backend, {FileType::config, ""}, "config");
    std::ofstream{mark()};
    save(*backend, {FileType::pack, name_of(1)}, "pack", Durability::at_sync);
    std::filesystem::remove(mark());
    for (const pid_t pid : started()) ::kill(pid, SIGKILL);
    return backend;
  }
  os::Path pack() const { return root() / "data" / "00" / name_of(1); }
};

TEST_F(SftpCutOff, what_is_there_after_the_connection_was_lost_is_flushed_over_another) {
  const auto backend = cut_off();
  EXPECT_EQ(started().size(), 1U);
  backend->sync();
  EXPECT_EQ(started().size(), 2U);
  backend->sync();
  EXPECT_EQ(as_text(backend->load_all({FileType::pack, name_of(1)})), "pack");
}

TEST_F(SftpCutOff, what_a_host_lost_when_it_went_down_is_an_error) {
  const auto backend = cut_off();
  // It comes back without its disk first.
  const os::Path away = folder_.path() / "not mounted";
  std::filesystem::rename(root(), away);
  for (int attempt = 0; attempt < 2; ++attempt)
    EXPECT_FALSE(backend->is_permanent(error_of([&] { backend->sync(); })));
  std::filesystem::rename(away, root());
  for (const bool is_short : {false, true}) {
    std::filesystem::remove(pack());
    if (is_short) std::ofstream(pack()) << "pac";
    const Error error = error_of([&] { backend->sync(); });
    EXPECT_TRUE(backend->is_permanent(error)) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("is there no more"));
  }
}

TEST_F(Sftp, who_will_write_finds_all_connections_open) {
  const os::Path starts = folder_.path() / "starts";
  const std::string counted = fmt::format("sh -c 'echo x >>{}; exec {}'", starts.native(), kServer);
  const auto count = [&] { return std::filesystem::exists(starts) ? std::filesystem::file_size(starts) / 2 : 0; };
  for (const bool will_write : {false, true}) {
    std::filesystem::remove(starts);
    StoreOptions options;
    options.extended["sftp.command"] = counted;
    options.connections = 4;
    options.will_write = will_write;
    const auto backend = open_sftp("host:" + root().native(), options);
    EXPECT_EQ(count(), 0U);
    if (!will_write) backend->create();
    for (int i = 0; i < 20; ++i) save(*backend, {FileType::snapshot, name_of(static_cast<unsigned>(i))}, "small");
    if (will_write)
      for (int tries = 0; count() < 4 && tries < 3000; ++tries)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(count(), will_write ? 4U : 1U);
    // Used, and ended with the store.
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        save(*backend, {FileType::pack, name_of(i)}, std::string(std::size_t{3} << 20, 'x'), Durability::at_sync);
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(backend->list(FileType::pack).size(), 4U);
  }
}

TEST_F(Sftp, a_host_that_cannot_be_reached_at_first_gets_all_connections_later) {
  const os::Path down = folder_.path() / "down", starts = folder_.path() / "starts";
  StoreOptions options;
  options.extended["sftp.command"] = fmt::format("sh -c 'if test -e {}; then echo down >&2; exit 255; fi; echo x >>{}; exec {}'",
                                                 down.native(), starts.native(), kServer);
  options.connections = 4;
  options.will_write = true;
  std::ofstream{down};
  const auto backend = open_sftp("host:" + root().native(), options);
  for (int attempt = 0; attempt < 3; ++attempt)
    EXPECT_FALSE(backend->is_permanent(error_of([&] { backend->stat({FileType::config, ""}); })));
  std::filesystem::remove(down);
  for (int tries = 0; tries < 3000; ++tries) {
    try {
      backend->stat({FileType::config, ""});
      if (std::filesystem::file_size(starts) == 8) break;
    } catch (const Error&) {
      // Another one that still came to the host that was down.
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(std::filesystem::file_size(starts), 8U) << "four lines";
}

TEST_F(Sftp, connections_that_are_still_opened_hold_nobody_up) {
  // The first one answers, the others never do.
  const os::Path first = folder_.path() / "first";
  StoreOptions options;
  options.extended["sftp.command"] =
      fmt::format("sh -c 'if mkdir {}; then exec {}; else exec sleep 1000; fi'", first.native(), kServer);
  options.connections = 3;
  options.will_write = true;
  const auto begin = std::chrono::steady_clock::now();
  {
    const auto backend = open_sftp("host:" + root().native(), options);
    backend->create();
    save(*backend, {FileType::pack, name_of(1)}, std::string(std::size_t{3} << 20, 'x'), Durability::at_sync);
    backend->sync();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60)) << "far below the two minutes of a stall";
}

TEST_F(Sftp, a_long_folder_is_listed_whole) {
  const auto backend = open();
  backend->create();
  for (unsigned i = 0; i < 5000; ++i) std::ofstream(root() / "index" / name_of(i)) << i;
  for (unsigned i = 0; i < 700; ++i)
    std::ofstream(root() / "data" / fmt::format("{:02x}", i % 256) / fmt::format("{:02x}{:062x}", i % 256, i)) << i;
  const auto names = [&](FileType type) {
    std::set<std::string> found;
    for (const FileInfo& file : backend->list(type)) found.insert(file.name);
    return found;
  };
  EXPECT_EQ(names(FileType::index).size(), 5000U);
  EXPECT_EQ(names(FileType::pack).size(), 700U);
  std::filesystem::remove_all(root() / "data" / "07");
  std::filesystem::remove_all(root() / "data" / "ff");
  EXPECT_EQ(names(FileType::pack).size(), 700U - 3 - 2) << "a shard that is missing holds nothing";
}

TEST_F(Sftp, what_interrupted_runs_left_goes_when_it_is_surely_theirs) {
  const auto backend = open();
  backend->create();
  const os::Path folder = root() / "data" / "00";
  const auto plant = [&](const char* end, std::chrono::minutes age) {
    os::Path path = folder / (name_of(1) + end);
    std::ofstream(path) << "half";
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - age);
    return path;
  };
  using std::chrono::minutes;
  const os::Path old = plant(".respaldo-0123456789abcdef", minutes(200)),
                 young = plant(".respaldo-0123456789abcdee", minutes(1)),
                 foreign = plant(".respaldo-0123456789abcdeg", minutes(200)),
                 other = plant(".orig", minutes(200));
  EXPECT_TRUE(open()->list(FileType::pack).empty());
  EXPECT_TRUE(std::filesystem::exists(old)) << "who only looked is gone";
  EXPECT_TRUE(backend->list(FileType::pack).empty());
  EXPECT_TRUE(std::filesystem::exists(old));  // looking changes nothing
  save(*backend, {FileType::lock, name_of(1)}, "lock");
  EXPECT_FALSE(std::filesystem::exists(old));
  for (const os::Path& path : {young, foreign, other}) EXPECT_TRUE(std::filesystem::exists(path)) << path;
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_THAT(told_[0], HasSubstr("interrupted"));
}

TEST_F(Sftp, ssh_does_not_get_our_secrets) {
  const std::pair<const char*, bool> variables[] = {{"RESPALDO_PASSWORD", false},
                                                    {"RESTIC_PASSWORD", false},
                                                    {"RESPALDO_FROM_PASSWORD", false},
                                                    {"RESPALDO_PASSWORD_COMMAND", false},
                                                    {"RESTIC_REST_PASSWORD", false},
                                                    {"RESTIC_REPOSITORY", false},
                                                    {"AWS_SECRET_ACCESS_KEY", false},
                                                    {"AWS_SESSION_TOKEN", false},
                                                    {"AWS_FROM_SECRET_ACCESS_KEY", false},
                                                    {"AWS_ACCESS_KEY_ID", false},
                                                    {"AWS_PROFILE", true},
                                                    {"SSH_AUTH_SOCK", true}};
  std::map<std::string, std::optional<std::string>> before;
  for (const auto& [name, kept] : variables) {
    const char* const value = std::getenv(name);
    before[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
    ::setenv(name, "seen", 1);
  }
  const os::Path seen = folder_.path() / "environment";
  const auto backend = open(fmt::format("sh -c 'env >{}; exec {}'", seen.native(), kServer));
  backend->create();
  for (const auto& [name, value] : before)
    if (value)
      ::setenv(name.c_str(), value->c_str(), 1);
    else
      ::unsetenv(name.c_str());
  const std::string all = "\n" + os::read_text(seen);
  EXPECT_THAT(all, HasSubstr("\nPATH="));
  for (const auto& [name, kept] : variables)
    EXPECT_EQ(all.find(fmt::format("\n{}=", name)) != std::string::npos, kept) << name;
}

TEST_F(Sftp, a_full_disk_is_told_apart_from_other_failures) {
  const auto backend = open(fmt::format("sh -c 'ulimit -f 1024; trap \"\" XFSZ; exec {}'", kServer));
  backend->create();
  const Bytes object = testing::random_bytes(4U << 20, 1);
  const ByteView whole = object;
  // EFBIG is "Failure" like all the rest, and there is room on the disk.
  const Error error = error_of([&] {
    backend->save({FileType::pack, name_of(1)}, {&whole, 1}, Durability::now);
  });
  EXPECT_EQ(error.kind(), ErrorKind::io) << error.what();
  EXPECT_TRUE(backend->is_permanent(error));
  EXPECT_THAT(error.hint(), HasSubstr("full"));
  EXPECT_FALSE(backend->stat({FileType::pack, name_of(1)}));
}

}  // namespace
}  // namespace respaldo::store
