#include "journal/removed_bases.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"

namespace respaldo::journal {

namespace {

constexpr std::size_t kMostKept = 4096;
constexpr std::chrono::seconds kPatience{10};

os::Path file_of(const os::Path& state) { return state / "removed_bases"; }

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t end = text.find('\n'); end != text.npos; end = text.find('\n')) {
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

os::FileLock lock_of(const os::Path& state) {
  const os::Path path = state / "removed_bases.lock";
  for (const auto begun = std::chrono::steady_clock::now();;) {
    if (auto lock = os::FileLock::try_lock(path, os::FileLock::Mode::exclusive, O_RDWR | O_CREAT | O_CLOEXEC))
      return std::move(*lock);
    if (std::chrono::steady_clock::now() - begun > kPatience)
      throw os::system_error(EBUSY, "flock", path);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace

void RemovedBases::add(const std::string& token) const {
  if (state_.empty() || token.empty() || token.find('\n') != token.npos) return;
  std::error_code failed;
  std::filesystem::create_directories(state_, failed);
  if (failed) throw os::system_error(failed.value(), "mkdir", state_);
  const os::FileLock lock = lock_of(state_);
  const std::string before = os::try_read_text(file_of(state_)).value_or("");
  std::vector<std::string_view> lines = lines_of(before);
  std::erase(lines, token);
  lines.push_back(token);
  std::string text;
  for (std::size_t i = lines.size() - std::min(lines.size(), kMostKept); i < lines.size(); ++i)
    text.append(lines[i]) += '\n';
  os::AtomicFile file(file_of(state_), 0600);
  file.write(as_bytes(text));
  file.commit();
}

bool RemovedBases::holds(const std::string& token) const {
  if (state_.empty()) return false;
  try {
    const std::string text = os::try_read_text(file_of(state_)).value_or("");
    const std::vector<std::string_view> lines = lines_of(text);
    return std::ranges::find(lines, token) != lines.end();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::refused) throw;
    return false;
  }
}

}  // namespace respaldo::journal
