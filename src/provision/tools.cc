#include "provision/tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "machine/tables.h"

namespace respaldo::provision {

namespace {

constexpr int kAttempts = 20;
constexpr std::chrono::milliseconds kPause{250};

std::string last_words(const os::CommandResult& result) {
  std::string text = result.err.empty() ? result.out : result.err;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ';');
  return printable(text);
}

bool is_there(const os::Path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

}  // namespace

void run_tool(os::CommandRunner& commands, const std::vector<std::string>& argv, std::stop_token stop) {
  const auto result = commands.run(argv, {}, stop);
  if (result.exit_code != 0)
    throw Error(ErrorKind::io,
                fmt::format("{} ended with {}: {}", argv[0], result.exit_code, last_words(result)));
}

void settle(Doors& doors) {
  if (!is_there("/run/udev/control")) return;
  try {
    doors.commands.run({"udevadm", "settle", "--timeout=10"}, {.limit = std::chrono::seconds(15)});
  } catch (const Error&) {
    // The node is waited for anyway.
  }
}

void tell_systemd(Doors& doors) {
  if (!is_there(doors.systemd)) return;
  try {
    doors.commands.run({"systemctl", "daemon-reload"}, {.limit = std::chrono::seconds(60)});
  } catch (const Error&) {
    // It reads the file at the next boot, at the latest.
  }
}

bool is_mounted(Doors& doors, const std::string& mount_point) {
  const auto mounts = machine::read_mounts(doors.mountinfo);
  return std::any_of(mounts.begin(), mounts.end(),
                     [&](const machine::Mount& m) { return m.target == mount_point; });
}

void unmount(Doors& doors, const std::string& mount_point) {
  for (int attempt = 1; is_mounted(doors, mount_point); ++attempt) {
    const auto result = doors.commands.run({"umount", mount_point});
    if (result.exit_code == 0) continue;
    if (attempt >= kAttempts)
      throw Error(ErrorKind::busy, fmt::format("{} cannot be unmounted: {}", mount_point, last_words(result)),
                  fmt::format("`fuser -vm {}` tells who uses it", mount_point));
    std::this_thread::sleep_for(kPause);
  }
}

void remove_volume(const engine::LvmCommand& lvm, const std::string& name) {
  for (int attempt = 1;; ++attempt) {
    try {
      lvm.change({"lvremove", "--yes", name});
      return;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::busy || attempt >= kAttempts) throw;
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace respaldo::provision
