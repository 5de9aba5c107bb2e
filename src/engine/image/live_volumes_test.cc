#include "engine/image/live_volumes.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/image/activation_client.h"
#include "engine/image/lvm_ops_fixture_test.h"

namespace respaldo::engine {
namespace {

using Live = LvmOps;

TEST_F(Live, only_the_one_who_has_it_open_claims_a_volume) {
  make_group();
  make_lv("root", 20);
  make_lv("var", 20);
  disks_.reset();
  LiveVolumes volumes(DiskSet::open(images_, LockMode::exclusive), false);
  const VolumeName root{"vg0", "root"}, var{"vg0", "var"};
  EXPECT_FALSE(volumes.claim(root));
  auto mount = volumes.open(root);
  {
    const auto restore = volumes.open(root);
    EXPECT_FALSE(volumes.claim(root));
  }
  mount.reset();
  {
    const auto restore = volumes.open(root);
    EXPECT_TRUE(volumes.claim(root));
    EXPECT_FALSE(volumes.claim(root));
    EXPECT_EQ(error_of([&] { volumes.open(root); }).kind(), ErrorKind::busy);
    EXPECT_NO_THROW(volumes.open(var));
  }
  EXPECT_NO_THROW(volumes.open(root));
}

// Answers one request as a program does that does not know it.
class OldActivation {
 public:
  explicit OldActivation(const os::Path& socket) : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::jthread([this] {
      const os::UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const auto request = receive_message(peer.get());
      send_message(peer.get(), error_to_json(Error(ErrorKind::usage, "unknown request 'claim'")));
    });
  }

 private:
  os::UniqueFd listener_;
  std::jthread thread_;
};

TEST_F(Live, an_activation_that_knows_no_claims_is_told_to_be_old) {
  const os::Path socket = folder_.path() / "socket";
  const OldActivation old(socket);
  const ActivationClient client({::getpid(), socket, "/srv/volumes"});
  const Error error = error_of([&] { client.claim({"vg0", "root"}); });
  EXPECT_EQ(error.kind(), ErrorKind::busy);
  EXPECT_THAT(error.what(), ::testing::HasSubstr("the activation at /srv/volumes is of an older version"));
  EXPECT_THAT(error.hint(), ::testing::HasSubstr("activate again"));
}

TEST_F(Live, the_time_of_the_last_write_changes_with_every_write_of_the_volume) {
  make_group();
  make_lv("root", 20);
  make_lv("var", 20);
  disks_.reset();
  LiveVolumes volumes(DiskSet::open(images_, LockMode::exclusive), false);
  const VolumeName root{"vg0", "root"}, var{"vg0", "var"};
  const auto last = [&](const VolumeName& name) { return volumes.find(name)->last_write; };
  EXPECT_EQ(last(root), 0);
  const auto handle = volumes.open(root);
  handle->write(4096, as_bytes("x"));
  const std::int64_t written = last(root);
  EXPECT_GT(written, 0);
  volumes.run_paused([](DiskSet&) {});
  Bytes buffer(4096);
  handle->read(0, buffer.span());
  EXPECT_EQ(last(root), written);
  handle->zero({0, 4096});
  EXPECT_GT(last(root), written);
  EXPECT_EQ(last(var), 0);
}

}  // namespace
}  // namespace respaldo::engine
