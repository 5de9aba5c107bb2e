#include "engine/image/live_volumes.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
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

// An activation of "vg0" on images a and b: data with a snapshot, and a volume that has nothing to do with them.
class LiveSnapshots : public LvmOps {
 protected:
  void make_world(const std::string& data_on, const std::string& store_on) {
    make_group();
    make_lv("data", 8, {data_on});
    make_lv("other", 4, {"a.img"});
    before_ = fill("data", 1);
    snap("data", "snap", 10, {store_on});
  }
  void snap(const std::string& origin, const std::string& name, std::uint64_t extents, std::vector<std::string> pvs) {
    SnapshotRequest request;
    request.store.vg = "vg0";
    request.store.name = name;
    request.store.size = {SizeSign::none, SizeBase::extents, extents};
    request.store.pvs = std::move(pvs);
    request.origin = origin;
    OpContext op = context();
    create_snapshot(op, request);
  }
  std::unique_ptr<LiveVolumes> serve(const std::vector<os::Path>& images) {
    disks_.reset();
    return std::make_unique<LiveVolumes>(DiskSet::open(images, LockMode::exclusive), false);
  }
  static std::string contents(LiveVolumes& volumes, const VolumeName& name) {
    const auto handle = volumes.open(name);
    Bytes bytes(handle->size());
    handle->read(0, bytes.span());
    return text(bytes);
  }
  OpContext context_of(DiskSet& disks) {
    return {.disks = disks,
            .print = [](std::string_view) {},
            .warn = [](std::string_view) {},
            .confirm = [](std::string_view) { return true; },
            .now = [] { return std::int64_t{1700000000}; },
            .host = "host",
            .command = "test",
            .active = true,
            .is_open = {},
            .has_died = {},
            .stop = {}};
  }
  static void mark_missing(DiskSet& disks, std::size_t pv) {
    lvm::VolumeGroup next = disks.group("vg0").vg;
    next.pvs.at(pv).flags.emplace_back("MISSING");
    disks.commit("vg0", std::move(next), "test");
  }

  const VolumeName data_{"vg0", "data"}, snap_{"vg0", "snap"}, other_{"vg0", "other"};
  std::string before_;
};

TEST_F(LiveSnapshots, an_origin_is_not_written_past_a_snapshot_that_cannot_follow) {
  make_world("a.img", "b.img");
  {
    const auto volumes = serve({images_[0]});
    EXPECT_NO_THROW(volumes->volume_infos());
    const auto data = volumes->find(data_);
    EXPECT_FALSE(data->writable);
    EXPECT_THAT(data->unwritable, ::testing::HasSubstr("snapshot snap cannot follow"));
    EXPECT_FALSE(volumes->find(snap_)->unreadable.empty());
    EXPECT_TRUE(contents(*volumes, data_) == before_);
    const Error error = error_of([&] { volumes->open(data_)->write(0, as_bytes("x")); });
    EXPECT_EQ(error.kind(), ErrorKind::refused);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("snapshot snap cannot follow"));
    volumes->open(other_)->write(0, as_bytes("x"));
  }
  // As a restore onto it does.
  const Error error = error_of([&] { make_image_engine({images_[0]})->open_write(data_); });
  EXPECT_EQ(error.kind(), ErrorKind::refused);
  EXPECT_THAT(error.what(), ::testing::HasSubstr("snapshot snap cannot follow"));
  EXPECT_NO_THROW(make_image_engine({images_[0]})->open_write(other_));
  const auto volumes = serve(images_);
  volumes->open(data_)->write(0, as_bytes("x"));
  EXPECT_TRUE(contents(*volumes, snap_) == before_);
}

TEST_F(LiveSnapshots, a_lost_origin_blocks_no_other_volume) {
  make_world("b.img", "a.img");
  const auto volumes = serve({images_[0]});
  EXPECT_NO_THROW(volumes->volume_infos());
  EXPECT_THAT(volumes->find(data_)->unreadable, ::testing::HasSubstr("missing"));
  EXPECT_THAT(volumes->find(snap_)->unreadable, ::testing::HasSubstr("missing"));
  EXPECT_EQ(error_of([&] { volumes->open(snap_); }).kind(), ErrorKind::io);
  volumes->open(other_)->write(0, as_bytes("x"));
  volumes->run_paused([](DiskSet&) {});
  EXPECT_NO_THROW(volumes->open(other_));
}

