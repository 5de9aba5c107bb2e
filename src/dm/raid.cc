#include "dm/raid.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/units.h"
#include "dm/gf256.h"
#include "dm/mapped_device.h"

namespace respaldo::dm {

namespace {

using block::Run;

bool can_read_around(const Error& error) {
  return error.kind() == ErrorKind::io || error.kind() == ErrorKind::missing;
}

// Legs with equal contents, or any subset of them that is good.
void read_any(const std::vector<const RaidDeviceLeg*>& legs, std::uint64_t offset, MutableBytes out,
              const std::string& name) {
  std::optional<Error> failure;
  for (const RaidDeviceLeg* leg : legs) {
    if (!leg->usable) continue;
    try {
      leg->data->read_at(offset, out);
      return;
    } catch (const Error& error) {
      if (!can_read_around(error)) throw;
      failure = error;
    }
  }
  if (failure) throw Error(*failure).add_context(fmt::format("{}: no leg left", name));
  throw Error(ErrorKind::missing, fmt::format("{}: no leg is in sync", name));
}

class Mirror final : public block::Device {
 public:
  Mirror(std::vector<RaidDeviceLeg> legs, std::uint64_t size, std::string name)
      : legs_(std::move(legs)), size_(size), name_(std::move(name)) {
    for (const RaidDeviceLeg& leg : legs_) order_.push_back(&leg);
  }
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    read_any(order_, offset, out, name_);
  }
  std::vector<Run> runs(Extent range) const override {
    const Extent inside = intersect(range, {0, size_});
    for (const RaidDeviceLeg& leg : legs_)
      if (leg.usable) return leg.data->runs(inside);
    return Device::runs(inside);
  }

