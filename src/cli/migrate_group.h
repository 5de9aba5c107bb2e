// migrate: a volume goes to another volume group.
#pragma once

#include <string>

#include "app/context.h"
#include "engine/volume_engine.h"

namespace respaldo::cli {

// Whether `to` ("VG" or "VG/LV") speaks of another group than the volume's.
bool is_other_group(app::Context& context, const engine::VolumeName& volume, const std::string& to);

// `cow`: of --cow, empty for auto. ExitCode::locked when a copy was made, and the volume is in use.
app::ExitCode migrate_to_group(app::Context& context, const engine::VolumeName& volume, const std::string& to,
                               const std::string& cow);

// False when no copy was begun.
bool abort_migration_to_group(app::Context& context, const engine::VolumeName& volume);

}  // namespace respaldo::cli
