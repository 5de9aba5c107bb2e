// Which backups a command means: restic's filters and groups.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "repo/repository.h"

namespace respaldo::care {

// A backup matches when it has one of the hosts, all tags of one of the lists, and all of the paths; an empty
// list asks for nothing.
struct BackupFilter {
  std::vector<std::string> hosts{};
  std::vector<std::vector<std::string>> tags{};
  std::vector<std::string> paths{};  // as stored: "/dev/vg0/root"
  bool empty() const { return hosts.empty() && tags.empty() && paths.empty(); }
  bool matches(const repo::Snapshot& snapshot) const;
};

// How backups are grouped before a policy looks at each group: "host,paths" by default.
struct Grouping {
  bool host = true, paths = true, tags = false;
  static Grouping parse(std::string_view text);  // "host,paths,tags", any of them, or ""; Error(usage)
};

struct BackupGroup {
  std::string host;                // empty unless grouped by it
  std::vector<std::string> paths;  // sorted; likewise
  std::vector<std::string> tags;
  std::vector<repo::NamedSnapshot> backups;
  std::string describe() const;  // "host a, volumes vg0/root"
};

// In the order of their keys.
std::vector<BackupGroup> group_backups(std::vector<repo::NamedSnapshot> backups, const Grouping& grouping);

}  // namespace respaldo::care
