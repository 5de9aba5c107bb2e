#include "machine/sysfs.h"

#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/units.h"
#include "engine/volume_engine.h"
#include "os/kernel_files.h"

namespace respaldo::machine {

namespace {

using os::names_in;

// A small file of sysfs without the white space around it; empty when it is not there or not readable.
std::string word(const os::Path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return {};
  try {
    std::string text = os::read_text(path, 64 * kKiB);
    constexpr std::string_view kSpace = " \t\r\n";
    text.erase(0, std::min(text.find_first_not_of(kSpace), text.size()));
    text.erase(text.find_last_not_of(kSpace) + 1);
    return text == "(null)" ? std::string() : text;  // some drivers print what they do not have
  } catch (const Error&) {
    return {};  // sysfs answers some files with an error (a disk without media)
  }
}

template <class T>
T number(const os::Path& path, T otherwise = 0) {
  const std::string text = word(path);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : otherwise;
}

// "sda2" before "sda10".
bool natural_less(const std::string& a, const std::string& b) {
  std::size_t i = 0, j = 0;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  while (i < a.size() && j < b.size()) {
    if (!digit(a[i]) || !digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
      continue;
    }
    std::size_t ie = i, je = j;
    while (ie < a.size() && digit(a[ie])) ++ie;
    while (je < b.size() && digit(b[je])) ++je;
    if (ie - i != je - j) return ie - i < je - j;
    if (const int order = a.compare(i, ie - i, b, j, je - j); order != 0) return order < 0;
    i = ie, j = je;
  }
  return a.size() - i < b.size() - j;
}

void add_number(Device& device, const os::Path& folder) {
  const std::string text = word(folder / "dev");
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return;
  std::from_chars(text.data(), text.data() + colon, device.major);
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), device.minor);
}

Topology topology_of(const os::Path& folder) {
  Topology t;
  t.logical_sector = number<std::uint64_t>(folder / "queue/logical_block_size", 512);
  t.physical_sector = number<std::uint64_t>(folder / "queue/physical_block_size", t.logical_sector);
  t.minimum_io = number<std::uint64_t>(folder / "queue/minimum_io_size");
  t.optimal_io = number<std::uint64_t>(folder / "queue/optimal_io_size");
  t.alignment_offset = number<std::int64_t>(folder / "alignment_offset");
  return t;
}

std::string transport_of(const std::string& name, const os::Path& real) {
  if (name.starts_with("nvme")) return "nvme";
  if (name.starts_with("mmcblk")) return "mmc";
  for (const auto& part : real) {
    const std::string& word = part.native();
    if (word.starts_with("usb")) return "usb";
    if (word.starts_with("ata")) return "sata";
    if (word.starts_with("virtio")) return "virtio";
    if (word.starts_with("session")) return "iscsi";
  }
  return {};
}

// The serial number out of the SCSI page 0x80: four bytes of header, then text.
std::string page_80(const os::Path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return {};
  try {
    std::string text = os::read_text(path, 4 * kKiB);
    text.erase(0, std::min<std::size_t>(4, text.size()));
    std::erase_if(text, [](unsigned char c) { return c <= ' ' || c > '~'; });
    return text;
  } catch (const Error&) {
    return {};
  }
}

// What udev's database says of a device: lines "E:KEY=value".
std::map<std::string, std::string> udev_facts(const os::Path& udev, const Device& device) {
  std::map<std::string, std::string> facts;
  const std::string text = word(udev / fmt::format("b{}:{}", device.major, device.minor));
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    const std::size_t equals = line.find('=');
    if (line.starts_with("E:") && equals != std::string_view::npos)
      facts.emplace(line.substr(2, equals - 2), line.substr(equals + 1));
  }
  return facts;
}

void add_identity(Device& device, const os::Path& folder, const os::Path& udev) {
  std::error_code ignored;
  const os::Path real = std::filesystem::weakly_canonical(folder, ignored);
  device.transport = transport_of(device.name, real);
  device.model = word(folder / "device/model");
  if (const std::string vendor = word(folder / "device/vendor");
      !vendor.empty() && vendor != "ATA" && !vendor.starts_with("0x"))
    device.model = device.model.empty() ? vendor : vendor + " " + device.model;
  auto facts = udev_facts(udev, device);
  for (const auto& serial : {facts["ID_SERIAL_SHORT"], word(folder / "device/serial"),
                             word(folder / "serial"), page_80(folder / "device/vpd_pg80")})
    if (device.serial.empty()) device.serial = serial;
  if (device.transport.empty() && facts["ID_BUS"] != "scsi") device.transport = facts["ID_BUS"];
}

