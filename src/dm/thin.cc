#include "dm/thin.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace respaldo::dm {

namespace {

using block::Run;
using block::RunKind;

class Thin final : public block::Device {
 public:
  Thin(std::vector<ThinRun> mapping, std::uint64_t block, block::DevicePtr data, block::DevicePtr external,
       std::uint64_t size, std::string name)
      : mapping_(std::move(mapping)),
        block_(block),
        data_(std::move(data)),
        external_(std::move(external)),
        size_(size),
        name_(std::move(name)) {}
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return name_; }

  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    each_piece({offset, out.size()}, [&](Extent piece, const block::Device* below, std::uint64_t place) {
      const MutableBytes part = out.subspan(piece.offset - offset, piece.length);
      if (below != nullptr)
        below->read_at(place, part);
      else
        std::fill(part.begin(), part.end(), std::uint8_t{0});
    });
  }
  std::vector<Run> runs(Extent range) const override {
    std::vector<Run> result;
    each_piece(intersect(range, {0, size_}),
               [&](Extent piece, const block::Device* below, std::uint64_t place) {
                 if (below == nullptr) return block::append_run(result, {piece, RunKind::zero});
                 for (Run run : below->runs({place, piece.length})) {
                   run.extent.offset = piece.offset + (run.extent.offset - place);
                   block::append_run(result, run);
                 }
               });
    return result;
  }

 private:
  // f(piece, device below or null for zeros, place in it) for each piece of the range.
  template <class F>
  void each_piece(Extent range, F f) const {
    if (range.empty()) return;
    auto it =
        std::upper_bound(mapping_.begin(), mapping_.end(), range.offset / block_,
                         [](std::uint64_t block, const ThinRun& run) { return block < run.virtual_block; });
    if (it != mapping_.begin()) --it;
    for (std::uint64_t at = range.offset; at < range.end();) {
      while (it != mapping_.end() && (it->virtual_block + it->length) * block_ <= at) ++it;
      const std::uint64_t mapped = it == mapping_.end() ? range.end() : it->virtual_block * block_;
      if (mapped > at) {
        const std::uint64_t end = std::min(mapped, range.end());
        unmapped({at, end - at}, f);
        at = end;
      } else {
        const std::uint64_t end = std::min((it->virtual_block + it->length) * block_, range.end());
        f(Extent{at, end - at}, data_.get(), it->data_block * block_ + (at - mapped));
        at = end;
      }
    }
  }
  template <class F>
  void unmapped(Extent piece, F& f) const {
    const Extent inside = external_ ? intersect(piece, {0, external_->size()}) : Extent{};
    if (!inside.empty()) f(inside, external_.get(), inside.offset);
    const std::uint64_t begin = inside.empty() ? piece.offset : inside.end();
    if (begin < piece.end())
      f(Extent{begin, piece.end() - begin}, static_cast<const block::Device*>(nullptr), 0);
  }

  std::vector<ThinRun> mapping_;
  std::uint64_t block_;
  block::DevicePtr data_, external_;
  std::uint64_t size_;
  std::string name_;
};

}  // namespace

block::DevicePtr thin_target(const ThinMetadata& pool, block::DevicePtr data, std::uint32_t device_id,
                             block::DevicePtr external, std::uint64_t size, std::string name) {
  const std::uint64_t block = pool.block_size();
  std::vector<ThinRun> mapping = pool.mappings(device_id);
  // Mappings left from a larger size are cut off; so no product below can overflow.
  const std::uint64_t blocks = size / block + (size % block != 0 ? 1 : 0);
  std::erase_if(mapping, [&](const ThinRun& run) { return run.virtual_block >= blocks; });
  for (ThinRun& run : mapping) {
    run.length = std::min(run.length, blocks - run.virtual_block);
    if (run.data_block + run.length > data->size() / block)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: data block {} lies past the end of {} ({} bytes)", name,
                              run.data_block + run.length - 1, data->describe(), data->size()),
                  "the disk image may be truncated");
  }
  return std::make_shared<Thin>(std::move(mapping), block, std::move(data), std::move(external), size,
                                std::move(name));
}

}  // namespace respaldo::dm
