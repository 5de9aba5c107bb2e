// The storage of one host as a value: disks, partitions, layers, LVM, filesystems, mounts, fstab.
//
// Who fills it: read_picture() (system.h) on a live host, tests by hand. Who reads it: `layout`, the
// findings, `doctor`, and the plans of provision/. Sizes and offsets are bytes. Values only: copied, compared
// by fields, thread-safe as any value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/kernel/tools/lvm_rows.h"

namespace respaldo::machine {

// What the kernel knows about the shape of a disk (/sys/block/X/queue, Documentation/ABI/stable/sysfs-block).
struct Topology {
  std::uint64_t logical_sector = 512, physical_sector = 512;
  std::uint64_t minimum_io = 0, optimal_io = 0;  // 0: not told
  std::int64_t alignment_offset =
      0;  // of the device's first byte against its physical sectors; -1: misaligned
};

// What libblkid finds at the start of a device.
struct Content {
  std::string type{};   // "ext4", "LVM2_member", "crypto_LUKS", "swap"...; empty: nothing known
  std::string usage{};  // "filesystem", "raid", "crypto", "other"
  std::string label{}, uuid{}, version{};
  bool ambivalent = false;        // several signatures: nobody can say which one holds
  std::string partition_table{};  // "gpt", "dos"...; empty: none
  std::string unreadable{};       // why it could not be looked at; empty: it was
  bool empty() const { return type.empty() && partition_table.empty() && !ambivalent; }
};

// A row of /proc/self/mountinfo.
struct Mount {
  std::string target{}, source{}, type{}, options{};
  std::string root =
      "/";  // the part of the filesystem that is seen here ("/" unless a bind mount or a subvolume)
  std::uint32_t major = 0, minor = 0;
  // Of statvfs; absent where nobody asked, or nobody answered.
  std::optional<std::uint64_t> size{}, free{}, available{};
};

struct Swap {
  std::string source{};
  std::uint64_t size = 0, used = 0;
};

// A line of fstab, as libmount reads it.
struct FstabEntry {
  std::string source{}, target{}, type{}, options{};  // source as written: "UUID=...", "/dev/sdb1"
  int frequency = 0, pass = 0;
  bool has_option(std::string_view name) const;  // "nofail", "x-systemd.device-timeout"
  std::optional<std::string> option_value(std::string_view name) const;  // of "name=value"
};

enum class DeviceKind { disk, partition, lvm, crypt, multipath, mapper, md, loop, rom, other };
std::string_view to_string(DeviceKind kind);

struct Device {
  std::string name{};                      // the kernel's: "sda1", "dm-3"
  std::string path{};                      // "/dev/sda1", "/dev/dm-3"
  std::vector<std::string> other_paths{};  // "/dev/mapper/vg0-root", "/dev/vg0/root"
  DeviceKind kind = DeviceKind::other;
  std::uint32_t major = 0, minor = 0;
  std::uint64_t size = 0;
  bool read_only = false, removable = false, rotational = false;
  Topology topology{};
  std::string transport{};  // of disks: "usb", "sata", "nvme", "virtio"...; empty: not known
  std::string model{}, serial{};
  std::string dm_name{}, dm_uuid{};
  bool suspended = false;
  std::string detail{};  // RAID level of md, file of loop
  // Below and above, as kernel names. A partition stands on its disk.
  std::vector<std::string> parents{}, children{};
  // Of partitions.
  unsigned number = 0;
  std::uint64_t start = 0;  // bytes from the start of the disk
  std::string part_type{}, part_type_name{}, part_name{}, part_uuid{};
  Content content{};

  // The name for people: /dev/mapper/... of dm devices.
  const std::string& shown_path() const;
};

struct Picture {
  std::vector<Device> devices;
  std::vector<Mount> mounts;
  std::vector<Swap> swaps;
  std::vector<FstabEntry> fstab;
  std::string fstab_path;
  // LVM as lvm2 reports it.
  std::vector<engine::PvRow> pvs;
  std::vector<engine::VgRow> vgs;
  std::vector<engine::LvRow> lvs;  // hidden ones, too
  bool lvm_known = false;          // lvm2 answered
  // What could not be looked at (not root, no lvm2, lines of fstab that are no lines), for the user.
  std::vector<std::string> warnings;
};

// ---- Questions about a picture. Pointers into it; null when there is none. ----
const Device* find_device(const Picture& picture, std::string_view name);  // the kernel's name
const Device* find_device(const Picture& picture, std::uint32_t major, std::uint32_t minor);
// "/dev/sda1", "/dev/vg0/root", "/dev/mapper/vg0-root", "UUID=...", "LABEL=...", "PARTUUID=...",
// "PARTLABEL=...",
// "/dev/disk/by-uuid/...".
const Device* resolve(const Picture& picture, std::string_view spec);
const Device* device_of(const Picture& picture, const engine::LvRow& lv);
const engine::LvRow* volume_of(const Picture& picture, const Device& device);
const engine::LvRow* find_volume(const Picture& picture, std::string_view vg, std::string_view name);
const engine::VgRow* find_group(const Picture& picture, std::string_view name);
const engine::PvRow* pv_on(const Picture& picture, const Device& device);
// The disks at the bottom of a device: itself when nothing is below.
std::vector<const Device*> disks_below(const Picture& picture, const Device& device);
// The disks that a volume lies on, by lvm2's report; inactive ones, too.
std::vector<const Device*> disks_below(const Picture& picture, const engine::LvRow& lv);
// Everything that stands on a device, itself first, each once.
std::vector<const Device*> all_above(const Picture& picture, const Device& device);
// Mounts of the filesystem on this very device.
std::vector<const Mount*> mounts_of(const Picture& picture, const Device& device);
const Swap* swap_on(const Picture& picture, const Device& device);
// The mount that holds a path (absolute, without symbolic links): the longest target that begins it; of
// several stacked on one target the last.
const Mount* mount_holding(const Picture& picture, std::string_view path);
const Device* device_of(const Picture& picture, const Mount& mount);

}  // namespace respaldo::machine
