// DiskSet: images locked, scanned, and assembled into their volume groups.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <thread>

#include "base/printable.h"
#include "base/units.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "engine/image/activation_address.h"
#include "engine/image/disk_set_impl.h"

namespace respaldo::engine {

namespace {

// "pid 4711 (qemu-img)", from the kernel's table of locks; empty when it does not tell.
std::string lock_owner(const os::Path& image) {
  struct stat st {};
  if (::stat(image.c_str(), &st) != 0) return {};
  const auto table = os::try_read_text("/proc/locks");
  if (!table) return {};
  const std::string place = fmt::format(" {:02x}:{:02x}:{} ", major(st.st_dev), minor(st.st_dev), st.st_ino);
  std::size_t at = 0;
  while (at < table->size()) {
    const std::size_t end = std::min(table->find('\n', at), table->size());
    const std::string line = table->substr(at, end - at);
    at = end + 1;
    const std::size_t found = line.find(place);
    if (found == std::string::npos || line.find("FLOCK") == std::string::npos || line.find("->") < found)
      continue;
    const std::size_t pid_at = line.rfind(' ', found - 1) + 1;
    const std::string pid = line.substr(pid_at, found - pid_at);
    auto name = os::try_read_text("/proc/" + pid + "/comm", 4096);
    if (!name) return "process " + pid;
    while (!name->empty() && name->back() == '\n') name->pop_back();
    return fmt::format("process {} ({})", pid, printable(*name));
  }
  return {};
}

Error busy(const os::Path& image) {
  const std::string owner = lock_owner(image);
  return Error(ErrorKind::busy,
               fmt::format("{} is locked by {}", printable(image.native()),
                           owner.empty() ? std::string("another process") : owner),
               "wait until it has finished, or stop it");
}

bool is_mounted(const os::Path& point) {
  struct stat inside {
  }, outside{};
  return ::stat(point.c_str(), &inside) == 0 && ::stat(point.parent_path().c_str(), &outside) == 0 &&
         inside.st_dev != outside.st_dev;
}

// All locks, or none. Waits, so that two commands on the same images take turns.
std::vector<std::shared_ptr<block::FileDevice>> lock_images(const std::vector<os::Path>& images,
                                                            LockMode mode, int patience_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  const bool exclusive = mode == LockMode::exclusive;
  for (;;) {
    std::vector<std::shared_ptr<block::FileDevice>> devices;
    const os::Path* held = nullptr;
    for (const os::Path& image : images) {
      struct stat st {};
      if (::stat(image.c_str(), &st) != 0) throw os::system_error(errno, "stat", image);
      int flags = (exclusive ? O_RDWR : O_RDONLY) | O_CLOEXEC;
      if (mode == LockMode::none) {
        devices.push_back(std::make_shared<block::FileDevice>(image, block::FileDevice::Access::read_only));
        continue;
      }
      // The kernel refuses a device that is mounted or part of something active.
      if (exclusive && S_ISBLK(st.st_mode)) flags |= O_EXCL;
      auto lock = os::FileLock::try_lock(
          image, exclusive ? os::FileLock::Mode::exclusive : os::FileLock::Mode::shared, flags);
      if (!lock) {
        held = &image;
        break;
      }
      // To look at what another program uses is not refused; watch() is for who relies on what he reads.
      if (exclusive) require_free(lock->fd(), image, ImageUse::writing);
      // The copy shares the open file, and with it the lock.
      const int copy = ::fcntl(lock->fd(), F_DUPFD_CLOEXEC, 3);
      if (copy < 0) throw os::system_error(errno, "dup", image);
      devices.push_back(std::make_shared<block::FileDevice>(
          image, os::UniqueFd(copy),
          exclusive ? block::FileDevice::Access::read_write : block::FileDevice::Access::read_only));
    }
    if (held == nullptr) return devices;
    devices.clear();
    const bool late = std::chrono::steady_clock::now() >= deadline;
    // One that was just unmounted still flushes; its lock goes soon.
    if (auto activation = find_activation(*held); activation && (late || is_mounted(activation->mount_point)))
      throw HeldByActivation(*activation);
    if (late) throw busy(*held);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void require_distinct(const std::vector<os::Path>& images) {
  std::map<std::pair<dev_t, ino_t>, const os::Path*> seen;
  for (const os::Path& image : images) {
    struct stat st {};
    if (::stat(image.c_str(), &st) != 0) throw os::system_error(errno, "opening", image);
    const auto key = S_ISBLK(st.st_mode) ? std::pair<dev_t, ino_t>{st.st_rdev, 0}
                                         : std::pair<dev_t, ino_t>{st.st_dev, st.st_ino};
    const auto [at, fresh] = seen.emplace(key, &image);
    if (!fresh)
      throw Error(ErrorKind::usage,
                  fmt::format("{} and {} are the same disk", printable(at->second->native()),
                              printable(image.native())),
                  "give each image once");
  }
}

// A PV that is shorter than its label says: what is there can be read.
class TruncatedPv final : public block::Device {
 public:
  TruncatedPv(block::DevicePtr below, std::uint64_t size) : below_(std::move(below)), size_(size) {}
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return below_->describe(); }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    const std::uint64_t there = below_->size();
    if (offset > there || out.size() > there - offset)
      throw Error(ErrorKind::missing,
                  fmt::format("{} ends at byte {}, but its volumes reach to byte {}: the image is truncated",
                              describe(), there, size_),
                  "use a complete copy of the disk")
          .add_context(fmt::format("reading {} bytes at byte {}", out.size(), offset));
    below_->read_at(offset, out);
  }
  std::vector<block::Run> runs(Extent range) const override {
    const Extent inside = intersect(range, {0, size_});
    std::vector<block::Run> runs;
    if (const Extent there = intersect(inside, {0, below_->size()}); !there.empty())
      runs = below_->runs(there);
    if (inside.end() > below_->size()) {
      const std::uint64_t from = std::max(inside.offset, below_->size());
      block::append_run(runs, {{from, inside.end() - from}, block::RunKind::data});
    }
    return runs;
  }

 private:
  block::DevicePtr below_;
  std::uint64_t size_;
};

// Names in a group's tables -> devices. One for each opening.
class GroupResolver final : public dm::Resolver {
 public:
  GroupResolver(const DiskSet::Impl& impl, const DiskSet::Group& group) : impl_(impl), group_(group) {}

