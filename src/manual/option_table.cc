#include "manual/option_table.h"

#include <algorithm>

#include "cli/command.h"

namespace respaldo::manual {

namespace {

// CLI11 writes the type and what checks it in one: "TEXT:{fail,skip}", "UINT", "FILE".
void set_value(OptionRow& row, const CLI::Option& option) {
  std::string type = option.get_type_name();
  const std::size_t open = type.find('{'), close = type.rfind('}');
  if (open != std::string::npos && close != std::string::npos && close > open) {
    std::string words = type.substr(open + 1, close - open - 1);
    for (std::size_t comma; (comma = words.find(',')) != std::string::npos; words.erase(0, comma + 1))
      row.choices.push_back(words.substr(0, comma));
    row.choices.push_back(words);
    for (const std::string& choice : row.choices) row.value += (row.value.empty() ? "" : "|") + choice;
    return;
  }
  type.erase(std::min(type.find(':'), type.size()));
  if (type == "UINT" || type == "INT" || type == "FLOAT") type = "N";
  if (type == "TEXT") type = "WORD";
  row.value = type;
}

OptionRow row_of(const CLI::Option& option) {
  OptionRow row;
  row.help = option.get_description();
  row.group = option.get_group();
  row.required = option.get_required();
  row.many = option.get_items_expected_max() > 1;
  row.otherwise = option.get_default_str();
  if (option.get_positional()) {
    row.names = {option.get_name(true)};
  } else {
    for (const std::string& name : option.get_snames()) row.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) row.names.push_back("--" + name);
  }
  if (option.get_items_expected_max() > 0) set_value(row, option);
  return row;
}

void read(CommandRow& row, const CLI::App& app, const std::string& prefix) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    (option->get_positional() ? row.arguments : row.options).push_back(row_of(*option));
  }
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_group().empty() || sub->get_name().empty()) continue;
    CommandRow below;
    below.name = prefix + sub->get_name();
    below.summary = sub->get_description();
    below.group = sub->get_group();
    read(below, *sub, below.name + " ");
    row.commands.push_back(std::move(below));
  }
}

}  // namespace

CommandRow program_table() {
  const cli::CommandLine line;
  CommandRow program;
  program.name = "respaldo";
  read(program, line.app, "");
  for (CommandRow& row : program.commands)
    for (const cli::Command& command : cli::commands())
      if (row.name == command.name) row.example = command.example;
  return program;
}

}  // namespace respaldo::manual
