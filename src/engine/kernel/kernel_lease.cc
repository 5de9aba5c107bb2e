#include "engine/kernel/kernel_lease.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <mutex>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "block/write_count.h"
#include "dm/cow_store.h"
#include "engine/kernel/bases.h"
#include "engine/kernel/in_use.h"
#include "engine/kernel/tools/dm_status.h"
#include "os/crash_point.h"
#include "os/kernel_files.h"

namespace respaldo::engine {

namespace {

constexpr std::chrono::milliseconds kRemovePatience = std::chrono::seconds(30);

// The word number `index` of a table's line, as a number.
std::optional<std::uint64_t> number_in(std::string_view words, std::size_t index) {
  for (std::size_t i = 0; i < index; ++i) {
    const std::size_t blank = words.find(' ');
    if (blank == words.npos) return std::nullopt;
    words.remove_prefix(blank + 1);
  }
  std::uint64_t value = 0;
  if (std::from_chars(words.data(), words.data() + words.size(), value).ec != std::errc())
    return std::nullopt;
  return value;
}

class KernelLease final : public SnapshotLease, public BaseKeeper {
 public:
  KernelLease(std::shared_ptr<World> world, LeasedSnapshot snapshot)
      : world_(std::move(world)),
        snapshot_(std::move(snapshot)),
        uuid_(dm_uuid(snapshot_.vg_uuid, snapshot_.lv_uuid)),
        made_(snapshot_.ours) {
    try {
      os::UniqueFd fd = open_lv_node(*world_, uuid_, O_RDONLY);
      const auto info = world_->dm().info(DmRef::by_uuid(uuid_));
      const os::Path path = world_->node(info ? info->name : snapshot_.name.str());
      device_ = std::make_unique<LvDevice>(snapshot_.name.str(), path, std::move(fd));
      path_ = path.native();
      if (snapshot_.read_as_given) begin_reading();
    } catch (...) {
      drop();
      throw;
    }
  }
  ~KernelLease() override { drop(); }

  const block::Device& device() const override { return *device_; }
  std::string_view how() const override { return snapshot_.ours ? "snapshot" : "given"; }
  std::string snapshot_name() const override { return snapshot_.name.str(); }
  std::string device_path() const override { return path_; }

  std::optional<CowFigures> cow() const override {
    return snapshot_.thick ? cow_figures(world_->dm(), uuid_, snapshot_.space) : std::nullopt;
  }
  std::optional<PoolFigures> pool() const override {
    if (snapshot_.pool_uuid.empty()) return std::nullopt;
    return pool_figures(world_->dm(), snapshot_.vg_uuid, snapshot_.pool_uuid,
                        snapshot_.name.vg + "/" + snapshot_.pool);
  }

  void require_valid() const override {
    const auto lines = world_->dm().status(DmRef::by_uuid(uuid_));
    if (!lines || lines->empty())
      throw dead("is gone: somebody removed it or took its device away",
                 "nothing was saved; see who removes snapshots on this machine, and run again");
    const DmLine& line = lines->front();
    if (snapshot_.thick) {
      const auto status = parse_snapshot_status(line.words);
      if (line.type != "snapshot" || !status)
        throw dead(fmt::format("is none any more (device-mapper: {} {})", line.type, printable(line.words)),
                   "nothing was saved; run again");
      if (status->state != SnapshotState::valid)
        throw dead("is invalid: its COW store overflowed, or could not be read or written",
                   "nothing was saved; the origin is unharmed; run again with a larger --cow");
    } else if (const auto status = parse_thin_status(line.words);
               line.type != "thin" || !status || status->failed) {
      throw dead(fmt::format("has failed (device-mapper: {} {})", line.type, printable(line.words)),
                 "nothing was saved; the pool needs help: see `lvs -a` and dmesg");
    }
    if (begun_ && begun_->known() && device_ && !block::WriteCount(device_->fd()).same_as(*begun_))
      throw Error(ErrorKind::busy,
                  fmt::format("snapshot {} of {} was written to while it was read", printable(snapshot_.name.str()),
                              printable(snapshot_.origin)),
                  "nothing was saved; end what writes to it, or mount it read-only, and run again");
  }

