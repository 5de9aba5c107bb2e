#include "engine/image/live_volumes.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>

#include "base/printable.h"
#include "dm/cow_store.h"

namespace respaldo::engine {

namespace {

struct Mapped {
  LiveVolume info;
  std::string uuid, vg_uuid, kind;
  std::optional<std::string> origin;  // snapshots: name of the origin LV
  block::DevicePtr readable;
  block::WritableDevicePtr writable;  // null when read-only
  std::atomic<std::int64_t>* last_write = nullptr;  // in Impl
};

// One origin with its snapshots; survives a new mapping as long as the origin's identity stays.
struct Origin {
  std::unique_ptr<dm::SnapshotSet> set;
  std::map<std::string, std::uint64_t> stores;  // snapshot LV name -> extents of its store
  std::map<std::string, std::string> ids;       // snapshot LV name -> UUID
  std::uint64_t extents = 0;
};

// Another time than before, whatever the clock says.
void note_write(std::atomic<std::int64_t>& last) {
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::int64_t before = last.load();
  while (!last.compare_exchange_weak(before, std::max(now, before + 1))) {
  }
}

CowFigures figures(const dm::CowStatus& status) {
  return {status.total, status.chunk, status.used, status.percent_x100(), status.valid};
}

bool copies_on_write(const lvm::LogicalVolume& lv) {
  return std::all_of(lv.segments.begin(), lv.segments.end(), [](const lvm::Segment& segment) {
    return std::holds_alternative<lvm::StripedSegment>(segment.body);
  });
}

}  // namespace

struct LiveVolumes::Impl {
  std::unique_ptr<DiskSet> disks;
  bool read_only = false;
  mutable std::shared_mutex gate;
  std::map<VolumeName, Mapped> volumes;
  std::map<VolumeName, std::atomic<std::int64_t>> last_writes;  // outlives a new mapping
  std::map<std::string, Origin> origins;  // by "VG UUID + LV UUID" of the origin
  mutable std::mutex count_mutex;
  std::map<VolumeName, int> open_counts;
  std::set<VolumeName> claimed;  // each has an open count of 1

