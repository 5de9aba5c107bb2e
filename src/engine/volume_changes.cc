#include "engine/volume_changes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
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

bool is_abandoned(const VolumeName& name, const std::vector<std::string>& tags) {
  const std::string title = printable(name.str());
  for (const std::string& tag : tags)
    if (tag.starts_with(journal::kCopyOfTagPrefix))
      throw Error(ErrorKind::refused, fmt::format("{} is the copy of a volume that moves to another group", title),
                  "end the move first: respaldo migrate VG/LV --abort, which removes it; or restore to another volume");
  bool abandoned = false;
  for (const std::string& tag : tags) {
    const auto owner = journal::Owner::from_tag(tag);
    if (!owner) continue;
    if (owner->here() && owner->alive())
      throw Error(ErrorKind::busy, fmt::format("process {} made {} for itself", owner->pid, title),
                  "wait until that ends");
    // Another machine's, too: a rescue system is another one each time that it starts.
    abandoned = true;
  }
  return abandoned;
}

std::vector<std::string> untag_words(const std::string& volume, const std::vector<std::string>& tags) {
  std::vector<std::string> words = {"lvchange"};
  for (const std::string& tag : tags) words.insert(words.end(), {"--deltag", tag});
  words.push_back(volume);
  return words;
}

std::vector<std::string> tags_of_maker(const std::vector<std::string>& tags) {
  std::vector<std::string> found;
  for (const std::string& tag : tags)
    if (tag == journal::kTag || journal::Owner::from_tag(tag)) found.push_back(tag);
  return found;
}

}  // namespace respaldo::engine
