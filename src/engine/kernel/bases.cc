#include "engine/kernel/bases.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "block/file_device.h"
#include "dm/thin_metadata.h"
#include "engine/kernel/tools/dm_status.h"
#include "journal/names.h"
#include "lvm/volume_group.h"
#include "os/crash_point.h"
#include "os/file.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kDirectUnit = 4096;
constexpr std::chrono::milliseconds kRemovePatience = std::chrono::seconds(30);

// What lies on the disk now, past the page cache: the kernel writes exception tables and pool metadata below
// it.
class DirectDevice final : public block::Device {
 public:
  explicit DirectDevice(const os::Path& path)
      : path_(path.native()),
        below_(path, os::open_file(path, O_RDONLY | O_DIRECT | O_CLOEXEC),
               block::FileDevice::Access::read_only) {}
  std::uint64_t size() const override { return below_.size(); }
  std::string describe() const override { return path_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    if (out.empty()) return;
    const std::uint64_t begin = offset / kDirectUnit * kDirectUnit;
    const std::uint64_t end =
        std::min((offset + out.size() + kDirectUnit - 1) / kDirectUnit * kDirectUnit, size());
    Bytes aligned(end - begin);
    below_.read_at(begin, aligned);
    std::memcpy(out.data(), aligned.data() + (offset - begin), out.size());
  }

 private:
  const std::string path_;
  const block::FileDevice below_;
};

const LvRow* find_by_uuid(const std::vector<LvRow>& rows, const std::string& uuid) {
  const auto at = std::ranges::find(rows, uuid, &LvRow::uuid);
  return at == rows.end() ? nullptr : &*at;
}

