// Block devices as sysfs tells them. Source of the format: Documentation/ABI/{stable,testing}/sysfs-block*
// and sysfs-class-block of the kernel; /run/udev/data for serial numbers.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "machine/picture.h"
#include "os/file.h"

namespace respaldo::machine {

// Disks, partitions, loops, md and dm devices below `sys` (usually "/sys"), ordered by name, without those of
// size 0 and RAM disks. Contents and types of partitions are not filled: that takes reading the devices. What
// is missing in sysfs is left at its default. `udev` is udev's database ("/run/udev/data"); it may be absent.
std::vector<Device> read_block_devices(const os::Path& sys, const os::Path& udev);

// The disks ("sda") on which a block device lies, through partitions, LVM, md and crypt. Sysfs alone: no disk is read or
// woken up for it. Empty when the kernel has no such device (a filesystem without one).
std::set<std::string> disks_holding(dev_t device, const os::Path& sys = "/sys");

}  // namespace respaldo::machine
