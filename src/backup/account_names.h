// Names of users and groups, as the volume's own files tell them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace respaldo::backup {

// From the text of a passwd(5) or group(5) file: the first name of each number counts, as for getpwuid(3).
// Lines that make no sense are skipped. A value.
class AccountNames {
 public:
  AccountNames() = default;
  explicit AccountNames(std::string_view text);
  const std::string& find(std::uint32_t id) const;  // empty when not known

 private:
  std::unordered_map<std::uint32_t, std::string> names_;
};

}  // namespace respaldo::backup
