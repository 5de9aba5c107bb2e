// Volumes live through random histories; each backup, with bases or without, must be what a full one is.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "backup/backup.h"
#include "base/error.h"
#include "base/units.h"
#include "engine/base.h"
#include "engine/image/lvm_ops.h"
#include "os/process.h"
#include "repo/snapshot.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/volume_view.h"

namespace respaldo::cli {
namespace {

using engine::VolumeName;

constexpr std::uint64_t kExtent = 64 * kKiB;
constexpr std::uint64_t kVolume = 4 * kMiB;

// One small filesystem, a step older in each image: files come, grow, shrink and go.
std::vector<Bytes> make_states() {
  const os::TemporaryFolder folder;
  const os::Path image = folder.path() / "fs", tree = folder.path() / "tree";
  std::filesystem::create_directories(tree / "sub");
  const auto make = [&](const os::Path& name, std::uint64_t size, std::uint64_t seed) {
    const Bytes bytes = testing::random_bytes(size, seed);
    std::ofstream(name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(size));
  };
  for (int i = 0; i < 20; ++i) make(tree / fmt::format("small{}", i), 100 + i * 2500, i);
  make(tree / "sub/large", 900 * kKiB, 100);
  std::ofstream(image).close();
  std::filesystem::resize_file(image, kVolume);
  const auto must = [](const std::vector<std::string>& words) {
    const auto result = os::run_command(words);
    EXPECT_EQ(result.exit_code, 0) << words[0] << ": " << result.err;
  };
  must({"mke2fs", "-q", "-t", "ext4", "-b", "1024", "-O", "^resize_inode,^has_journal", "-d", tree, image});
  std::vector<Bytes> states;
  for (int step = 0; step < 5; ++step) {
    const std::string text = os::read_text(image);
    states.push_back(Bytes::copy_of(as_bytes(text)));
    const os::Path fresh = folder.path() / fmt::format("fresh{}", step);
    make(fresh, 80 * kKiB * (step + 1), 200 + step);
    must({"debugfs", "-w", "-R", fmt::format("rm small{}", step * 3), image});
    must({"debugfs", "-w", "-R", fmt::format("write {} fresh{}", fresh.native(), step), image});
    if (step == 2) must({"debugfs", "-w", "-R", "rm sub/large", image});
  }
  return states;
}

const std::vector<Bytes>& states() {
  static const std::vector<Bytes> made = make_states();
  return made;
}

class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed), repository_(testing::memory_repository()) {
    image_ = folder_.path() / "disk";
    std::ofstream(image_).close();
    std::filesystem::resize_file(image_, 20 * kMiB);
    engine::GroupOptions options;
    options.extent_bytes = kExtent;
    with([&](engine::OpContext& op) { engine::create_group(op, "vg0", {"disk"}, options); });
    make_lv("root", kVolume / kExtent);
    make_lv("other", kVolume / kExtent);
    fill("root", testing::random_bytes(kVolume, seed));
    fill("other", testing::random_bytes(kVolume, seed + 1));
    reopen();
  }

  void night() {
    for (std::uint64_t i = random_() % 5; i > 0; --i) happen();
    backup::BackupOptions options;
    options.volumes = {{"vg0", "root"}};
    if (random_() % 8 == 0) options.volumes.push_back({"vg0", "other"});
    options.hostname = "host";
    options.program_version = "respaldo test";
    options.threads = 2;
    if (long_lists_) options.limits = {.image_ids = 20, .least_part_ids = 4, .most_part_ids = 16};
    options.raw = random_() % 4 == 0;
    options.all_blocks = random_() % 3 == 0;
    options.keep_base = random_() % 5 != 0;
    options.cow_size = random_() % 4 == 0 ? 4 * kExtent : 20 * kExtent;
    if (random_() % 12 == 0) {
      // It dies at the last moment: nothing is listed, and the old base is still good.
      const std::size_t before = repository_->snapshots().size();
      EXPECT_THROW(save(options, [](backup::LockLook) { throw Error(ErrorKind::busy, "the lock is lost"); }), Error);
      EXPECT_EQ(repository_->snapshots().size(), before);
    }
    const backup::BackupSummary saved = save(options);
    backup::BackupOptions full = options;
    full.full = true;
    full.keep_base = false;
    const backup::BackupSummary reference = save(full);
    for (std::size_t i = 0; i < options.volumes.size(); ++i) {
      compare(saved, reference, options.volumes[i], options.raw || options.all_blocks);
      const view::BaseRecord& record = saved.volumes[i].base;
      if (record.used) ++used;
      if (!record.refused.empty()) ++refused;
      EXPECT_FALSE(reference.volumes[i].base.used);
      read += saved.volumes[i].bytes_read;
      reused += saved.volumes[i].bytes_reused;
    }
  }

  std::uint64_t used = 0, refused = 0, read = 0, reused = 0;