void add_mapping(Device& device, const os::Path& folder) {
  device.dm_name = word(folder / "dm/name");
  device.dm_uuid = word(folder / "dm/uuid");
  device.suspended = word(folder / "dm/suspended") == "1";
  device.kind = device.dm_uuid.starts_with("LVM-")     ? DeviceKind::lvm
                : device.dm_uuid.starts_with("CRYPT-") ? DeviceKind::crypt
                : device.dm_uuid.starts_with("mpath-") ? DeviceKind::multipath
                                                       : DeviceKind::mapper;
  if (device.dm_name.empty()) return;
  const std::string mapper = "/dev/mapper/" + device.dm_name;
  device.other_paths.push_back(mapper);
  // Layers inside a volume have a suffix behind the two UUIDs ("-cow", "-real", "-tdata"); only volumes get
  // /dev/VG/LV.
  if (device.kind == DeviceKind::lvm && device.dm_uuid.size() == 4 + 64) {
    try {
      device.other_paths.insert(device.other_paths.begin(),
                                "/dev/" + engine::VolumeName::parse(mapper).str());
    } catch (const Error&) {
      // Not made by lvm2 after all.
    }
  }
}

DeviceKind kind_by_name(const std::string& name) {
  if (name.starts_with("loop")) return DeviceKind::loop;
  if (name.starts_with("sr")) return DeviceKind::rom;
  if (name.starts_with("zram") || name.starts_with("fd") || name.starts_with("mtdblock"))
    return DeviceKind::other;
  return DeviceKind::disk;
}

std::string device_name(std::string name) {  // sysfs writes '!' for '/'
  std::replace(name.begin(), name.end(), '!', '/');
  return name;
}

std::vector<std::string> device_names(std::vector<std::string> names) {
  for (std::string& name : names) name = device_name(std::move(name));
  return names;
}

Device common(const std::string& entry, const os::Path& folder) {
  Device device;
  device.name = device_name(entry);
  device.path = "/dev/" + device.name;
  add_number(device, folder);
  device.size = number<std::uint64_t>(folder / "size") * kSector;
  device.read_only = word(folder / "ro") == "1";
  device.children = device_names(names_in(folder / "holders"));
  return device;
}

void add_disk(std::vector<Device>& all, const std::string& entry, const os::Path& folder,
              const os::Path& udev) {
  Device disk = common(entry, folder);
  if (disk.size == 0) return;
  std::error_code ignored;
  disk.removable = word(folder / "removable") == "1";
  disk.rotational = word(folder / "queue/rotational") == "1";
  disk.topology = topology_of(folder);
  disk.parents = device_names(names_in(folder / "slaves"));
  if (std::filesystem::is_directory(folder / "dm", ignored)) {
    add_mapping(disk, folder);
  } else if (std::filesystem::is_directory(folder / "md", ignored)) {
    disk.kind = DeviceKind::md;
    disk.detail = word(folder / "md/level");
  } else {
    disk.kind = kind_by_name(disk.name);
    disk.detail = word(folder / "loop/backing_file");
    add_identity(disk, folder, udev);
  }
  std::vector<Device> partitions;
  for (const std::string& name : names_in(folder)) {
    const unsigned partition = number<unsigned>(folder / name / "partition");
    if (partition == 0) continue;
    Device one = common(name, folder / name);
    one.kind = DeviceKind::partition;
    one.number = partition;
    one.start = number<std::uint64_t>(folder / name / "start") * kSector;
    one.removable = disk.removable;
    one.rotational = disk.rotational;
    one.topology = disk.topology;
    one.topology.alignment_offset = number<std::int64_t>(folder / name / "alignment_offset");
    one.parents = {disk.name};
    disk.children.push_back(one.name);
    partitions.push_back(std::move(one));
  }
  all.push_back(std::move(disk));
  std::move(partitions.begin(), partitions.end(), std::back_inserter(all));
}

}  // namespace

std::vector<Device> read_block_devices(const os::Path& sys, const os::Path& udev) {
  std::vector<Device> devices;
  for (const std::string& entry : names_in(sys / "block"))
    if (!entry.starts_with("ram")) add_disk(devices, entry, sys / "block" / entry, udev);
  for (Device& device : devices) std::sort(device.children.begin(), device.children.end(), natural_less);
  std::sort(devices.begin(), devices.end(),
            [](const Device& a, const Device& b) { return natural_less(a.name, b.name); });
  return devices;
}

namespace {

constexpr int kDeepest = 16;  // layers of devices: more than anybody has

void add_disks(const os::Path& device, const os::Path& sys, int depth, std::set<std::string>& disks) {
  std::error_code error;
  const os::Path real = std::filesystem::canonical(device, error);
  if (error || depth > kDeepest) return;
  if (std::filesystem::exists(real / "partition", error)) {
    disks.insert(real.parent_path().filename().native());
    return;
  }
  const auto below = names_in(real / "slaves");
  if (below.empty()) disks.insert(real.filename().native());
  for (const std::string& name : below) add_disks(sys / "class/block" / name, sys, depth + 1, disks);
}

}  // namespace

std::set<std::string> disks_holding(dev_t device, const os::Path& sys) {
  std::set<std::string> disks;
  add_disks(sys / "dev/block" / fmt::format("{}:{}", major(device), minor(device)), sys, 0, disks);
  return disks;
}

}  // namespace respaldo::machine
