// Standard output, a pipe or a terminal: whoever takes the bytes may take his time, and a stop request ends the wait.
#pragma once

#include <stop_token>
#include <string>

#include "base/bytes.h"
#include "os/file.h"
#include "os/unique_fd.h"

namespace respaldo::os {

class OutputStream {
 public:
  // `fd` outlives it; `name` is for messages.
  OutputStream(int fd, std::string name, std::stop_token stop);
  // A device or a FIFO, whose reader is waited for. Cancelled.
  OutputStream(const Path& path, std::stop_token stop);
  // All of it. Cancelled when a stop is requested while nobody takes it; errors as write_all.
  void write(ByteView bytes);

 private:
  UniqueFd own_;  // that never blocks; none where there is no such way
  int fd_;
  std::string name_;
  std::stop_token stop_;
  bool may_block_ = false, is_socket_ = false;
};

}  // namespace respaldo::os
