// What the live engine's bases tell, for the kernel's scenario: base_tool VG ORIGIN SNAPSHOT prints the
// changed ranges ("offset length") of each base of the origin, as the snapshot sees them; errors as "refused:
// WHY".
#include <fmt/format.h>

#include <cstdio>

#include "base/error.h"
#include "engine/kernel/bases.h"

using namespace respaldo;

namespace {

const engine::LvRow& row_of(const std::vector<engine::LvRow>& rows, const std::string& name) {
  for (const engine::LvRow& row : rows)
    if (row.name == name) return row;
  throw Error(ErrorKind::not_found, "there is no volume " + name);
}

int run(const std::string& vg, const std::string& origin, const std::string& snapshot) {
  engine::KernelEngineOptions options;
  options.state = "/run/respaldo";
  const auto world = std::make_shared<engine::World>(options);
  const auto rows = world->lvm().lvs({vg}).rows;
  for (const auto& base :
       engine::find_bases(world, rows, row_of(rows, origin).uuid, row_of(rows, snapshot))) {
    try {
      const change::ChangeMap map = base->changes();
      for (const Extent& extent : map.changed.extents()) fmt::print("{} {}\n", extent.offset, extent.length);
    } catch (const Error& error) {
      fmt::print("refused: {}\n", error.what());
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 4) return 2;
    return run(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "base_tool: {}\n", error.what());
    return 1;
  }
}
