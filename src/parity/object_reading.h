// Reading objects that may be damaged.
#pragma once

#include <optional>

#include "parity/sidecar.h"

namespace respaldo::parity {

// Everything of an object that can be read; where the medium fails, sector by sector. Absent when there is no
// such object.
std::optional<Reading> read_tolerantly(store::Backend& backend, const store::Handle& object);

// The sidecar as far as it can be read; absent when it is missing or damaged beyond use.
struct FoundSidecar {
  bool present = false;  // there is a file
  std::optional<Sidecar> sidecar;
};
FoundSidecar find_sidecar(store::Backend& backend, const store::Handle& object);

// Stored, and read back from the medium, before it replaces what had the name.
void save_proven(store::Backend& backend, const store::Handle& object, ByteView bytes);

}  // namespace respaldo::parity
