// A sidecar, a group and settings from anywhere: reading and healing never do worse than not to heal.
#include <algorithm>
#include <set>

#include "base/hex.h"
#include "parity/group_format.h"
#include "parity/group_heal.h"
#include "parity/sidecar.h"

using namespace respaldo;

namespace {

void try_all(ByteView bytes) {
  const std::size_t size = bytes.size();
  if (const auto settings = parity::from_text(as_text(bytes)))
    if (parity::to_text(*settings) != as_text(bytes)) __builtin_trap();

  if (const auto sidecar = parity::Sidecar::parse(Bytes::copy_of(bytes))) {
    const std::uint64_t claimed = sidecar->geometry().object_size;
    if (claimed / parity::kMostShards > size) __builtin_trap();
    parity::Reading reading;
    reading.bytes = Bytes::copy_of(bytes.first(std::min<std::size_t>(size, 5000)));
    reading.unreadable.add({0, 100});
    const parity::HealResult result = parity::heal(*sidecar, reading);
    if (result.healed && crypto::sha256(*result.healed) != sidecar->header().sha256) __builtin_trap();
    (void)sidecar->data_matches(claimed, bytes);
  }

  if (const auto group = parity::Group::parse(Bytes::copy_of(bytes));
      group && group->head().shard_size < 1 << 24) {
    const auto store = store::open_memory();
    std::set<std::string> lost;
    for (const parity::GroupMember& member : group->head().members)
      if (lost.size() < 2) lost.insert(member.pack);
    parity::heal_in_group(
        *store, *group, lost, [](const std::string&) { return parity::LostPack{}; },
        [](const std::string& pack, ByteView healed, const parity::LostPack&) {
          if (to_hex(crypto::sha256(healed)) != pack) __builtin_trap();
          return true;
        });
    (void)group->parity(0, group->head().slices());
    (void)group->head().free_column();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 1 << 20) return 0;
  try_all({data, size});
  // Checksums keep a fuzzer out of what lies behind them: once more with those of the first header made
  // right.
  if (size < sizeof(parity::DiskSidecarHeader)) return 0;
  Bytes right = Bytes::copy_of({data, size});
  const std::uint64_t table = std::uint64_t{load_le32(data + 8)} * sizeof(parity::DiskGroupMember);
  if (as_text({data, 8}) == parity::kGroupMagic && size >= sizeof(parity::DiskGroupHeader) + table)
    store_le64(right.data() + 32, parity::crc64(right.view(sizeof(parity::DiskGroupHeader), table)));
  store_le64(right.data() + 120, parity::crc64(right.view(0, 120)));
  try_all(right);
  return 0;
}
