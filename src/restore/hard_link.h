// Further names for what was restored, or stands in the target.
#pragma once

#include <string>

#include "restore/target_folder.h"

namespace respaldo::restore {

// Where an inode has its first name.
struct LinkSource {
  FolderPtr folder;
  std::string name;
  Place place;
};

// Makes `name` a name of the same inode, in place of what has it. Says why not: the first name is not what it was, or does
// not let itself be linked; empty when it is done. `current` is the folder opened lately. Throws what keeps it from its place.
std::string make_hard_link(const TargetFolder& target, OpenFolder& current, const LinkSource& source,
                           const FolderPtr& folder, const std::string& name);

}  // namespace respaldo::restore
