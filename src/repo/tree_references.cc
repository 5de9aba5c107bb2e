#include "base/error.h"
#include "repo/json_stream.h"
#include "repo/references.h"

namespace respaldo::repo {

void parse_references(Bytes json, const ReferenceVisitor& visit) {
  JsonStream stream(std::move(json), "tree");
  std::size_t members = 0;
  stream.for_each_member([&](std::string_view key, JsonStream::Value nodes) {
    ++members;
    if (key != "nodes") return;
    stream.for_each_element(nodes, "nodes", [&](JsonStream::Value node) {
      stream.for_each_member(node, "nodes", [&](std::string_view field, JsonStream::Value value) {
        if (field == "content") {
          stream.for_each_element(value, "content", [&](JsonStream::Value element) {
            const auto id = stream.id<BlobId>(element, "content");
            if (!id) bad_field("content", "an ID");
            visit(BlobType::data, *id);
          });
        } else if (field == "subtree") {
          if (const auto id = stream.id<BlobId>(value, "subtree")) visit(BlobType::tree, *id);
        }
      });
    });
  });
  // As parse_tree: no writer leaves everything out.
  if (members == 0) bad_field("nodes", "there");
}

void for_each_reference(const IndexedRepository& repository, const BlobId& tree,
                        const ReferenceVisitor& visit) {
  Bytes json = repository.load_blob(BlobType::tree, tree);
  in_context([&] { return "tree " + tree.short_hex(); }, [&] { parse_references(std::move(json), visit); });
}

}  // namespace respaldo::repo
