// Byte ranges and sets of them: the common currency of maps, plans and progress.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace respaldo {

// The half-open range [offset, offset + length), in bytes.
struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  std::uint64_t end() const { return offset + length; }
  bool empty() const { return length == 0; }
  bool contains(std::uint64_t at) const { return at >= offset && at - offset < length; }
  friend bool operator==(const Extent&, const Extent&) = default;
};

// The overlap of two ranges; empty() when there is none.
Extent intersect(Extent a, Extent b);

// A set of bytes as sorted, disjoint, non-touching ranges. A value.
class ExtentSet {
 public:
  ExtentSet() = default;
  ExtentSet(std::initializer_list<Extent> extents);

  void add(Extent extent);
  void remove(Extent extent);
  bool contains(std::uint64_t at) const;
  bool contains(Extent extent) const;    // every byte; true for an empty range
  bool intersects(Extent extent) const;  // at least one byte
  bool empty() const { return extents_.empty(); }
  std::uint64_t total() const;
  const std::vector<Extent>& extents() const { return extents_; }

  ExtentSet within(Extent bounds) const;            // the part inside bounds
  ExtentSet complement(Extent bounds) const;        // what bounds has and the set has not
  ExtentSet united(const ExtentSet& other) const;
  ExtentSet intersected(const ExtentSet& other) const;
  ExtentSet minus(const ExtentSet& other) const;
  // Each range grown outward to multiples of unit (> 0), cut at limit.
  ExtentSet aligned_out(std::uint64_t unit, std::uint64_t limit) const;

  std::string to_string() const;  // "[0,4096) [8192,12288)"
  friend bool operator==(const ExtentSet&, const ExtentSet&) = default;

 private:
  std::vector<Extent> extents_;
};

}  // namespace respaldo
