// Text as Go writes it, because restic's canonical JSON is Go's: names quoted inside JSON strings.
// docs/formats/restic.md section "trees".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace respaldo::repo {

// Raw bytes of a file name -> Go's quoted form without its quotation marks, and back. Absent for text that is
// not such a form.
std::string quote_name(std::string_view raw);
std::optional<std::string> unquote_name(std::string_view quoted);

// Appends `text` as a JSON string, escaped as Go's encoding/json does.
void append_json_string(std::string& json, std::string_view text);

// Go's unicode.IsPrint, Unicode 15.
bool is_printable(char32_t character);

}  // namespace respaldo::repo
