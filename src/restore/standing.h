// What stands in a target under the name of something stored, compared with it.
#pragma once

#include <sys/stat.h>

#include "repo/tree.h"

namespace respaldo::restore {

// S_IFREG and so on; 0: of a kind that is not known.
mode_t kind_of(repo::NodeType type);

// As far as can be seen from outside: another kind, or a file of another size or mtime.
bool differs(const repo::Node& node, const struct stat& st);
// The same, and for links where they lead, for devices which one they are. It lies in the folder `in`.
bool is_same(const repo::Node& node, const struct stat& st, int in);
// Another mode or owner; an ordinary user may not set all of it.
bool owner_or_mode_differs(const repo::Node& node, const struct stat& st);
// Whether a file that stands, and whose content was not looked at, may get owner and mode of the stored one. It may be
// somebody else's work with the size and time of that, who must not get rights through it; and it has no further names.
bool may_be_given(const repo::Node& node, const struct stat& st);

}  // namespace respaldo::restore
