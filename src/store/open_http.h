// The stores behind HTTP, out of locations and options.
#pragma once

#include <memory>
#include <string>

#include "store/open.h"

namespace respaldo::store {

// `text` is what stands behind "rest:" or "s3:". Error(usage) for what is no such place; nothing is asked of
// a server yet.
std::unique_ptr<Backend> open_rest_location(const std::string& text, const StoreOptions& options);
std::unique_ptr<Backend> open_s3_location(const std::string& text, const StoreOptions& options);

}  // namespace respaldo::store
