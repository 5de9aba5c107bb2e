#include "engine/image/live_volumes.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <utility>

#include "base/printable.h"
#include "base/units.h"
#include "dm/cow_store.h"
#include "dm/table.h"
#include "engine/image/vg_edit.h"
#include "os/shared_mutex.h"

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

// What a snapshot in the set was added as.
struct Store {
  std::string id;   // UUID: names are what the user changes
  dm::Table table;  // of the store's extents
  std::uint64_t extents = 0, size = 0, chunk = 0;
  bool was_valid = false;  // when it was added first

  // The same snapshot, at most longer.
  bool is(const Store& other) const { return id == other.id && size == other.size && chunk == other.chunk; }
};

// One origin with its snapshots; survives a new mapping as long as it lies where it lay.
struct Origin {
  std::shared_ptr<dm::SnapshotSet> set;
  dm::Table table;
  std::map<std::string, Store> stores;  // by the snapshot's name
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

// Whether the store was only extended: what lies in it is where it was.
bool grew(const lvm::VolumeGroup& vg, const lvm::LogicalVolume& cow, const Store& before) {
  if (before.extents == 0 || before.extents >= cow.extents()) return false;
  lvm::LogicalVolume cut = cow;
  truncate_lv(cut, before.extents);
  return vg.table(cut, "cow") == before.table;
}

}  // namespace

struct LiveVolumes::Impl {
  std::unique_ptr<DiskSet> disks;
  bool read_only = false;
  mutable os::WriterFirstMutex gate;  // readers without end must not keep run_paused() waiting
  std::map<VolumeName, Mapped> volumes;
  std::map<VolumeName, std::atomic<std::int64_t>> last_writes;  // outlives a new mapping
  std::map<std::string, Origin> origins;  // by "VG UUID + LV UUID" of the origin
  mutable std::mutex count_mutex;
  std::map<VolumeName, int> open_counts;
  std::set<VolumeName> claimed;  // each has an open count of 1

  // All that is mapped, before it takes the place of what was.
  struct Mapping {
    std::map<VolumeName, Mapped> volumes;
    std::map<std::string, Origin> origins;
  };
  void map();
  void map_group(const DiskSet::Group& group, Mapping& next);
  // Brings the set in step with the metadata. Why the origin must not be written; empty when it may.
  std::string follow(const DiskSet::Group& group, const lvm::LogicalVolume& lv, Origin& origin, Mapping& next);
  Mapped& add(const DiskSet::Group& group, const lvm::LogicalVolume& lv, std::uint64_t size,
              std::optional<std::string> origin, Mapping& next);
  std::string why_read_only(const DiskSet::Group& group, const lvm::LogicalVolume& lv) const;
  Mapped& at(const VolumeName& name);
  void flush();
};

namespace {

// What cannot be opened is told by `mapped`, and harms nothing else.
template <class Open>
bool attempt(Mapped& mapped, Open open) {
  try {
    open();
    return true;
  } catch (const std::exception& error) {
    mapped.readable = mapped.writable = nullptr;
    mapped.info.writable = false;
    mapped.info.unreadable = error.what();
    return false;
  }
}

}  // namespace

void LiveVolumes::Impl::map() {
  Mapping next;
  try {
    for (const DiskSet::Group& group : disks->groups())
      if (!group.name_is_ambiguous) map_group(group, next);
  } catch (...) {
    // The old places may be somebody else's by now.
    volumes.clear();
    origins.clear();
    throw;
  }
  volumes.swap(next.volumes);
  origins.swap(next.origins);
}

Mapped& LiveVolumes::Impl::add(const DiskSet::Group& group, const lvm::LogicalVolume& lv, std::uint64_t size,
                               std::optional<std::string> origin, Mapping& next) {
  Mapped mapped;
  mapped.info.name = {group.vg.name, lv.name};
  mapped.info.size = size;
  mapped.uuid = lv.id.dashed();
  mapped.vg_uuid = group.vg.id.dashed();
  mapped.kind = origin ? "snapshot" : lv.kind();
  mapped.origin = std::move(origin);
  mapped.last_write = &last_writes[mapped.info.name];
  return next.volumes[mapped.info.name] = std::move(mapped);
}

std::string LiveVolumes::Impl::why_read_only(const DiskSet::Group& group, const lvm::LogicalVolume& lv) const {
  if (read_only) return "the images are open for reading only";
  if (!lv.writable()) return "it is marked read-only";
  if (!copies_on_write(lv)) return "it is not made of physical volumes alone";
  const auto snapshots = group.vg.snapshots_of(lv);
  if (std::any_of(snapshots.begin(), snapshots.end(), [](const auto& s) { return s.merging; }))
    return "a snapshot is being merged into it";
  const auto refusal = write_refusal(group);
  return refusal ? refusal->what() : "";
}

