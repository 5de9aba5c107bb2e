#include "machine/picture.h"

#include <algorithm>
#include <set>

namespace respaldo::machine {

namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// The value of fstab's "KEY=value" or "KEY="value"".
std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') return text.substr(1, text.size() - 2);
  return text;
}

bool has_path(const Device& device, std::string_view path) {
  return device.path == path ||
         std::find(device.other_paths.begin(), device.other_paths.end(), path) != device.other_paths.end();
}

}  // namespace

std::string_view to_string(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::disk:
      return "disk";
    case DeviceKind::partition:
      return "partition";
    case DeviceKind::lvm:
      return "lvm";
    case DeviceKind::crypt:
      return "crypt";
    case DeviceKind::multipath:
      return "multipath";
    case DeviceKind::mapper:
      return "mapper";
    case DeviceKind::md:
      return "md";
    case DeviceKind::loop:
      return "loop";
    case DeviceKind::rom:
      return "rom";
    case DeviceKind::other:
      return "other";
  }
  return "other";
}

bool FstabEntry::has_option(std::string_view name) const {
  for (const std::string_view word : split(options, ','))
    if (word == name || (word.starts_with(name) && word.substr(name.size()).starts_with('='))) return true;
  return false;
}

std::optional<std::string> FstabEntry::option_value(std::string_view name) const {
  for (const std::string_view word : split(options, ','))
    if (word.starts_with(name) && word.substr(name.size()).starts_with('='))
      return std::string(unquoted(word.substr(name.size() + 1)));
  return std::nullopt;
}

const std::string& Device::shown_path() const {
  // "/dev/vg0/root" reads better than "/dev/mapper/vg0-root"; both are better than "/dev/dm-3".
  for (const std::string& other : other_paths)
    if (kind == DeviceKind::lvm && !other.starts_with("/dev/mapper/")) return other;
  return other_paths.empty() ? path : other_paths.front();
}

const Device* find_device(const Picture& picture, std::string_view name) {
  for (const Device& device : picture.devices)
    if (device.name == name) return &device;
  return nullptr;
}

const Device* find_device(const Picture& picture, std::uint32_t major, std::uint32_t minor) {
  for (const Device& device : picture.devices)
    if (device.major == major && device.minor == minor) return &device;
  return nullptr;
}

const Device* resolve(const Picture& picture, std::string_view spec) {
  constexpr std::string_view kById = "/dev/disk/by-";
  if (spec.starts_with(kById)) {
    const std::string_view rest = spec.substr(kById.size());
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos) return nullptr;
    for (const auto& [folder, key] : {std::pair{"uuid", "UUID"},
                                      {"label", "LABEL"},
                                      {"partuuid", "PARTUUID"},
                                      {"partlabel", "PARTLABEL"}})
      if (rest.substr(0, slash) == folder)
        return resolve(picture, std::string(key) + "=" + std::string(rest.substr(slash + 1)));
  }
  const std::size_t equals = spec.find('=');
  const std::string_view key = spec.substr(0, std::min(equals, spec.size()));
  const std::string_view value = equals == std::string_view::npos ? "" : unquoted(spec.substr(equals + 1));
  for (const Device& device : picture.devices) {
    // A member of an array or a mirror leg may carry its filesystem's UUID: what stands on top is meant.
    const bool member = device.content.usage == "raid";
    if (equals == std::string_view::npos ? has_path(device, spec)
        : key == "UUID"      ? !member && !value.empty() && same_ignoring_case(device.content.uuid, value)
        : key == "LABEL"     ? !member && !value.empty() && device.content.label == value
        : key == "PARTUUID"  ? !value.empty() && same_ignoring_case(device.part_uuid, value)
        : key == "PARTLABEL" ? !value.empty() && device.part_name == value
                             : has_path(device, spec))
      return &device;
  }
  return nullptr;
}

const Device* device_of(const Picture& picture, const engine::LvRow& lv) {
  std::string plain = "LVM-";
  for (const std::string* uuid : {&lv.vg_uuid, &lv.uuid})
    for (const char c : *uuid)
      if (c != '-') plain += c;
  if (lv.uuid.empty()) return nullptr;
  for (const Device& device : picture.devices)
    if (device.dm_uuid == plain) return &device;
  return nullptr;
}

const engine::LvRow* volume_of(const Picture& picture, const Device& device) {
  if (device.kind != DeviceKind::lvm) return nullptr;
  for (const engine::LvRow& lv : picture.lvs)
    if (device_of(picture, lv) == &device) return &lv;
  return nullptr;
}

