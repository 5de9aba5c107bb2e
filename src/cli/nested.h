// Commands run by other commands, in process.
#pragma once

#include <string>
#include <vector>

#include "app/context.h"
#include "cli/shared.h"
#include "config/config.h"

namespace respaldo::cli {

struct NestedResult {
  int code = 0;               // exit code
  Json result;                // the document that the command printed; null without
  std::string message, hint;  // of its error; empty when there was none
  std::vector<std::string> warnings;
};

// Runs the words as `respaldo --json WORDS` would, with the context's environment. Progress and notes go to
// `context`'s own progress, warnings to context.warn().
NestedResult run_nested(app::Context& context, std::vector<std::string> words, std::stop_token stop);

// A word for a command line that split_words() will cut.
std::string quoted_word(const std::string& word);
std::string quoted_line(const config::Argv& argv);

// What the configuration may say of commands: the long options of the program's parser.
config::Vocabulary vocabulary();

// As it may be shown: no password of a location, no arguments of a password command.
config::Config without_secrets(config::Config config);

// --config, else $RESPALDO_CONFIG, else /etc/respaldo/respaldo.toml.
std::string config_file(app::Context& context);

}  // namespace respaldo::cli
