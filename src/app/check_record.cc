#include "app/check_record.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

namespace respaldo::app {

namespace {

// The ID comes out of the repository: it becomes a file's name only when it is one.
std::optional<os::Path> place_of(const os::Path& state, const std::string& id) {
  const bool hexadecimal =
      !id.empty() && id.size() <= 64 &&
      std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (!hexadecimal) return std::nullopt;
  return state / "checks" / (id.substr(0, 32) + ".json");
}

}  // namespace

void record_check(const os::Path& state, const std::string& repository_id, const CheckRecord& record) {
  const auto place = place_of(state, repository_id);
  if (!place) return;
  try {
    std::error_code error;
    std::filesystem::create_directories(place->parent_path(), error);
    if (error) return;
    const nlohmann::json json = {{"time", record.time}, {"read_data", record.read_data}, {"ok", record.ok}};
    os::AtomicFile file(*place, 0644);
    file.write(as_bytes(json.dump() + "\n"));
    file.commit();
  } catch (const Error&) {
    // Said in the header.
  }
}

std::optional<CheckRecord> last_check(const os::Path& state, const std::string& repository_id) {
  const auto place = place_of(state, repository_id);
  try {
    const auto text = place ? os::try_read_text(*place, 64U << 10) : std::nullopt;
    const auto json = text ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json();
    if (!json.is_object() || !json.contains("time") || !json["time"].is_number_integer()) return std::nullopt;
    const auto flag = [&](const char* key) {
      return json.contains(key) && json[key].is_boolean() && json[key].get<bool>();
    };
    return CheckRecord{json["time"].get<std::int64_t>(), flag("read_data"), flag("ok")};
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace respaldo::app