 private:
  void happen() {
    try {
      switch (random_() % 16) {
        case 0:
        case 1:
        case 2:
        case 3:
          return write_somewhere("root");
        case 4:
        case 5:
          return become(states()[random_() % states().size()]);
        case 6:
          return discard();
        case 7:
          return resize();
        case 8:
          return cut_short_and_grow();
        case 9:
          return lose_base();
        case 10:
          return overflow();
        case 11:
          return swap_volumes();
        case 12:
          return forge_base();
        case 13:
          return write_to_base();
        case 14:
          return random_() % 2 == 0 ? forget() : merge_base();
        default:
          return reopen();
      }
    } catch (const Error& error) {
      // Not everything is possible at any time: no room, no base, a snapshot that died. But nobody else is
      // here.
      if (error.kind() == ErrorKind::internal || error.kind() == ErrorKind::busy) throw;
    }
  }

  void write_somewhere(const std::string& lv) {
    const auto device = engine_->open_write({"vg0", lv});
    for (std::uint64_t i = random_() % 4 + 1; i > 0; --i) {
      const std::uint64_t at = random_() % device->size();
      device->write_at(
          at, testing::random_bytes(std::min(random_() % 30000 + 1, device->size() - at), random_()));
    }
    device->flush();
  }
  // Only what differs is written, as a filesystem does.
  void become(const Bytes& state) {
    const auto device = engine_->open_write({"vg0", "root"});
    constexpr std::uint64_t kBlock = 1024;
    Bytes now(kBlock);
    for (std::uint64_t at = 0; at + kBlock <= std::min<std::uint64_t>(state.size(), device->size());
         at += kBlock) {
      device->read_at(at, now);
      if (std::memcmp(now.data(), state.data() + at, kBlock) != 0)
        device->write_at(at, state.view(at, kBlock));
    }
    device->flush();
  }
  void discard() {
    const auto device = engine_->open_write({"vg0", "root"});
    const std::uint64_t at = random_() % (device->size() / 512) * 512;
    device->zero({at, std::min(random_() % (kMiB / 512) * 512 + 512, device->size() - at)});
    device->flush();
  }
  void resize() {
    const std::uint64_t now = engine_->find({"vg0", "root"}).size / kExtent;
    resize_to(random_() % 2 == 0 ? now + random_() % 5 + 1 : now - random_() % 3 - 1);
  }
  // The extents at the end are somebody else's for a while.
  void cut_short_and_grow() {
    const std::uint64_t now = engine_->find({"vg0", "root"}).size / kExtent, less = random_() % 4 + 1;
    resize_to(now - less);
    make_lv("guest", less);
    fill("guest", testing::random_bytes(less * kExtent, random_()));
    with([&](engine::OpContext& op) { engine::remove_lv(op, {"vg0", "guest"}); });
    resize_to(now);
  }
  void lose_base() {
    const std::string name = base();
    with([&](engine::OpContext& op) { engine::remove_lv(op, {"vg0", name}); });
  }
  void overflow() {
    const auto device = engine_->open_write({"vg0", "root"});
    device->write_at(0, testing::random_bytes(2 * kMiB, random_()));
    device->flush();
  }
  void swap_volumes() {
    with([&](engine::OpContext& op) {
      engine::rename_lv(op, {"vg0", "root"}, "third");
      engine::rename_lv(op, {"vg0", "other"}, "root");
      engine::rename_lv(op, {"vg0", "third"}, "other");
    });
  }
  // A younger snapshot, or one of another volume, says that it is the base.
  void forge_base() {
    const std::string old = base();
    const std::string token = bases().front().token;
    if (random_() % 2 == 0) with([&](engine::OpContext& op) { engine::remove_lv(op, {"vg0", old}); });
    write_somewhere("root");
    with([&](engine::OpContext& op) {
      engine::SnapshotRequest request;
      request.store.vg = "vg0";
      request.store.name = fmt::format("forged{}", random_() % 1000);
      request.store.size = {engine::SizeSign::none, engine::SizeBase::extents, 8};
      request.store.tags = {std::string(engine::kBaseTokenTagPrefix) + token};
      request.origin = random_() % 2 == 0 ? "root" : "other";
      engine::create_snapshot(op, request);
    });
  }
  void write_to_base() { write_somewhere(base()); }
  void merge_base() {
    const std::string name = base();
    with([&](engine::OpContext& op) { engine::merge_snapshot(op, {"vg0", name}); });
  }
  // The newest backup goes: its base has no backup any more.
  void forget() {
    const auto backups = repository_->snapshots();
    if (!backups.empty())
      repository_->backend().remove(
          {store::FileType::snapshot, backups[random_() % backups.size()].id.hex()});
  }

  std::vector<engine::BaseInfo> bases() {
    auto all = engine::base_engine(*engine_)->list_bases();
    std::erase_if(all, [](const engine::BaseInfo& one) { return one.volume != "root"; });
    return all;
  }
  std::string base() {
    const auto all = bases();
    if (all.empty()) throw Error(ErrorKind::not_found, "there is no base");
    return all.front().name.lv;
  }

