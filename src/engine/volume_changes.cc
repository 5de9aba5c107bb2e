#include "engine/volume_changes.h"

#include <algorithm>

#include "base/error.h"
#include "journal/names.h"

namespace respaldo::engine {

VolumeChanges& volume_changes(VolumeEngine& engine) {
  auto* const changes = dynamic_cast<VolumeChanges*>(&engine);
  if (changes == nullptr) throw Error(ErrorKind::unsupported, "this cannot be done here");
  return *changes;
}

bool is_leftover(const std::vector<std::string>& tags) {
  if (std::ranges::find(tags, journal::kBaseTag) != tags.end()) return false;
  bool owned = false;
  for (const std::string& tag : tags) {
    const auto owner = journal::Owner::from_tag(tag);
    if (!owner) continue;
    if (!owner->here() || owner->alive()) return false;
    owned = true;
  }
  return owned;
}

}  // namespace respaldo::engine