  void map();
  void map_group(const DiskSet::Group& group, std::map<std::string, Origin>& kept);
  Mapped& at(const VolumeName& name);
  void flush();
};

void LiveVolumes::Impl::map() {
  volumes.clear();
  std::map<std::string, Origin> kept;
  for (const DiskSet::Group& group : disks->groups())
    if (!group.name_is_ambiguous) map_group(group, kept);
  origins = std::move(kept);
}

void LiveVolumes::Impl::map_group(const DiskSet::Group& group, std::map<std::string, Origin>& kept) {
  const lvm::VolumeGroup& vg = group.vg;
  const auto add = [&](const lvm::LogicalVolume& lv, std::uint64_t size,
                       std::optional<std::string> origin) -> Mapped& {
    Mapped mapped;
    mapped.info = {{vg.name, lv.name}, size, false, {}};
    mapped.uuid = lv.id.dashed();
    mapped.vg_uuid = vg.id.dashed();
    mapped.kind = origin ? "snapshot" : lv.kind();
    mapped.origin = std::move(origin);
    mapped.last_write = &last_writes[mapped.info.name];
    return volumes[{vg.name, lv.name}] = std::move(mapped);
  };
  const auto attempt = [](Mapped& mapped, auto&& open) {
    try {
      open();
    } catch (const Error& error) {
      mapped.info.unreadable = error.what();
    }
  };
  for (const lvm::LogicalVolume& lv : vg.lvs) {
    if (!lv.visible() || lv.segments.empty() ||
        std::holds_alternative<lvm::SnapshotSegment>(lv.segments.front().body) ||
        std::holds_alternative<lvm::ThinPoolSegment>(lv.segments.front().body))
      continue;
    const auto snapshots = vg.snapshots_of(lv);
    const bool merging =
        std::any_of(snapshots.begin(), snapshots.end(), [](const auto& s) { return s.merging; });
    const bool live = !read_only && lv.writable() && copies_on_write(lv) && !merging;
    if (!live || snapshots.empty()) {
      Mapped& mapped = add(lv, vg.lv_bytes(lv), std::nullopt);
      attempt(mapped, [&] {
        if (live) {
          mapped.writable = disks->open_layer_writable(group, lv, "real");
          mapped.readable = mapped.writable;
          mapped.info.writable = true;
        } else {
          mapped.readable = disks->open_lv(group, lv);
        }
      });
      for (const auto& binding : snapshots) {
        Mapped& snapshot = add(*binding.cow, binding.virtual_extents * vg.extent_bytes(), lv.name);
        attempt(snapshot, [&] { snapshot.readable = disks->open_lv(group, *binding.cow); });
      }
      continue;
    }
    const std::string key = vg.id.plain() + lv.id.plain();
    Origin origin;
    if (auto before = origins.find(key); before != origins.end() && before->second.extents == lv.extents()) {
      origin = std::move(before->second);
    } else {
      origin.set = std::make_unique<dm::SnapshotSet>(disks->open_layer_writable(group, lv, "real"));
      origin.extents = lv.extents();
    }
    // Names are what the user changes; a store is known by its UUID.
    for (auto it = origin.ids.begin(); it != origin.ids.end();) {
      const bool stays = std::any_of(snapshots.begin(), snapshots.end(), [&](const auto& s) {
        return s.cow->name == it->first && s.cow->id.plain() == it->second;
      });
      if (stays) {
        ++it;
        continue;
      }
      origin.set->remove(it->first);
      origin.stores.erase(it->first);
      it = origin.ids.erase(it);
    }
    Mapped& mapped = add(lv, vg.lv_bytes(lv), std::nullopt);
    for (const auto& binding : snapshots) {
      const std::string& name = binding.cow->name;
      Mapped& snapshot = add(*binding.cow, binding.virtual_extents * vg.extent_bytes(), lv.name);
      attempt(snapshot, [&] {
        if (!origin.ids.contains(name)) {
          origin.set->add(name, disks->open_layer_writable(group, *binding.cow, "cow"),
                          binding.virtual_extents * vg.extent_bytes(), binding.chunk_sectors * 512);
          origin.ids[name] = binding.cow->id.plain();
        } else if (origin.stores[name] != binding.cow->extents()) {
          origin.set->grow(name, disks->open_layer_writable(group, *binding.cow, "cow"));
        }
        origin.stores[name] = binding.cow->extents();
        snapshot.writable = origin.set->snapshot_device(name);
        snapshot.readable = snapshot.writable;
        snapshot.info.writable = binding.cow->writable();
        if (!snapshot.info.writable) snapshot.writable = nullptr;
        if (!origin.set->status(name).valid)
          snapshot.info.unreadable = "the snapshot is invalid: its COW store overflowed";
      });
    }
    mapped.writable = origin.set->origin_device();
    mapped.readable = mapped.writable;
    mapped.info.writable = true;
    kept[key] = std::move(origin);
  }
}

void LiveVolumes::Impl::flush() {
  for (auto& [name, mapped] : volumes) {
    if (!mapped.writable) continue;
    try {
      mapped.writable->flush();
    } catch (const Error& error) {
      // A dead snapshot holds nothing that could be saved, and must not keep anybody from removing it.
      if (error.kind() != ErrorKind::overflow) throw;
    }
  }
}

Mapped& LiveVolumes::Impl::at(const VolumeName& name) {
  auto it = volumes.find(name);
  if (it == volumes.end())
    throw Error(ErrorKind::not_found,
                fmt::format("volume {} does not exist (any more)", printable(name.str())));
  if (!it->second.readable)
    throw Error(ErrorKind::io, fmt::format("{}: {}", name.str(), it->second.info.unreadable));
  return it->second;
}

LiveVolumes::LiveVolumes(std::unique_ptr<DiskSet> disks, bool read_only) : impl_(std::make_shared<Impl>()) {
  impl_->disks = std::move(disks);
  impl_->read_only = read_only;
  impl_->map();
}

LiveVolumes::~LiveVolumes() = default;

std::vector<LiveVolume> LiveVolumes::list() const {
  std::shared_lock lock(impl_->gate);
  std::vector<LiveVolume> result;
  for (const auto& [name, mapped] : impl_->volumes) result.push_back(mapped.info);
  return result;
}

std::optional<LiveVolume> LiveVolumes::find(const VolumeName& name) const {
  std::shared_lock lock(impl_->gate);
  auto it = impl_->volumes.find(name);
  if (it == impl_->volumes.end()) return std::nullopt;
  LiveVolume info = it->second.info;
  info.last_write = it->second.last_write->load();
  return info;
}

std::optional<CowFigures> LiveVolumes::cow(const VolumeName& snapshot) const {
  std::shared_lock lock(impl_->gate);
  auto it = impl_->volumes.find(snapshot);
  if (it == impl_->volumes.end() || !it->second.origin) return std::nullopt;
  for (const auto& [key, origin] : impl_->origins) {
    auto id = origin.ids.find(snapshot.lv);
    if (id != origin.ids.end() && lvm::Uuid::parse(it->second.uuid)->plain() == id->second)
      return figures(origin.set->status(snapshot.lv));
  }
  // Not live (read-only, or its origin is): what the store itself says.
  const auto& group = impl_->disks->group(snapshot.vg);
  const lvm::LogicalVolume* lv = group.vg.find_lv(snapshot.lv);
  if (lv == nullptr) return std::nullopt;
  const auto store = impl_->disks->open_layer(group, *lv, "cow");
  const auto binding = group.vg.snapshot_binding(*lv);
  return figures(dm::CowStore::load(*store, binding ? binding->chunk_sectors * 512 : 4096).status());
}

std::vector<VolumeInfo> LiveVolumes::volume_infos() const {
  std::vector<VolumeInfo> result;
  {
    std::shared_lock lock(impl_->gate);
    for (const auto& [name, mapped] : impl_->volumes) {
      VolumeInfo info;
      info.name = name;
      info.uuid = mapped.uuid;
      info.vg_uuid = mapped.vg_uuid;
      info.size = mapped.info.size;
      info.kind = mapped.kind;
      info.origin = mapped.origin;
      info.unreadable = mapped.info.unreadable;
      info.in_use = true;
      result.push_back(std::move(info));
    }
  }
  for (VolumeInfo& info : result)
    if (info.origin) info.cow = cow(info.name);
  return result;
}

// Keeps the count of open handles right; looks its volume up anew for every call.
class LiveVolumes::OpenVolume final : public Handle {
 public:
  OpenVolume(std::shared_ptr<Impl> impl, VolumeName name) : impl_(std::move(impl)), name_(std::move(name)) {
    std::shared_lock lock(impl_->gate);
    impl_->at(name_);
    std::lock_guard count(impl_->count_mutex);
    if (impl_->claimed.contains(name_))
      throw Error(ErrorKind::busy, fmt::format("volume {} is being written by a restore", printable(name_.str())),
                  "wait until that has ended");
    ++impl_->open_counts[name_];
  }
  ~OpenVolume() override {
    std::lock_guard count(impl_->count_mutex);
    if (--impl_->open_counts[name_] > 0) return;
    impl_->open_counts.erase(name_);
    impl_->claimed.erase(name_);
  }
  std::uint64_t size() const override {
    std::shared_lock lock(impl_->gate);
    return impl_->at(name_).info.size;
  }
  std::size_t read(std::uint64_t offset, MutableBytes out) const override {
    std::shared_lock lock(impl_->gate);
    const Mapped& mapped = impl_->at(name_);
    if (offset >= mapped.info.size) return 0;
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), mapped.info.size - offset));
    mapped.readable->read_at(offset, out.first(n));
    return n;
  }
  std::vector<block::Run> runs(Extent range) const override {
    std::shared_lock lock(impl_->gate);
    const Mapped& mapped = impl_->at(name_);
    const Extent inside = intersect(range, {0, mapped.info.size});
    return inside.empty() ? std::vector<block::Run>{} : mapped.readable->runs(inside);
  }
  void write(std::uint64_t offset, ByteView bytes) override {
    std::shared_lock lock(impl_->gate);
    change(offset, bytes.size(), [&](block::WritableDevice& device) { device.write_at(offset, bytes); });
  }
  void zero(Extent range) override {
    std::shared_lock lock(impl_->gate);
    change(range.offset, range.length, [&](block::WritableDevice& device) { device.zero(range); });
  }
  void flush() override {
    std::shared_lock lock(impl_->gate);
    const Mapped& mapped = impl_->at(name_);
    if (mapped.writable) mapped.writable->flush();
  }

 private:
  template <class Body>
  void change(std::uint64_t offset, std::uint64_t length, Body body) {
    Mapped& mapped = impl_->at(name_);
    if (!mapped.writable) throw Error(ErrorKind::refused, fmt::format("{} is read-only here", name_.str()));
    if (offset > mapped.info.size || length > mapped.info.size - offset)
      throw Error(ErrorKind::no_space, fmt::format("{} ends at byte {}", name_.str(), mapped.info.size));
    // Before and after: who looks at the time while it is written finds another one afterwards.
    struct Noted {
      std::atomic<std::int64_t>& last;
      explicit Noted(std::atomic<std::int64_t>& of) : last(of) { note_write(last); }
      ~Noted() { note_write(last); }
    } const noted(*mapped.last_write);
    body(*mapped.writable);
  }
  std::shared_ptr<Impl> impl_;
  VolumeName name_;
};

std::shared_ptr<LiveVolumes::Handle> LiveVolumes::open(const VolumeName& name) {
  return std::make_shared<OpenVolume>(impl_, name);
}

bool LiveVolumes::is_open(const VolumeName& name) const {
  std::lock_guard count(impl_->count_mutex);
  return impl_->open_counts.contains(name);
}

bool LiveVolumes::claim(const VolumeName& name) {
  std::lock_guard count(impl_->count_mutex);
  const auto open = impl_->open_counts.find(name);
  return open != impl_->open_counts.end() && open->second == 1 && impl_->claimed.insert(name).second;
}

void LiveVolumes::run_paused(const std::function<void(DiskSet&)>& change) {
  std::unique_lock lock(impl_->gate);
  impl_->flush();
  std::exception_ptr failure;
  try {
    change(*impl_->disks);
  } catch (...) {
    failure = std::current_exception();
  }
  impl_->map();
  if (failure) std::rethrow_exception(failure);
}

void LiveVolumes::flush() {
  std::shared_lock lock(impl_->gate);
  impl_->flush();
}

}  // namespace respaldo::engine
