// What is asked for ahead, so that nobody waits for one answer after the other: list_together() and will_save().
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <set>

#include "os/file.h"
#include "store/sftp.h"
#include "testing/memory_folder.h"

namespace respaldo::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string name_of(unsigned number) { return fmt::format("{:064x}", number); }
void save(Backend& backend, const Handle& handle, std::string_view text) {
  const ByteView whole = as_bytes(text);
  backend.save(handle, {&whole, 1}, Durability::now);
}

class SftpRoundTrips : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> open(const std::string& words = {}) {
    StoreOptions options;
    options.extended["sftp.command"] = fmt::format("sh -c 'exec /usr/lib/openssh/sftp-server -e -l DEBUG3 {} 2>>{}'",
                                                   words, log().native());
    options.connections = 2;
    return open_sftp("host:" + root().native(), options);
  }
  os::Path root() const { return folder_.path() / "repository"; }
  os::Path log() const { return folder_.path() / "log"; }
  // The server's own words for what it was asked, with the last part of the path, from now on.
  void begin_log() { from_ = std::filesystem::file_size(log()); }
  std::vector<std::string> asked() const {
    std::ifstream file(log());
    file.seekg(static_cast<std::streamoff>(from_));
    std::vector<std::string> words;
    for (std::string line; std::getline(file, line);)
      for (const char* what : {"opendir \"", "readdir \"", "open \""})
        if (const std::size_t at = line.find(what); at != line.npos) {
          const std::string path = line.substr(at + std::strlen(what), line.rfind('"') - at - std::strlen(what));
          words.push_back(std::string(what).substr(0, std::strlen(what) - 2) + " " + os::Path(path).filename().native());
        }
    return words;
  }
  std::size_t times(const std::string& word) const {
    const auto all = asked();
    return static_cast<std::size_t>(std::ranges::count(all, word));
  }
  static std::set<std::string> names(const std::vector<FileInfo>& files) {
    std::set<std::string> found;
    for (const FileInfo& file : files) found.insert(file.name);
    return found;
  }
  // In the folder of these, whatever they are called.
  std::size_t files_in(const char* folder) const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(root() / folder), {}));
  }

  testing::MemoryFolder folder_;

 private:
  std::uintmax_t from_ = 0;
};

TEST_F(SftpRoundTrips, listings_together_are_in_their_order) {
  constexpr FileType kTypes[] = {FileType::lock, FileType::index, FileType::pack, FileType::snapshot};
  for (const char* words : {"", "-P limits"})
    for (const unsigned indexes : {3U, 2000U}) {
      SCOPED_TRACE(::testing::Message() << "'" << words << "', " << indexes << " indexes");
      std::filesystem::remove_all(root());
      const auto backend = open(words);
      backend->create();
      save(*backend, {FileType::lock, name_of(1)}, "lock");
      for (unsigned i = 0; i < indexes; ++i) std::ofstream(root() / "index" / name_of(i)) << i;
      for (unsigned i = 0; i < 300; ++i)
        std::ofstream(root() / "data" / fmt::format("{:02x}", i % 256) / fmt::format("{:02x}{:062x}", i % 256, i)) << i;
      for (unsigned i = 0; i < 700; ++i) std::ofstream(root() / "snapshots" / name_of(i)) << i;
      begin_log();
      const auto together = backend->list_together(kTypes);
      const auto log = asked();
      constexpr FileType kWithConfig[] = {FileType::snapshot, FileType::config};
      EXPECT_FALSE(backend->list_together(kWithConfig));
      ASSERT_TRUE(together);
      ASSERT_THAT(*together, SizeIs(4));
      for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(names((*together)[i]), names(backend->list(kTypes[i])));
        EXPECT_EQ((*together)[i].size(), names((*together)[i]).size()) << "none is told twice";
      }
      // Each is read to its end before the first look into the next; a server that may do them beside each other, or a
      // folder that goes on and on, is asked again.
      const std::string folders[] = {"readdir locks", "readdir index", "readdir 00", "readdir snapshots"};
      const auto last = [&](const std::string& word) { return std::ranges::find(log.rbegin(), log.rend(), word).base(); };
      const bool in_order = *words == '\0';
      const auto opened = [&](const char* folder) { return std::ranges::count(log, std::string("opendir ") + folder); };
      EXPECT_EQ(opened("locks"), 1);
      EXPECT_EQ(opened("index"), in_order ? 1 : 2);
      EXPECT_EQ(opened("00"), in_order && indexes == 3 ? 1 : in_order ? 2 : 3);
      for (std::size_t i = 0; i + 1 < 4; ++i)
        EXPECT_NE(std::find(last(folders[i]), log.end(), folders[i + 1]), log.end())
            << "no look at " << folders[i + 1] << " after the last at " << folders[i];
      if (in_order && indexes == 3) {
        EXPECT_LT(std::ranges::find(log, "opendir snapshots"), std::ranges::find(log, "readdir locks"));
      }
    }
}

