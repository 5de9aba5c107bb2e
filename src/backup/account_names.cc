#include "backup/account_names.h"

#include <charconv>

namespace respaldo::backup {

AccountNames::AccountNames(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t name_end = line.find(':');
    if (name_end == 0 || name_end == line.npos || line[0] == '#' || line[0] == '+' || line[0] == '-')
      continue;
    const std::size_t password_end = line.find(':', name_end + 1);
    if (password_end == line.npos) continue;
    const std::string_view number =
        line.substr(password_end + 1, line.find(':', password_end + 1) - password_end - 1);
    std::uint32_t id = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), id);
    if (error != std::errc{} || end != number.data() + number.size()) continue;
    names_.try_emplace(id, line.substr(0, name_end));
  }
}

const std::string& AccountNames::find(std::uint32_t id) const {
  static const std::string none;
  const auto at = names_.find(id);
  return at == names_.end() ? none : at->second;
}

}  // namespace respaldo::backup
