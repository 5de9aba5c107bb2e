#include "fs/mounted/nbd_server.h"

#include <endian.h>
#include <gtest/gtest.h>
#include <linux/nbd.h>
#include <sys/socket.h>

#include <thread>

#include "base/error.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "os/unique_fd.h"

namespace respaldo::fs {
namespace {

constexpr std::size_t kSize = 64U << 10;

// The kernel's side.
class Client {
 public:
  explicit Client(block::DevicePtr device, std::uint64_t most_kept = kSize)
      : server_(std::move(device), most_kept) {
    int sockets[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
      throw std::runtime_error("socketpair");
    ours_ = os::UniqueFd(sockets[0]);
    theirs_ = os::UniqueFd(sockets[1]);
    thread_ = std::thread([this] {
      server_.serve(theirs_.get());
      ::shutdown(theirs_.get(), SHUT_RDWR);
    });
  }
  ~Client() {
    ::shutdown(ours_.get(), SHUT_RDWR);
    thread_.join();
  }

  void ask(std::uint32_t command, std::uint64_t offset, std::uint32_t length,
           std::uint32_t magic = NBD_REQUEST_MAGIC) {
    nbd_request request{};
    request.magic = htobe32(magic);
    request.type = htobe32(command);
    std::memcpy(&request.handle, "handle07", 8);
    request.from = htobe64(offset);
    request.len = htobe32(length);
    ::send(ours_.get(), &request, sizeof request, MSG_NOSIGNAL);
  }
  void give(ByteView bytes) { ::send(ours_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }

  // The error of the answer; absent when the other side has gone.
  std::optional<std::uint32_t> answer() {
    nbd_reply reply{};
    if (::recv(ours_.get(), &reply, sizeof reply, MSG_WAITALL) != sizeof reply) return std::nullopt;
    EXPECT_EQ(be32toh(reply.magic), std::uint32_t{NBD_REPLY_MAGIC});
    EXPECT_EQ(std::memcmp(&reply.handle, "handle07", 8), 0);
    return be32toh(reply.error);
  }
  Bytes data(std::size_t length) {
    Bytes bytes(length);
    EXPECT_EQ(::recv(ours_.get(), bytes.data(), length, MSG_WAITALL), static_cast<ssize_t>(length));
    return bytes;
  }
  Bytes read(std::uint64_t offset, std::uint32_t length) {
    ask(NBD_CMD_READ, offset, length);
    EXPECT_EQ(answer(), 0U);
    return data(length);
  }
  std::optional<std::uint32_t> write(std::uint64_t offset, ByteView bytes) {
    ask(NBD_CMD_WRITE, offset, static_cast<std::uint32_t>(bytes.size()));
    give(bytes);
    return answer();
  }
  const NbdServer& server() const { return server_; }

 private:
  NbdServer server_;
  os::UniqueFd ours_, theirs_;
  std::thread thread_;
};

Bytes numbered() {
  Bytes bytes(kSize);
  for (std::size_t i = 0; i < kSize; ++i) bytes.data()[i] = static_cast<std::uint8_t>(i / 512 + i);
  return bytes;
}

TEST(NbdServer, what_is_written_is_read_again_and_never_reaches_the_device) {
  const Bytes before = numbered();
  const auto device = std::make_shared<block::MemoryDevice>(before);
  Client client(device);
  EXPECT_EQ(as_text(client.read(1024, 4096)), as_text(ByteView(before).subspan(1024, 4096)));
  const Bytes zeros = Bytes::zeroed(1024);
  EXPECT_EQ(client.write(2048, zeros), 0U);
  EXPECT_EQ(as_text(client.read(2048, 1024)), as_text(zeros));
  client.ask(NBD_CMD_FLUSH, 0, 0);
  EXPECT_EQ(client.answer(), 0U);
  EXPECT_EQ(client.server().written(), (ExtentSet{{2048, 1024}}));
  EXPECT_EQ(as_text(block::read(*device, 0, kSize)), as_text(before));
}

TEST(NbdServer, what_lies_outside_and_what_it_does_not_know_is_refused) {
  Client client(std::make_shared<block::MemoryDevice>(numbered()));
  client.ask(NBD_CMD_READ, kSize - 512, 1024);
  EXPECT_EQ(client.answer(), std::uint32_t{EINVAL});
  client.ask(NBD_CMD_READ, ~std::uint64_t{0}, 512);
  EXPECT_EQ(client.answer(), std::uint32_t{EINVAL});
  EXPECT_EQ(client.write(kSize, Bytes::zeroed(512)), std::uint32_t{EINVAL});
  client.ask(99, 0, 512);
  EXPECT_EQ(client.answer(), std::uint32_t{EINVAL});
  EXPECT_EQ(client.read(0, 512).size(), 512U);
}

TEST(NbdServer, writes_are_bounded) {
  Client client(std::make_shared<block::MemoryDevice>(numbered()), 4096);
  EXPECT_EQ(client.write(0, Bytes::zeroed(4096)), 0U);
  EXPECT_EQ(client.write(8192, Bytes::zeroed(512)), std::uint32_t{ENOSPC});
  EXPECT_EQ(client.server().written(), (ExtentSet{{0, 4096}}));
}

TEST(NbdServer, an_unreadable_sector_is_an_error_of_that_request_alone) {
  Client client(block::faulty(std::make_shared<block::MemoryDevice>(numbered()), [](Extent range) {
    if (!intersect(range, {4096, 512}).empty()) throw Error(ErrorKind::io, "bad sector");
  }));
  client.ask(NBD_CMD_READ, 4096, 512);
  EXPECT_EQ(client.answer(), std::uint32_t{EIO});
  EXPECT_EQ(client.read(0, 4096).size(), 4096U);
}

TEST(NbdServer, goes_when_told_and_at_nonsense) {
  Client told(std::make_shared<block::MemoryDevice>(numbered()));
  told.ask(NBD_CMD_DISC, 0, 0);
  EXPECT_FALSE(told.answer());
  Client nonsense(std::make_shared<block::MemoryDevice>(numbered()));
  nonsense.ask(NBD_CMD_READ, 0, 512, 0x12345678);
  EXPECT_FALSE(nonsense.answer());
  Client too_long(std::make_shared<block::MemoryDevice>(numbered()));
  too_long.ask(NBD_CMD_READ, 0, ~0U);
  EXPECT_FALSE(too_long.answer());
}

}  // namespace
}  // namespace respaldo::fs
