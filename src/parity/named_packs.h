// Lost, or removed by another program? Only the indexes tell, and only to who has the key.
#pragma once

#include <functional>
#include <set>
#include <string>

namespace respaldo::parity {

// The packs that the indexes name. One that is named and not there was lost; one that is not named was
// removed.
struct NamedPacks {
  bool known = false;  // false: an index cannot be read, and any pack may be named
  std::set<std::string> packs{};
  bool surely(const std::string& pack) const { return known && packs.contains(pack); }
  bool perhaps(const std::string& pack) const { return !known || packs.contains(pack); }
};
using AskNamedPacks = std::function<NamedPacks()>;

}  // namespace respaldo::parity
