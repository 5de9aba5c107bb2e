#include "engine/kernel/in_use.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "os/kernel_files.h"

namespace respaldo::engine {

namespace {

using os::line_of, os::text_of, os::unescaped;

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(at), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

bool is_device(const os::Path& path, dev_t device) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == device;
}

template <class Body>
void for_each_name(const os::Path& folder, Body body) {
  std::error_code failed;
  for (std::filesystem::directory_iterator at(folder, failed), end; !failed && at != end;
       at.increment(failed))
    body(at->path());
}

}  // namespace

std::vector<std::string> mount_points(std::string_view mountinfo, dev_t device, MountedFor what) {
  const std::string number = fmt::format("{}:{}", major(device), minor(device));
  std::vector<std::string> points;
  for (std::string_view line : split(mountinfo, '\n')) {
    const auto words = split(line, ' ');
    if (words.size() <= 4 || words[2] != number) continue;
    // The last word is of the filesystem, not of this one mount.
    const std::string_view options = words.back();
    if (what == MountedFor::writing && (options == "ro" || options.starts_with("ro,"))) continue;
    points.push_back(unescaped(words[4]));
  }
  return points;
}

std::vector<std::string> uses_of(dev_t device, const os::Path& proc, const os::Path& sys) {
  std::vector<std::string> uses;
  for (const std::string& point : mount_points(text_of(proc / "self/mountinfo"), device))
    uses.push_back(fmt::format("mounted on {}", printable(point)));
  const std::string swaps = text_of(proc / "swaps");
  for (std::string_view line : split(swaps, '\n')) {
    const auto words = split(line, ' ');
    if (!words.empty() && is_device(unescaped(words[0].substr(0, words[0].find('\t'))), device))
      uses.emplace_back("swap");
  }
  for_each_name(
      sys / "dev/block" / fmt::format("{}:{}", major(device), minor(device)) / "holders",
      [&](const os::Path& holder) {
        const std::string name = line_of(holder / "dm/name");
        uses.push_back(fmt::format("below {}", printable(name.empty() ? holder.filename().native() : name)));
      });
  for_each_name(proc, [&](const os::Path& process) {
    const std::string& pid = process.filename().native();
    if (pid.empty() || pid[0] < '0' || pid[0] > '9') return;
    bool open = false;
    for_each_name(process / "fd", [&](const os::Path& fd) { open = open || is_device(fd, device); });
    if (open)
      uses.push_back(fmt::format("open in process {} ({})", pid, printable(line_of(process / "comm"))));
  });
  return uses;
}

}  // namespace respaldo::engine
