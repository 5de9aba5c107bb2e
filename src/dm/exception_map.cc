#include "dm/exception_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace respaldo::dm {

bool ExceptionMap::insert(std::uint64_t old_chunk, std::uint64_t new_chunk) {
  auto next = runs_.upper_bound(old_chunk);
  auto before = next == runs_.begin() ? runs_.end() : std::prev(next);
  if (before != runs_.end() && old_chunk - before->first < before->second.count) return false;
  ++size_;
  const bool joins_before = before != runs_.end() && before->first + before->second.count == old_chunk &&
                            before->second.new_chunk + before->second.count == new_chunk;
  const bool joins_next =
      next != runs_.end() && next->first == old_chunk + 1 && next->second.new_chunk == new_chunk + 1;
  if (joins_before) {
    before->second.count += 1 + (joins_next ? next->second.count : 0);
    if (joins_next) runs_.erase(next);
  } else if (joins_next) {
    const Run joined{new_chunk, next->second.count + 1};
    const auto hint = runs_.erase(next);
    runs_.emplace_hint(hint, old_chunk, joined);
  } else {
    runs_.emplace_hint(next, old_chunk, Run{new_chunk, 1});
  }
  return true;
}

std::optional<std::uint64_t> ExceptionMap::find(std::uint64_t old_chunk) const {
  return stretch(old_chunk, 1).new_chunk;
}

ExceptionMap::Stretch ExceptionMap::stretch(std::uint64_t old_chunk, std::uint64_t limit) const {
  const auto next = runs_.upper_bound(old_chunk);
  if (next != runs_.begin()) {
    const auto before = std::prev(next);
    const std::uint64_t skip = old_chunk - before->first;
    if (skip < before->second.count)
      return {std::min(limit, before->second.count - skip), before->second.new_chunk + skip};
  }
  return {next == runs_.end() ? limit : std::min(limit, next->first - old_chunk), std::nullopt};
}

void ExceptionMap::clear() {
  runs_.clear();
  size_ = 0;
}

namespace {

// f(piece of the snapshot, place in the store) for each piece of the range; the place is absent where the
// origin is to be read.
template <class F>
void each_piece(const ExceptionMap& map, std::uint64_t chunk, Extent range, F f) {
  for (std::uint64_t at = range.offset; at < range.end();) {
    const std::uint64_t number = at / chunk, within = at % chunk;
    const auto stretch = map.stretch(number, (range.end() - 1) / chunk - number + 1);
    const std::uint64_t length = std::min(range.end() - at, stretch.count * chunk - within);
    std::optional<std::uint64_t> place;
    if (stretch.new_chunk) place = *stretch.new_chunk * chunk + within;
    f(Extent{at, length}, place);
    at += length;
  }
}

}  // namespace

void read_snapshot(const ExceptionMap& map, std::uint64_t chunk, const block::Device& origin,
                   const block::Device& cow, std::uint64_t offset, MutableBytes out,
                   const std::string& name) {
  each_piece(map, chunk, {offset, out.size()}, [&](Extent piece, std::optional<std::uint64_t> place) {
    const MutableBytes part = out.subspan(piece.offset - offset, piece.length);
    if (place) {
      cow.read_at(*place, part);
    } else {
      if (piece.end() > origin.size())
        throw Error(ErrorKind::corrupt,
                    fmt::format("{}: byte {} lies past the end of its origin {} ({} bytes)", name,
                                piece.end(), origin.describe(), origin.size()));
      origin.read_at(piece.offset, part);
    }
  });
}

std::vector<block::Run> snapshot_runs(const ExceptionMap& map, std::uint64_t chunk,
                                      const block::Device& origin, const block::Device& cow, Extent range) {
  std::vector<block::Run> result;
  each_piece(map, chunk, range, [&](Extent piece, std::optional<std::uint64_t> place) {
    std::uint64_t done = 0;
    const std::uint64_t below = place.value_or(piece.offset);
    const block::Device& source = place ? cow : origin;
    for (const block::Run& run : source.runs({below, piece.length})) {
      block::append_run(result, {{piece.offset + (run.extent.offset - below), run.extent.length}, run.kind});
      done = run.extent.end() - below;
    }
    block::append_run(result, {{piece.offset + done, piece.length - done}, block::RunKind::data});
  });
  return result;
}

}  // namespace respaldo::dm
