// Manual pages: what people wrote about a command (docs/man/COMMAND.md, CommonMark), joined with the
// program's own table of options.
#pragma once

#include <string>
#include <string_view>

#include "manual/option_table.h"

namespace respaldo::manual {

// respaldo(8). `text`: what stands before its first heading is the description; sections follow the options.
std::string program_page(const CommandRow& program, std::string_view text);
// respaldo-COMMAND(8), likewise.
std::string command_page(const CommandRow& command, std::string_view text);
// A page that is all text, as respaldo.toml(5): `summary` stands in its NAME section.
std::string text_page(const std::string& name, int section, const std::string& summary,
                      std::string_view text);

// A page of docs/ as the text of a manual page: its title goes, its sections become first-level ones, tables
// of two columns become lists.
std::string manual_text(std::string_view markdown);

// CommonMark as the body of a manual page: first-level headings are sections.
std::string roff_of(std::string_view markdown);
// A word or a line for roff.
std::string escaped(std::string_view text);

}  // namespace respaldo::manual
