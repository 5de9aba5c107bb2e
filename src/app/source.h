// The second repository of `copy`.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "app/context.h"

namespace respaldo::app {

// Options, else $RESPALDO_FROM_REPOSITORY, $RESPALDO_FROM_PASSWORD, ..._PASSWORD_FILE, ..._PASSWORD_COMMAND
// (and the same with RESTIC_).
struct SourceOptions {
  std::string repository, password_file, password_command;
};

// `outer` as the source sees it: $A_FROM_B in the place of $A_B. Only where caches lie, and Amazon's
// variables, are else the same for both; and of the latter those that name one account come from one side
// alone.
std::function<std::optional<std::string>(const char*)> source_environment(
    std::function<std::optional<std::string>(const char*)> outer);

// Error(usage) when no source or no password is given; NoRepository when there is none.
std::unique_ptr<repo::Repository> open_source(Context& context, const SourceOptions& options);

}  // namespace respaldo::app
