#include "base/extent.h"

#include <fmt/format.h>

#include <algorithm>

namespace respaldo {

Extent intersect(Extent a, Extent b) {
  const std::uint64_t begin = std::max(a.offset, b.offset);
  const std::uint64_t end = std::min(a.end(), b.end());
  return begin < end ? Extent{begin, end - begin} : Extent{begin, 0};
}

ExtentSet::ExtentSet(std::initializer_list<Extent> extents) {
  for (const Extent& extent : extents) add(extent);
}

namespace {
// First range that ends at or after `at`.
auto first_reaching(std::vector<Extent>& v, std::uint64_t at) {
  return std::lower_bound(v.begin(), v.end(), at, [](const Extent& e, std::uint64_t x) { return e.end() < x; });
}
// First range that ends after `at`.
auto first_past(const std::vector<Extent>& v, std::uint64_t at) {
  return std::lower_bound(v.begin(), v.end(), at, [](const Extent& e, std::uint64_t x) { return e.end() <= x; });
}
}  // namespace

void ExtentSet::add(Extent extent) {
  if (extent.empty()) return;
  if (extents_.empty() || extents_.back().end() < extent.offset) {
    extents_.push_back(extent);
    return;
  }
  auto from = first_reaching(extents_, extent.offset);
  auto to = from;
  std::uint64_t begin = extent.offset, end = extent.end();
  while (to != extents_.end() && to->offset <= end) {
    begin = std::min(begin, to->offset);
    end = std::max(end, to->end());
    ++to;
  }
  if (from == to) {
    extents_.insert(from, extent);
  } else {
    *from = {begin, end - begin};
    extents_.erase(from + 1, to);
  }
}

void ExtentSet::remove(Extent extent) {
  if (extent.empty()) return;
  std::vector<Extent> kept;
  kept.reserve(extents_.size() + 1);
  for (const Extent& e : extents_) {
    if (e.end() <= extent.offset || e.offset >= extent.end()) {
      kept.push_back(e);
      continue;
    }
    if (e.offset < extent.offset) kept.push_back({e.offset, extent.offset - e.offset});
    if (e.end() > extent.end()) kept.push_back({extent.end(), e.end() - extent.end()});
  }
  extents_ = std::move(kept);
}

bool ExtentSet::contains(std::uint64_t at) const {
  auto it = first_past(extents_, at);
  return it != extents_.end() && it->contains(at);
}

bool ExtentSet::contains(Extent extent) const {
  if (extent.empty()) return true;
  auto it = first_past(extents_, extent.offset);
  return it != extents_.end() && it->offset <= extent.offset && it->end() >= extent.end();
}

bool ExtentSet::intersects(Extent extent) const {
  if (extent.empty()) return false;
  auto it = first_past(extents_, extent.offset);
  return it != extents_.end() && it->offset < extent.end();
}

std::uint64_t ExtentSet::total() const {
  std::uint64_t sum = 0;
  for (const Extent& e : extents_) sum += e.length;
  return sum;
}

ExtentSet ExtentSet::within(Extent bounds) const {
  ExtentSet result;
  for (auto it = first_past(extents_, bounds.offset); it != extents_.end() && it->offset < bounds.end(); ++it)
    result.add(intersect(*it, bounds));
  return result;
}

ExtentSet ExtentSet::complement(Extent bounds) const {
  ExtentSet result;
  std::uint64_t at = bounds.offset;
  for (auto it = first_past(extents_, bounds.offset); it != extents_.end() && it->offset < bounds.end(); ++it) {
    if (it->offset > at) result.add({at, it->offset - at});
    at = std::max(at, it->end());
  }
  if (at < bounds.end()) result.add({at, bounds.end() - at});
  return result;
}

ExtentSet ExtentSet::united(const ExtentSet& other) const {
  ExtentSet result;
  auto a = extents_.begin();
  auto b = other.extents_.begin();
  while (a != extents_.end() || b != other.extents_.end()) {
    const bool take_a = b == other.extents_.end() || (a != extents_.end() && a->offset <= b->offset);
    result.add(take_a ? *a++ : *b++);
  }
  return result;
}

ExtentSet ExtentSet::intersected(const ExtentSet& other) const {
  ExtentSet result;
  auto a = extents_.begin();
  auto b = other.extents_.begin();
  while (a != extents_.end() && b != other.extents_.end()) {
    result.add(intersect(*a, *b));
    if (a->end() < b->end()) {
      ++a;
    } else {
      ++b;
    }
  }
  return result;
}

ExtentSet ExtentSet::minus(const ExtentSet& other) const {
  ExtentSet result;
  for (const Extent& e : extents_) {
    const ExtentSet pieces = other.complement(e);
    for (const Extent& piece : pieces.extents()) result.add(piece);
  }
  return result;
}

ExtentSet ExtentSet::aligned_out(std::uint64_t unit, std::uint64_t limit) const {
  ExtentSet result;
  for (const Extent& e : extents_) {
    const std::uint64_t begin = e.offset / unit * unit;
    const std::uint64_t rest = e.end() % unit;
    const std::uint64_t grow = rest == 0 ? 0 : unit - rest;
    const std::uint64_t end = e.end() > limit || limit - e.end() < grow ? limit : e.end() + grow;
    if (begin < end) result.add({begin, end - begin});
  }
  return result;
}

std::string ExtentSet::to_string() const {
  std::string text;
  for (const Extent& e : extents_) {
    if (!text.empty()) text += ' ';
    text += fmt::format("[{},{})", e.offset, e.end());
  }
  return text;
}

}  // namespace respaldo
