#include "base/endian.h"
#include "base/error.h"
#include "base/units.h"
#include "dm/raid.h"

namespace respaldo::dm {

namespace {

constexpr std::uint32_t kMagic = 0x64526d44;  // "DmRd"
constexpr std::uint64_t kFinished = UINT64_MAX;

// The start of an rmeta device, as dm-raid 1.9 and later (and older) write it.
struct Superblock {
  Le32 magic, features, legs, position;
  Le64 events;
  Le64 failed;          // bit n: leg n had failed when this was written
  Le64 recovered;       // sectors of this leg that a rebuild has reached; all ones: whole
  Le64 resynchronised;  // sectors that the first synchronisation has reached; all ones: whole
  Le32 level, layout, chunk_sectors;
};
static_assert(sizeof(Superblock) == 60 && alignof(Superblock) == 1);

std::optional<Superblock> read_superblock(const block::Device& device) {
  if (device.size() < kSector) return std::nullopt;
  Bytes sector(kSector);
  try {
    device.read_at(0, sector);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::io && error.kind() != ErrorKind::missing) throw;
    return std::nullopt;
  }
  Superblock block;
  std::memcpy(&block, sector.data(), sizeof(block));
  if (block.magic.get() != kMagic) return std::nullopt;
  return block;
}

}  // namespace

RaidHealth read_raid_health(const std::vector<block::DevicePtr>& metadata) {
  RaidHealth health;
  health.out_of_sync.assign(metadata.size(), false);
  std::optional<Superblock> newest;
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    if (!metadata[i]) continue;
    const auto block = read_superblock(*metadata[i]);
    if (!block || block->legs.get() != metadata.size() || block->position.get() != i) continue;
    if (block->recovered.get() != kFinished) health.out_of_sync[i] = true;
    if (!newest || block->events.get() > newest->events.get()) newest = block;
  }
  if (!newest) return health;
  for (std::size_t i = 0; i < metadata.size() && i < 64; ++i)
    if (newest->failed.get() >> i & 1) health.out_of_sync[i] = true;
  const std::uint64_t sectors = newest->resynchronised.get();
  if (sectors < kFinished / kSector) health.parity_valid = sectors * kSector;
  return health;
}

}  // namespace respaldo::dm
