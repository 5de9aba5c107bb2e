#include "app/journal.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

namespace respaldo::app {

bool is_journal(int fd, const std::optional<std::string>& journal_stream) {
  struct stat facts {};
  return journal_stream && ::fstat(fd, &facts) == 0 &&
         *journal_stream == fmt::format("{}:{}", facts.st_dev, facts.st_ino);
}

std::string with_priorities(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const char priority = line.starts_with("respaldo: ") || line.starts_with("{\"event\":\"error\"")    ? '3'
                          : line.starts_with("warning: ") || line.starts_with("{\"event\":\"warning\"") ? '4'
                          : line.starts_with("hint: ")                                                  ? '5'
                                                                                                        : '6';
    if (!line.empty()) out.append({'<', priority, '>'}).append(line).append("\n");
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace respaldo::app
