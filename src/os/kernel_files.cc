#include "os/kernel_files.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace respaldo::os {

std::string text_of(const Path& file) {
  try {
    return try_read_text(file, 16U << 20).value_or("");
  } catch (const Error&) {
    return "";
  }
}

std::string line_of(const Path& file) {
  std::string text = text_of(file);
  text.erase(std::min(text.find('\n'), text.size()));
  return text;
}

std::vector<std::string> names_in(const Path& folder) {
  std::vector<std::string> names;
  std::error_code failed;
  for (std::filesystem::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed))
    names.push_back(at->path().filename().native());
  std::ranges::sort(names);
  return names;
}

std::string unescaped(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      result += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

bool is_since(std::string_view release, std::string_view version) {
  const auto numbers = [](std::string_view text) {
    std::pair<int, int> found{0, 0};
    const char* const end = text.data() + text.size();
    const auto major = std::from_chars(text.data(), end, found.first);
    if (major.ptr != end && *major.ptr == '.') std::from_chars(major.ptr + 1, end, found.second);
    return found;
  };
  return numbers(release) >= numbers(version);
}

bool kernel_is_since(std::string_view version) { return is_since(line_of("/proc/sys/kernel/osrelease"), version); }

}  // namespace respaldo::os
