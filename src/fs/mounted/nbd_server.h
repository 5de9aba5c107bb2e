// The network block device's protocol, as far as the kernel's client speaks it (its "simple replies",
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md).
#pragma once

#include <mutex>

#include "base/extent.h"
#include "block/device.h"

namespace respaldo::fs {

// Answers requests on a stream socket.
class NbdServer {
 public:
  // Writes go to memory, at most `most_kept` bytes of them.
  NbdServer(block::DevicePtr device, std::uint64_t most_kept);

  // Until the other side disconnects or closes the socket, or says what makes no sense. Never throws.
  void serve(int socket) noexcept;
  // Thread-safe.
  ExtentSet written() const;

 private:
  bool serve_one(int socket);
  std::uint32_t read(std::uint64_t offset, MutableBytes out) const;
  std::uint32_t write(std::uint64_t offset, ByteView bytes);

  const block::WritableDevicePtr overlay_;
  const std::uint64_t most_kept_;
  Bytes buffer_;
  mutable std::mutex mutex_;
  ExtentSet written_;
};

}  // namespace respaldo::fs