 private:
  std::vector<RaidDeviceLeg> legs_;
  std::vector<const RaidDeviceLeg*> order_;
  std::uint64_t size_;
  std::string name_;
};

// Where one row of chunks lies.
struct Row {
  std::optional<std::size_t> p, q;  // legs of the parities
  // The leg of data chunk `column`.
  std::size_t leg(RaidLevel level, std::size_t legs, std::size_t column) const {
    switch (level) {
      case RaidLevel::raid4:
        return column + 1;
      case RaidLevel::raid5_ls:
        return (*p + 1 + column) % legs;
      case RaidLevel::raid6_zr:
        if (*q == 0) return column + 1;
        return column < *p ? column : column + 2;
      default:
        return column;
    }
  }
};

Row row_layout(RaidLevel level, std::size_t legs, std::uint64_t row) {
  switch (level) {
    case RaidLevel::raid4:
      return {0, std::nullopt};
    case RaidLevel::raid5_ls:
      return {legs - 1 - row % legs, std::nullopt};
    case RaidLevel::raid5_n:
      return {legs - 1, std::nullopt};
    case RaidLevel::raid6_zr:
      return {row % legs, (row % legs + 1) % legs};
    default:
      return {};
  }
}

std::size_t parity_legs(RaidLevel level) {
  switch (level) {
    case RaidLevel::raid4:
    case RaidLevel::raid5_ls:
    case RaidLevel::raid5_n:
      return 1;
    case RaidLevel::raid6_zr:
      return 2;
    default:
      return 0;
  }
}

class Striped final : public block::Device {
 public:
  Striped(const RaidLayout& layout, std::vector<RaidDeviceLeg> legs, std::uint64_t size, std::string name)
      : layout_(layout),
        legs_(std::move(legs)),
        size_(size),
        name_(std::move(name)),
        columns_(legs_.size() - parity_legs(layout.level)) {}
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return name_; }

  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    while (!out.empty()) {
      const std::uint64_t number = offset / layout_.chunk, within = offset % layout_.chunk;
      const auto length =
          static_cast<std::size_t>(std::min<std::uint64_t>(layout_.chunk - within, out.size()));
      const std::uint64_t row = number / columns_;
      read_piece(row, number % columns_, row * layout_.chunk + within, out.first(length));
      offset += length;
      out = out.subspan(length);
    }
  }

  std::vector<Run> runs(Extent range) const override {
    const Extent inside = intersect(range, {0, size_});
    if (inside.empty()) return {};
    std::vector<std::vector<Run>> below;
    const Extent rows = rows_of(inside, layout_.chunk, columns_);
    for (const RaidDeviceLeg& leg : legs_)
      below.push_back(leg.usable ? leg.data->runs(rows) : std::vector<Run>{{rows, block::RunKind::data}});
    return interleave_runs(
        inside, layout_.chunk, columns_, below, [&](std::uint64_t row, std::uint64_t column) {
          return row_layout(layout_.level, legs_.size(), row).leg(layout_.level, legs_.size(), column);
        });
  }

 private:
  bool try_leg(std::size_t leg, std::uint64_t offset, MutableBytes out, std::optional<Error>& failure) const {
    if (!legs_[leg].usable) {
      if (!failure)
        failure.emplace(ErrorKind::missing, fmt::format("{} is out of sync", legs_[leg].data->describe()));
      return false;
    }
    try {
      legs_[leg].data->read_at(offset, out);
      return true;
    } catch (const Error& error) {
      if (!can_read_around(error)) throw;
      if (!failure) failure = error;
      return false;
    }
  }

  [[noreturn]] void give_up(const Error& failure, std::string_view why) const {
    throw Error(failure).add_context(fmt::format("{}: {}", name_, why));
  }

  void read_piece(std::uint64_t row, std::size_t column, std::uint64_t offset, MutableBytes out) const {
    const Row place = row_layout(layout_.level, legs_.size(), row);
    const std::size_t wanted = place.leg(layout_.level, legs_.size(), column);
    std::optional<Error> failure;
    if (try_leg(wanted, offset, out, failure)) return;
    if (!place.p) give_up(*failure, "this layout has no redundancy");
    if (offset + out.size() > layout_.parity_valid)
      give_up(*failure, "its parity was never synchronised here");

    // Everything else of the row; `lost` are the data legs besides the wanted one that cannot be had.
    std::vector<Bytes> pieces(legs_.size());
    std::vector<std::size_t> lost;
    bool has_p = false, has_q = false;
    for (std::size_t leg = 0; leg < legs_.size(); ++leg) {
      if (leg == wanted) continue;
      Bytes piece(out.size());
      const bool good = try_leg(leg, offset, piece, failure);
      if (leg == place.p)
        has_p = good;
      else if (leg == place.q)
        has_q = good;
      else if (!good)
        lost.push_back(leg);
      if (good) pieces[leg] = std::move(piece);
    }
    if (lost.empty() && has_p) return from_p(place, pieces, out);
    if (lost.empty() && has_q) return from_q(place, pieces, wanted, out);
    if (lost.size() == 1 && has_p && has_q) return from_both(place, pieces, wanted, lost[0], out);
    give_up(*failure, "too many legs are lost to reconstruct this");
  }

  void from_p(const Row& place, const std::vector<Bytes>& pieces, MutableBytes out) const {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    for (std::size_t leg = 0; leg < pieces.size(); ++leg)
      if (!pieces[leg].empty() && leg != place.q) gf256::add_multiple(out, pieces[leg], 1);
  }

  // Q = sum of g^leg * data(leg): this layout counts every leg, parities too, from leg 0.
  void from_q(const Row& place, const std::vector<Bytes>& pieces, std::size_t wanted,
              MutableBytes out) const {
    std::memcpy(out.data(), pieces[*place.q].data(), out.size());
    for (std::size_t leg = 0; leg < pieces.size(); ++leg)
      if (!pieces[leg].empty() && leg != place.p && leg != place.q)
        gf256::add_multiple(out, pieces[leg], gf256::power(static_cast<unsigned>(leg)));
    gf256::scale(out, gf256::inverse(gf256::power(static_cast<unsigned>(wanted))));
  }

  // x and y lost: x + y = A from P, g^x x + g^y y = B from Q, so x = (B + g^y A) / (g^x + g^y).
  void from_both(const Row& place, const std::vector<Bytes>& pieces, std::size_t x, std::size_t y,
                 MutableBytes out) const {
    std::memcpy(out.data(), pieces[*place.q].data(), out.size());
    Bytes a = pieces[*place.p].clone();
    for (std::size_t leg = 0; leg < pieces.size(); ++leg) {
      if (pieces[leg].empty() || leg == place.p || leg == place.q) continue;
      gf256::add_multiple(out, pieces[leg], gf256::power(static_cast<unsigned>(leg)));
      gf256::add_multiple(a, pieces[leg], 1);
    }
    const std::uint8_t gx = gf256::power(static_cast<unsigned>(x)),
                       gy = gf256::power(static_cast<unsigned>(y));
    gf256::add_multiple(out, a, gy);
    gf256::scale(out, gf256::inverse(static_cast<std::uint8_t>(gx ^ gy)));
  }

  RaidLayout layout_;
  std::vector<RaidDeviceLeg> legs_;
  std::uint64_t size_;
  std::string name_;
  std::size_t columns_;
};

