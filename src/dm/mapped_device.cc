#include "dm/mapped_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace respaldo::dm {

namespace {

using block::Device;
using block::DevicePtr;
using block::Run;
using block::WritableDevice;
using block::WritableDevicePtr;

template <class Part>
class ConcatLayout {
 public:
  explicit ConcatLayout(std::vector<Part> parts) : parts_(std::move(parts)) {
    for (const Part& part : parts_) {
      starts_.push_back(size_);
      size_ += part->size();
    }
  }
  std::uint64_t size() const { return size_; }
  const std::vector<Part>& parts() const { return parts_; }

  // f(part, offset in the part, length, offset in the whole) for each piece of the range, in order.
  template <class F>
  void each(Extent range, F f) const {
    if (range.empty()) return;
    auto it = std::upper_bound(starts_.begin(), starts_.end(), range.offset);
    std::size_t i = static_cast<std::size_t>(it - starts_.begin()) - 1;
    for (std::uint64_t at = range.offset; at < range.end(); ++i) {
      const Extent piece = intersect({starts_[i], parts_[i]->size()}, {at, range.end() - at});
      if (piece.empty()) continue;
      f(*parts_[i], piece.offset - starts_[i], piece.length, piece.offset);
      at = piece.end();
    }
  }
  std::vector<Run> runs(Extent range) const {
    std::vector<Run> result;
    each(range, [&](const Device& part, std::uint64_t offset, std::uint64_t length, std::uint64_t at) {
      for (Run run : part.runs({offset, length})) {
        run.extent.offset = at + (run.extent.offset - offset);
        block::append_run(result, run);
      }
    });
    return result;
  }

 private:
  std::vector<Part> parts_;
  std::vector<std::uint64_t> starts_;
  std::uint64_t size_ = 0;
};

template <class Part>
class StripeLayout {
 public:
  StripeLayout(std::vector<Part> legs, std::uint64_t chunk, const std::string& name)
      : legs_(std::move(legs)), chunk_(chunk) {
    if (legs_.empty() || chunk_ == 0)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: a striped segment needs legs and a stripe size", name));
    for (const Part& leg : legs_)
      if (leg->size() != legs_[0]->size() || leg->size() % chunk_ != 0)
        throw Error(ErrorKind::corrupt, fmt::format("{}: legs of {} bytes are not whole stripes of {} bytes",
                                                    name, leg->size(), chunk_));
  }
  std::uint64_t size() const { return legs_.size() * legs_[0]->size(); }
  const std::vector<Part>& parts() const { return legs_; }

  template <class F>
  void each(Extent range, F f) const {
    for (std::uint64_t at = range.offset; at < range.end();) {
      const std::uint64_t n = at / chunk_, within = at % chunk_;
      const std::uint64_t length = std::min(chunk_ - within, range.end() - at);
      f(*legs_[n % legs_.size()], n / legs_.size() * chunk_ + within, length, at);
      at += length;
    }
  }
  std::vector<Run> runs(Extent range) const {
    std::vector<std::vector<Run>> below;
    for (const Part& leg : legs_) below.push_back(leg->runs(rows_of(range, chunk_, legs_.size())));
    return interleave_runs(range, chunk_, legs_.size(), below,
                           [](std::uint64_t, std::uint64_t column) { return column; });
  }

 private:
  std::vector<Part> legs_;
  std::uint64_t chunk_;
};

// What reading and writing have in common, for either layout.
template <class Base, class Layout>
class Mapped : public Base {
 public:
  Mapped(Layout layout, std::string name) : layout_(std::move(layout)), name_(std::move(name)) {}
  std::uint64_t size() const override { return layout_.size(); }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    layout_.each({offset, out.size()},
                 [&](const Device& part, std::uint64_t below, std::uint64_t length, std::uint64_t at) {
                   part.read_at(below, out.subspan(at - offset, length));
                 });
  }
  std::vector<Run> runs(Extent range) const override {
    const Extent inside = intersect(range, {0, size()});
    return inside.empty() ? std::vector<Run>{} : layout_.runs(inside);
  }

 protected:
  Layout layout_;
  std::string name_;
};

template <class Layout>
class WritableMapped final : public Mapped<WritableDevice, Layout> {
 public:
  using Mapped<WritableDevice, Layout>::Mapped;
  void write_at(std::uint64_t offset, ByteView bytes) override {
    block::require_within(*this, offset, bytes.size());
    this->layout_.each({offset, bytes.size()},
                       [&](WritableDevice& part, std::uint64_t below, std::uint64_t length,
                           std::uint64_t at) { part.write_at(below, bytes.subspan(at - offset, length)); });
  }
  void zero(Extent range) override {
    block::require_within(*this, range.offset, range.length);
    this->layout_.each(range,
                       [](WritableDevice& part, std::uint64_t below, std::uint64_t length, std::uint64_t) {
                         part.zero({below, length});
                       });
  }
  void flush() override {
    for (const auto& part : this->layout_.parts()) part->flush();
  }
};

}  // namespace

DevicePtr concatenate(std::vector<DevicePtr> parts, std::string name) {
  return std::make_shared<Mapped<Device, ConcatLayout<DevicePtr>>>(ConcatLayout<DevicePtr>(std::move(parts)),
                                                                   std::move(name));
}

WritableDevicePtr concatenate(std::vector<WritableDevicePtr> parts, std::string name) {
  return std::make_shared<WritableMapped<ConcatLayout<WritableDevicePtr>>>(
      ConcatLayout<WritableDevicePtr>(std::move(parts)), std::move(name));
}

DevicePtr stripe(std::vector<DevicePtr> legs, std::uint64_t chunk, std::string name) {
  StripeLayout<DevicePtr> layout(std::move(legs), chunk, name);
  return std::make_shared<Mapped<Device, StripeLayout<DevicePtr>>>(std::move(layout), std::move(name));
}

WritableDevicePtr stripe(std::vector<WritableDevicePtr> legs, std::uint64_t chunk, std::string name) {
  StripeLayout<WritableDevicePtr> layout(std::move(legs), chunk, name);
  return std::make_shared<WritableMapped<StripeLayout<WritableDevicePtr>>>(std::move(layout),
                                                                           std::move(name));
}

}  // namespace respaldo::dm
