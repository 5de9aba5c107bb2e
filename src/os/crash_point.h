// Named places where tests kill or hold the program. Without the variables below a name costs one comparison.
//
//   RESPALDO_CRASH_AT=NAME                          the process gets SIGKILL there
//   RESPALDO_HOLD_AT=NAME RESPALDO_HOLD_FILE=FILE   it makes FILE there (once), and goes on when FILE is gone
#pragma once

namespace respaldo::os {

// `name` is a literal such as "snapshot made". Thread-safe.
void crash_point(const char* name);

}  // namespace respaldo::os