void LiveVolumes::Impl::map_group(const DiskSet::Group& group, Mapping& next) {
  const lvm::VolumeGroup& vg = group.vg;
  for (const lvm::LogicalVolume& lv : vg.lvs) {
    if (!lv.visible() || lv.segments.empty() || is_snapshot_pseudo(lv) ||
        std::holds_alternative<lvm::ThinPoolSegment>(lv.segments.front().body))
      continue;
    const auto snapshots = vg.snapshots_of(lv);
    const auto add_snapshot = [&](const auto& binding) -> Mapped& {
      return add(group, *binding.cow, binding.virtual_extents * vg.extent_bytes(), lv.name, next);
    };
    Mapped& mapped = add(group, lv, vg.lv_bytes(lv), std::nullopt, next);
    mapped.info.unwritable = why_read_only(group, lv);
    const bool live = mapped.info.unwritable.empty();
    if (!live || snapshots.empty()) {
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
        Mapped& snapshot = add_snapshot(binding);
        snapshot.info.unwritable = mapped.info.unwritable;
        attempt(snapshot, [&] { snapshot.readable = disks->open_lv(group, *binding.cow); });
      }
      continue;
    }
    Origin origin;
    const std::string key = vg.id.plain() + lv.id.plain();
    const bool opened = attempt(mapped, [&] {
      auto real = disks->open_layer_writable(group, lv, "real");
      dm::Table table = vg.table(lv, "real");
      if (const auto before = origins.find(key); before != origins.end() && before->second.table == table) {
        origin = before->second;
        return;
      }
      origin.set = std::make_shared<dm::SnapshotSet>(std::move(real));
      origin.table = std::move(table);
    });
    if (!opened) {
      for (const auto& binding : snapshots) add_snapshot(binding).info.unreadable = mapped.info.unreadable;
      continue;
    }
    mapped.info.unwritable = follow(group, lv, origin, next);
    mapped.readable = origin.set->origin_device();
    if (mapped.info.unwritable.empty()) mapped.writable = origin.set->origin_device();
    mapped.info.writable = mapped.writable != nullptr;
    mapped.info.held_back = mapped.writable == nullptr;
    next.origins[key] = std::move(origin);
  }
}

std::string LiveVolumes::Impl::follow(const DiskSet::Group& group, const lvm::LogicalVolume& lv, Origin& origin,
                                      Mapping& next) {
  const lvm::VolumeGroup& vg = group.vg;
  const auto snapshots = vg.snapshots_of(lv);
  const auto forget = [&](std::map<std::string, Store>::iterator at) {
    origin.set->remove(at->first);
    return origin.stores.erase(at);
  };
  for (auto it = origin.stores.begin(); it != origin.stores.end();) {
    const bool stays = std::any_of(snapshots.begin(), snapshots.end(), [&](const auto& s) {
      return s.cow->name == it->first && s.cow->id.plain() == it->second.id;
    });
    it = stays ? std::next(it) : forget(it);
  }
  std::string problem;
  for (const auto& binding : snapshots) {
    const std::string& name = binding.cow->name;
    const std::uint64_t size = binding.virtual_extents * vg.extent_bytes();
    Mapped& snapshot = add(group, *binding.cow, size, lv.name, next);
    const bool follows = attempt(snapshot, [&] {
      Store store{binding.cow->id.plain(), vg.table(*binding.cow, "cow"), binding.cow->extents(), size,
                  binding.chunk_sectors * kSector};
      auto cow = disks->open_layer_writable(group, *binding.cow, "cow");
      auto known = origin.stores.find(name);
      const bool had = known != origin.stores.end();
      store.was_valid = had && known->second.was_valid;
      if (had && known->second.is(store) && grew(vg, *binding.cow, known->second)) {
        origin.set->grow(name, std::move(cow));
        known->second = std::move(store);
      } else if (!had || !known->second.is(store) || known->second.table != store.table) {
        if (had) forget(known);
        origin.set->add(name, std::move(cow), store.size, store.chunk);
        if (!had) store.was_valid = origin.set->status(name).valid;
        origin.stores.emplace(name, std::move(store));
      }
      snapshot.readable = origin.set->snapshot_device(name);
      snapshot.info.writable = binding.cow->writable();
      if (snapshot.info.writable) snapshot.writable = origin.set->snapshot_device(name);
      if (!snapshot.info.writable) snapshot.info.unwritable = "it is marked read-only";
    });
    if (!follows)
      problem = fmt::format("its snapshot {} cannot follow ({}): give its disk, or remove the snapshot", printable(name),
                            snapshot.info.unreadable);
    else if (!origin.set->status(name).valid)
      snapshot.info.unreadable = "the snapshot is invalid: its COW store overflowed";
  }
  return problem;
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
    auto store = origin.stores.find(snapshot.lv);
    if (store != origin.stores.end() && lvm::Uuid::parse(it->second.uuid)->plain() == store->second.id)
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

std::vector<VolumeName> LiveVolumes::died() const {
  std::shared_lock lock(impl_->gate);
  std::vector<VolumeName> names;
  for (const auto& [name, mapped] : impl_->volumes) {
    if (!mapped.origin) continue;
    for (const auto& [key, origin] : impl_->origins) {
      const auto store = origin.stores.find(name.lv);
      if (store != origin.stores.end() && lvm::Uuid::parse(mapped.uuid)->plain() == store->second.id &&
          store->second.was_valid && !origin.set->status(name.lv).valid)
        names.push_back(name);
    }
  }
  return names;
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
    try {
      if (info.origin) info.cow = cow(info.name);
    } catch (const Error& error) {  // of a store that cannot be opened: the others are told all the same
      if (info.unreadable.empty()) info.unreadable = error.what();
    }
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
    if (!mapped.writable)
      throw Error(ErrorKind::refused,
                  fmt::format("{} is read-only here: {}", printable(name_.str()), mapped.info.unwritable));
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
