// What was understood of a tree is written as restic writes it, and understood again.
#include "base/error.h"
#include "repo/tree.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string once;
  std::size_t nodes = 0;
  try {
    repo::Tree tree = repo::parse_tree({data, size});
    nodes = tree.nodes.size();
    once = repo::to_json(std::move(tree));
  } catch (const Error&) {
    return 0;  // not a tree, or one that nobody may write: two nodes of one name, a node of unknown type
  }
  // Not in the try block: what we wrote must be readable.
  const repo::Tree again = repo::parse_tree(as_bytes(once));
  if (again.nodes.size() != nodes || repo::to_json(again) != once) __builtin_trap();
  return 0;
}
