// What was understood of a tree is written as restic writes it, and understood again; what it refers to is
// found as well when it is read as a stream.
#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "repo/references.h"
#include "repo/tree.h"

using namespace respaldo;

namespace {

using References = std::set<std::pair<repo::BlobType, repo::BlobId>>;

References references(const repo::Tree& tree) {
  References all;
  for (const repo::Node& node : tree.nodes) {
    for (const repo::BlobId& id : node.content) all.emplace(repo::BlobType::data, id);
    if (node.subtree) all.emplace(repo::BlobType::tree, *node.subtree);
  }
  return all;
}

References streamed(ByteView json) {
  References all;
  repo::parse_references(Bytes::copy_of(json),
                         [&](repo::BlobType type, const repo::BlobId& id) { all.emplace(type, id); });
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string once;
  std::size_t nodes = 0;
  References of_tree, of_stream;
  bool stream_reads = true;
  try {
    of_stream = streamed({data, size});
  } catch (const Error&) {
    stream_reads = false;
  }
  try {
    repo::Tree tree = repo::parse_tree({data, size});
    nodes = tree.nodes.size();
    of_tree = references(tree);
    once = repo::to_json(std::move(tree));
    // Of fields that are there twice the stream finds all.
    if (stream_reads && !std::ranges::includes(of_stream, of_tree)) __builtin_trap();
  } catch (const Error&) {
    return 0;  // not a tree, or one that nobody may write: two nodes of one name, a node of unknown type
  }
  // Not in the try block: what we wrote must be readable.
  const repo::Tree again = repo::parse_tree(as_bytes(once));
  // With the parser of the one before, with room for padding and without.
  for (const std::size_t room : {0U, 64U, 4096U}) {
    Bytes text(once.size() + room);
    std::memcpy(text.data(), once.data(), once.size());
    text.resize(once.size());
    if (repo::to_json(repo::parse_next_tree(std::move(text))) != repo::to_json(again)) __builtin_trap();
  }
  if (streamed(as_bytes(once)) != references(again)) __builtin_trap();
  if (again.nodes.size() != nodes || repo::to_json(again) != once) __builtin_trap();
  return 0;
}
