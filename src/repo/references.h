// Reading long documents of a repository in little memory: what a tree refers to, and index files.
#pragma once

#include <functional>
#include <vector>

#include "base/bytes.h"
#include "repo/index.h"
#include "repo/repository.h"

namespace respaldo::repo {

using ReferenceVisitor = std::function<void(BlobType, const BlobId&)>;

// Visits the contents and subtrees of all nodes, whatever their type: everything that parse_tree would find,
// in not much more memory than the text. Error(corrupt) may come when much was visited already.
void parse_references(Bytes json, const ReferenceVisitor& visit);
// The same of a stored tree; errors as of load_tree.
void for_each_reference(const IndexedRepository& repository, const BlobId& tree,
                        const ReferenceVisitor& visit);

// parse_index without a copy of the text.
std::vector<PackContents> parse_index(Bytes json);

}  // namespace respaldo::repo
