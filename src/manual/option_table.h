// The program's commands and options as values, read off its own parser.
#pragma once

#include <string>
#include <vector>

namespace respaldo::manual {

struct OptionRow {
  std::vector<std::string> names;    // "-n", "--dry-run"; of an argument: its name
  std::string value;                 // what stands after it: "FILE", "fail|skip", "N"; empty for a flag
  std::vector<std::string> choices;  // the words that it takes; empty when it takes any
  std::string help, otherwise;       // otherwise: what holds when it is not given; may be empty
  std::string group;                 // heading in --help
  bool required = false, many = false;
};

struct CommandRow {
  std::string name;  // "backup", "snapshot create"
  std::string summary, group, example;
  std::vector<OptionRow> options, arguments;
  std::vector<CommandRow> commands;  // below this one
};

// The program itself: its options are the common ones. Hidden options and commands are left out.
CommandRow program_table();

}  // namespace respaldo::manual
