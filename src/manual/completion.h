// bash completion, made of the program's own table of options.
#pragma once

#include <string>

#include "manual/option_table.h"

namespace respaldo::manual {

// One file for /usr/share/bash-completion/completions: commands, options, the words that options take, files,
// volumes, and IDs of backups where the repository opens without a question.
std::string bash_completion(const CommandRow& program);

}  // namespace respaldo::manual
