// Messages in systemd's journal: each line says how urgent it is (sd-daemon(3)).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace respaldo::app {

// True when descriptor `fd` is the journal that $JOURNAL_STREAM ("DEVICE:INODE") names.
bool is_journal(int fd, const std::optional<std::string>& journal_stream);

// Standard error's lines with the journal's prefixes: <3> for errors, <4> for warnings, <5> for hints, <6>
// for the rest.
std::string with_priorities(std::string_view text);

}  // namespace respaldo::app
