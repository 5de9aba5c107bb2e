// Words in, words out.
#pragma once

#include "app/context.h"

namespace respaldo::cli {

// The whole program: parses world.arguments, runs the command, prints errors; returns the exit code. In
// process, so that tests call it.
int run(app::World world);

}  // namespace respaldo::cli
