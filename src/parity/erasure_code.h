// Reed-Solomon over GF(2^8): rows of parity out of columns of data. docs/formats/parity.md "the code".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace respaldo::parity {

inline constexpr unsigned kMostShards = 255;  // columns and rows together

// parity[i] = sum over j of coefficient(i, j) * data[j], byte by byte. Any `rows` lost columns come back out
// of as many rows of parity. Immutable: one object serves many threads.
class ErasureCode {
 public:
  // REQUIRES at least one of each, at most kMostShards together.
  ErasureCode(unsigned columns, unsigned rows);

  unsigned columns() const { return columns_; }
  unsigned rows() const { return rows_; }
  // A Cauchy matrix with its columns scaled so that row 0 is all ones: one row of parity is plain XOR.
  static std::uint8_t coefficient(unsigned row, unsigned column);

  // Every pointer is to `length` bytes. data.size() == columns(), parity.size() == rows().
  void encode(std::span<const std::uint8_t* const> data, std::span<std::uint8_t* const> parity,
              std::size_t length) const;
  // Adds one column to parity that was made without it (or takes it out again: the same in GF(2^8)).
  void add(unsigned column, ByteView data, std::span<std::uint8_t* const> parity) const;

 private:
  unsigned columns_, rows_;
  std::vector<std::uint8_t> tables_;  // ISA-L's
};

// The way back for one pattern of losses; made once, used for many slices. Immutable.
class Rebuild {
 public:
  // `lost` columns out of the first lost.size() of `rows`. Absent when there are fewer rows than losses, or
  // a number is out of range or given twice.
  static std::optional<Rebuild> plan(const ErasureCode& code, std::vector<unsigned> lost,
                                     std::vector<unsigned> rows);
  const std::vector<unsigned>& lost() const { return lost_; }

  // Reads the columns that are not lost and the rows of the plan, writes the lost columns. data.size() ==
  // columns, parity.size() == rows; other pointers may be null.
  void run(std::span<std::uint8_t* const> data, std::span<const std::uint8_t* const> parity,
           std::size_t length) const;

 private:
  Rebuild() = default;
  std::vector<unsigned> lost_, rows_, known_;
  std::vector<std::uint8_t> tables_;
};

}  // namespace respaldo::parity
