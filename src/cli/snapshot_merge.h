// snapshot merge: a volume goes back to what it was when its snapshot was made.
#pragma once

#include "app/context.h"

namespace respaldo::cli {

app::ExitCode merge_snapshot(app::Context& context, const engine::VolumeName& snapshot, bool yes);

}  // namespace respaldo::cli