TEST_F(SftpRoundTrips, what_is_saved_soon_has_its_file_already) {
  const auto backend = open();
  backend->create();
  begin_log();
  backend->will_save(FileType::index);
  save(*backend, {FileType::lock, name_of(1)}, "another");
  EXPECT_EQ(times("open " + name_of(7)), 0U);
  save(*backend, {FileType::index, name_of(7)}, "index");
  const auto log = asked();
  EXPECT_EQ(std::ranges::count_if(log, [](const std::string& word) { return word.starts_with("open 0000"); }), 2)
      << "one file for each";
  EXPECT_EQ(os::read_text(root() / "index" / name_of(7)), "index");
  EXPECT_EQ(std::filesystem::status(root() / "index" / name_of(7)).permissions(), std::filesystem::perms::owner_read);
  EXPECT_EQ(files_in("index"), 1U);
  EXPECT_EQ(files_in("locks"), 1U);
  // Once: the next has one of its own.
  save(*backend, {FileType::index, name_of(8)}, "second");
  EXPECT_EQ(os::read_text(root() / "index" / name_of(8)), "second");
  // Those have no such file.
  backend->will_save(FileType::pack);
  backend->will_save(FileType::config);
  EXPECT_EQ(files_in("data/00"), 0U);
}

TEST_F(SftpRoundTrips, a_file_that_was_made_ahead_and_is_not_used_goes) {
  {
    const auto backend = open();
    backend->create();
    backend->will_save(FileType::snapshot);
    backend->will_save(FileType::snapshot);
    EXPECT_TRUE(backend->list(FileType::snapshot).empty());
    EXPECT_EQ(files_in("snapshots"), 2U);
  }
  EXPECT_EQ(files_in("snapshots"), 0U);
}

TEST_F(SftpRoundTrips, a_file_that_was_made_ahead_and_lost_is_made_again) {
  const auto backend = open();
  backend->create();
  const auto text = [&](unsigned number) { return std::string(as_text(backend->load_all({FileType::index, name_of(number)}))); };
  backend->will_save(FileType::index);
  EXPECT_THAT(backend->list(FileType::index), IsEmpty());
  for (const auto& entry : std::filesystem::directory_iterator(root() / "index")) std::filesystem::remove(entry);
  save(*backend, {FileType::index, name_of(1)}, "first");
  EXPECT_EQ(text(1), "first");
  // Nor does a folder that is not there keep anybody from saving.
  std::filesystem::remove_all(root() / "index");
  backend->will_save(FileType::index);
  save(*backend, {FileType::index, name_of(2)}, "second");
  EXPECT_EQ(text(2), "second");
  EXPECT_EQ(files_in("index"), 1U);
}

TEST_F(SftpRoundTrips, a_flush_that_fails_is_told_and_not_tried_again) {
  // The kernel there tells once that it lost something: the flush of the file, or that of its folder.
  const os::Path program = folder_.path() / "failing.py", left = folder_.path() / "left";
  std::ofstream(program) << fmt::format(R"(import struct, subprocess, sys
server = subprocess.Popen(['/usr/lib/openssh/sftp-server'], stdin=subprocess.PIPE)
while head := sys.stdin.buffer.read(4):
    body = sys.stdin.buffer.read(struct.unpack('>I', head)[0])
    if b'fsync@openssh.com' in body:
        left = int(open('{0}').read())
        open('{0}', 'w').write(str(left - 1))
        if left == 1:
            body = bytes([8]) + body[1:5] + struct.pack('>I', 4) + b'none'  # FSTAT of what is not open: a failure
    server.stdin.write(struct.pack('>I', len(body)) + body)
    server.stdin.flush()
)",
                                        left.native());
  StoreOptions options;
  options.extended["sftp.command"] = "python3 " + program.native();
  const auto backend = open_sftp("host:" + root().native(), options);
  std::ofstream(left) << 0;
  backend->create();
  unsigned number = 0;
  for (const int which : {1, 2})
    for (const bool ahead : {false, true}) {
      std::ofstream(left) << which;
      if (ahead) backend->will_save(FileType::snapshot);
      const Handle handle{FileType::snapshot, name_of(++number)};
      try {
        save(*backend, handle, "a backup");
        ADD_FAILURE() << "flush " << which << ", made ahead: " << ahead;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::io) << error.what();
        EXPECT_TRUE(backend->is_permanent(error)) << error.what();
      }
    }
}