void add_below(const std::vector<LvRow>& rows, const LvRow& volume, int depth, std::vector<std::string>& found) {
  if (depth == 0) return;
  const auto go_into = [&](const std::string& name) {
    for (const LvRow& row : rows)
      if (row.vg_uuid == volume.vg_uuid && row.name == name) add_below(rows, row, depth - 1, found);
  };
  if (volume.is_thin_volume()) go_into(volume.pool);
  for (const std::string& device : volume.devices) {  // "/dev/sda1(0)", "root_rimage_0(0)"
    std::string name = device.substr(0, device.rfind('('));
    if (name.starts_with('/')) {
      if (std::ranges::find(found, name) == found.end()) found.push_back(std::move(name));
    } else {
      if (name.size() > 2 && name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
      go_into(name);
    }
  }
}

std::optional<PoolStatus> pool_status(DmControl& dm, const DmRef& pool) {
  const auto lines = dm.status(pool);
  if (!lines || lines->size() != 1 || lines->front().type != "thin-pool") return std::nullopt;
  return parse_pool_status(lines->front().words);
}

std::optional<std::uint64_t> held_root(DmControl& dm, const DmRef& pool) {
  const auto status = pool_status(dm, pool);
  return status ? status->held_root : std::nullopt;
}

class KernelBase : public Base {
 public:
  KernelBase(std::shared_ptr<World> world, LvRow row, BaseIdentity identity)
      : world_(std::move(world)), row_(std::move(row)), identity_(std::move(identity)) {}
  std::string name() const override { return row_.str(); }
  const BaseIdentity& identity() const override { return identity_; }
  void remove() override { world_->remove_volume(row_.vg, row_.vg_uuid, row_.uuid, kRemovePatience); }

 protected:
  const std::shared_ptr<World> world_;
  const LvRow row_;
  const BaseIdentity identity_;
};

class ThickBase final : public KernelBase {
 public:
  using KernelBase::KernelBase;
  // The store may be written while it is read: that only adds exceptions, of writes behind the new snapshot.
  // Afterwards the kernel must still call the snapshot valid, since the table of a dead one is not complete.
  change::ChangeMap changes() const override {
    require_valid();
    const auto cow = world_->dm().info(DmRef::by_uuid(dm_uuid(row_.vg_uuid, row_.uuid, "cow")));
    if (!cow) throw Error(ErrorKind::not_found, "its COW store is not active");
    change::ChangeMap map = change::cow_delta(DirectDevice(world_->node(cow->name)), identity_.chunk,
                                              identity_.size, identity_.token);
    require_valid();
    return map;
  }

 private:
  void require_valid() const {
    const auto lines = world_->dm().status(DmRef::by_uuid(dm_uuid(row_.vg_uuid, row_.uuid)));
    if (!lines) throw Error(ErrorKind::not_found, "it is not active");
    if (lines->size() != 1 || lines->front().type != "snapshot")
      throw Error(ErrorKind::unsupported, "the kernel does not have it as a snapshot");
    const auto status = parse_snapshot_status(lines->front().words);
    if (!status || status->state != SnapshotState::valid)
      throw Error(ErrorKind::overflow,
                  fmt::format("it is dead: its COW store overflowed, or failed ({})", lines->front().words));
  }
};

class ThinBase final : public KernelBase {
 public:
  ThinBase(std::shared_ptr<World> world, LvRow row, BaseIdentity identity, LvRow pool, std::uint32_t now)
      : KernelBase(std::move(world), std::move(row), std::move(identity)),
        pool_(std::move(pool)),
        now_(now) {}

  change::ChangeMap changes() const override {
    const DmRef pool = DmRef::by_uuid(dm_uuid(pool_.vg_uuid, pool_.uuid, "tpool"));
    require_free(pool);
    const Reservation reservation(*world_, pool_, pool);
    const auto metadata =
        std::make_shared<DirectDevice>(world_->node(lvm::dm_name(pool_.vg, pool_.metadata_lv)));
    return change::thin_delta(dm::ThinMetadata(metadata, dm::ThinRoot::held), *identity_.thin_id, now_,
                              identity_.size, identity_.token);
  }

 private:
  // A metadata snapshot of the pool, noted before it is made, and released on every way out.
  class Reservation {
   public:
    Reservation(World& world, const LvRow& pool_row, const DmRef& pool) : world_(world), pool_(pool) {
      intent_ = world_.begin(kMetadataSnapshotIntent, {{"vg", pool_row.vg},
                                                       {"vg_uuid", pool_row.vg_uuid},
                                                       {"pool", pool_row.name},
                                                       {"pool_uuid", pool_row.uuid}});
      try {
        world_.dm().message(pool_, "reserve_metadata_snap");
      } catch (...) {
        world_.end(intent_);
        throw;
      }
      try {
        if (const auto root = held_root(world_.dm(), pool_))
          world_.add(intent_, {{"held_root", fmt::format("{}", *root)}});
      } catch (const Error&) {
        // Only `clean` would have needed it.
      }
      os::crash_point("metadata snapshot reserved");
    }
    ~Reservation() {
      try {
        world_.dm().message(pool_, "release_metadata_snap");
        world_.end(intent_);
      } catch (...) {
        // The note stays, and `clean` releases it.
      }
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

   private:
    World& world_;
    const DmRef& pool_;
    std::uint64_t intent_ = 0;
  };

  void require_free(const DmRef& pool) const {
    const auto status = pool_status(world_->dm(), pool);
    if (!status)
      throw Error(ErrorKind::not_found, fmt::format("its pool {} is not active", printable(pool_.str())));
    if (status->needs_check ||
        (status->mode != PoolMode::read_write && status->mode != PoolMode::out_of_data_space))
      throw Error(ErrorKind::unsupported, fmt::format("its pool {} is not sound", printable(pool_.str())),
                  "see `lvs -a` and dmesg");
    if (status->held_root)
      throw Error(
          ErrorKind::busy,
          fmt::format("somebody else holds a metadata snapshot of its pool {} (if nobody uses it: dmsetup "
                      "message {} 0 release_metadata_snap)",
                      printable(pool_.str()), lvm::dm_name(pool_.vg, pool_.name, "tpool")));
  }

  const LvRow pool_;
  const std::uint32_t now_;
};

}  // namespace

std::string volume_uuid_of(const LvRow& snapshot) {
  if (snapshot.origin_uuid.empty())
    for (const std::string& tag : snapshot.tags)
      if (tag.starts_with(journal::kBaseOfTagPrefix)) return tag.substr(journal::kBaseOfTagPrefix.size());
  return snapshot.origin_uuid;
}

BaseIdentity base_identity(const LvRow& snapshot, const std::vector<LvRow>& rows) {
  BaseIdentity identity;
  identity.token = base_token(snapshot.tags);
  identity.snapshot_uuid = snapshot.uuid;
  identity.origin_uuid = volume_uuid_of(snapshot);
  identity.vg_uuid = snapshot.vg_uuid;
  if (snapshot.is_thin_volume()) {
    identity.source = change::Source::thin;
    identity.size = snapshot.size;
    identity.pool_uuid = snapshot.pool_uuid;
    if (snapshot.thin_id) identity.thin_id = static_cast<std::uint32_t>(*snapshot.thin_id);
    if (const LvRow* pool = find_by_uuid(rows, snapshot.pool_uuid)) identity.chunk = pool->chunk_size;
  } else {
    identity.source = change::Source::thick;
    identity.size = snapshot.origin_size;
    identity.chunk = snapshot.chunk_size;
  }
  return identity;
}

std::vector<std::unique_ptr<Base>> find_bases(const std::shared_ptr<World>& world,
                                              const std::vector<LvRow>& rows, const std::string& origin_uuid,
                                              const LvRow& now) {
  std::vector<std::unique_ptr<Base>> bases;
  for (const LvRow& row : rows) {
    if (base_token(row.tags).empty() || volume_uuid_of(row) != origin_uuid || row.merging) continue;
    BaseIdentity identity = base_identity(row, rows);
    if (identity.source == change::Source::thick) {
      bases.push_back(std::make_unique<ThickBase>(world, row, std::move(identity)));
    } else if (const LvRow* pool = find_by_uuid(rows, row.pool_uuid);
               pool != nullptr && identity.thin_id && now.thin_id && now.pool_uuid == row.pool_uuid) {
      bases.push_back(std::make_unique<ThinBase>(world, row, std::move(identity), *pool,
                                                 static_cast<std::uint32_t>(*now.thin_id)));
    }
  }
  // Tokens begin with the time at which they were made.
  std::ranges::sort(bases, std::greater(), [](const auto& base) { return base->identity().token; });
  return bases;
}

std::vector<std::string> physical_volumes_below(const std::vector<LvRow>& rows, const LvRow& volume) {
  constexpr int kDeepest = 8;
  std::vector<std::string> found;
  add_below(rows, volume, kDeepest, found);
  return found;
}

std::vector<std::string> away_from_origin(const std::vector<LvRow>& rows, const LvRow& snapshot) {
  const LvRow* origin = find_by_uuid(rows, snapshot.origin_uuid);
  if (!snapshot.is_thick_snapshot() || origin == nullptr) return {};
  const std::vector<std::string> home = physical_volumes_below(rows, *origin);
  if (home.empty()) return {};
  std::vector<std::string> away = physical_volumes_below(rows, snapshot);
  std::erase_if(away, [&](const std::string& pv) { return std::ranges::find(home, pv) != home.end(); });
  return away;
}

void tag_as_base(World& world, const LvRow& snapshot, const std::string& token) {
  std::vector<std::string> words = {"lvchange", "--addtag", std::string(journal::kBaseTag), "--addtag",
                                    std::string(journal::kBaseTokenTagPrefix) + token};
  if (snapshot.is_thin_volume())
    words.insert(words.end(), {"--addtag", std::string(journal::kBaseOfTagPrefix) + snapshot.origin_uuid});
  for (const std::string& tag : snapshot.tags)
    if (tag.starts_with(journal::kRunTagPrefix) || tag.starts_with(journal::kOwnerTagPrefix))
      words.insert(words.end(), {"--deltag", tag});
  words.push_back(snapshot.str());
  world.lvm().change(words);
}

std::optional<std::string> release_metadata_snapshot(World& world, const journal::Intent& intent) {
  const auto fact = [&](const char* name) {
    const auto at = intent.facts.find(name);
    return at == intent.facts.end() ? std::string() : at->second;
  };
  const DmRef pool = DmRef::by_uuid(dm_uuid(fact("vg_uuid"), fact("pool_uuid"), "tpool"));
  const auto status = pool_status(world.dm(), pool);
  if (!status) return std::nullopt;
  if (!status->held_root) return "";
  if (fmt::format("{}", *status->held_root) != fact("held_root"))
    return fmt::format(
        "it is not known whether it is ours; if nobody uses it: dmsetup message {} 0 release_metadata_snap",
        lvm::dm_name(fact("vg"), fact("pool"), "tpool"));
  world.dm().message(pool, "release_metadata_snap");
  return "";
}

}  // namespace respaldo::engine
