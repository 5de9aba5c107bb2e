// A world of images for tests of the lvm operations.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "block/file_device.h"
#include "engine/image/lvm_ops.h"
#include "engine/image/vg_edit.h"
#include "os/file.h"
#include "testing/errors.h"
#include "testing/temp.h"

namespace respaldo::engine {

using testing::error_of;

class LvmOps : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kImage = 64 * kMiB;

  os::Path add_image(const std::string& name, std::uint64_t size = kImage) {
    const os::Path path = folder_.path() / name;
    std::ofstream(path).close();
    std::filesystem::resize_file(path, size);
    images_.push_back(path);
    disks_.reset();
    return path;
  }

  // Opens the images when they are not open.
  DiskSet& disks() {
    if (!disks_) disks_ = DiskSet::open(images_, LockMode::exclusive);
    return *disks_;
  }
  // As another process would see it now.
  DiskSet& reopened() {
    disks_.reset();
    return disks();
  }

  OpContext context() {
    return {.disks = disks(),
            .print = [this](std::string_view line) { out_ += std::string(line) + "\n"; },
            .warn = [this](std::string_view line) { err_ += std::string(line) + "\n"; },
            .confirm =
                [this](std::string_view question) {
                  asked_.emplace_back(question);
                  return answer_;
                },
            .now = [] { return std::int64_t{1700000000}; },
            .host = "host",
            .command = "test",
            .is_open = {},
            .has_died = {},
            .stop = {}};
  }

  const DiskSet::Group& group(const std::string& name = "vg0") { return disks().group(name); }
  const lvm::LogicalVolume* lv(const std::string& name) { return group().vg.find_lv(name); }

  // "vg0" over as many new images as asked for.
  void make_group(std::size_t images = 2, std::uint64_t extent = kMiB) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < images; ++i) {
      names.push_back(std::string(1, static_cast<char>('a' + i)) + ".img");
      add_image(names.back());
    }
    GroupOptions options;
    options.extent_bytes = extent;
    OpContext op = context();
    create_group(op, "vg0", names, options);
  }

  void make_lv(const std::string& name, std::uint64_t extents, std::vector<std::string> pvs = {}) {
    LvRequest request;
    request.vg = "vg0";
    request.name = name;
    request.size = {SizeSign::none, SizeBase::extents, extents};
    request.pvs = std::move(pvs);
    OpContext op = context();
    create_lv(op, request);
  }
  void make_snapshot(const std::string& origin, const std::string& name, std::uint64_t extents,
                     std::uint64_t chunk = 4096) {
    SnapshotRequest request;
    request.store.vg = "vg0";
    request.store.name = name;
    request.store.size = {SizeSign::none, SizeBase::extents, extents};
    request.origin = origin;
    request.chunk_bytes = chunk;
    OpContext op = context();
    create_snapshot(op, request);
  }
  void resize(const std::string& name, SizeSign sign, std::uint64_t extents) {
    ResizeRequest request;
    request.name = {"vg0", name};
    request.size = {sign, SizeBase::extents, extents};
    request.may_extend = request.may_reduce = true;
    OpContext op = context();
    resize_lv(op, request);
  }

  block::WritableDevicePtr layer(const std::string& name, std::string_view which = "real") {
    return disks().open_layer_writable(group(), *lv(name), which);
  }
  // Bytes of what users see.
  std::string seen(const std::string& name) {
    const auto device = disks().open_lv(group(), *lv(name));
    Bytes bytes(device->size());
    device->read_at(0, bytes.span());
    return text(bytes);
  }
  static std::string text(ByteView bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // Fills an LV that has no snapshot.
  std::string fill(const std::string& name, std::uint64_t seed) {
    const auto device = layer(name);
    const Bytes bytes = testing_bytes(device->size(), seed);
    device->write_at(0, bytes);
    device->flush();
    return text(bytes);
  }
  static Bytes testing_bytes(std::uint64_t size, std::uint64_t seed) {
    return respaldo::testing::random_bytes(size, seed);
  }
  // All bytes of all images.
  std::string everything() {
    disks_.reset();
    std::string all;
    for (const os::Path& image : images_) {
      std::ifstream in(image, std::ios::binary);
      all.append(std::istreambuf_iterator<char>(in), {});
    }
    return all;
  }

  os::TemporaryFolder folder_;
  std::vector<os::Path> images_;
  std::unique_ptr<DiskSet> disks_;
  std::string out_, err_;
  std::vector<std::string> asked_;
  bool answer_ = true;
};

}  // namespace respaldo::engine
