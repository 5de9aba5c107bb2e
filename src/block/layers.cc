#include "block/layers.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <shared_mutex>

#include "base/units.h"

namespace respaldo::block {

namespace {

void check_range(const Device& below, Extent range, const std::string& name) {
  if (range.offset > below.size() || range.length > below.size() - range.offset)
    throw Error(ErrorKind::corrupt, fmt::format("{} claims bytes {} to {} of {}, which has only {}", name, range.offset,
                                                range.offset + range.length, below.describe(), below.size()),
                "the disk image may be truncated");
}

std::vector<Run> shifted_runs(const Device& below, Extent window, Extent range) {
  const Extent inside = intersect(range, {0, window.length});
  if (inside.empty()) return {};
  auto runs = below.runs({window.offset + inside.offset, inside.length});
  for (Run& run : runs) run.extent.offset -= window.offset;
  return runs;
}

class Slice final : public Device {
 public:
  Slice(DevicePtr below, Extent range, std::string name)
      : below_(std::move(below)), range_(range), name_(std::move(name)) {}
  std::uint64_t size() const override { return range_.length; }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    require_within(*this, offset, out.size());
    below_->read_at(range_.offset + offset, out);
  }
  std::vector<Run> runs(Extent range) const override { return shifted_runs(*below_, range_, range); }

 private:
  DevicePtr below_;
  Extent range_;
  std::string name_;
};

class WritableSlice final : public WritableDevice {
 public:
  WritableSlice(WritableDevicePtr below, Extent range, std::string name)
      : below_(std::move(below)), range_(range), name_(std::move(name)) {}
  std::uint64_t size() const override { return range_.length; }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    require_within(*this, offset, out.size());
    below_->read_at(range_.offset + offset, out);
  }
  std::vector<Run> runs(Extent range) const override { return shifted_runs(*below_, range_, range); }
  void write_at(std::uint64_t offset, ByteView bytes) override {
    require_within(*this, offset, bytes.size());
    below_->write_at(range_.offset + offset, bytes);
  }
  void zero(Extent range) override {
    require_within(*this, range.offset, range.length);
    below_->zero({range_.offset + range.offset, range.length});
  }
  void flush() override { below_->flush(); }

 private:
  WritableDevicePtr below_;
  Extent range_;
  std::string name_;
};

class Zero final : public Device {
 public:
  Zero(std::uint64_t size, std::string name) : size_(size), name_(std::move(name)) {}
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    require_within(*this, offset, out.size());
    if (!out.empty()) std::memset(out.data(), 0, out.size());
  }
  std::vector<Run> runs(Extent range) const override {
    const Extent inside = intersect(range, {0, size_});
    if (inside.empty()) return {};
    return {{inside, RunKind::zero}};
  }

 private:
  std::uint64_t size_;
  std::string name_;
};

class Failing final : public Device {
 public:
  Failing(std::uint64_t size, std::string name, Error error)
      : size_(size), name_(std::move(name)), error_(std::move(error)) {}
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    require_within(*this, offset, out.size());
    if (!out.empty()) throw Error(error_);
  }

 private:
  std::uint64_t size_;
  std::string name_;
  Error error_;
};

class Overlay final : public WritableDevice {
 public:
  explicit Overlay(DevicePtr below) : below_(std::move(below)) {}
  std::uint64_t size() const override { return below_->size(); }
  std::string describe() const override { return below_->describe(); }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    require_within(*this, offset, out.size());
    std::shared_lock lock(mutex_);
    below_->read_at(offset, out);
    for (auto it = pages_.lower_bound(offset / kPage); it != pages_.end(); ++it) {
      const Extent page{it->first * kPage, it->second.size()};
      const Extent both = intersect(page, {offset, out.size()});
      if (page.offset >= offset + out.size()) break;
      if (!both.empty())
        std::memcpy(out.data() + (both.offset - offset), it->second.data() + (both.offset - page.offset), both.length);
    }
  }
  void write_at(std::uint64_t offset, ByteView bytes) override {
    require_within(*this, offset, bytes.size());
    std::unique_lock lock(mutex_);
    while (!bytes.empty()) {
      const std::uint64_t number = offset / kPage, within = offset % kPage;
      const std::size_t n = std::min<std::size_t>(kPage - within, bytes.size());
      auto it = pages_.find(number);
      if (it == pages_.end()) {
        Bytes page(std::min<std::uint64_t>(kPage, size() - number * kPage));
        below_->read_at(number * kPage, page);
        it = pages_.emplace(number, std::move(page)).first;
      }
      std::memcpy(it->second.data() + within, bytes.data(), n);
      offset += n;
      bytes = bytes.subspan(n);
    }
  }
  std::vector<Run> runs(Extent range) const override {
    std::shared_lock lock(mutex_);
    std::vector<Run> result;
    for (const Run& run : below_->runs(range)) {
      std::uint64_t at = run.extent.offset;
      for (auto it = pages_.lower_bound(at / kPage); it != pages_.end() && it->first * kPage < run.extent.end(); ++it) {
        const Extent page = intersect({it->first * kPage, it->second.size()}, run.extent);
        if (page.empty()) continue;
        append_run(result, {{at, page.offset - at}, run.kind});
        append_run(result, {page, RunKind::data});
        at = page.end();
      }
      append_run(result, {{at, run.extent.end() - at}, run.kind});
    }
    return result;
  }
  void flush() override {}

 private:
  static constexpr std::uint64_t kPage = 4 * kKiB;
  DevicePtr below_;
  mutable std::shared_mutex mutex_;
  std::map<std::uint64_t, Bytes> pages_;
};

class Faulty final : public Device {
 public:
  Faulty(DevicePtr below, std::function<void(Extent)> fault) : below_(std::move(below)), fault_(std::move(fault)) {}
  std::uint64_t size() const override { return below_->size(); }
  std::string describe() const override { return below_->describe(); }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    fault_({offset, out.size()});
    below_->read_at(offset, out);
  }
  std::vector<Run> runs(Extent range) const override { return below_->runs(range); }

 private:
  DevicePtr below_;
  std::function<void(Extent)> fault_;
};

}  // namespace

DevicePtr slice(DevicePtr below, Extent range, std::string name) {
  check_range(*below, range, name);
  return std::make_shared<Slice>(std::move(below), range, std::move(name));
}

WritableDevicePtr slice(WritableDevicePtr below, Extent range, std::string name) {
  check_range(*below, range, name);
  return std::make_shared<WritableSlice>(std::move(below), range, std::move(name));
}

DevicePtr zero_device(std::uint64_t size, std::string name) { return std::make_shared<Zero>(size, std::move(name)); }

DevicePtr error_device(std::uint64_t size, std::string name, Error error) {
  return std::make_shared<Failing>(size, std::move(name), std::move(error));
}

WritableDevicePtr overlay(DevicePtr below) { return std::make_shared<Overlay>(std::move(below)); }

DevicePtr faulty(DevicePtr below, std::function<void(Extent)> fault) {
  return std::make_shared<Faulty>(std::move(below), std::move(fault));
}

}  // namespace respaldo::block
