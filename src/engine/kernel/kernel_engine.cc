#include "engine/kernel/kernel_engine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "engine/base.h"
#include "engine/kernel/bases.h"
#include "engine/kernel/cleaning.h"
#include "engine/kernel/in_use.h"
#include "engine/kernel/kernel_lease.h"
#include "engine/kernel/live_changes.h"
#include "engine/kernel/live_copies.h"
#include "engine/kernel/live_moves.h"
#include "engine/kernel/world.h"
#include "engine/snapshot_guard.h"
#include "engine/thin_target.h"
#include "journal/names.h"
#include "lvm/volume_group.h"
#include "os/crash_point.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kCowChunk = 4096;
constexpr std::chrono::milliseconds kRemovePatience = std::chrono::seconds(30);

VolumeInfo info_of(const LvRow& row, DmControl& dm) {
  VolumeInfo info;
  info.name = {row.vg, row.name};
  info.uuid = row.uuid;
  info.vg_uuid = row.vg_uuid;
  info.size = row.is_thick_snapshot() ? row.origin_size : row.size;
  info.kind = row.is_thick_snapshot() ? "snapshot" : row.segment_type;
  if (row.is_snapshot() && !row.origin.empty()) info.origin = row.origin;
  info.in_use = row.open;
  info.set_aside = is_set_aside(row);
  if (!row.is_active()) {
    info.unreadable = "it is not active";
  } else if (row.suspended) {
    info.unreadable = "it is suspended";
  }
  if (row.is_thick_snapshot()) {
    CowFigures cow;
    cow.size = row.size;
    cow.chunk = row.chunk_size;
    cow.percent_x100 = row.data_percent_x100.value_or(0);
    cow.used = row.size / 10000 * cow.percent_x100;
    cow.valid = !row.snapshot_invalid;
    // The kernel knows better than percents do.
    if (row.is_active())
      cow = cow_figures(dm, dm_uuid(row.vg_uuid, row.uuid), {row.origin_size, 0, 0, 512, row.chunk_size})
                .value_or(cow);
    info.cow = cow;
    if (!cow.valid) info.unreadable = "its COW store overflowed or failed: the snapshot is lost";
  }
  return info;
}

Error no_such_volume(const VolumeName& name, const std::vector<LvRow>& rows) {
  std::vector<std::string> there;
  for (const LvRow& row : rows)
    if (row.is_public()) there.push_back(printable(row.str()));
  constexpr std::size_t kMostNamed = 12;
  std::string hint = there.empty() ? "lvm2 knows no volume on this machine" : "there is: ";
  for (std::size_t i = 0; i < std::min(there.size(), kMostNamed); ++i)
    hint += (i == 0 ? "" : ", ") + there[i];
  if (there.size() > kMostNamed) hint += ", ...";
  return Error(ErrorKind::not_found, fmt::format("there is no volume {}", printable(name.str())), hint);
}

