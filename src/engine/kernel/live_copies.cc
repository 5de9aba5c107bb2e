#include "engine/kernel/live_copies.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "journal/names.h"
#include "os/crash_point.h"

namespace respaldo::engine {

namespace {

constexpr std::chrono::milliseconds kPatience = std::chrono::seconds(15);

std::string copy_tag(const std::string& source_uuid) {
  return std::string(journal::kCopyOfTagPrefix) + source_uuid;
}

// lvm2 adds tags before it takes others off: `but` shall stay.
void remove_tags_of_copies(const LvRow& row, std::vector<std::string>& words, const std::string& but = {}) {
  for (const std::string& tag : row.tags)
    if ((tag.starts_with(journal::kCopyOfTagPrefix) || tag.starts_with(journal::kCopyBaseTagPrefix)) && tag != but)
      words.insert(words.end(), {"--deltag", tag});
}

}  // namespace

std::vector<CopyInfo> live_copies_of(const std::vector<LvRow>& rows, const std::string& source_uuid) {
  std::vector<CopyInfo> copies;
  for (const LvRow& row : rows) {
    if (!row.has_tag(copy_tag(source_uuid))) continue;
    CopyInfo copy{{row.vg, row.name}, row.uuid, {}};
    for (const std::string& tag : row.tags)
      if (tag.starts_with(journal::kCopyBaseTagPrefix))
        copy.base_token = tag.substr(journal::kCopyBaseTagPrefix.size());
    copies.push_back(std::move(copy));
  }
  return copies;
}

void mark_live_copy(World& world, const LvRow& copy, const std::string& source_uuid,
                    const std::string& base_token) {
  std::vector<std::string> words = {"lvchange", "-ky"};
  remove_tags_of_copies(copy, words, copy_tag(source_uuid));
  words.insert(words.end(), {"--addtag", copy_tag(source_uuid)});
  if (!base_token.empty())
    words.insert(words.end(), {"--addtag", std::string(journal::kCopyBaseTagPrefix) + base_token});
  words.push_back(copy.str());
  world.lvm().change(words);
}

void activate_live_copy(World& world, const LvRow& copy, bool active) {
  if (active)
    world.lvm().change({"lvchange", "-ay", "-K", "-y", copy.str()}, world.stop());
  else
    world.lvm().change({"lvchange", "-an", "-y", copy.str()});
}

void remove_live_copy(World& world, const LvRow& copy, const std::string& source_uuid) {
  if (!copy.has_tag(copy_tag(source_uuid)))
    throw Error(ErrorKind::refused, fmt::format("{} is not the copy that was begun", printable(copy.str())));
  world.remove_volume(copy.vg, copy.vg_uuid, copy.uuid, kPatience);
}

void retire_live_volume(World& world, const LvRow& source) {
  const std::string tag(journal::kMovedTag);
  world.lvm().change({"lvchange", "-ky", "--addtag", tag, source.str()});
  os::crash_point("volume marked as moved");
  try {
    world.lvm().change({"lvchange", "-an", "-y", source.str()});
  } catch (...) {
    try {
      world.lvm().change({"lvchange", "-kn", "--deltag", tag, source.str()});
    } catch (const Error&) {
      world.warn(fmt::format("{0} is in use, but would not be activated at boot: lvchange -kn --deltag {1} {0}",
                             printable(source.str()), tag));
    }
    throw;
  }
}

// Marked and active: retiring it did not come to its end.
bool is_retired(const LvRow& source) { return source.has_tag(journal::kMovedTag) && !source.is_active(); }

bool is_set_aside(const LvRow& row) {
  return is_retired(row) || std::ranges::any_of(row.tags, [](const std::string& tag) {
           return tag.starts_with(journal::kCopyOfTagPrefix);
         });
}

void take_over_live(World& world, const LvRow& copy) {
  // First the last thing that can fail: the record of the copy stays until it can be used.
  activate_live_copy(world, copy, true);
  std::vector<std::string> words = {"lvchange", "-kn"};
  remove_tags_of_copies(copy, words);
  words.push_back(copy.str());
  world.lvm().change(words);
}

}  // namespace respaldo::engine
