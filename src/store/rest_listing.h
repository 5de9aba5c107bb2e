// The lists of a REST server, from the wire. docs/formats/restic.md section "layout"; restic's REST backend
// protocol.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "store/backend.h"

namespace respaldo::store {

// ["<name>", ...]: names without sizes. What is no object's name is left out. Error(corrupt) for anything
// else.
std::vector<std::string> parse_rest_names(Bytes text);
// [{"name": "<name>", "size": 1}, ...]; likewise.
std::vector<FileInfo> parse_rest_files(Bytes text);

}  // namespace respaldo::store
