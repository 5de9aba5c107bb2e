// Programs that know nothing of our locks: what they have is not taken, and what they write is noticed.
#include "engine/image/image_use.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "engine/base.h"
#include "engine/image/lvm_ops_fixture_test.h"
#include "journal/names.h"

namespace respaldo::engine {
namespace {

using ::testing::HasSubstr;

// Another program with the image open, which locks as QEMU does (block/file-posix.c).
class Qemu {
 public:
  explicit Qemu(const os::Path& image) : fd_(os::open_file(image, O_RDWR)) {}
  Qemu& uses(int permission) { return lock(100 + permission, F_RDLCK); }
  Qemu& does_not_share(int permission) { return lock(200 + permission, F_RDLCK); }
  Qemu& lock(off_t byte, short type, off_t length = 1) {
    struct flock wanted {};
    wanted.l_type = type;
    wanted.l_whence = SEEK_SET;
    wanted.l_start = byte;
    wanted.l_len = length;
    EXPECT_EQ(::fcntl(fd_.get(), F_OFD_SETLK, &wanted), 0);
    return *this;
  }

 private:
  os::UniqueFd fd_;
};
constexpr int kRead = 0, kWrite = 1, kResize = 3;

class UsedImages : public LvmOps {
 protected:
  UsedImages() {
    make_group();
    make_lv("root", 20);
    make_lv("var", 20);
    disks_.reset();
  }
  // Somewhere behind the volumes.
  void write_to(const os::Path& image) {
    os::write_all_at(os::open_file(image, O_WRONLY).get(), kImage - 4096, as_bytes("another program"), image);
  }
  std::unique_ptr<VolumeEngine> engine() { return make_image_engine(images_); }
  // As a backup begins to.
  void read() { engine()->acquire({"vg0", "root"}, {}); }
  void expect_kept_out(const std::string& image) {
    const Error reading = error_of([&] { read(); });
    const Error writing = error_of([&] { DiskSet::open(images_, LockMode::exclusive); });
    for (const Error& error : {reading, writing}) {
      EXPECT_EQ(error.kind(), ErrorKind::busy);
      EXPECT_THAT(error.what(), HasSubstr(image + " is in use by another program"));
      EXPECT_THAT(error.hint(), HasSubstr("shut it down"));
    }
  }
  void expect_written(const SnapshotLease& lease, const std::string& image) {
    const Error error = error_of([&] { lease.require_valid(); });
    EXPECT_EQ(error.kind(), ErrorKind::busy);
    EXPECT_THAT(error.what(), HasSubstr(image + " was written to while it was read: nothing was saved"));
    EXPECT_FALSE(error.hint().empty());
  }
};

TEST_F(UsedImages, a_virtual_machine_that_writes_keeps_us_out) {
  Qemu machine(images_[1]);
  machine.uses(kRead).uses(kWrite).uses(kResize).does_not_share(kWrite).does_not_share(kResize);
  expect_kept_out("b.img");
  EXPECT_EQ(engine()->list().size(), 2U);  // looking is not refused: a hook may stop it before the backup
  EXPECT_NO_THROW(DiskSet::open(images_, LockMode::none));
}

TEST_F(UsedImages, one_that_reads_is_in_the_way_of_writers_only) {
  Qemu machine(images_[0]);
  machine.uses(kRead).does_not_share(kWrite).does_not_share(kResize);
  EXPECT_NO_THROW(read());
  EXPECT_EQ(error_of([&] { DiskSet::open(images_, LockMode::exclusive); }).kind(), ErrorKind::busy);
}

TEST_F(UsedImages, a_write_lock_keeps_readers_out_wherever_it_lies) {
  Qemu(images_[0]).lock(0, F_WRLCK);  // gone with its owner
  EXPECT_NO_THROW(DiskSet::open(images_, LockMode::exclusive));
  Qemu other(images_[0]);
  other.lock(0, F_WRLCK);
  expect_kept_out("a.img");
}

TEST_F(UsedImages, a_shared_lock_of_everything_is_another_reader) {
  Qemu other(images_[0]);
  other.lock(0, F_RDLCK, 0);
  EXPECT_NO_THROW(read());
}

TEST_F(UsedImages, a_write_during_a_backup_is_found_out) {
  const auto lease = engine()->acquire({"vg0", "root"}, {});
  const auto other = engine()->acquire({"vg0", "var"}, {});
  EXPECT_NO_THROW(lease->require_valid());
  write_to(images_[1]);
  expect_written(*lease, "b.img");
  expect_written(*lease, "b.img");
  expect_written(*other, "b.img");
  EXPECT_NO_THROW(engine()->acquire({"vg0", "root"}, {})->require_valid());
}

TEST_F(UsedImages, a_write_is_found_out_though_the_time_is_set_to_another) {
  const auto lease = engine()->acquire({"vg0", "root"}, {});
  struct stat before {};
  ASSERT_EQ(::stat(images_[0].c_str(), &before), 0);
  write_to(images_[0]);
  const timespec times[2] = {before.st_atim, {before.st_mtim.tv_sec - 60, before.st_mtim.tv_nsec}};
  ASSERT_EQ(::utimensat(AT_FDCWD, images_[0].c_str(), times, 0), 0);
  expect_written(*lease, "a.img");
}

TEST_F(UsedImages, what_leaves_the_bytes_alone_is_no_write) {
  const auto lease = engine()->acquire({"vg0", "root"}, {});
  const os::Path image = images_[0], beside = image.native() + ".link", renamed = image.native() + ".new";
  ASSERT_EQ(::chmod(image.c_str(), 0640), 0);
  const timespec touched[2] = {{1, 0}, {0, UTIME_OMIT}};  // touch -a
  ASSERT_EQ(::utimensat(AT_FDCWD, image.c_str(), touched, 0), 0);
  std::filesystem::create_hard_link(image, beside);
  std::filesystem::rename(image, renamed);
  EXPECT_NO_THROW(lease->require_valid());
}

TEST_F(UsedImages, a_write_within_the_tick_of_the_last_one_before_is_found_out) {
  for (int i = 0; i < 50; ++i) {
    const os::UniqueFd fd = os::open_file(images_[0], O_RDWR);
    write_to(images_[0]);
    const WriteStamp stamp = WriteStamp::settled(fd.get());
    EXPECT_TRUE(WriteStamp(fd.get()).same_as(stamp));
    write_to(images_[0]);
    EXPECT_FALSE(WriteStamp(fd.get()).same_as(stamp)) << i;
  }
}

TEST_F(UsedImages, what_a_backup_itself_writes_is_no_write_by_others) {
  const auto engine = make_image_engine(images_);
  auto& bases = dynamic_cast<BaseEngine&>(*engine);
  AcquireOptions options;
  options.run_tag = journal::new_run_tag();
  const auto root = bases.acquire_for_base({"vg0", "root"}, options);
  const auto var = bases.acquire_for_base({"vg0", "var"}, options);  // makes a snapshot
  ASSERT_EQ(keeper(*root)->base_problem(), "");
  ASSERT_EQ(keeper(*var)->base_problem(), "");
  EXPECT_NO_THROW(root->require_valid());
  keeper(*root)->keep_as_base("0123456789abcdef");
  EXPECT_NO_THROW(var->require_valid());
  root->release();
  var->release();  // removes one
  EXPECT_NO_THROW(root->require_valid());
}

TEST_F(UsedImages, no_base_is_kept_that_does_not_know_of_a_write) {
  const auto engine = make_image_engine(images_);
  AcquireOptions options;
  options.run_tag = journal::new_run_tag();
  {
    const auto lease = dynamic_cast<BaseEngine&>(*engine).acquire_for_base({"vg0", "root"}, options);
    ASSERT_TRUE(keeper(*lease)->as_base());
    write_to(images_[0]);
    EXPECT_EQ(error_of([&] { keeper(*lease)->keep_as_base("0123456789abcdef"); }).kind(), ErrorKind::busy);
    expect_written(*lease, "a.img");
  }
  EXPECT_TRUE(dynamic_cast<BaseEngine&>(*engine).list_bases().empty());
}

// sysfs and mountinfo of a machine with /dev/loop3 over an image.
class LoopUse : public ::testing::Test {
 protected:
  LoopUse() {
    image_ = folder_.path() / "disk image";
    write(image_, "x");
    EXPECT_EQ(::stat(image_.c_str(), &st_), 0);
    write(folder_.path() / "another", "x");
    add("loop2", "7:2", folder_.path() / "another");
    mounted("7:2", "/dev/loop2", "rw");
    add("loop3", "7:3", image_);
    add("loop10", "7:10", folder_.path() / "gone (deleted)");
    std::filesystem::create_directories(sys() / "block/loop4");
  }
  static void write(const os::Path& path, const std::string& text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::app) << text;
  }
  os::Path sys() const { return folder_.path() / "sys"; }
  void add(const std::string& name, const std::string& number, const os::Path& file) {
    write(sys() / "block" / name / "loop/backing_file", file.native() + "\n");
    write(sys() / "block" / name / "dev", number + "\n");
    write(sys() / "block" / name / "ro", "0\n");
  }
  void mounted(const std::string& number, const std::string& source, const std::string& options) {
    write(folder_.path() / "proc/self/mountinfo",
          "36 35 " + number + " / /srv rw,noatime shared:1 - ext4 " + source + " " + options + ",errors=continue\n");
  }
  std::string use(ImageUse how) const { return loop_use(st_, how, sys(), folder_.path() / "proc").value_or(""); }

