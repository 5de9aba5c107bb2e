// A host made up for tests: two disks, a group with a mounted root on the first.
#pragma once

#include "machine/picture.h"

namespace respaldo::machine {

inline constexpr const char* kVgUuid = "AAAAAA-aaaa-aaaa-aaaa-aaaa-aaaa-AAAAAA";
inline constexpr const char* kLvUuid = "BBBBBB-bbbb-bbbb-bbbb-bbbb-bbbb-BBBBBB";

inline std::string plain_uuid(std::string uuid) {
  std::erase(uuid, '-');
  return uuid;
}

inline Device make_disk(std::string name, std::uint64_t size) {
  Device disk;
  disk.name = name;
  disk.path = "/dev/" + name;
  disk.kind = DeviceKind::disk;
  disk.size = size;
  return disk;
}

// sda with sda1 (PV of vg0: root, mounted at /; free extents), sdb empty.
inline Picture make_host() {
  Picture host;
  host.fstab_path = "/etc/fstab";
  host.lvm_known = true;
  Device sda = make_disk("sda", 10ULL << 30);
  sda.content.partition_table = "gpt";
  sda.children = {"sda1"};
  Device part = make_disk("sda1", (10ULL << 30) - (2U << 20));
  part.kind = DeviceKind::partition;
  part.number = 1;
  part.start = 1U << 20;
  part.parents = {"sda"};
  part.children = {"dm-0"};
  part.content.type = "LVM2_member";
  part.content.uuid = "PV1";
  Device root = make_disk("dm-0", 4ULL << 30);
  root.kind = DeviceKind::lvm;
  root.dm_name = "vg0-root";
  root.dm_uuid = "LVM-" + plain_uuid(kVgUuid) + plain_uuid(kLvUuid);
  root.other_paths = {"/dev/vg0/root", "/dev/mapper/vg0-root"};
  root.major = 253;
  root.parents = {"sda1"};
  root.content.type = "ext4";
  root.content.uuid = "11111111-2222-3333-4444-555555555555";
  host.devices = {root, sda, part, make_disk("sdb", 2ULL << 30)};
  host.mounts = {
      {.target = "/", .source = "/dev/mapper/vg0-root", .type = "ext4", .options = "rw", .major = 253}};
  engine::PvRow pv;
  pv.name = "/dev/sda1";
  pv.uuid = "PV1";
  pv.vg = "vg0";
  pv.vg_uuid = kVgUuid;
  pv.data_start = 1U << 20;
  host.pvs = {pv};
  engine::VgRow vg;
  vg.name = "vg0";
  vg.uuid = kVgUuid;
  vg.size = 9ULL << 30;
  vg.free = 5ULL << 30;
  vg.extent_size = 4U << 20;
  vg.pv_count = 1;
  vg.lv_count = 1;
  host.vgs = {vg};
  engine::LvRow lv;
  lv.vg = "vg0";
  lv.vg_uuid = kVgUuid;
  lv.name = "root";
  lv.uuid = kLvUuid;
  lv.size = 4ULL << 30;
  lv.segment_type = "linear";
  lv.active = "active";
  lv.open = true;
  lv.attr = "-wi-ao----";
  lv.devices = {"/dev/sda1(0)"};
  host.lvs = {lv};
  return host;
}

// A thick snapshot of root.
inline engine::LvRow make_snapshot(std::uint64_t cow) {
  engine::LvRow lv;
  lv.vg = "vg0";
  lv.vg_uuid = kVgUuid;
  lv.name = "snap";
  lv.uuid = "CCCCCC-cccc-cccc-cccc-cccc-cccc-CCCCCC";
  lv.attr = "swi-a-s---";
  lv.segment_type = "linear";
  lv.origin = "root";
  lv.origin_size = 4ULL << 30;
  lv.chunk_size = 4096;
  lv.size = cow;
  lv.active = "active";
  return lv;
}

}  // namespace respaldo::machine
