// Partition tables on real disks, by libfdisk. A door, so that plans can be tried without a disk.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>

#include "base/bytes.h"
#include "provision/disk_node.h"
#include "provision/partition_plan.h"

namespace respaldo::provision {

class PartitionDoor {
 public:
  virtual ~PartitionDoor() = default;
  // What a partition table and old signatures occupy, for restore(): the first MiB and the last.
  struct Ends {
    Bytes head, tail;
  };
  virtual Ends save(const std::string& disk) = 0;
  // As wipe_signatures().
  virtual void wipe(const DiskNode& disk, const std::vector<DiskNode>& partitions) = 0;
  // Puts the bytes back and tells the kernel.
  virtual void restore(const std::string& disk, const Ends& ends) = 0;
  // A new table with one partition of type LVM (GPT e6d6d379-..., or MBR 8e). The kernel is told. Error(busy)
  // when somebody uses the disk.
  virtual void write(const std::string& disk, const PartitionPlan& plan) = 0;
  // Until the node is there, or absent again. Error(io) past the deadline.
  enum class Wanted { present, absent };
  virtual void wait_for(const std::string& node, Wanted wanted, std::stop_token stop) = 0;
};

// The machine's disks; disk images, too (no nodes appear for these).
std::unique_ptr<PartitionDoor> real_partitions();

}  // namespace respaldo::provision
