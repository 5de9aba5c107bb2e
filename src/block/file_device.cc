#include "block/file_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <shared_mutex>

#include "base/printable.h"

namespace respaldo::block {

FileDevice::FileDevice(os::Path path, Access access)
    // O_NONBLOCK: a FIFO is refused, not waited for. Files and disks do not care.
    : FileDevice(path, os::open_file(path, (access == Access::read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK), access) {}

FileDevice::FileDevice(os::Path path, os::UniqueFd fd, Access access)
    : path_(std::move(path)), fd_(std::move(fd)), access_(access), size_(os::device_size(fd_.get(), path_)) {
  struct stat st {};
  regular_ = ::fstat(fd_.get(), &st) == 0 && S_ISREG(st.st_mode);
}

std::string FileDevice::describe() const { return printable(path_.native()); }

void FileDevice::read_at(std::uint64_t offset, MutableBytes out) const {
  require_within(*this, offset, out.size());
  os::read_exactly_at(fd_.get(), offset, out, path_);
}

std::vector<Run> FileDevice::runs(Extent range) const {
  const Extent inside = intersect(range, {0, size_});
  std::vector<Run> result;
  if (inside.empty()) return result;
  if (!regular_) return {{inside, RunKind::data}};
  std::uint64_t at = inside.offset;
  while (at < inside.end()) {
    const off_t data = ::lseek(fd_.get(), static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) {
      // ENXIO: only a hole is left, or the file shrank since it was opened (a read will say so). Anything else: the
      // filesystem cannot tell.
      const bool hole = errno == ENXIO && os::device_size(fd_.get(), path_) >= inside.end();
      append_run(result, {{at, inside.end() - at}, hole ? RunKind::zero : RunKind::data});
      break;
    }
    const auto begin = std::min<std::uint64_t>(static_cast<std::uint64_t>(data), inside.end());
    append_run(result, {{at, begin - at}, RunKind::zero});
    if (begin >= inside.end()) break;
    const off_t hole = ::lseek(fd_.get(), static_cast<off_t>(begin), SEEK_HOLE);
    const auto end = hole < 0 ? inside.end() : std::min<std::uint64_t>(static_cast<std::uint64_t>(hole), inside.end());
    append_run(result, {{begin, end - begin}, RunKind::data});
    at = end;
  }
  return result;
}

void FileDevice::require_writable() const {
  if (access_ != Access::read_write)
    throw Error(ErrorKind::refused, fmt::format("{} is open for reading only", describe()));
}

void FileDevice::write_at(std::uint64_t offset, ByteView bytes) {
  require_writable();
  require_within(*this, offset, bytes.size());
  os::write_all_at(fd_.get(), offset, bytes, path_);
}

void FileDevice::zero(Extent range) {
  require_writable();
  require_within(*this, range.offset, range.length);
  if (range.empty()) return;
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (::fallocate(fd_.get(), mode, static_cast<off_t>(range.offset), static_cast<off_t>(range.length)) == 0) return;
  // A thin volume knows no such call, and each write takes room of its pool, zeros too: what reads as zeros stays.
  constexpr std::uint64_t kPiece = 1U << 20;
  Bytes piece(std::min(kPiece, range.length));
  for (std::uint64_t at = range.offset; at < range.end(); at += kPiece) {
    const Extent here{at, std::min(kPiece, range.end() - at)};
    piece.resize(here.length);
    read_at(here.offset, piece);
    if (!is_zero(piece)) WritableDevice::zero(here);
  }
}

void FileDevice::flush() { os::sync_file(fd_.get(), path_); }

void FileDevice::drop_cache() const { ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED); }

struct MemoryDevice::State {
  std::string name;
  mutable std::shared_mutex mutex;
  Bytes bytes;
};

MemoryDevice::MemoryDevice(std::uint64_t size, std::string name) : state_(std::make_unique<State>()) {
  state_->name = std::move(name);
  state_->bytes = Bytes::zeroed(size);
}

MemoryDevice::MemoryDevice(ByteView contents, std::string name) : state_(std::make_unique<State>()) {
  state_->name = std::move(name);
  state_->bytes = Bytes::copy_of(contents);
}

MemoryDevice::~MemoryDevice() = default;

std::uint64_t MemoryDevice::size() const { return state_->bytes.size(); }
std::string MemoryDevice::describe() const { return state_->name; }

void MemoryDevice::read_at(std::uint64_t offset, MutableBytes out) const {
  require_within(*this, offset, out.size());
  if (out.empty()) return;
  std::shared_lock lock(state_->mutex);
  std::memcpy(out.data(), state_->bytes.data() + offset, out.size());
}

void MemoryDevice::write_at(std::uint64_t offset, ByteView bytes) {
  require_within(*this, offset, bytes.size());
  if (bytes.empty()) return;
  std::unique_lock lock(state_->mutex);
  std::memcpy(state_->bytes.data() + offset, bytes.data(), bytes.size());
}

}  // namespace respaldo::block
