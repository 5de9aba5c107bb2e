#pragma once

#include "base/error.h"

namespace respaldo::cli {

// What World::out throws when nobody reads any more.
class OutputClosed : public Error {
 public:
  explicit OutputClosed(const Error& error) : Error(error) {}
};

}  // namespace respaldo::cli
