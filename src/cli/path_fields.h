// Paths in JSON.
#pragma once

#include <string>

#include "cli/shared.h"

namespace respaldo::cli {

// `path`; and, where its bytes are not UTF-8 and U+FFFD stands for some, `path_raw`: all of them in base64.
Json path_fields(const std::string& path);
// The same, and further fields.
Json path_fields(const std::string& path, const Json& further);

// What could not be brought back, each with its `why`.
template <class Problems>
Json problem_list(const Problems& problems) {
  Json list = Json::array();
  for (const auto& problem : problems) list.push_back(path_fields(problem.path, {{"why", problem.why}}));
  return list;
}

// A repo::Node, or what has its fields, as `ls` and `find` give it.
template <class Entry>
Json entry_json(const std::string& path, const Entry& entry) {
  Json json = path_fields(path, {{"type", type_name(entry.type)},
                                 {"mode", entry.mode & 07777},
                                 {"uid", entry.uid},
                                 {"gid", entry.gid},
                                 {"size", entry.size},
                                 {"mtime", format_time(entry.mtime)}});
  if (entry.type == repo::NodeType::symlink) json["link_target"] = entry.link_target;
  return json;
}

}  // namespace respaldo::cli
