#include "job/state.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/bytes.h"

namespace respaldo::job {

namespace {

std::optional<std::int64_t> time_of(const nlohmann::json& json, const char* key) {
  const auto at = json.find(key);
  if (at == json.end() || !at->is_number_integer()) return std::nullopt;
  return at->get<std::int64_t>();
}

}  // namespace

StateFile::StateFile(const os::Path& state_folder, const std::string& job)
    : job_(job), folder_(state_folder / "jobs") {
  std::error_code failed;
  std::filesystem::create_directories(folder_, failed);
  if (failed)
    throw Error(ErrorKind::refused, fmt::format("cannot make {}: {}", folder_.native(), failed.message()),
                "run as root, or name a folder of your own in $RESPALDO_STATE");
}

void StateFile::lock() {
  lock_ = os::FileLock::try_lock(folder_ / (job_ + ".lock"), os::FileLock::Mode::exclusive,
                                 O_RDWR | O_CREAT | O_CLOEXEC);
  if (!lock_)
    throw Error(ErrorKind::busy, fmt::format("the job {} is running already", job_),
                "wait for it to end; `systemctl status` or `ps` shows it");
}

State StateFile::load() const {
  State state;
  std::optional<std::string> text;
  try {
    text = os::try_read_text(folder_ / (job_ + ".json"), 1U << 20);
  } catch (const Error&) {
    // Saving it will tell; no backup fails for it.
  }
  if (!text) return state;
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return state;
  state.last_success = time_of(json, "last_success");
  state.last_prune = time_of(json, "last_prune");
  state.last_check = time_of(json, "last_check");
  return state;
}

void StateFile::save(const State& state) const {
  nlohmann::json json = nlohmann::json::object();
  if (state.last_success) json["last_success"] = *state.last_success;
  if (state.last_prune) json["last_prune"] = *state.last_prune;
  if (state.last_check) json["last_check"] = *state.last_check;
  os::AtomicFile file(folder_ / (job_ + ".json"), 0644);
  file.write(as_bytes(json.dump() + "\n"));
  file.commit();
}

}  // namespace respaldo::job
