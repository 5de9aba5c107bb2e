// A disk with a volatile cache, and a power supply that fails when a test wants it.
#pragma once

#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "block/device.h"
#include "dm/devices_test.h"

namespace respaldo::dm {

struct PowerCut : std::exception {
  const char* what() const noexcept override { return "power cut"; }
};

// Fails the `after`-th write or flush from now on, and all that follow.
struct PowerSupply {
  std::uint64_t operations = 0, after = UINT64_MAX;
  void use() {
    if (operations++ >= after) throw PowerCut();
  }
};

class PowerDisk final : public block::WritableDevice {
 public:
  PowerDisk(ByteView contents, std::shared_ptr<PowerSupply> power, std::string name)
      : durable_(Bytes::copy_of(contents)),
        now_(Bytes::copy_of(contents)),
        power_(std::move(power)),
        name_(std::move(name)) {}
  std::uint64_t size() const override { return now_.size(); }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    const std::lock_guard lock(mutex_);
    if (!out.empty()) std::memcpy(out.data(), now_.data() + offset, out.size());
  }
  void write_at(std::uint64_t offset, ByteView bytes) override {
    block::require_within(*this, offset, bytes.size());
    const std::lock_guard lock(mutex_);
    // The write that the power fails in may have reached the disk in part.
    if (!bytes.empty()) unflushed_.push_back({offset, Bytes::copy_of(bytes)});
    power_->use();
    if (!bytes.empty()) std::memcpy(now_.data() + offset, bytes.data(), bytes.size());
  }
  void flush() override {
    const std::lock_guard lock(mutex_);
    power_->use();
    durable_ = now_.clone();
    unflushed_.clear();
  }
  // What a reader finds after the power came back: any of the unflushed sectors were written, or were not.
  Bytes after_power_cut(std::mt19937_64& random) const {
    Bytes bytes = durable_.clone();
    for (const Write& write : unflushed_) {
      for (std::uint64_t at = 0; at < write.bytes.size();) {
        const std::uint64_t n =
            std::min<std::uint64_t>(512 - (write.offset + at) % 512, write.bytes.size() - at);
        if (random() % 2 == 0) std::memcpy(bytes.data() + write.offset + at, write.bytes.data() + at, n);
        at += n;
      }
    }
    return bytes;
  }

 private:
  struct Write {
    std::uint64_t offset;
    Bytes bytes;
  };
  mutable std::mutex mutex_;
  Bytes durable_, now_;
  std::vector<Write> unflushed_;
  std::shared_ptr<PowerSupply> power_;
  std::string name_;
};

}  // namespace respaldo::dm
