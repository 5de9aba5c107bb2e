#include "provision/partition_door.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <libfdisk/libfdisk.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "os/file.h"

namespace respaldo::provision {

namespace {

constexpr std::uint64_t kEnd = kMiB;
constexpr std::chrono::seconds kNodeDeadline{15};

struct Unref {
  void operator()(fdisk_context* context) const { fdisk_unref_context(context); }
  void operator()(fdisk_partition* partition) const { fdisk_unref_partition(partition); }
  void operator()(fdisk_parttype* type) const { fdisk_unref_parttype(type); }
};

void require(int result, std::string_view call, const std::string& disk) {
  if (result < 0) throw os::system_error(-result, call, disk);
}

// Tells the kernel that the table changed. The kernel refuses while a partition is in use; udev may look at
// the disk for a moment.
void reread(int fd, const std::string& disk) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0 || !S_ISBLK(facts.st_mode)) return;
  for (int attempt = 0;; ++attempt) {
    if (::ioctl(fd, BLKRRPART) == 0) return;
    // EINVAL: a loop device without partition scanning.
    if (errno != EBUSY || attempt == 20)
      throw Error(
          ErrorKind::busy,
          fmt::format("{}: the kernel did not take the new partition table: {}", disk, std::strerror(errno)),
          errno == EINVAL ? "a loop device needs `losetup --partscan`"
                          : "something still uses the disk (`lsblk`, `fuser -vm`)");
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
  }
}

class RealPartitions final : public PartitionDoor {
 public:
  Ends save(const std::string& disk) override {
    const os::UniqueFd fd = os::open_file(disk, O_RDONLY | O_CLOEXEC);
    const std::uint64_t size = os::device_size(fd.get(), disk), end = std::min(kEnd, size / 2);
    Ends ends{Bytes(static_cast<std::size_t>(end)), Bytes(static_cast<std::size_t>(end))};
    os::read_exactly_at(fd.get(), 0, ends.head.span(), disk);
    os::read_exactly_at(fd.get(), size - end, ends.tail.span(), disk);
    return ends;
  }

  void wipe(const DiskNode& disk, const std::vector<DiskNode>& partitions) override {
    wipe_signatures(disk, partitions);
  }

  void restore(const std::string& disk, const Ends& ends) override {
    const os::UniqueFd fd = open_alone(disk);
    const std::uint64_t size = os::device_size(fd.get(), disk);
    os::write_all_at(fd.get(), size - ends.tail.size(), ends.tail, disk);
    os::write_all_at(fd.get(), 0, ends.head, disk);
    if (::fsync(fd.get()) != 0) throw os::system_error(errno, "fsync", disk);
    reread(fd.get(), disk);
  }

  void write(const std::string& disk, const PartitionPlan& plan) override {
    const os::UniqueFd fd = open_alone(disk);
    write_table(fd.get(), disk, plan);
    if (::fsync(fd.get()) != 0) throw os::system_error(errno, "fsync", disk);
    reread(fd.get(), disk);
  }

  void wait_for(const std::string& node, Wanted wanted, std::stop_token stop) override {
    const auto deadline = std::chrono::steady_clock::now() + kNodeDeadline;
    for (;;) {
      struct stat facts {};
      const bool there = ::stat(node.c_str(), &facts) == 0 && S_ISBLK(facts.st_mode);
      if (there == (wanted == Wanted::present)) return;
      if (stop.stop_requested()) throw Cancelled();
      if (std::chrono::steady_clock::now() > deadline)
        throw Error(ErrorKind::io,
                    fmt::format("{} did not {} within {} seconds", node,
                                wanted == Wanted::present ? "appear" : "go", kNodeDeadline.count()),
                    "`dmesg` tells what the kernel thinks of the disk");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

 private:
  static void write_table(int fd, const std::string& disk, const PartitionPlan& plan) {
    const std::unique_ptr<fdisk_context, Unref> context(fdisk_new_context());
    if (!context) throw Error(ErrorKind::io, "libfdisk: out of memory");
    require(fdisk_disable_dialogs(context.get(), 1), "fdisk_disable_dialogs", disk);
    require(fdisk_assign_device_by_fd(context.get(), fd, disk.c_str(), 0), "fdisk_assign_device", disk);
    fdisk_enable_wipe(context.get(), 1);
    const bool gpt = plan.kind == TableKind::gpt;
    require(fdisk_create_disklabel(context.get(), gpt ? "gpt" : "dos"), "fdisk_create_disklabel", disk);
    const std::uint64_t sector = fdisk_get_sector_size(context.get());
    const std::unique_ptr<fdisk_parttype, Unref> type(fdisk_label_parse_parttype(
        fdisk_get_label(context.get(), nullptr), gpt ? "E6D6D379-F507-44C2-A23C-238F2A3DF928" : "8e"));
    const std::unique_ptr<fdisk_partition, Unref> partition(fdisk_new_partition());
    if (!type || !partition) throw Error(ErrorKind::io, "libfdisk: out of memory");
    // Exactly where the plan says; libfdisk would align by what the disk claims.
    fdisk_partition_start_follow_default(partition.get(), 0);
    fdisk_partition_end_follow_default(partition.get(), 0);
    require(fdisk_partition_set_partno(partition.get(), 0), "fdisk_partition_set_partno", disk);
    require(fdisk_partition_set_start(partition.get(), plan.start / sector), "fdisk_partition_set_start",
            disk);
    require(fdisk_partition_set_size(partition.get(), plan.length / sector), "fdisk_partition_set_size",
            disk);
    require(fdisk_partition_size_explicit(partition.get(), 1), "fdisk_partition_size_explicit", disk);
    require(fdisk_partition_set_type(partition.get(), type.get()), "fdisk_partition_set_type", disk);
    if (gpt) require(fdisk_partition_set_name(partition.get(), "respaldo"), "fdisk_partition_set_name", disk);
    require(fdisk_add_partition(context.get(), partition.get(), nullptr), "fdisk_add_partition", disk);
    require(fdisk_write_disklabel(context.get()), "fdisk_write_disklabel", disk);
  }
};

}  // namespace

std::unique_ptr<PartitionDoor> real_partitions() { return std::make_unique<RealPartitions>(); }

}  // namespace respaldo::provision
