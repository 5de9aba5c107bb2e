// The second repository of `copy`.
#pragma once

#include <memory>
#include <string>

#include "app/context.h"

namespace respaldo::app {

// Options, else $RESPALDO_FROM_REPOSITORY, $RESPALDO_FROM_PASSWORD, ..._PASSWORD_FILE, ..._PASSWORD_COMMAND
// (and the same with RESTIC_).
struct SourceOptions {
  std::string repository, password_file, password_command;
};

// Error(usage) when no source or no password is given; NoRepository when there is none.
std::unique_ptr<repo::Repository> open_source(Context& context, const SourceOptions& options);

}  // namespace respaldo::app
