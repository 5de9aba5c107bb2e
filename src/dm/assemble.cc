#include <fmt/format.h>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "block/layers.h"
#include "dm/mapped_device.h"
#include "dm/raid.h"
#include "dm/snapshot.h"
#include "dm/table.h"
#include "dm/thin.h"

namespace respaldo::dm {

namespace {

using block::DevicePtr;
using block::WritableDevicePtr;

std::uint64_t bytes_of(std::uint64_t sectors, const std::string& name) {
  if (sectors > (1ULL << 62) / kSector)
    throw Error(ErrorKind::corrupt, fmt::format("{}: {} sectors are more than any disk has", name, sectors));
  return sectors * kSector;
}

Error unsupported(const UnsupportedTarget& target, const std::string& name) {
  return Error(ErrorKind::unsupported,
               fmt::format("{}: segment type {} is not supported{}{}", name, printable(target.type),
                           target.why.empty() ? "" : ": ", target.why));
}

// The bytes that a line of `length` bytes maps on one of `legs` legs.
std::uint64_t leg_length(std::uint64_t length, std::size_t legs, const std::string& name) {
  if (legs == 0 || length % legs != 0)
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: {} bytes cannot be spread over {} stripes", name, length, legs));
  return length / legs;
}

DevicePtr slice_of(const DevicePtr& below, std::uint64_t start, std::uint64_t length,
                   const std::string& name) {
  return block::slice(below, {start, length}, name);
}
WritableDevicePtr slice_of(const WritableDevicePtr& below, std::uint64_t start, std::uint64_t length,
                           const std::string& name) {
  return block::slice(below, {start, length}, name);
}

// Linear and striped, which are the same for reading and for writing.
template <class Ptr, class Resolve>
class PlainTargets {
 public:
  PlainTargets(const std::string& name, std::uint64_t length, Resolve& resolve)
      : name_(name), length_(length), resolve_(resolve) {}

  Ptr operator()(const LinearTarget& t) const {
    return slice_of(Ptr(resolve_(t.device.name)), bytes_of(t.device.start, name_), length_, name_);
  }
  Ptr operator()(const StripedTarget& t) const {
    const std::uint64_t each = leg_length(length_, t.legs.size(), name_);
    std::vector<Ptr> legs;
    for (const DeviceRef& leg : t.legs)
      legs.push_back(slice_of(Ptr(resolve_(leg.name)), bytes_of(leg.start, name_), each, name_));
    if (legs.size() == 1) return legs[0];
    return stripe(std::move(legs), bytes_of(t.chunk, name_), name_);
  }

 protected:
  const std::string& name_;
  std::uint64_t length_;
  Resolve& resolve_;
};

struct ResolveReadable {
  Resolver& resolver;
  DevicePtr operator()(const std::string& name) { return resolver.device(name); }
};

class ReadableTargets : public PlainTargets<DevicePtr, ResolveReadable> {
 public:
  using PlainTargets::PlainTargets;
  using PlainTargets::operator();

  DevicePtr operator()(const ErrorTarget&) const {
    return block::error_device(length_, name_,
                               Error(ErrorKind::io, fmt::format("{}: an error segment", name_)));
  }
  DevicePtr operator()(const ZeroTarget&) const { return block::zero_device(length_, name_); }

  DevicePtr operator()(const MirrorTarget& t) const {
    std::vector<DevicePtr> legs;
    for (const DeviceRef& leg : t.legs) {
      legs.push_back(slice_of(resolve_(leg.name), bytes_of(leg.start, name_), length_, name_));
      if (!t.secondaries_in_sync) break;
    }
    return mirror_target(std::move(legs), length_, name_);
  }

  DevicePtr operator()(const RaidTarget& t) const {
    std::vector<DevicePtr> metadata;
    for (const RaidLeg& leg : t.legs) metadata.push_back(leg.metadata ? resolve_(*leg.metadata) : nullptr);
    const RaidHealth health = read_raid_health(metadata);
    RaidLayout layout{.level = t.level,
                      .chunk = bytes_of(t.chunk, name_),
                      .copies = t.copies,
                      .parity_valid = health.parity_valid};
    std::vector<RaidDeviceLeg> legs;
    for (std::size_t i = 0; i < t.legs.size(); ++i)
      legs.push_back({resolve_(t.legs[i].data), !t.legs[i].out_of_sync && !health.out_of_sync[i]});
    return raid_target(layout, std::move(legs), length_, name_);
  }

