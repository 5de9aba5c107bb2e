// A COW store from anywhere: loading, reading, appending and merging never do worse than throw Error.
#include "base/error.h"
#include "block/file_device.h"
#include "dm/cow_store.h"
#include "dm/snapshot.h"

using namespace respaldo;

namespace {

constexpr std::uint64_t kOrigin = 64 << 10, kFallback = 512;

template <class F>
void attempt(F f) {
  try {
    f();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 1 << 20) return 0;
  const auto store = std::make_shared<block::MemoryDevice>(ByteView(data, size), "store");
  const auto origin = std::make_shared<block::MemoryDevice>(kOrigin, "origin");
  attempt([&] {
    const auto snapshot = dm::snapshot_target(origin, store, kOrigin, kFallback, "snapshot");
    Bytes all(kOrigin);
    snapshot->read_at(0, all);
    (void)snapshot->runs({0, kOrigin});
  });
  attempt([&] {
    dm::SnapshotSet set(origin);
    set.add("snapshot", store, kOrigin, kFallback);
    const Bytes before =
        set.status("snapshot").valid ? block::read(*set.snapshot_device("snapshot"), 0, kOrigin) : Bytes();
    set.origin_device()->write_at(1000, Bytes::zeroed(30000));
    if (!set.status("snapshot").valid) return;
    // What was live can be loaded, and shows what it showed.
    const Bytes after =
        block::read(*dm::snapshot_target(origin, store, kOrigin, kFallback, "snapshot"), 0, kOrigin);
    if (!std::equal(before.data(), before.data() + kOrigin, after.data())) __builtin_trap();
  });
  attempt([&] { dm::merge_snapshot(*origin, *store, kFallback); });
  return 0;
}
