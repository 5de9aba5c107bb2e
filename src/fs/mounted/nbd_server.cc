#include "fs/mounted/nbd_server.h"

#include <endian.h>
#include <linux/nbd.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "block/layers.h"

namespace respaldo::fs {

namespace {

constexpr std::size_t kLongestRequest = 32U << 20;
static_assert(sizeof(nbd_request) == 28 && sizeof(nbd_reply) == 16);

bool receive(int socket, MutableBytes out) {
  while (!out.empty()) {
    const ssize_t n = ::recv(socket, out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

bool send_all(int socket, ByteView bytes, int flags = 0) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | flags);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

NbdServer::NbdServer(block::DevicePtr device, std::uint64_t most_kept)
    : overlay_(block::overlay(std::move(device))), most_kept_(most_kept) {}

void NbdServer::serve(int socket) noexcept {
  try {
    while (serve_one(socket)) {
    }
  } catch (...) {
    // Memory has run out. Without answers the kernel's side fails, and its errors are told.
  }
}

bool NbdServer::serve_one(int socket) {
  nbd_request request{};
  if (!receive(socket, {reinterpret_cast<std::uint8_t*>(&request), sizeof request})) return false;
  if (be32toh(request.magic) != NBD_REQUEST_MAGIC) return false;
  const std::uint32_t command = be32toh(request.type) & 0xffff;
  const std::uint64_t offset = be64toh(request.from);
  const std::uint32_t length = be32toh(request.len);
  std::uint32_t error = 0;
  bool answers_data = false;
  switch (command) {
    case NBD_CMD_DISC:
      return false;
    case NBD_CMD_READ:
      if (length > kLongestRequest) return false;
      buffer_.resize(length);
      error = read(offset, buffer_);
      answers_data = error == 0;
      break;
    case NBD_CMD_WRITE:
      if (length > kLongestRequest) return false;
      buffer_.resize(length);
      if (!receive(socket, buffer_)) return false;
      error = write(offset, buffer_);
      break;
    case NBD_CMD_FLUSH:
      break;
    default:
      error = EINVAL;
  }
  nbd_reply reply{};
  reply.magic = htobe32(NBD_REPLY_MAGIC);
  reply.error = htobe32(error);
  std::memcpy(&reply.handle, &request.handle, sizeof reply.handle);
  return send_all(socket, {reinterpret_cast<const std::uint8_t*>(&reply), sizeof reply},
                  answers_data ? MSG_MORE : 0) &&
         (!answers_data || send_all(socket, buffer_));
}

std::uint32_t NbdServer::read(std::uint64_t offset, MutableBytes out) const {
  if (offset > overlay_->size() || out.size() > overlay_->size() - offset) return EINVAL;
  try {
    overlay_->read_at(offset, out);
    return 0;
  } catch (const Error&) {
    return EIO;  // of a sector that cannot be read; the pass meets it as well
  }
}

std::uint32_t NbdServer::write(std::uint64_t offset, ByteView bytes) {
  if (offset > overlay_->size() || bytes.size() > overlay_->size() - offset) return EINVAL;
  {
    const std::lock_guard lock(mutex_);
    if (written_.total() + bytes.size() > most_kept_) return ENOSPC;
    written_.add({offset, bytes.size()});
  }
  try {
    overlay_->write_at(offset, bytes);
    return 0;
  } catch (const Error&) {
    return EIO;
  }
}

ExtentSet NbdServer::written() const {
  const std::lock_guard lock(mutex_);
  return written_;
}

}  // namespace respaldo::fs
