// Raw image files and block devices of the host.
#pragma once

#include "block/device.h"
#include "os/file.h"

namespace respaldo::block {

// An image file or a block device. runs() follows the file's holes (SEEK_DATA); zero() punches holes in
// files where the filesystem can. The size is read once, when opened.
class FileDevice final : public WritableDevice {
 public:
  enum class Access { read_only, read_write };
  FileDevice(os::Path path, Access access);
  // Takes over an open descriptor (for example one that carries a lock).
  FileDevice(os::Path path, os::UniqueFd fd, Access access);

  std::uint64_t size() const override { return size_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override;
  std::vector<Run> runs(Extent range) const override;
  std::string describe() const override;
  void write_at(std::uint64_t offset, ByteView bytes) override;
  void zero(Extent range) override;
  void flush() override;
  void drop_cache() const override;

  const os::Path& path() const { return path_; }
  int fd() const { return fd_.get(); }

 private:
  void require_writable() const;
  os::Path path_;
  os::UniqueFd fd_;
  Access access_;
  std::uint64_t size_;
  bool regular_ = false;
};

// A disk in memory, for tests and overlays. Thread-safe.
class MemoryDevice final : public WritableDevice {
 public:
  explicit MemoryDevice(std::uint64_t size, std::string name = "memory");
  explicit MemoryDevice(ByteView contents, std::string name = "memory");
  ~MemoryDevice() override;
  std::uint64_t size() const override;
  void read_at(std::uint64_t offset, MutableBytes out) const override;
  std::string describe() const override;
  void write_at(std::uint64_t offset, ByteView bytes) override;
  void flush() override {}

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace respaldo::block