  Growth grow(std::uint64_t bytes, const std::stop_token& stop) override {
    const auto now = cow();
    if (!now || !now->valid) return {0, "it has no COW store that works"};
    // Asking the group takes as long as extending does, and a store may be full by then: where there is plenty of room,
    // what was free lately is believed.
    CowSpace& space = snapshot_.space;
    constexpr std::uint64_t kPlenty = 4;
    const std::uint64_t room = space.vg_free - std::min(space.vg_free, snapshot_.kept_free);
    if (room / kPlenty < bytes) space.vg_free = world_->group_anew(snapshot_.name.vg, stop).free;
    const std::uint64_t more = cow_growth(space, now->size, bytes, snapshot_.kept_free);
    if (more == 0) {
      if (now->size >= largest_cow(space)) return {0, "it is as large as can ever be used"};
      return {0, space.vg_free < space.extent
                     ? fmt::format("volume group {} has no free extents", printable(snapshot_.name.vg))
                     : fmt::format("volume group {} has only {} free, which are kept free (--keep-free)",
                                   printable(snapshot_.name.vg), format_size(space.vg_free))};
    }
    space.vg_free -= std::min(space.vg_free, more);
    {
      const std::lock_guard lock(placing_);
      extend(more, stop);
    }
    // Somebody else (dmeventd) may have been quicker.
    const auto after = cow();
    if (!after || !after->valid) return {0, "it overflowed while it was being extended"};
    return {after->size > now->size ? after->size - now->size : 0, ""};
  }

  std::vector<std::unique_ptr<Base>> bases() override {
    return found_bases(false);
  }
  std::vector<std::unique_ptr<Base>> bases_of_moves() override { return found_bases(true); }
  std::optional<BaseIdentity> as_base() const override {
    if (!made_) return std::nullopt;
    const std::vector<LvRow> rows = group_rows();
    const LvRow& row = row_in(rows);
    if (!away_from_origin(rows, row).empty()) return std::nullopt;
    return base_identity(row, rows);
  }
  std::string base_problem() const override {
    if (!made_) return "the snapshot was given";
    const std::vector<LvRow> rows = group_rows();
    return away_words(away_from_origin(rows, row_in(rows)));
  }
  // A base is nobody's leftover from the moment of the change on; the journal's word comes after it.
  void keep_as_base(const std::string& token) override {
    const std::lock_guard lock(placing_);
    const std::vector<LvRow> rows = group_rows();
    // It may have been extended since as_base().
    if (const auto away = away_from_origin(rows, row_in(rows)); !away.empty())
      throw Error(ErrorKind::no_space, away_words(away));
    os::crash_point("before the base is kept");
    tag_as_base(*world_, row_in(rows), token);
    kept_ = true;
    os::crash_point("base kept");
    snapshot_.ours = false;
    world_->end(snapshot_.intent);
  }

  void release() override {
    device_.reset();
    if (std::exchange(snapshot_.deactivate, false))
      world_->lvm().change({"lvchange", "-an", "-y", snapshot_.name.str()});
    if (!std::exchange(snapshot_.ours, false)) return;
    os::crash_point("before the snapshot goes");
    world_->remove_volume(snapshot_.name.vg, snapshot_.vg_uuid, snapshot_.lv_uuid, kRemovePatience);
    os::crash_point("snapshot gone");
    world_->end(snapshot_.intent);
  }