  os::TemporaryFolder folder_;
  os::Path image_;
  struct stat st_ {};
};

TEST_F(LoopUse, one_that_nobody_uses_stops_writers) {
  EXPECT_EQ(use(ImageUse::reading), "");
  EXPECT_EQ(use(ImageUse::writing), "/dev/loop3, which others may write to");
  std::filesystem::remove(sys() / "block/loop3/ro");
  write(sys() / "block/loop3/ro", "1\n");
  EXPECT_EQ(use(ImageUse::writing), "");
}

TEST_F(LoopUse, a_filesystem_that_may_be_written_stops_readers) {
  mounted("7:3", "/dev/loop3", "ro");
  EXPECT_EQ(use(ImageUse::reading), "");
  EXPECT_EQ(use(ImageUse::writing), "/dev/loop3, which is mounted on /srv");
  mounted("7:3", "/dev/loop3", "rw");
  EXPECT_EQ(use(ImageUse::reading), "/dev/loop3, which is mounted on /srv");
}

TEST_F(LoopUse, btrfs_is_known_by_its_device) {
  mounted("0:51", "/dev/loop3", "rw");
  EXPECT_EQ(use(ImageUse::reading), "/dev/loop3, which is mounted on /srv");
}

TEST_F(LoopUse, partitions_and_volume_groups_on_it_count) {
  write(sys() / "block/loop3/loop3p1/dev", "259:1\n");
  EXPECT_EQ(use(ImageUse::reading), "");
  mounted("259:1", "/dev/loop3p1", "rw");
  EXPECT_EQ(use(ImageUse::reading), "/dev/loop3p1, which is mounted on /srv");
  std::filesystem::remove(folder_.path() / "proc/self/mountinfo");
  write(sys() / "block/loop3/loop3p1/holders/dm-0/dm/name", "vg0-root\n");
  EXPECT_EQ(use(ImageUse::reading), "/dev/loop3p1, which is below vg0-root");
}

}  // namespace
}  // namespace respaldo::engine
