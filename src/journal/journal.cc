#include "journal/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "journal/names.h"
#include "os/crash_point.h"

namespace respaldo::journal {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kSuffix = ".journal";
constexpr int kLockAttempts = 100;  // 10 ms apart
constexpr std::uint64_t kMostRead = 16U << 20;

os::Path folder_of(const os::Path& state) { return state / "journal"; }

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// The file still has its name: nobody took it for a dead run's between its making and its locking.
bool still_named(int fd, const os::Path& path) {
  struct stat by_fd {
  }, by_name{};
  return ::fstat(fd, &by_fd) == 0 && ::stat(path.c_str(), &by_name) == 0 && by_fd.st_ino == by_name.st_ino &&
         by_fd.st_dev == by_name.st_dev;
}

// False when a cleaner that took the file for a dead run's, and looks into it, does not let go of it.
bool lock_patiently(int fd, const os::Path& path) {
  for (int i = 0; i < kLockAttempts; ++i) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK && errno != EINTR) throw os::system_error(errno, "flock", path);
    if (!still_named(fd, path)) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

Facts facts_of(const Json& json) {
  Facts facts;
  const auto found = json.find("facts");
  if (found == json.end() || !found->is_object()) return facts;
  for (const auto& [name, value] : found->items())
    if (value.is_string()) facts[name] = value.get<std::string>();
  return facts;
}

std::optional<std::uint64_t> id_of(const Json& json, const char* word) {
  const auto found = json.find(word);
  if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

std::vector<os::Path> files_in(const os::Path& state) {
  std::vector<os::Path> paths;
  std::error_code failed;
  std::filesystem::directory_iterator files(folder_of(state), failed);
  if (failed == std::errc::no_such_file_or_directory) return paths;
  if (failed) throw os::system_error(failed.value(), "opendir", folder_of(state));
  for (const auto& file : files)
    if (file.path().extension() == kSuffix) paths.push_back(file.path());
  std::ranges::sort(paths);
  return paths;
}

}  // namespace

os::Path default_state_folder() {
  const char* given = std::getenv("RESPALDO_STATE");
  return given != nullptr && *given != '\0' ? given : "/var/lib/respaldo";
}

Journal::Journal(const os::Path& state) {
  const os::Path folder = folder_of(state);
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw os::system_error(failed.value(), "mkdir", folder);
  ::chmod(folder.c_str(), 0700);
  do {
    path_ = folder / (random_hex(16) + std::string(kSuffix));
    fd_ = os::open_file(path_, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0600);
    os::crash_point("journal made");
  } while (!lock_patiently(fd_.get(), path_) || !still_named(fd_.get(), path_));
  os::sync_folder(folder);
}

Journal::~Journal() {
  if (open_.empty()) ::unlink(path_.c_str());
}

void Journal::append(const std::string& line) {
  os::write_all(fd_.get(), as_bytes(line), path_);
  os::sync_file(fd_.get(), path_);
}

std::uint64_t Journal::begin(std::string kind, Facts facts) {
  std::lock_guard lock(mutex_);
  const std::uint64_t id = next_++;
  append(line_of({{"begin", id}, {"kind", kind}, {"facts", facts}}));
  open_[id] = std::move(kind);
  os::crash_point("intent written");
  return id;
}

void Journal::add(std::uint64_t id, const Facts& facts) {
  std::lock_guard lock(mutex_);
  append(line_of({{"add", id}, {"facts", facts}}));
}

void Journal::end(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  if (open_.erase(id) == 0) return;
  os::crash_point("intent undone");
  append(line_of({{"end", id}}));
  os::crash_point("intent ended");
}

std::vector<Intent> parse_journal(std::string_view text) {
  std::vector<Intent> open;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == text.npos) break;  // torn
    const Json line = Json::parse(text.substr(0, end), nullptr, false);
    text.remove_prefix(end + 1);
    if (!line.is_object()) continue;
    const auto place = [&](std::uint64_t id) {
      return std::ranges::find_if(open, [&](const Intent& one) { return one.id == id; });
    };
    if (const auto begun = id_of(line, "begin")) {
      const auto kind = line.find("kind");
      if (kind != line.end() && kind->is_string() && place(*begun) == open.end())
        open.push_back({*begun, kind->get<std::string>(), facts_of(line)});
    } else if (const auto added = id_of(line, "add")) {
      if (const auto at = place(*added); at != open.end())
        for (auto& [name, value] : facts_of(line)) at->facts[name] = value;
    } else if (const auto ended = id_of(line, "end")) {
      if (const auto at = place(*ended); at != open.end()) open.erase(at);
    }
  }
  std::ranges::reverse(open);
  return open;
}

void DeadJournal::forget() {
  if (::unlink(path_.c_str()) != 0 && errno != ENOENT) throw os::system_error(errno, "unlink", path_);
  os::sync_folder(path_.parent_path());
}

std::vector<DeadJournal> dead_journals(const os::Path& state) {
  std::vector<DeadJournal> dead;
  for (const os::Path& path : files_in(state)) {
    try {
      auto lock = os::FileLock::try_lock(path, os::FileLock::Mode::exclusive, O_RDWR);
      if (!lock || !still_named(lock->fd(), path)) continue;  // somebody lives, or cleans
      dead.push_back({path, std::move(*lock), parse_journal(os::read_text(path, kMostRead))});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
    }
  }
  return dead;
}

std::vector<Intent> all_intents(const os::Path& state) {
  std::vector<Intent> all;
  for (const os::Path& path : files_in(state))
    if (const auto text = os::try_read_text(path, kMostRead))
      for (Intent& intent : parse_journal(*text)) all.push_back(std::move(intent));
  return all;
}

}  // namespace respaldo::journal
