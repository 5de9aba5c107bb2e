// What was understood of a snapshot is written, and understood again.
#include "base/error.h"
#include "repo/repository.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  repo::Snapshot snapshot;
  try {
    snapshot = repo::parse_snapshot({data, size});
  } catch (const Error&) {
    return 0;
  }
  const std::string once = repo::to_json(snapshot);
  if (repo::to_json(repo::parse_snapshot(as_bytes(once))) != once) __builtin_trap();
  for (const char* selector : {"latest", "latest:vg0/root", "0"}) {
    try {
      (void)repo::find_snapshot({{repo::SnapshotId{}, snapshot}}, selector);
    } catch (const Error&) {
    }
  }
  return 0;
}