const engine::LvRow* find_volume(const Picture& picture, std::string_view vg, std::string_view name) {
  for (const engine::LvRow& lv : picture.lvs)
    if (lv.vg == vg && lv.name == name) return &lv;
  return nullptr;
}

const engine::VgRow* find_group(const Picture& picture, std::string_view name) {
  for (const engine::VgRow& vg : picture.vgs)
    if (vg.name == name) return &vg;
  return nullptr;
}

const engine::PvRow* pv_on(const Picture& picture, const Device& device) {
  for (const engine::PvRow& pv : picture.pvs)
    if (!pv.missing && has_path(device, pv.name)) return &pv;
  return nullptr;
}

std::vector<const Device*> disks_below(const Picture& picture, const Device& device) {
  std::vector<const Device*> todo = {&device}, disks;
  std::set<const Device*> seen;
  while (!todo.empty()) {
    const Device* at = todo.back();
    todo.pop_back();
    if (!seen.insert(at).second) continue;
    bool bottom = true;
    for (const std::string& name : at->parents)
      if (const Device* parent = find_device(picture, name)) {
        todo.push_back(parent);
        bottom = false;
      }
    if (bottom) disks.push_back(at);
  }
  std::sort(disks.begin(), disks.end(), [](const Device* a, const Device* b) { return a->name < b->name; });
  return disks;
}

std::vector<const Device*> disks_below(const Picture& picture, const engine::LvRow& lv) {
  std::set<const Device*> disks;
  std::vector<const engine::LvRow*> todo = {&lv};
  std::set<const engine::LvRow*> seen;
  while (!todo.empty()) {
    const engine::LvRow* at = todo.back();
    todo.pop_back();
    if (!seen.insert(at).second) continue;
    // "/dev/sda1(0)", or a volume below: "pool_tdata(0)".
    for (const std::string& place : at->devices) {
      const std::string name = place.substr(0, place.rfind('('));
      if (const engine::LvRow* below = find_volume(picture, at->vg, name))
        todo.push_back(below);
      else if (const Device* device = name.starts_with('/') ? resolve(picture, name) : nullptr)
        for (const Device* disk : disks_below(picture, *device)) disks.insert(disk);
    }
    if (!at->pool.empty())
      if (const engine::LvRow* pool = find_volume(picture, at->vg, at->pool)) todo.push_back(pool);
  }
  if (const Device* device = disks.empty() ? device_of(picture, lv) : nullptr)
    for (const Device* disk : disks_below(picture, *device)) disks.insert(disk);
  std::vector<const Device*> sorted(disks.begin(), disks.end());
  std::sort(sorted.begin(), sorted.end(), [](const Device* a, const Device* b) { return a->name < b->name; });
  return sorted;
}

std::vector<const Device*> all_above(const Picture& picture, const Device& device) {
  std::vector<const Device*> all = {&device};
  for (std::size_t i = 0; i < all.size(); ++i)
    for (const std::string& name : all[i]->children)
      if (const Device* child = find_device(picture, name);
          child && std::find(all.begin(), all.end(), child) == all.end())
        all.push_back(child);
  return all;
}

const Device* device_of(const Picture& picture, const Mount& mount) {
  if (mount.source.starts_with("/"))
    if (const Device* device = resolve(picture, mount.source)) return device;
  // Filesystems of several devices (btrfs) have numbers of their own, major 0.
  return mount.major == 0 ? nullptr : find_device(picture, mount.major, mount.minor);
}

std::vector<const Mount*> mounts_of(const Picture& picture, const Device& device) {
  std::vector<const Mount*> found;
  for (const Mount& mount : picture.mounts)
    if (device_of(picture, mount) == &device) found.push_back(&mount);
  return found;
}

const Swap* swap_on(const Picture& picture, const Device& device) {
  for (const Swap& swap : picture.swaps)
    if (has_path(device, swap.source)) return &swap;
  return nullptr;
}

const Mount* mount_holding(const Picture& picture, std::string_view path) {
  const Mount* best = nullptr;
  for (const Mount& mount : picture.mounts) {
    const std::string_view target = mount.target;
    const bool holds = target == "/" || path == target ||
                       (path.starts_with(target) && path.substr(target.size()).starts_with('/'));
    if (holds && (best == nullptr || target.size() >= best->target.size())) best = &mount;
  }
  return best;
}

}  // namespace respaldo::machine