  block::DevicePtr device(const std::string& name) override {
    if (auto it = devices_.find(name); it != devices_.end()) return it->second;
    block::DevicePtr made;
    if (name.starts_with("pv:")) {
      made = impl_.pv_device(group_, name.substr(3));
    } else {
      const dm::Table* lines = table(name);
      if (lines == nullptr)
        throw Error(ErrorKind::corrupt, fmt::format("no volume is named {}", printable(name)));
      made = dm::assemble(*lines, *this, name);
    }
    return devices_[name] = std::move(made);
  }

  const dm::Table* table(const std::string& name) override {
    if (auto it = tables_.find(name); it != tables_.end()) return &it->second;
    const auto parsed = lvm::parse_dm_name(name);
    if (!parsed || parsed->vg != group_.vg.name) return nullptr;
    const lvm::LogicalVolume* lv = group_.vg.find_lv(parsed->lv);
    if (lv == nullptr) return nullptr;
    return &(tables_[name] = group_.vg.table(*lv, parsed->layer));
  }

 private:
  const DiskSet::Impl& impl_;
  const DiskSet::Group& group_;
  std::map<std::string, block::DevicePtr> devices_;
  std::map<std::string, dm::Table> tables_;
};

std::string volume_words(const DiskSet::Group& group, const lvm::LogicalVolume& lv) {
  return fmt::format("volume {}/{}", printable(group.vg.name), printable(lv.name));
}

}  // namespace

block::DevicePtr DiskSet::Impl::extent_device(const FoundPv& pv) const {
  return block::slice(block::DevicePtr(devices[pv.disk]), pv.extent, pv.name);
}

block::DevicePtr DiskSet::Impl::pv_device(const Group& group, const std::string& uuid) const {
  const auto id = lvm::Uuid::parse(uuid);
  const lvm::PhysicalVolume* listed = id ? group.vg.find_pv(*id) : nullptr;
  if (listed == nullptr)
    throw Error(ErrorKind::corrupt, fmt::format("no PV of {} has the UUID {}", group.vg.name, uuid));
  const std::uint64_t needed =
      (listed->pe_start_sectors + listed->pe_count * group.vg.extent_sectors) * kSector;
  const std::string name = listed->device_hint.empty() ? id->dashed()
                                                       : fmt::format("{} (last seen as {})", id->dashed(),
                                                                     printable(listed->device_hint));
  if (group.duplicate_pvs.contains(uuid))
    throw Error(
        ErrorKind::refused,
        fmt::format("physical volume {} is on more than one of the given disks: one is a clone", name),
        "give only one of them with --disk");
  const auto found = group.pvs.find(uuid);
  if (found == group.pvs.end() || listed->missing_flag()) {
    const bool flagged = found != group.pvs.end();
    return block::error_device(
        needed, name,
        Error(ErrorKind::missing,
              flagged ? fmt::format("physical volume {} is marked MISSING in volume group {}", name,
                                    group.vg.name)
                      : fmt::format("physical volume {} of volume group {} is missing", name, group.vg.name),
              flagged ? "bring it back with vgextend --restoremissing"
                      : "add the disk that holds it with --disk"));
  }
  block::DevicePtr device = extent_device(pvs[found->second]);
  if (device->size() < needed) return std::make_shared<TruncatedPv>(std::move(device), needed);
  return device;
}

block::WritableDevicePtr DiskSet::Impl::writable_pv(std::size_t pv) {
  require_exclusive();
  const FoundPv& found = pvs.at(pv);
  return block::slice(block::WritableDevicePtr(devices[found.disk]), found.extent, found.name);
}

void DiskSet::Impl::require_exclusive() const {
  if (mode != LockMode::exclusive)
    throw Error(ErrorKind::internal, "the images were opened for reading only");
}

DiskSet::DiskSet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DiskSet::~DiskSet() = default;

std::unique_ptr<DiskSet> DiskSet::open(const std::vector<os::Path>& images, LockMode mode, int patience_ms) {
  if (images.empty()) throw Error(ErrorKind::usage, "no disk image is given", "name each with --disk");
  require_distinct(images);
  auto impl = std::make_unique<Impl>();
  impl->mode = mode;
  impl->devices = lock_images(images, mode, patience_ms);
  impl->scan();
  return std::unique_ptr<DiskSet>(new DiskSet(std::move(impl)));
}

void DiskSet::watch() {
  if (!impl_->stamps.empty()) return;
  // Opened exclusively, they were asked and claimed.
  if (impl_->mode != LockMode::exclusive)
    for (const auto& device : impl_->devices) {
      require_free(device->fd(), device->path(), ImageUse::reading);
      require_still(device->fd(), device->path());
    }
  impl_->take_stamps();
}

void DiskSet::require_unwritten() const {
  impl_->look_for_writes();
  if (impl_->written.empty()) return;
  throw Error(ErrorKind::busy,
              fmt::format("{} was written to while it was read: nothing was saved", printable(impl_->written)),
              "end what writes to it (a virtual machine?), or take a snapshot of it and back that up, and run again");
}

void DiskSet::write_ourselves(const std::function<void()>& change) {
  if (impl_->stamps.empty()) return change();
  impl_->look_for_writes();
  if (!impl_->written.empty())
    throw Error(ErrorKind::busy,
                fmt::format("{} was written to by another program: it is left as it is", printable(impl_->written)),
                "end that program; `respaldo clean` removes what stays behind");
  try {
    change();
  } catch (...) {
    impl_->take_stamps();
    throw;
  }
  impl_->take_stamps();
}

void DiskSet::Impl::take_stamps() {
  stamps.clear();
  for (const auto& device : devices) stamps.push_back(WriteStamp::settled(device->fd()));
}

void DiskSet::Impl::look_for_writes() {
  for (std::size_t i = 0; i < stamps.size() && written.empty(); ++i)
    if (!WriteStamp(devices[i]->fd()).same_as(stamps[i])) written = devices[i]->path().native();
}

const std::vector<FoundDisk>& DiskSet::disks() const { return impl_->disks; }
const std::vector<FoundPv>& DiskSet::pvs() const { return impl_->pvs; }
const std::vector<DiskSet::Group>& DiskSet::groups() const { return impl_->groups; }
const std::vector<std::string>& DiskSet::warnings() const { return impl_->warnings; }
void DiskSet::rescan() { impl_->scan(); }
void DiskSet::set_before_step(std::function<void(std::string_view)> hook) {
  impl_->before_step = std::move(hook);
}

const DiskSet::Group& DiskSet::group(std::string_view name) const {
  const Group* found = nullptr;
  for (const Group& group : impl_->groups) {
    if (group.vg.id.dashed() == name) return group;
    if (group.vg.name != name) continue;
    if (found != nullptr)
      throw Error(ErrorKind::usage, fmt::format("two volume groups are named {}", printable(name)),
                  fmt::format("give the disks of one only, or its UUID as the name: {} or {}",
                              found->vg.id.dashed(), group.vg.id.dashed()));
    found = &group;
  }
  if (found != nullptr) return *found;
  std::string there;
  for (const Group& group : impl_->groups) there += (there.empty() ? "" : ", ") + printable(group.vg.name);
  throw Error(ErrorKind::not_found, fmt::format("Volume group \"{}\" not found", printable(name)),
              there.empty() ? "no volume group is on the given disks" : "there is: " + there);
}

block::DevicePtr DiskSet::disk_device(std::size_t disk) const { return impl_->devices.at(disk); }
block::WritableDevicePtr DiskSet::writable_disk(std::size_t disk) {
  impl_->require_exclusive();
  return impl_->devices.at(disk);
}
block::WritableDevicePtr DiskSet::writable_pv(std::size_t pv) { return impl_->writable_pv(pv); }

block::DevicePtr DiskSet::open_lv(const Group& group, const lvm::LogicalVolume& lv) const {
  return open_layer(group, lv, "");
}

block::DevicePtr DiskSet::open_layer(const Group& group, const lvm::LogicalVolume& lv,
                                     std::string_view layer) const {
  return in_context([&] { return volume_words(group, lv); },
                    [&] {
                      GroupResolver resolver(*impl_, group);
                      return dm::assemble(group.vg.table(lv, layer), resolver,
                                          fmt::format("{}/{}", group.vg.name, lv.name));
                    });
}

block::WritableDevicePtr DiskSet::open_layer_writable(const Group& group, const lvm::LogicalVolume& lv,
                                                      std::string_view layer) {
  impl_->require_exclusive();
  return in_context(
      [&] { return volume_words(group, lv); },
      [&] {
        if (const auto refusal = write_refusal(group)) throw *refusal;
        const auto resolve = [&](const std::string& name) -> block::WritableDevicePtr {
          if (!name.starts_with("pv:"))
            throw Error(ErrorKind::unsupported,
                        "it is not made of physical volumes alone, and cannot be written");
          const auto found = group.pvs.find(name.substr(3));
          const auto* listed = group.vg.find_pv(*lvm::Uuid::parse(name.substr(3)));
          if (found == group.pvs.end() || listed == nullptr || listed->missing_flag() ||
              group.duplicate_pvs.contains(found->first))
            impl_->pv_device(group, name.substr(3))->read_at(0, Bytes(1));  // throws what is wrong
          return impl_->writable_pv(found->second);
        };
        return dm::assemble_writable(group.vg.table(lv, layer), resolve,
                                     fmt::format("{}/{}", group.vg.name, lv.name));
      });
}

}  // namespace respaldo::engine
