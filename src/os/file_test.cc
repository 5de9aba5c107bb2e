#include "os/file.h"
#include <sys/stat.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>

#include "testing/errors.h"

namespace respaldo::os {
namespace {

namespace fs = std::filesystem;

void put(const Path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

std::size_t entries_of(const Path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator{}));
}

using testing::error_of;

TEST(File, a_missing_file_is_an_error_or_an_absence) {
  const TemporaryFolder folder;
  const Path missing = folder.path() / "missing";
  const Error error = error_of([&] { open_file(missing, O_RDONLY); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_EQ(error.error_number(), ENOENT);
  EXPECT_NE(error.message().find(missing.native()), std::string::npos);
  EXPECT_FALSE(try_open_file(missing, O_RDONLY));
  EXPECT_FALSE(try_read_text(missing));
  put(missing, "now");
  EXPECT_EQ(try_read_text(missing), "now");
}

TEST(File, names_in_messages_cannot_play_with_the_terminal) {
  const Error error = error_of([] { open_file("/nonexistent\x1b[2J", O_RDONLY); });
  EXPECT_EQ(error.message().find('\x1b'), std::string::npos);
}

TEST(File, reading_past_the_end_says_where_the_file_ends) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "short";
  put(path, "0123456789");
  const UniqueFd fd = open_file(path, O_RDONLY);
  Bytes out(8);
  EXPECT_EQ(read_at(fd.get(), 5, out, path), 5U);
  EXPECT_EQ(read_at(fd.get(), 50, out, path), 0U);
  const Error error = error_of([&] { read_exactly_at(fd.get(), 5, out, path); });
  EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  EXPECT_NE(error.message().find("ends at byte 10"), std::string::npos) << error.what();
}

TEST(File, written_bytes_come_back) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "file";
  const UniqueFd fd = open_file(path, O_RDWR | O_CREAT);
  write_all_at(fd.get(), 1000, as_bytes("middle"), path);
  write_all(fd.get(), as_bytes("start"), path);
  sync_file(fd.get(), path);
  sync_folder(folder.path());
  Bytes out(6);
  read_exactly_at(fd.get(), 1000, out, path);
  EXPECT_EQ(as_text(out), "middle");
  EXPECT_EQ(read_text(path).substr(0, 5), "start");
  EXPECT_EQ(device_size(fd.get(), path), 1006U);
}

TEST(File, a_full_disk_is_no_space) {
  const UniqueFd fd = open_file("/dev/full", O_WRONLY);
  EXPECT_EQ(error_of([&] { write_all(fd.get(), as_bytes("x"), "/dev/full"); }).kind(), ErrorKind::no_space);
}

TEST(File, whole_reads_are_bounded) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "file";
  put(path, std::string(100000, 'x'));
  EXPECT_EQ(read_text(path, 100000).size(), 100000U);
  EXPECT_EQ(error_of([&] { read_text(path, 99999); }).kind(), ErrorKind::corrupt);
  EXPECT_EQ(error_of([&] { read_text("/dev/zero", 1 << 20); }).kind(), ErrorKind::corrupt);
}

TEST(File, a_folder_is_no_disk) {
  const TemporaryFolder folder;
  const UniqueFd fd = open_file(folder.path(), O_RDONLY);
  EXPECT_EQ(error_of([&] { device_size(fd.get(), folder.path()); }).kind(), ErrorKind::usage);
}

TEST(AtomicFile, appears_whole_on_commit) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "config";
  put(path, "old");
  AtomicFile file(path, 0600);
  file.write(as_bytes("new "));
  file.write(as_bytes("text"));
  EXPECT_EQ(read_text(path), "old");
  file.commit();
  EXPECT_EQ(read_text(path), "new text");
  EXPECT_EQ(entries_of(folder.path()), 1U);
}

TEST(AtomicFile, replaces_files_and_what_links_lead_to_but_no_devices) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "real", link = folder.path() / "link", fifo = folder.path() / "fifo";
  put(path, "old");
  fs::create_symlink("real", link);
  AtomicFile file(link, 0600);
  file.write(as_bytes("new"));
  file.commit();
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(read_text(path), "new");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  fs::create_symlink(fifo, folder.path() / "to-fifo");
  for (const Path& other : {fifo, folder.path() / "to-fifo", folder.path()})
    EXPECT_THROW(AtomicFile(other, 0600), Error) << other;
}

TEST(AtomicFile, leaves_nothing_when_it_is_not_committed) {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder.path() / "config", 0600);
    file.write(as_bytes("half"));
    AtomicFile moved(std::move(file));
    moved.write(as_bytes("more"));
  }
  EXPECT_EQ(entries_of(folder.path()), 0U);
}

TEST(AtomicFile, a_failed_rename_leaves_nothing_either) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "taken";
  {
    AtomicFile file(path, 0600);
    fs::create_directories(path / "inside");
    EXPECT_THROW(file.commit(AtomicFile::Durability::later), Error);
  }
  EXPECT_EQ(entries_of(folder.path()), 1U);
}

TEST(AtomicFile, works_beside_the_reader_with_a_bare_name) {
  const TemporaryFolder folder;
  const Path before = fs::current_path();
  fs::current_path(folder.path());
  AtomicFile file("bare", 0640);
  file.commit();
  fs::current_path(before);
  EXPECT_EQ(fs::status(folder.path() / "bare").permissions() & fs::perms::owner_all,
            fs::perms::owner_read | fs::perms::owner_write);
}

TEST(FileLock, an_exclusive_lock_keeps_everyone_out) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "disk";
  {
    const auto first = FileLock::try_lock(path, FileLock::Mode::exclusive, O_RDWR | O_CREAT);
    ASSERT_TRUE(first);
    EXPECT_FALSE(FileLock::try_lock(path, FileLock::Mode::exclusive, O_RDWR));
    EXPECT_FALSE(FileLock::try_lock(path, FileLock::Mode::shared, O_RDONLY));
  }
  EXPECT_TRUE(FileLock::try_lock(path, FileLock::Mode::exclusive, O_RDWR));
}

TEST(FileLock, shared_locks_share) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "disk";
  auto first = FileLock::try_lock(path, FileLock::Mode::shared, O_RDWR | O_CREAT);
  auto second = FileLock::try_lock(path, FileLock::Mode::shared, O_RDONLY);
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(FileLock::try_lock(path, FileLock::Mode::exclusive, O_RDWR));
  const FileLock moved(std::move(*first));
  second.reset();
  EXPECT_FALSE(FileLock::try_lock(path, FileLock::Mode::exclusive, O_RDWR));
}

TEST(TemporaryFolder, goes_with_everything_in_it) {
  Path path;
  {
    const TemporaryFolder folder("files-of-test");
    path = folder.path();
    fs::create_directories(path / "a" / "b");
    put(path / "a" / "b" / "c", "x");
    fs::create_symlink("/etc", path / "link");
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_all);
  }
  EXPECT_FALSE(fs::exists(path));
  EXPECT_TRUE(fs::exists("/etc/passwd"));
}

TEST(UniqueFd, has_one_owner) {
  UniqueFd a = open_file("/dev/null", O_RDONLY);
  const int number = a.get();
  UniqueFd b = std::move(a);
  EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_EQ(b.get(), number);
  b = std::move(*&b);
  EXPECT_EQ(b.get(), number);
  EXPECT_NE(::fcntl(number, F_GETFD), -1);
  EXPECT_TRUE((::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
  b.reset();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

}  // namespace
}  // namespace respaldo::os