class KernelEngine final : public VolumeEngine,
                           public BaseEngine,
                           public VolumeChanges,
                           public VolumeMoves,
                           public VolumeCopies {
 public:
  explicit KernelEngine(KernelEngineOptions options) : world_(std::make_shared<World>(std::move(options))) {}

  EngineKind kind() const override { return EngineKind::kernel; }

  std::vector<VolumeInfo> list() override {
    std::vector<VolumeInfo> all;
    for (const LvRow& row : rows_anew())
      if (row.is_public()) all.push_back(info_of(row, world_->dm()));
    return all;
  }

  // Whoever asks may have waited for others, or for a hook.
  VolumeInfo find(const VolumeName& name) override { return info_of(row_anew(name), world_->dm()); }

  std::string vg_config(const std::string& vg) override {
    const os::TemporaryFolder folder;
    const os::Path file = folder.path() / "vg.conf";
    world_->lvm().ask({"vgcfgbackup", "-f", file.native(), vg}, world_->stop());
    return os::read_text(file);
  }

  std::vector<std::string> warnings() override {
    std::vector<std::string> all = std::exchange(lvm_warnings_, {});
    for (std::string& warning : world_->take_warnings()) all.push_back(std::move(warning));
    return all;
  }

  block::DevicePtr open_read(const VolumeName& name) override {
    const LvRow row = readable(name);
    os::UniqueFd fd = open_lv_node(*world_, dm_uuid(row.vg_uuid, row.uuid), O_RDONLY);
    return std::make_shared<LvDevice>(name.str(), world_->node(lvm::dm_name(row.vg, row.name)),
                                      std::move(fd));
  }

  block::WritableDevicePtr open_write(const VolumeName& name) override {
    const LvRow row = readable(name);
    if (!row.writable)
      throw Error(ErrorKind::refused, fmt::format("{} is read-only", printable(name.str())),
                  fmt::format("lvchange --permission rw {}", name.str()));
    block::WritableDevicePtr device = std::make_shared<block::FileDevice>(
        world_->node(lvm::dm_name(row.vg, row.name)), open_alone(name, row, O_RDWR),
        block::FileDevice::Access::read_write);
    if (row.pool_uuid.empty()) return device;
    return std::make_shared<ThinTarget>(std::move(device), [world = world_, row] {
      return pool_figures(world->dm(), row.vg_uuid, row.pool_uuid, row.vg + "/" + row.pool);
    });
  }

  std::unique_ptr<SnapshotLease> acquire(const VolumeName& name, const AcquireOptions& options) override {
    return acquire(name, options, false);
  }

  std::unique_ptr<SnapshotLease> acquire_snapshot(const VolumeName& name, SnapshotUse use) override {
    const LvRow row = row_of(name);
    if (!row.is_snapshot())
      throw Error(ErrorKind::usage, fmt::format("{} is not a snapshot", printable(name.str())),
                  "name a snapshot, or leave --from-snapshot out");
    return lease_existing(row, use);
  }

  std::unique_ptr<SnapshotLease> acquire_for_base(const VolumeName& name,
                                                  const AcquireOptions& options) override {
    return acquire(name, options, true);  // there is always a snapshot
  }

  std::vector<BaseInfo> list_bases() override {
    std::vector<BaseInfo> bases;
    const std::vector<LvRow> all = rows();
    for (const LvRow& row : all)
      if (const std::string token = base_token(row.tags); !token.empty()) {
        const auto volume = std::ranges::find(all, volume_uuid_of(row), &LvRow::uuid);
        bases.push_back({{row.vg, row.name}, volume == all.end() ? row.origin : volume->name, row.uuid, token,
                         info_of(row, world_->dm()).cow});
      }
    return bases;
  }

  void remove_base(const VolumeName& base, const std::string& uuid) override {
    const LvRow row = row_anew(base);
    if (row.uuid != uuid || base_token(row.tags).empty())
      throw Error(ErrorKind::refused, fmt::format("{} is no base", printable(base.str())));
    world_->remove_volume(row.vg, row.vg_uuid, row.uuid, kRemovePatience);
  }

  CleanReport clean(const CleanOptions& options) override { return clean_leftovers(*world_, options); }

  bool is_half_made(const VolumeName& name) override {
    const LvRow row = row_of(name);
    return is_leftover(row) && !is_whole(*world_, row);
  }
  bool is_abandoned(const VolumeName& name) override { return engine::is_abandoned(name, row_of(name).tags); }
  void adopt(const VolumeName& name, const std::string& uuid) override {
    const LvRow row = row_anew(name);
    require_same(name, uuid, row.uuid);
    world_->lvm().change(untag_words(row), world_->stop());
  }
  std::unique_ptr<NewVolume> make_volume(const NewVolumeRequest& request) override {
    return make_live_volume(world_, request);
  }
  MergePlan plan_merge(const VolumeName& snapshot) override {
    return plan_live_merge(*world_, row_of(snapshot));
  }
  MergeOutcome merge(const MergePlan& plan, Progress& progress, const std::stop_token& stop) override {
    const LvRow row = row_anew(plan.snapshot);
    require_same(plan.snapshot, plan.uuid, row.uuid);
    return merge_live_snapshot(*world_, row, progress, stop);
  }

  MovePlan plan_move(const VolumeName& volume, const std::string& to) override {
    return plan_live_move(*world_, row_of(volume), to);
  }
  MoveOutcome move(const MovePlan& plan, Progress& progress, const std::stop_token& stop) override {
    return move_live_volume(*world_, row_anew(plan.volume), plan, progress, stop);
  }
  MovePlan abort_move(const VolumeName& volume) override { return abort_live_move(*world_, row_anew(volume)); }

  bool has_group(const std::string& vg) override {
    const auto groups = world_->lvm().vgs_lately(world_->stop()).rows;
    return std::ranges::any_of(groups, [&](const VgRow& row) { return row.name == vg; });
  }
  std::shared_ptr<void> lock_move(const std::string& source_uuid) override {
    return lock_live_move(*world_, source_uuid);
  }
  std::vector<CopyInfo> copies_of(const std::string& source_uuid) override {
    return live_copies_of(rows(), source_uuid);
  }
  void mark_copy(const VolumeName& copy, const std::string& source_uuid, const std::string& base_token) override {
    mark_live_copy(*world_, row_unstopped(copy), source_uuid, base_token);
  }
  void set_active(const VolumeName& copy, bool active) override {
    activate_live_copy(*world_, row_unstopped(copy), active);
  }
  void remove_copy(const VolumeName& copy, const std::string& source_uuid) override {
    remove_live_copy(*world_, row_anew(copy), source_uuid);
  }
  std::unique_ptr<HeldVolume> hold(const VolumeName& source) override {
    return hold_live_volume(open_alone(source, row_unstopped(source), O_RDONLY));
  }
  void retire(const VolumeName& source, std::unique_ptr<HeldVolume> held, const std::string& copy_uuid) override {
    retire_live_volume(*world_, row_unstopped(source), std::move(held), copy_uuid);
  }
  std::optional<Retired> retired(const VolumeName& source) override {
    return retired_as(row_of(source), rows());
  }
  void reinstate(const VolumeName& source) override { reinstate_live_volume(*world_, row_unstopped(source)); }
  void take_over(const VolumeName& copy) override { take_over_live(*world_, row_unstopped(copy)); }

  VolumeName create_snapshot(const VolumeName& origin, const std::string& name,
                             const AcquireOptions& options) override {
    const LvRow row = readable(origin);
    if (row.is_thick_snapshot())
      throw Error(ErrorKind::usage, fmt::format("{} is a snapshot itself", printable(origin.str())));
    Made made{name, false, journal::new_run_tag()};
    if (name.empty()) made.name = name_by_date(row.name);
    if (const auto problem = lvm::lv_name_problem(row.vg, made.name))
      throw Error(ErrorKind::usage,
                  fmt::format("'{}' is no name for a snapshot: {}", printable(made.name), *problem));
    for (const LvRow& other : rows())
      if (other.vg_uuid == row.vg_uuid && other.name == made.name)
        throw Error(ErrorKind::refused, fmt::format("there is a volume {} already", printable(other.str())),
                    "give the snapshot another name (--name)");
    lease_new(row, options, made)->release();
    return {row.vg, made.name};
  }

  void remove_snapshot(const VolumeName& snapshot, const std::string& uuid) override {
    const LvRow row = row_anew(snapshot);
    require_same(snapshot, uuid, row.uuid);
    if (!row.is_snapshot())
      throw Error(ErrorKind::refused, fmt::format("{} is not a snapshot", printable(snapshot.str())),
                  "volumes are removed with lvremove");
    for (const std::string& tag : row.tags)
      if (const auto owner = journal::Owner::from_tag(tag); owner && owner->alive())
        throw Error(ErrorKind::busy,
                    fmt::format("{} belongs to a backup that runs (process {})", printable(snapshot.str()),
                                owner->pid),
                    "it goes when that ends");
    world_->remove_volume(row.vg, row.vg_uuid, row.uuid, std::chrono::seconds(3));
  }

 private:
  struct Made {
    std::string name;
    bool for_a_run;  // else by hand: kept when the lease ends, and never cleaned
    std::string mark;  // a tag that nothing else carries which may have the same name
    bool for_base = false;  // may stay as a base
  };

  std::unique_ptr<SnapshotLease> acquire(const VolumeName& name, const AcquireOptions& options, bool for_base) {
    const LvRow row = readable(name);
    // Nothing is snapshot of a thick snapshot: it stands still as long as nobody writes to it, which is watched.
    if (row.is_thick_snapshot()) return lease_existing(row, SnapshotUse::reading);
    return lease_new(row, options, Made{journal::new_volume_name(), true, journal::Owner::self().tag(), for_base});
  }

  std::vector<LvRow> rows() {
    return noting_warnings(world_->lvm().lvs_lately(world_->stop()));
  }
  std::vector<LvRow> rows_anew() { return noting_warnings(world_->lvm().lvs({}, world_->stop())); }
  std::vector<LvRow> noting_warnings(LvmCommand::Report<LvRow> report) {
    for (std::string& warning : report.warnings)
      if (std::ranges::find(lvm_warnings_, warning) == lvm_warnings_.end())
        lvm_warnings_.push_back(std::move(warning));
    return std::move(report.rows);
  }

  LvRow row_of(const VolumeName& name) { return row_among(name, rows()); }
  // For whoever compares it with what was known before, or has no report to go on from.
  LvRow row_anew(const VolumeName& name) { return row_among(name, rows_anew()); }
  // For steps that nothing stops, since half of them would be worse.
  LvRow row_unstopped(const VolumeName& name) { return row_among(name, world_->lvm().lvs_lately().rows); }
  LvRow row_among(const VolumeName& name, std::vector<LvRow> all) const {
    std::optional<LvRow> found;
    for (LvRow& row : all) {
      if (row.vg != name.vg || row.name != name.lv) continue;
      if (found)
        throw Error(ErrorKind::refused,
                    fmt::format("two volume groups have the name {}, with the UUIDs {} and {}",
                                printable(name.vg), found->vg_uuid, row.vg_uuid),
                    fmt::format("rename one: vgrename {} NEWNAME", row.vg_uuid));
      found = row;
    }
    if (!found) throw no_such_volume(name, all);
    return *found;
  }

  // One whose bytes users may want: active, and no part of another.
  LvRow readable(const VolumeName& name) {
    LvRow row = row_of(name);
    const std::string title = printable(name.str());
    if (row.is_pool())
      throw Error(ErrorKind::unsupported, fmt::format("{} is a pool: it has no content of its own", title),
                  "name the volumes in it");
    if (!row.is_public())
      throw Error(ErrorKind::unsupported, fmt::format("{} is a part of another volume", title),
                  "name the volume that it belongs to");
    if (!row.is_active())
      throw Error(
          ErrorKind::missing, fmt::format("{} is not active", title),
          fmt::format("activate it first: lvchange -ay{} {}", row.skip_activation ? " -K" : "", title));
    if (row.is_thick_snapshot() && row.snapshot_invalid)
      throw Error(ErrorKind::overflow,
                  fmt::format("snapshot {} is invalid: its COW store overflowed or failed", title),
                  "its content is lost; remove it: lvremove " + title);
    return row;
  }

  // The kernel refuses what is mounted, swap, or below another device.
  os::UniqueFd open_alone(const VolumeName& name, const LvRow& row, int flags) {
    const std::string uuid = dm_uuid(row.vg_uuid, row.uuid);
    require_unused(name, uuid);
    try {
      return open_lv_node(*world_, uuid, flags | O_EXCL);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::busy) throw;
      throw in_use(name, world_->node(lvm::dm_name(row.vg, row.name)));
    }
  }

  Error in_use(const VolumeName& name, const os::Path& path) const {
    struct stat st {};
    std::vector<std::string> uses;
    if (::stat(path.c_str(), &st) == 0) uses = uses_of(st.st_rdev);
    return Error(
        ErrorKind::busy,
        fmt::format("{} is in use: {}", printable(name.str()),
                    uses.empty() ? "somebody has it open" : fmt::format("{}", fmt::join(uses, ", "))),
        "unmount it or end what uses it; a running root filesystem is restored from a rescue system with this same "
        "program, or rolled back to a snapshot at the next boot: respaldo snapshot merge");
  }

  // udev looks at devices now and then, for a moment.
  void require_unused(const VolumeName& name, const std::string& uuid) const {
    constexpr int kTries = 20;
    for (int i = 0; i < kTries; ++i) {
      const auto info = world_->dm().info(DmRef::by_uuid(uuid));
      if (!info || info->open_count == 0) return;
      const os::Path path = world_->node(info->name);
      if (i + 1 == kTries) throw in_use(name, path);
      struct stat st {};
      if (::stat(path.c_str(), &st) == 0 && !mount_points(mounts(), st.st_rdev).empty())
        throw in_use(name, path);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  static std::string mounts() { return os::try_read_text("/proc/self/mountinfo", 64U << 20).value_or(""); }

  std::string name_by_date(const std::string& lv) const {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    ::localtime_r(&now, &local);
    constexpr std::size_t kMostKept = 64;
    return fmt::format("{}_{:04}{:02}{:02}_{:02}{:02}{:02}", lv.substr(0, kMostKept), local.tm_year + 1900,
                       local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
  }

  static bool wants_store(const AcquireOptions& options) { return options.cow_size || options.cow_share; }

  std::unique_ptr<SnapshotLease> lease_existing(const LvRow& row, SnapshotUse use) {
    LeasedSnapshot snapshot;
    snapshot.read_as_given = use == SnapshotUse::reading;
    snapshot.name = {row.vg, row.name};
    snapshot.vg_uuid = row.vg_uuid;
    snapshot.lv_uuid = row.uuid;
    snapshot.origin = row.vg + "/" + row.origin;
    snapshot.thick = row.is_thick_snapshot();
    if (snapshot.thick) {
      const VgRow vg = world_->group(row.vg);
      snapshot.space = {row.origin_size, vg.size, vg.free, vg.extent_size, row.chunk_size};
      snapshot.kept_free = kept_free(snapshot.space, std::nullopt);
    }
    snapshot.pool = row.pool;
    snapshot.pool_uuid = row.pool_uuid;
    if (!row.is_active()) {
      world_->lvm().change({"lvchange", "-ay", "-K", "-y", snapshot.name.str()}, world_->stop());
      snapshot.deactivate = true;
    }
    auto lease = lease_snapshot(world_, std::move(snapshot));
    lease->require_valid();
    return lease;
  }

  std::unique_ptr<SnapshotLease> lease_new(const LvRow& row, const AcquireOptions& options,
                                           const Made& made) {
    LeasedSnapshot snapshot;
    snapshot.name = {row.vg, made.name};
    snapshot.vg_uuid = row.vg_uuid;
    snapshot.origin = row.str();
    snapshot.thick = !row.is_thin_volume() || wants_store(options);
    snapshot.ours = made.for_a_run;
    std::vector<std::string> command = {"lvcreate", "-s", "-y", "-n", made.name, "-ky"};
    if (snapshot.thick) {
      const std::uint64_t size = size_store(row, options, snapshot);
      command.insert(command.end(),
                     {"-L", fmt::format("{}b", size), "-c", fmt::format("{}k", kCowChunk / kKiB)});
    } else {
      snapshot.pool = row.pool;
      snapshot.pool_uuid = row.pool_uuid;
      require_pool_room(row, options);
      command.insert(command.end(), {"-K", "-ay"});
    }
    std::vector<std::string> tags = {std::string(made.for_a_run ? journal::kTag : journal::kManualTag), made.mark};
    if (made.for_a_run && !options.run_tag.empty()) tags.push_back(options.run_tag);
    for (const std::string& tag : tags) command.insert(command.end(), {"--addtag", tag});
    command.push_back(row.str());
    // A store on another disk would take the volume with it when that disk goes.
    if (snapshot.thick && made.for_base) snapshot.home = physical_volumes_below(rows(), row);

    snapshot.intent =
        made.for_a_run
            ? world_->begin("snapshot", {{"vg", row.vg}, {"vg_uuid", row.vg_uuid}, {"lv", made.name}})
            : 0;
    try {
      create(command, snapshot.home);
      os::crash_point("snapshot made");
      snapshot.lv_uuid = uuid_of_new(row, made.name);
      if (snapshot.intent != 0) world_->add(snapshot.intent, {{"lv_uuid", snapshot.lv_uuid}});
    } catch (...) {
      undo(row, made, snapshot.intent);
      throw;
    }
    std::unique_ptr<SnapshotLease> lease;
    try {
      lease = lease_snapshot(world_, std::move(snapshot));
    } catch (...) {
      // One for a run took itself away.
      if (!made.for_a_run) undo(row, made, 0);
      throw;
    }
    os::crash_point("snapshot open");
    return lease;
  }

  // On these physical volumes, if there is room; else anywhere: the lease says then that it can be no base.
  void create(const std::vector<std::string>& command, const std::vector<std::string>& home) {
    if (!home.empty()) {
      std::vector<std::string> at_home = command;
      at_home.insert(at_home.end(), home.begin(), home.end());
      try {
        world_->lvm().change(at_home, world_->stop());
        return;
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::no_space) throw;
      }
    }
    world_->lvm().change(command, world_->stop());
  }

  // Fills the snapshot's space; the size of its store.
  std::uint64_t size_store(const LvRow& row, const AcquireOptions& options, LeasedSnapshot& snapshot) {
    const VgRow vg = world_->group(row.vg);
    require_changeable(vg, "a snapshot needs a group that can be changed; see `vgs`");
    snapshot.space = {row.size, vg.size, vg.free, vg.extent_size, kCowChunk};
    snapshot.kept_free = kept_free(snapshot.space, options.keep_free);
    std::optional<Amount> asked = options.cow_share;
    if (options.cow_size) asked = Amount::bytes(*options.cow_size);
    const std::uint64_t size = new_cow_size(snapshot.space, asked, options.cow_expected, options.keep_free);
    if (size == 0 || size > vg.free)
      throw Error(ErrorKind::no_space,
                  fmt::format("volume group {} has {} free, which is not enough for a snapshot of {}{}",
                              printable(row.vg), format_size(vg.free), printable(row.str()),
                              size > vg.free ? fmt::format(" with a COW store of {}", format_size(size))
                              : vg.free >= vg.extent_size ? fmt::format("; {} are kept free (--keep-free)",
                                                                        format_size(snapshot.kept_free))
                                                          : ""),
                  "extend the group (vgextend), or remove a volume that is not needed; nothing was changed");
    return size;
  }

  void require_pool_room(const LvRow& row, const AcquireOptions& options) {
    const std::string pool = row.vg + "/" + row.pool;
    const auto figures = pool_figures(world_->dm(), row.vg_uuid, row.pool_uuid, pool);
    if (!figures) return;  // lvcreate will say more
    const std::string shortage = pool_shortage(*figures, options.min_pool_free);
    if (!shortage.empty())
      throw Error(ErrorKind::no_space, shortage,
                  "extend the pool (lvextend), or allow less with --min-pool-free; nothing was changed");
  }

  // lvm2 gave the device its UUID: "LVM-" + the group's + the volume's.
  std::string uuid_of_new(const LvRow& origin, const std::string& name) {
    const auto info = world_->dm().info(DmRef::by_name(lvm::dm_name(origin.vg, name)));
    const std::string group = dm_uuid(origin.vg_uuid, "");
    if (info && info->uuid.starts_with(group))
      if (const auto uuid = lvm::Uuid::parse(std::string_view(info->uuid).substr(group.size())))
        return uuid->dashed();
    throw Error(ErrorKind::io, fmt::format("the new snapshot {}/{} has no device", origin.vg, name),
                "see dmesg and `lvs -a`");
  }

  // lvcreate failed, was interrupted, or the new volume is not usable: nothing stays.
  void undo(const LvRow& origin, const Made& made, std::uint64_t intent) noexcept {
    try {
      for (const LvRow& row : world_->lvm().lvs({"-S", fmt::format("lv_name={}", made.name)}).rows)
        if (row.vg_uuid == origin.vg_uuid && row.name == made.name && row.has_tag(made.mark))
          world_->remove_volume(row.vg, row.vg_uuid, row.uuid, kRemovePatience);
      world_->end(intent);
    } catch (const std::exception& error) {
      // The failure itself is being told; of what belongs to a run `clean` knows the rest.
      if (!made.for_a_run)
        world_->warn(fmt::format("snapshot {0} may still be there: {1}; `respaldo snapshot remove {0}` removes it",
                                 printable(origin.vg + "/" + made.name), error.what()));
    }
  }

  const std::shared_ptr<World> world_;
  std::vector<std::string> lvm_warnings_;
};

}  // namespace

std::unique_ptr<VolumeEngine> make_kernel_engine(KernelEngineOptions options) {
  return std::make_unique<KernelEngine>(std::move(options));
}

}  // namespace respaldo::engine
