// The picture of disks and volumes, for people. The JSON document of `layout` is what is drawn: docs/json.md.
#pragma once

#include "cli/shared.h"
#include "machine/findings.h"
#include "machine/system.h"

namespace respaldo::cli {

// Disks and groups of the document, as trees. Fields that are not there are not drawn.
void draw_layout(app::Context& context, const Json& all);
// `layout` of the running host.
app::ExitCode live_layout(app::Context& context);

// Where the host shows itself; $RESPALDO_FSTAB names another fstab.
machine::Places places_of(app::Context& context);
machine::Picture look_at_host(app::Context& context, os::CommandRunner& commands);
// The local repository's folder in the way that findings want it; empty when none is given or it is remote.
std::string repository_folder(app::Context& context);

Json to_json(const machine::Finding& finding);
void draw_findings(app::Context& context, const machine::Findings& findings);

}  // namespace respaldo::cli
