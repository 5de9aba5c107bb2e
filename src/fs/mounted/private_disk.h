// A device of ours as a block device of the kernel, for as long as this lives.
#pragma once

#include <memory>

#include "base/extent.h"
#include "block/device.h"
#include "os/file.h"

namespace respaldo::fs {

// Serves `device` as /dev/nbdN, through the kernel's network block device and a socket that never leaves this
// process, whose server's end is open in one thread alone. What the kernel writes there (recovery of a
// journal) is kept in memory: the device itself is never written. When the process dies, however it dies, the block device is empty again.
//
// The node is locked (flock) all the while, so that udev does not look at it and give the names of the
// filesystem (/dev/disk/by-uuid) to it.
class PrivateDisk {
 public:
  // Needs root and the kernel module nbd, which is loaded. Error(unsupported, refused, or busy when all
  // nodes are in use).
  explicit PrivateDisk(block::DevicePtr device);
  ~PrivateDisk();  // what is still mounted of it gets errors
  PrivateDisk(const PrivateDisk&) = delete;
  PrivateDisk& operator=(const PrivateDisk&) = delete;

  const os::Path& path() const;  // "/dev/nbd0"
  // Bytes that the kernel has written. Thread-safe.
  ExtentSet written() const;

  // Bytes that are kept; more are refused (ENOSPC).
  static constexpr std::uint64_t kMostKept = 256U << 20;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace respaldo::fs
