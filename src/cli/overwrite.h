// Files and devices that a command is about to replace, or to write over.
#pragma once

#include <memory>
#include <string>

#include "app/context.h"
#include "engine/image/image_engine.h"

namespace respaldo::cli {

// Asks (or takes `yes`) before what is there already is lost, naming its size, what it holds, and what comes instead when
// that is told. It is locked for as long
// as the result lives, so that no activation or other command takes it into use meanwhile. Null when nothing is there,
// or something that takes bytes as they come, such as a pipe. Error(usage) for one of the disks that the command reads,
// Error(busy) for what an activation or another program uses, Error(refused) without a yes.
std::unique_ptr<engine::DiskSet> claim_to_overwrite(app::Context& context, const std::string& path, bool yes,
                                                    const std::string& with = {});

// Before a file of that name is replaced by another one: its other names keep what it held.
void warn_of_other_names(app::Context& context, const std::string& path);

}  // namespace respaldo::cli