// "near" copies: copy j of chunk k is at position k * copies + j, counted row by row over the legs.
class Near final : public block::Device {
 public:
  Near(const RaidLayout& layout, std::vector<RaidDeviceLeg> legs, std::uint64_t size, std::string name)
      : layout_(layout), legs_(std::move(legs)), size_(size), name_(std::move(name)) {}
  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return name_; }

  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    while (!out.empty()) {
      const std::uint64_t number = offset / layout_.chunk, within = offset % layout_.chunk;
      const auto length =
          static_cast<std::size_t>(std::min<std::uint64_t>(layout_.chunk - within, out.size()));
      read_piece(number, within, out.first(length));
      offset += length;
      out = out.subspan(length);
    }
  }
  std::vector<Run> runs(Extent range) const override {
    const Extent inside = intersect(range, {0, size_});
    // With whole rows of copies the first copies form a striped device.
    if (inside.empty() || legs_.size() % layout_.copies != 0) return Device::runs(inside);
    const std::uint64_t columns = legs_.size() / layout_.copies;
    const Extent rows = rows_of(inside, layout_.chunk, columns);
    std::vector<std::vector<Run>> below;
    for (std::size_t leg = 0; leg < legs_.size(); leg += layout_.copies) {
      std::size_t good = leg;
      while (good < leg + layout_.copies && !legs_[good].usable) ++good;
      below.push_back(good < leg + layout_.copies ? legs_[good].data->runs(rows)
                                                  : std::vector<Run>{{rows, block::RunKind::data}});
    }
    return interleave_runs(inside, layout_.chunk, columns, below,
                           [](std::uint64_t, std::uint64_t column) { return column; });
  }

 private:
  void read_piece(std::uint64_t number, std::uint64_t within, MutableBytes out) const {
    std::optional<Error> failure;
    for (std::uint32_t copy = 0; copy < layout_.copies; ++copy) {
      const std::uint64_t position = number * layout_.copies + copy;
      const RaidDeviceLeg& leg = legs_[position % legs_.size()];
      if (!leg.usable) continue;
      try {
        leg.data->read_at(position / legs_.size() * layout_.chunk + within, out);
        return;
      } catch (const Error& error) {
        if (!can_read_around(error)) throw;
        failure = error;
      }
    }
    if (failure) throw Error(*failure).add_context(fmt::format("{}: no copy left", name_));
    throw Error(ErrorKind::missing, fmt::format("{}: no leg is in sync", name_));
  }

  RaidLayout layout_;
  std::vector<RaidDeviceLeg> legs_;
  std::uint64_t size_;
  std::string name_;
};

void require_leg_size(const RaidDeviceLeg& leg, std::uint64_t needed, const std::string& name) {
  if (leg.data->size() < needed)
    throw Error(ErrorKind::corrupt, fmt::format("{}: leg {} has {} bytes where {} are needed", name,
                                                leg.data->describe(), leg.data->size(), needed));
}

}  // namespace

block::DevicePtr raid_target(const RaidLayout& layout, std::vector<RaidDeviceLeg> legs, std::uint64_t size,
                             std::string name) {
  const auto bad = [&](std::string_view what) {
    return Error(ErrorKind::corrupt, fmt::format("{}: {}", name, what));
  };
  if (legs.empty() || legs.size() > 253) throw bad(fmt::format("a RAID of {} legs", legs.size()));
  if (layout.level == RaidLevel::raid1) {
    for (const RaidDeviceLeg& leg : legs) require_leg_size(leg, size, name);
    return std::make_shared<Mirror>(std::move(legs), size, std::move(name));
  }
  if (layout.chunk == 0) throw bad("a striped RAID needs a stripe size");
  const std::uint64_t chunks = size / layout.chunk;
  if (layout.level == RaidLevel::raid10) {
    if (layout.copies == 0 || layout.copies > legs.size()) throw bad("more copies than legs");
    if (size % layout.chunk != 0) throw bad("its size is not whole stripes");
    const std::uint64_t rows = (chunks * layout.copies + legs.size() - 1) / legs.size();
    for (const RaidDeviceLeg& leg : legs) require_leg_size(leg, rows * layout.chunk, name);
    return std::make_shared<Near>(layout, std::move(legs), size, std::move(name));
  }
  const std::size_t parities = parity_legs(layout.level);
  if (legs.size() <= parities) throw bad(fmt::format("{} legs are too few", legs.size()));
  const std::uint64_t columns = legs.size() - parities;
  if (size % (columns * layout.chunk) != 0) throw bad("its size is not whole rows of stripes");
  for (const RaidDeviceLeg& leg : legs) require_leg_size(leg, chunks / columns * layout.chunk, name);
  return std::make_shared<Striped>(layout, std::move(legs), size, std::move(name));
}

block::DevicePtr mirror_target(std::vector<block::DevicePtr> legs, std::uint64_t size, std::string name) {
  RaidLayout layout;
  std::vector<RaidDeviceLeg> raid_legs;
  for (block::DevicePtr& leg : legs) raid_legs.push_back({std::move(leg), true});
  return raid_target(layout, std::move(raid_legs), size, std::move(name));
}

}  // namespace respaldo::dm