  DevicePtr operator()(const SnapshotOriginTarget& t) const {
    return slice_of(resolve_(t.origin), 0, length_, name_);
  }
  DevicePtr operator()(const SnapshotTarget& t) const {
    return snapshot_target(resolve_(t.origin), resolve_(t.cow), length_, bytes_of(t.chunk, name_), name_);
  }
  DevicePtr operator()(const SnapshotMergeTarget& t) const {
    return snapshot_merge_target(resolve_(t.origin), resolve_(t.cow), length_, bytes_of(t.chunk, name_),
                                 name_);
  }

  DevicePtr operator()(const ThinPoolTarget& t) const {
    return slice_of(resolve_(t.data), 0, length_, name_);
  }
  DevicePtr operator()(const ThinTarget& t) const {
    const Table* table = resolve_.resolver.table(t.pool);
    const auto* pool =
        table != nullptr && table->size() == 1 ? std::get_if<ThinPoolTarget>(&(*table)[0].target) : nullptr;
    if (pool == nullptr)
      throw Error(ErrorKind::corrupt, fmt::format("{}: {} is not a thin pool", name_, printable(t.pool)));
    const ThinMetadata metadata(resolve_(pool->metadata));
    require_matching(*pool, metadata);
    const DevicePtr external = t.external_origin ? resolve_(*t.external_origin) : nullptr;
    return thin_target(metadata, resolve_(pool->data), t.device_id, external, length_, name_);
  }
  DevicePtr operator()(const UnsupportedTarget& t) const { throw unsupported(t, name_); }

 private:
  void require_matching(const ThinPoolTarget& pool, const ThinMetadata& metadata) const {
    if (metadata.block_size() != bytes_of(pool.chunk, name_))
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: the pool's blocks are {} bytes in its metadata, {} in the group's", name_,
                              metadata.block_size(), pool.chunk * kSector));
    // The text may be one transaction ahead, with messages that the pool has not been given yet.
    if (pool.transaction_id && *pool.transaction_id != metadata.transaction_id() &&
        *pool.transaction_id != metadata.transaction_id() + 1)
      throw Error(
          ErrorKind::corrupt,
          fmt::format("{}: the pool's metadata is at transaction {}, the group's text at {}", name_,
                      metadata.transaction_id(), *pool.transaction_id),
          "the group's metadata and the pool do not belong together; restore the group's matching backup");
  }
};

struct ResolveWritable {
  const std::function<WritableDevicePtr(const std::string&)>& resolve;
  WritableDevicePtr operator()(const std::string& name) { return resolve(name); }
};

class WritableTargets : public PlainTargets<WritableDevicePtr, ResolveWritable> {
 public:
  using PlainTargets::PlainTargets;
  using PlainTargets::operator();
  WritableDevicePtr operator()(const UnsupportedTarget& t) const { throw unsupported(t, name_); }
  template <class Other>
  WritableDevicePtr operator()(const Other&) const {
    throw Error(ErrorKind::unsupported,
                fmt::format("{} can be read, but not written: it is not linear or striped", name_));
  }
};

// The lines of a table, which must tile it, as one device.
template <class Ptr, class Targets, class Resolve>
Ptr build(const Table& table, Resolve resolve, const std::string& name) {
  std::vector<Ptr> parts;
  std::uint64_t end = 0;
  for (const TableLine& line : table) {
    if (line.start != end || line.length == 0)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: its segments leave a gap or overlap at sector {}", name, end));
    const std::uint64_t length = bytes_of(line.length, name);
    end += line.length;
    bytes_of(end, name);
    parts.push_back(std::visit(Targets(name, length, resolve), line.target));
  }
  if (parts.size() == 1) return parts[0];
  return concatenate(std::move(parts), name);
}

}  // namespace

DevicePtr assemble(const Table& table, Resolver& resolver, std::string name) {
  return build<DevicePtr, ReadableTargets>(table, ResolveReadable{resolver}, name);
}

WritableDevicePtr assemble_writable(
    const Table& table, const std::function<WritableDevicePtr(const std::string&)>& resolve_writable,
    std::string name) {
  return build<WritableDevicePtr, WritableTargets>(table, ResolveWritable{resolve_writable}, name);
}

}  // namespace respaldo::dm