 private:
  // At home, if it may become a base; a run that ends well is worth more than a base.
  void extend(std::uint64_t bytes, const std::stop_token& stop) {
    std::vector<std::string> words = {"lvextend", "-y", "-L", fmt::format("+{}b", bytes), snapshot_.name.str()};
    if (snapshot_.home.empty()) {
      world_->lvm().change(words, stop);
      return;
    }
    std::vector<std::string> at_home = words;
    at_home.insert(at_home.end(), snapshot_.home.begin(), snapshot_.home.end());
    try {
      world_->lvm().change(at_home, stop);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::no_space || kept_) throw;
      world_->lvm().change(words, stop);
    }
  }
  std::string away_words(const std::vector<std::string>& away) const {
    return fmt::format("its COW store lies on {}, since there was no room for it where {} lies: without that disk the volume "
                       "itself could not be activated",
                       printable(fmt::format("{}", fmt::join(away, ", "))), printable(snapshot_.origin));
  }
  // The count sees all who write, in other mount namespaces, too; but a refusal is better than a failure later.
  void begin_reading() {
    struct stat st {};
    if (::fstat(device_->fd(), &st) != 0) throw os::system_error(errno, "fstat", path_);
    const auto mountinfo = os::text_of("/proc/self/mountinfo");
    if (const auto points = mount_points(mountinfo, st.st_rdev, MountedFor::writing); !points.empty())
      throw Error(ErrorKind::busy,
                  fmt::format("snapshot {} is mounted writable on {}: it may change while it is read",
                              printable(snapshot_.name.str()), printable(points.front())),
                  fmt::format("unmount it, or mount it read-only: mount -o remount,ro {}", printable(points.front())));
    begun_.emplace(device_->fd());
  }
  std::vector<std::unique_ptr<Base>> found_bases(bool of_moves) const {
    if (!made_) return {};
    const std::vector<LvRow> rows = group_rows();
    const LvRow& now = row_in(rows);
    auto found = find_bases(world_, rows, now.origin_uuid, now);
    std::erase_if(found, [&](const auto& base) { return is_base_of_move(base->identity().token) != of_moves; });
    return found;
  }
  // Anew, and no other group's trouble may keep a backup from its end.
  std::vector<LvRow> group_rows() const { return world_->lvm().lvs({snapshot_.name.vg}).rows; }
  const LvRow& row_in(const std::vector<LvRow>& rows) const {
    for (const LvRow& row : rows)
      if (row.uuid == snapshot_.lv_uuid && row.vg_uuid == snapshot_.vg_uuid) return row;
    throw dead("is gone: somebody removed it", "nothing was saved; run again");
  }
  Error dead(std::string_view what, std::string hint) const {
    return Error(ErrorKind::overflow,
                 fmt::format("snapshot {} of {} {}", printable(snapshot_.name.str()),
                             printable(snapshot_.origin), what),
                 std::move(hint));
  }
  void drop() noexcept {
    try {
      release();
    } catch (const std::exception& error) {
      // The caller is told of a failure already; the journal and the tags tell `clean`.
      const std::string name = printable(snapshot_.name.str());
      world_->warn(made_ ? fmt::format("snapshot {} is still there: {}; `respaldo clean` removes it", name, error.what())
                         : fmt::format("snapshot {} is still active: {}; to deactivate it: lvchange -an {}", name,
                                       error.what(), name));
    }
  }

  const std::shared_ptr<World> world_;
  LeasedSnapshot snapshot_;
  const std::string uuid_;
  const bool made_;  // for this run
  std::mutex placing_;  // of its store, and of what follows from that
  bool kept_ = false;
  std::unique_ptr<LvDevice> device_;
  std::optional<block::WriteCount> begun_;
  std::string path_;
};

}  // namespace

std::optional<CowFigures> cow_figures(DmControl& dm, const std::string& uuid, const CowSpace& space) {
  const auto lines = dm.status(DmRef::by_uuid(uuid));
  if (!lines || lines->empty() || lines->front().type != "snapshot") return std::nullopt;
  const auto status = parse_snapshot_status(lines->front().words);
  if (!status) return std::nullopt;
  CowFigures figures;
  figures.size = status->total;
  figures.used = status->used;
  figures.chunk = space.chunk;
  figures.percent_x100 = status->percent_x100();
  figures.valid = status->state == SnapshotState::valid;
  if (space.origin != 0) figures.maximum = largest_cow(space);
  return figures;
}

std::optional<PoolFigures> pool_figures(DmControl& dm, const std::string& vg_uuid,
                                        const std::string& pool_uuid, const std::string& name) {
  constexpr std::uint64_t kMetadataBlock = 4096;
  constexpr std::size_t kBlockSizeWord = 2;
  const DmRef pool = DmRef::by_uuid(dm_uuid(vg_uuid, pool_uuid, "tpool"));
  const auto table = dm.table(pool);
  const auto lines = dm.status(pool);
  if (!table || table->empty() || !lines || lines->empty() || lines->front().type != "thin-pool")
    return std::nullopt;
  const auto status = parse_pool_status(lines->front().words);
  const auto block_sectors = number_in(table->front().words, kBlockSizeWord);
  if (!status || !block_sectors) return std::nullopt;
  PoolFigures figures;
  figures.name = name;
  figures.chunk = *block_sectors * kSector;
  figures.data_size = status->total_data_blocks * *block_sectors * kSector;
  figures.data_used = status->used_data_blocks * *block_sectors * kSector;
  figures.metadata_size = status->total_metadata_blocks * kMetadataBlock;
  figures.metadata_used = status->used_metadata_blocks * kMetadataBlock;
  figures.writable = status->mode == PoolMode::read_write;
  return figures;
}

std::unique_ptr<SnapshotLease> lease_snapshot(std::shared_ptr<World> world, LeasedSnapshot snapshot) {
  return std::make_unique<KernelLease>(std::move(world), std::move(snapshot));
}

}  // namespace respaldo::engine
