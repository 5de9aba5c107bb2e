#include "restore/beneath.h"

#include <linux/openat2.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "os/file.h"

namespace respaldo::restore {

namespace {

constexpr std::size_t kLongestPiece = 4000;  // the kernel takes paths below 4096 bytes

// As many whole components as one call may have, at least one.
std::string_view first_piece(std::string_view path) {
  if (path.size() <= kLongestPiece) return path;
  const std::size_t cut = path.rfind('/', kLongestPiece);
  return path.substr(0, cut != std::string_view::npos && cut > 0 ? cut : path.find('/', kLongestPiece));
}

os::UniqueFd open_by_hand(int folder, std::string_view path, int flags) {
  os::UniqueFd held;
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string name(path.substr(0, slash));
    const bool last = slash == std::string_view::npos;
    held.reset(
        ::openat(folder, name.c_str(), (last ? flags : O_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!held || last) return held;
    folder = held.get();
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

const char* name_problem(std::string_view name) {
  if (name.empty()) return "its name is empty";
  if (name == "." || name == "..") return "no file can have this name";
  if (name.find('/') != std::string_view::npos) return "a slash in its name";
  if (name.find('\0') != std::string_view::npos) return "a NUL byte in its name";
  return nullptr;
}

Beneath::Beneath(os::UniqueFd root, Resolve how) : root_(std::move(root)), how_(how) {
  if (how_ == Resolve::by_hand) return;
  // Old kernels do not know the call, and some sandboxes refuse it.
  const os::UniqueFd probe = open_piece(root_.get(), ".", O_PATH);
  if (!probe) how_ = Resolve::by_hand;
}

os::UniqueFd Beneath::open_piece(int folder, std::string_view piece, int flags) const {
  if (how_ == Resolve::by_hand) return open_by_hand(folder, piece, flags);
  const std::string path(piece);
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  long fd = -1;
  do {
    fd = ::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how);
  } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  return os::UniqueFd(static_cast<int>(fd));
}

os::UniqueFd Beneath::open_folder(int folder, std::string_view path, int flags) const {
  if (path.empty()) path = ".";
  os::UniqueFd held;
  while (true) {
    const std::string_view piece = first_piece(path);
    const bool last = piece.size() == path.size();
    os::UniqueFd next = open_piece(folder, piece, last ? flags : O_PATH);
    if (!next) throw os::system_error(errno, "open", std::string(piece));
    held = std::move(next);
    if (last) return held;
    folder = held.get();
    path.remove_prefix(piece.size() + 1);
  }
}

}  // namespace respaldo::restore
