#include "engine/image/activation_address.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/printable.h"

namespace respaldo::engine {

namespace {

os::Path record_of(const os::Path& folder, const os::Path& image) {
  struct stat st {};
  if (::stat(image.c_str(), &st) != 0) throw os::system_error(errno, "stat", image);
  return folder / fmt::format("{:x}-{:x}.json", st.st_dev, st.st_ino);
}

os::Path folder_path() {
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime != nullptr && *runtime == '/')
    return os::Path(runtime) / "respaldo";
  if (::geteuid() == 0) return "/run/respaldo";
  return fmt::format("/tmp/respaldo-{}", ::geteuid());
}

// A folder that another user can write would let him answer for us.
void require_private(const os::Path& folder) {
  struct stat st {};
  if (::lstat(folder.c_str(), &st) != 0) throw os::system_error(errno, "stat", folder);
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid() || (st.st_mode & 077) != 0)
    throw Error(ErrorKind::refused,
                fmt::format("{} is not a private folder of this user", printable(folder.native())),
                "remove it, or set XDG_RUNTIME_DIR to a folder that only you can write");
}

}  // namespace

os::Path activation_folder() {
  const os::Path folder = folder_path();
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) throw os::system_error(errno, "mkdir", folder);
  require_private(folder);
  return folder;
}

ActivationRecord::ActivationRecord(const std::vector<os::Path>& images, const ActivationAddress& address) {
  const os::Path folder = activation_folder();
  const nlohmann::json record = {{"pid", address.pid},
                                 {"socket", address.socket.string()},
                                 {"mount_point", address.mount_point.string()}};
  for (const os::Path& image : images) {
    const os::Path path = record_of(folder, image);
    os::AtomicFile file(path, 0600);
    file.write(as_bytes(record.dump()));
    file.commit(os::AtomicFile::Durability::later);
    records_.push_back(path);
  }
}

ActivationRecord::~ActivationRecord() {
  for (const os::Path& path : records_) ::unlink(path.c_str());
}

std::optional<ActivationAddress> find_activation(const os::Path& image) {
  const os::Path folder = folder_path();
  struct stat st {};
  if (::lstat(folder.c_str(), &st) != 0) return std::nullopt;
  require_private(folder);
  const auto text = os::try_read_text(record_of(folder, image), 65536);
  if (!text) return std::nullopt;
  const auto record = nlohmann::json::parse(*text, nullptr, false);
  if (!record.is_object() || !record.contains("pid") || !record["pid"].is_number_integer())
    return std::nullopt;
  ActivationAddress address;
  address.pid = record["pid"].get<long>();
  address.socket = record.value("socket", std::string());
  address.mount_point = record.value("mount_point", std::string());
  // A record that a killed activation left behind points at nobody.
  if (address.pid <= 0 || (::kill(static_cast<pid_t>(address.pid), 0) != 0 && errno == ESRCH))
    return std::nullopt;
  return address;
}

}  // namespace respaldo::engine