TEST_F(LiveSnapshots, an_origin_on_a_cloned_disk_blocks_no_other_volume) {
  make_world("b.img", "b.img");
  disks_.reset();
  const os::Path clone = folder_.path() / "clone.img";
  std::filesystem::copy_file(images_[1], clone);
  const auto volumes = serve({images_[0], images_[1], clone});
  EXPECT_THAT(volumes->find(data_)->unreadable, ::testing::HasSubstr("clone"));
  volumes->open(other_)->write(0, as_bytes("x"));
}

TEST_F(LiveSnapshots, a_disk_lost_while_served_takes_only_its_own_volumes) {
  make_world("a.img", "a.img");
  make_lv("far", 4, {"b.img"});
  snap("far", "far-snap", 6, {"b.img"});
  const auto volumes = serve(images_);
  const VolumeName far{"vg0", "far"};
  volumes->open(far)->write(0, as_bytes("x"));
  volumes->run_paused([](DiskSet& disks) { mark_missing(disks, 1); });
  EXPECT_THAT(volumes->find(far)->unreadable, ::testing::HasSubstr("MISSING"));
  volumes->run_paused([](DiskSet&) {});
  volumes->open(data_)->write(0, as_bytes("x"));
  EXPECT_TRUE(contents(*volumes, snap_) == before_);
}

TEST_F(LiveSnapshots, what_a_restored_group_moves_is_written_at_its_new_place) {
  make_world("a.img", "a.img");
  const std::string text = backup_text(context(), group());
  OpContext op = context();
  move_pv(op, {images_[0], {}, "data", AllocationPolicy::normal});
  move_pv(op, {images_[0], {}, "snap", AllocationPolicy::normal});
  {
    const auto volumes = serve(images_);
    volumes->run_paused([&](DiskSet& disks) {
      OpContext active = context_of(disks);
      restore_group(active, "vg0", text);
    });
    volumes->open(data_)->write(5000, as_bytes("new"));
    volumes->flush();
    EXPECT_TRUE(contents(*volumes, snap_) == before_);
  }
  EXPECT_EQ(seen("data").substr(5000, 3), "new");
  EXPECT_TRUE(seen("snap") == before_);
}

TEST_F(LiveSnapshots, a_store_that_was_extended_goes_on) {
  make_world("a.img", "a.img");
  const auto volumes = serve(images_);
  volumes->open(data_)->write(0, testing_bytes(kMiB, 2));
  volumes->run_paused([&](DiskSet& disks) {
    ResizeRequest request;
    request.name = snap_;
    request.size = {SizeSign::plus, SizeBase::extents, 2};
    OpContext active = context_of(disks);
    resize_lv(active, request);
  });
  EXPECT_EQ(volumes->cow(snap_)->size, 12 * kMiB);
  volumes->open(data_)->write(0, testing_bytes(8 * kMiB, 3));
  EXPECT_TRUE(contents(*volumes, snap_) == before_);
  EXPECT_TRUE(volumes->died().empty());
}

TEST_F(LiveSnapshots, who_died_is_told_until_it_is_removed) {
  make_world("a.img", "a.img");
  snap("data", "small", 1, {"b.img"});
  const auto volumes = serve(images_);
  EXPECT_TRUE(volumes->died().empty());
  volumes->open(data_)->write(0, testing_bytes(2 * kMiB, 2));
  EXPECT_EQ(volumes->died(), std::vector<VolumeName>{VolumeName("vg0", "small")});
  volumes->run_paused([](DiskSet&) {});
  EXPECT_EQ(volumes->died().size(), 1U);
  EXPECT_TRUE(contents(*volumes, snap_) == before_);
  volumes->run_paused([&](DiskSet& disks) {
    OpContext active = context_of(disks);
    remove_lv(active, {"vg0", "small"});
  });
  EXPECT_TRUE(volumes->died().empty());
}