  backup::BackupSummary save(
      const backup::BackupOptions& options, const std::function<void(backup::LockLook)>& still_locked = [](backup::LockLook) {}) {
    SilentProgress progress;
    return backup::run_backup(*engine_, *testing::indexed(*repository_), options, progress, still_locked, {});
  }

  view::StoredVolume stored(const backup::BackupSummary& summary, const VolumeName& name) {
    for (const auto& backup : repository_->snapshots())
      if (backup.id == summary.id)
        return view::select_volume(view::stored_volumes(*testing::indexed(*repository_), backup.snapshot),
                                   name.str());
    ADD_FAILURE() << "not listed";
    return {};
  }
  std::optional<repo::Node> files(const backup::BackupSummary& summary, const VolumeName& name) {
    for (const auto& backup : repository_->snapshots())
      if (backup.id == summary.id)
        return view::find_node(*testing::indexed(*repository_), backup.snapshot, name.str() + "/files");
    return std::nullopt;
  }

  void compare(const backup::BackupSummary& saved, const backup::BackupSummary& reference,
               const VolumeName& name, bool every_byte) {
    const view::StoredVolume a = stored(saved, name), b = stored(reference, name);
    ASSERT_EQ(a.parts, b.parts) << "other blobs than a full backup has";
    const auto files_a = files(saved, name), files_b = files(reference, name);
    ASSERT_EQ(files_a.has_value(), files_b.has_value());
    if (files_a) {
      ASSERT_EQ(files_a->subtree, files_b->subtree) << "other files than a full backup has";
    }
    if (!every_byte) return;
    const auto image = view::open_image(testing::indexed(*repository_), a);
    const auto volume = engine_->open_read(name);
    ASSERT_EQ(image->size(), volume->size());
    ASSERT_TRUE(as_text(block::read(*image, 0, image->size())) ==
                as_text(block::read(*volume, 0, image->size())))
        << "other bytes than the volume has";
  }

  template <class Body>
  void with(Body body) {
    const auto disks = engine::DiskSet::open({image_}, engine::LockMode::exclusive);
    engine::OpContext op{.disks = *disks,
                         .print = [](std::string_view) {},
                         .warn = [](std::string_view) {},
                         .confirm = [](std::string_view) { return true; },
                         .now = [this] { return clock_++; },
                         .host = "host",
                         .command = "test",
                         .yes = true,
                         .force = 1,
                         .is_open = {},
                         .has_died = {},
                         .stop = {}};
    body(op);
  }
  void make_lv(const std::string& name, std::uint64_t extents) {
    engine::LvRequest request;
    request.vg = "vg0";
    request.name = name;
    request.size = {engine::SizeSign::none, engine::SizeBase::extents, extents};
    with([&](engine::OpContext& op) { engine::create_lv(op, request); });
  }
  void resize_to(std::uint64_t extents) {
    engine::ResizeRequest request;
    request.name = {"vg0", "root"};
    request.size = {engine::SizeSign::none, engine::SizeBase::extents, extents};
    request.may_extend = request.may_reduce = true;
    with([&](engine::OpContext& op) { engine::resize_lv(op, request); });
  }
  void fill(const std::string& lv, const Bytes& bytes) {
    const auto device = engine::make_image_engine({image_})->open_write({"vg0", lv});
    device->write_at(0, bytes);
    device->flush();
  }
  void reopen() { engine_ = engine::make_image_engine({image_}); }

  std::mt19937_64 random_;
  const bool long_lists_ = random_() % 2 == 0;  // more IDs than one tree shall list
  os::TemporaryFolder folder_;
  os::Path image_;
  std::int64_t clock_ = 1700000000;
  std::unique_ptr<repo::Repository> repository_;
  std::unique_ptr<engine::VolumeEngine> engine_;
};

// 500 in all, shared out so that they can run side by side. HISTORIES=N: so many in each of the five parts.
class Histories : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(Histories, no_base_is_wrongly_trusted) {
  constexpr std::uint64_t kMost = 100;
  const char* wanted = std::getenv("HISTORIES");
  const std::uint64_t each =
      std::min<std::uint64_t>(wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : kMost, kMost);
  std::uint64_t used = 0, refused = 0;
  std::uint64_t read = 0, reused = 0;
  for (std::uint64_t seed = GetParam() * kMost; seed < GetParam() * kMost + each; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    for (int night = 0; night < 4; ++night) {
      world.night();
      if (HasFailure()) return;
    }
    used += world.used;
    refused += world.refused;
    read += world.read;
    reused += world.reused;
  }
  // Both happen, and often: else this would prove nothing.
  EXPECT_GT(used, each == kMost ? 80U : 0U);
  if (each < kMost) return;
  EXPECT_GT(refused, 20U);
  EXPECT_GT(reused, read / 8);
}

INSTANTIATE_TEST_SUITE_P(Hundreds, Histories, ::testing::Range<std::uint64_t>(0, 5));

}  // namespace
}  // namespace respaldo::cli
