#include "care/selection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "base/printable.h"
#include "care/policy.h"

namespace respaldo::care {

bool BackupFilter::matches(const repo::Snapshot& snapshot) const {
  const auto has_path = [&](const std::string& path) {
    return std::ranges::find(snapshot.paths, path) != snapshot.paths.end();
  };
  const auto has_list = [&](const std::vector<std::string>& list) { return has_tags(snapshot, list); };
  return (hosts.empty() || std::ranges::find(hosts, snapshot.hostname) != hosts.end()) &&
         (tags.empty() || std::ranges::any_of(tags, has_list)) && std::ranges::all_of(paths, has_path);
}

Grouping Grouping::parse(std::string_view text) {
  Grouping grouping{false, false, false};
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const std::string_view word = text.substr(at, comma - at);
    if (word == "host" || word == "hosts") {
      grouping.host = true;
    } else if (word == "path" || word == "paths") {
      grouping.paths = true;
    } else if (word == "tag" || word == "tags") {
      grouping.tags = true;
    } else if (!word.empty()) {
      throw Error(ErrorKind::usage, fmt::format("backups cannot be grouped by {}", printable(word)),
                  "group by host, paths and tags, with commas between; by nothing with ''");
    }
    at = comma + 1;
  }
  return grouping;
}

std::string BackupGroup::describe() const {
  std::vector<std::string> parts;
  if (!host.empty()) parts.push_back("host " + host);
  std::vector<std::string> volumes;
  for (const std::string& path : paths) volumes.push_back(path.starts_with("/dev/") ? path.substr(5) : path);
  if (!volumes.empty()) parts.push_back(fmt::format("{}", fmt::join(volumes, ", ")));
  if (!tags.empty()) parts.push_back(fmt::format("tags {}", fmt::join(tags, ", ")));
  return parts.empty() ? "all backups" : fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<BackupGroup> group_backups(std::vector<repo::NamedSnapshot> backups, const Grouping& grouping) {
  using Key = std::tuple<std::string, std::vector<std::string>, std::vector<std::string>>;
  std::map<Key, BackupGroup> groups;
  for (repo::NamedSnapshot& backup : backups) {
    Key key;
    auto& [host, paths, tags] = key;
    if (grouping.host) host = backup.snapshot.hostname;
    if (grouping.paths) paths = backup.snapshot.paths;
    if (grouping.tags) tags = backup.snapshot.tags;
    std::ranges::sort(paths);
    std::ranges::sort(tags);
    BackupGroup& group = groups[key];
    if (group.backups.empty()) std::tie(group.host, group.paths, group.tags) = key;
    group.backups.push_back(std::move(backup));
  }
  std::vector<BackupGroup> list;
  for (auto& [key, group] : groups) list.push_back(std::move(group));
  return list;
}

}  // namespace respaldo::care