// Between us and the server. "type": no answer passes before a request of that type was seen. "folder": somebody else opened
// that one first. "early": the first READ, FSTAT and READDIR come too early for their handle, and fail.
constexpr char kBetween[] = R"(import os, struct, subprocess, sys, threading
kind, value = sys.argv[1:3]
server = subprocess.Popen(['/usr/lib/openssh/sftp-server'] + sys.argv[3:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
seen = threading.Event()
OTHER = 0xfffffff0
def packet(stream):
    head = stream.read(4)
    return stream.read(struct.unpack('>I', head)[0]) if head else b''
def back():
    if kind == 'type' and not seen.wait(20):
        os._exit(3)
    while body := packet(server.stdout):
        if body[1:5] != struct.pack('>I', OTHER):
            sys.stdout.buffer.write(struct.pack('>I', len(body)) + body)
            sys.stdout.buffer.flush()
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
def pass_on(body):
    server.stdin.write(struct.pack('>I', len(body)) + body)
    server.stdin.flush()
early = set()
while body := packet(sys.stdin.buffer):
    if kind == 'early' and body[0] in (5, 8, 12) and body[0] not in early:
        early.add(body[0])
        body = bytes([17]) + body[1:5] + struct.pack('>I', 9) + b'/dev/none'
    pass_on(body)
    if kind == 'type' and body[0] == int(value):
        seen.set()
    if kind == 'folder' and body[0] == 1:
        pass_on(bytes([11]) + struct.pack('>II', OTHER, len(value)) + value.encode())
)";

class SftpHandles : public SftpRoundTrips {
 protected:
  void SetUp() override {
    std::ofstream(program()) << kBetween;
    const auto backend = open();
    backend->create();
    save(*backend, {FileType::config, ""}, "the configuration");
    for (unsigned i = 0; i < 700; ++i) std::ofstream(root() / "snapshots" / name_of(i)) << i;
    save(*backend, {FileType::index, name_of(7)}, "an index");
  }
  std::unique_ptr<Backend> open_through(const std::string& words) {
    StoreOptions options;
    options.extended["sftp.command"] = fmt::format("python3 '{}' {}", program().native(), words);
    options.connections = 1;
    return open_sftp("host:" + root().native(), options);
  }
  static std::string config_of(Backend& backend) {
    return std::string(as_text(backend.load_all({FileType::config, ""})));
  }

 private:
  os::Path program() const { return folder_.path() / "between.py"; }
};

TEST_F(SftpHandles, what_is_opened_is_read_in_one_round_trip) {
  constexpr int kReaddir = 12, kRead = 5;
  EXPECT_THAT(open_through(fmt::format("type {}", kReaddir))->list(FileType::snapshot), SizeIs(700));
  EXPECT_EQ(config_of(*open_through(fmt::format("type {}", kRead))), "the configuration");
  const auto backend = open_through(fmt::format("type {}", kRead));
  // Beside each other, and what is often not there among them.
  auto listed = std::async(std::launch::async, [&] { return backend->list(FileType::index); });
  auto settings = std::async(std::launch::async, [&] { return backend->load_all({FileType::parity_settings, ""}); });
  EXPECT_EQ(config_of(*backend), "the configuration");
  EXPECT_THAT(listed.get(), SizeIs(1));
  EXPECT_THROW(settings.get(), Error);
}

TEST_F(SftpHandles, a_handle_that_is_another_than_was_expected_gives_nothing_wrong) {
  // A server of another kind, or whose handles are somebody else's already: of a folder, whose entries were not ours.
  for (const std::string words : {"", "-P limits"}) {
    const auto backend = open_through(fmt::format("folder '{}' {}", (root() / "snapshots").native(), words));
    constexpr FileType kTypes[] = {FileType::index, FileType::snapshot};
    const auto together = backend->list_together(kTypes);
    ASSERT_TRUE(together);
    EXPECT_EQ(names(together->at(0)), std::set{name_of(7)});
    EXPECT_THAT(together->at(1), SizeIs(700));
    EXPECT_EQ(config_of(*backend), "the configuration");
  }
  const auto backend = open_through(fmt::format("folder '{}'", (root() / "config").native()));  // which is none
  EXPECT_EQ(config_of(*backend), "the configuration");
  EXPECT_THAT(backend->list(FileType::snapshot), SizeIs(700));
}

TEST_F(SftpHandles, what_was_asked_before_it_was_open_is_asked_again) {
  for (const char* words : {"early x", "early x -P limits"}) {
    const auto backend = open_through(words);
    EXPECT_THAT(backend->list(FileType::snapshot), SizeIs(700));
    EXPECT_EQ(config_of(*open_through(words)), "the configuration");
  }
}

TEST_F(SftpHandles, what_cannot_be_opened_spoils_nothing) {
  std::filesystem::remove(root() / "locks");
  const auto backend = open();
  EXPECT_THAT(backend->list(FileType::lock), IsEmpty());
  EXPECT_EQ(config_of(*backend), "the configuration");
  EXPECT_THAT(backend->list(FileType::snapshot), SizeIs(700));
  std::filesystem::remove(root() / "config");
  const auto another = open();
  auto listed = std::async(std::launch::async, [&] { return another->list(FileType::snapshot); });
  EXPECT_THROW(config_of(*another), Error);
  EXPECT_THAT(listed.get(), SizeIs(700));
}

}  // namespace
}  // namespace respaldo::store