TEST_F(LiveSnapshots, readers_without_end_do_not_keep_a_change_waiting) {
  make_world("a.img", "a.img");
  const auto volumes = serve(images_);
  std::atomic<bool> done{false};
  std::vector<std::jthread> readers;
  for (int i = 0; i < 4; ++i)
    readers.emplace_back([&] {
      const auto handle = volumes->open(data_);
      Bytes bytes(kMiB);
      const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
      while (!done && std::chrono::steady_clock::now() < limit) handle->read(0, bytes.span());
    });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto start = std::chrono::steady_clock::now();
  volumes->run_paused([](DiskSet&) {});
  done = true;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST_F(Live, who_waits_for_an_activation_can_be_stopped) {
  const os::Path socket = folder_.path() / "socket";
  const os::UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);  // and never answers
  std::stop_source stop;
  const ActivationClient client({::getpid(), socket, "/srv/volumes"}, stop.get_token());
  const std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop.request_stop();
  });
  EXPECT_THROW(client.lvm({"lvs"}), Cancelled);
}

// Two disks that were each changed while the other was away.
TEST_F(LiveSnapshots, a_group_that_contradicts_itself_is_not_written_until_it_is_settled) {
  make_world("a.img", "a.img");
  const auto tag = [&](const std::string& name) {
    lvm::VolumeGroup next = group().vg;
    next.tags.push_back(name);
    disks().commit("vg0", std::move(next), "test");
    disks_.reset();
  };
  const os::Path a = images_[0], b = images_[1], old_a = folder_.path() / "old-a", old_b = folder_.path() / "old-b",
                 new_b = folder_.path() / "new-b";
  disks_.reset();
  std::filesystem::copy_file(a, old_a);
  std::filesystem::copy_file(b, old_b);
  tag("one");
  std::filesystem::copy_file(b, new_b);
  std::filesystem::copy_file(old_a, a, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::copy_file(old_b, b, std::filesystem::copy_options::overwrite_existing);
  tag("two");
  std::filesystem::copy_file(new_b, b, std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(group().inconsistent);
  const std::uint64_t seqno = group().vg.seqno;
  EXPECT_EQ(error_of([&] { layer("other"); }).kind(), ErrorKind::refused);
  {
    const auto volumes = serve(images_);
    for (const VolumeName& name : {data_, other_}) {
      EXPECT_THAT(volumes->find(name)->unwritable, ::testing::HasSubstr("contradict"));
      EXPECT_EQ(error_of([&] { volumes->open(name)->write(0, as_bytes("x")); }).kind(), ErrorKind::refused);
    }
    EXPECT_TRUE(contents(*volumes, data_) == before_);
  }
  EXPECT_THAT(error_of([&] { make_image_engine(images_)->open_write(other_); }).what(),
              ::testing::HasSubstr("contradict"));
  OpContext op = context();
  EXPECT_THAT(error_of([&] { check_group(op, "vg0", false); }).hint(), ::testing::HasSubstr("vgcfgrestore"));
  // As the advice has it.
  std::string right;
  {
    disks_.reset();
    const auto alone = DiskSet::open({a}, LockMode::shared);
    OpContext reading = context_of(*alone);
    right = backup_text(reading, alone->group("vg0"));
  }
  OpContext settling = context();
  restore_group(settling, "vg0", right);
  EXPECT_FALSE(reopened().group("vg0").inconsistent);
  EXPECT_EQ(group().vg.seqno, seqno + 1);
  EXPECT_EQ(group().vg.tags, std::vector<std::string>{"two"});
  disks_.reset();
  EXPECT_NO_THROW(make_image_engine(images_)->open_write(other_));
}

TEST_F(LiveSnapshots, groups_of_others_are_not_written) {
  make_world("a.img", "a.img");
  DiskSet::Group judged = group();
  EXPECT_FALSE(write_refusal(judged));
  judged.vg.system_id = "elsewhere";
  EXPECT_TRUE(write_refusal(judged));
  EXPECT_EQ(error_of([&] { disks().open_layer_writable(judged, *judged.vg.find_lv("other"), "real"); }).kind(),
            ErrorKind::refused);
  judged = group();
  judged.vg.lock_type = "dlm";
  EXPECT_TRUE(write_refusal(judged));
  judged = group();
  judged.vg.status.emplace_back("EXPORTED");
  EXPECT_TRUE(write_refusal(judged));
}

}  // namespace
}  // namespace respaldo::engine
