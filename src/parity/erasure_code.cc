#include "parity/erasure_code.h"

#include <isa-l/erasure_code.h>

#include <algorithm>

namespace respaldo::parity {

namespace {

constexpr unsigned kTableBytes = 32;  // of ISA-L, for each coefficient

std::vector<std::uint8_t> tables_of(std::vector<std::uint8_t> matrix, unsigned sources, unsigned outputs) {
  std::vector<std::uint8_t> tables(std::size_t{kTableBytes} * sources * outputs);
  ::ec_init_tables(static_cast<int>(sources), static_cast<int>(outputs), matrix.data(), tables.data());
  return tables;
}

// ISA-L's interface knows no const; it only reads these.
unsigned char* readable(const std::uint8_t* bytes) { return const_cast<unsigned char*>(bytes); }

bool are_distinct_below(std::vector<unsigned> numbers, unsigned limit) {
  std::ranges::sort(numbers);
  return std::ranges::adjacent_find(numbers) == numbers.end() && (numbers.empty() || numbers.back() < limit);
}

}  // namespace

ErasureCode::ErasureCode(unsigned columns, unsigned rows) : columns_(columns), rows_(rows) {
  std::vector<std::uint8_t> matrix;
  for (unsigned row = 0; row < rows; ++row)
    for (unsigned column = 0; column < columns; ++column) matrix.push_back(coefficient(row, column));
  tables_ = tables_of(std::move(matrix), columns, rows);
}

std::uint8_t ErasureCode::coefficient(unsigned row, unsigned column) {
  const auto x0 = static_cast<std::uint8_t>(255), x = static_cast<std::uint8_t>(255 - row),
             y = static_cast<std::uint8_t>(column);
  return ::gf_mul(x0 ^ y, ::gf_inv(x ^ y));
}

void ErasureCode::encode(std::span<const std::uint8_t* const> data, std::span<std::uint8_t* const> parity,
                         std::size_t length) const {
  std::vector<unsigned char*> sources, outputs(parity.begin(), parity.end());
  for (const std::uint8_t* column : data) sources.push_back(readable(column));
  ::ec_encode_data(static_cast<int>(length), static_cast<int>(columns_), static_cast<int>(rows_),
                   readable(tables_.data()), sources.data(), outputs.data());
}

void ErasureCode::add(unsigned column, ByteView data, std::span<std::uint8_t* const> parity) const {
  std::vector<unsigned char*> outputs(parity.begin(), parity.end());
  ::ec_encode_data_update(static_cast<int>(data.size()), static_cast<int>(columns_), static_cast<int>(rows_),
                          static_cast<int>(column), readable(tables_.data()), readable(data.data()),
                          outputs.data());
}

std::optional<Rebuild> Rebuild::plan(const ErasureCode& code, std::vector<unsigned> lost,
                                     std::vector<unsigned> rows) {
  if (lost.empty() || rows.size() < lost.size()) return std::nullopt;
  rows.resize(lost.size());
  if (!are_distinct_below(lost, code.columns()) || !are_distinct_below(rows, code.rows()))
    return std::nullopt;
  Rebuild rebuild;
  for (unsigned column = 0; column < code.columns(); ++column)
    if (std::ranges::find(lost, column) == lost.end()) rebuild.known_.push_back(column);

  // lost = inverse * (parity - known part): the inverse of the lost columns of the chosen rows.
  const std::size_t n = lost.size();
  std::vector<std::uint8_t> square, inverse(n * n);
  for (const unsigned row : rows)
    for (const unsigned column : lost) square.push_back(ErasureCode::coefficient(row, column));
  if (::gf_invert_matrix(square.data(), inverse.data(), static_cast<int>(n)) != 0) return std::nullopt;
  std::vector<std::uint8_t> matrix;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t r = 0; r < n; ++r) matrix.push_back(inverse[i * n + r]);
    for (const unsigned column : rebuild.known_) {
      std::uint8_t sum = 0;
      for (std::size_t r = 0; r < n; ++r)
        sum ^= ::gf_mul(inverse[i * n + r], ErasureCode::coefficient(rows[r], column));
      matrix.push_back(sum);
    }
  }
  rebuild.tables_ = tables_of(std::move(matrix), static_cast<unsigned>(n + rebuild.known_.size()),
                              static_cast<unsigned>(n));
  rebuild.lost_ = std::move(lost);
  rebuild.rows_ = std::move(rows);
  return rebuild;
}

void Rebuild::run(std::span<std::uint8_t* const> data, std::span<const std::uint8_t* const> parity,
                  std::size_t length) const {
  std::vector<unsigned char*> sources, outputs;
  for (const unsigned row : rows_) sources.push_back(readable(parity[row]));
  for (const unsigned column : known_) sources.push_back(data[column]);
  for (const unsigned column : lost_) outputs.push_back(data[column]);
  ::ec_encode_data(static_cast<int>(length), static_cast<int>(sources.size()),
                   static_cast<int>(outputs.size()), readable(tables_.data()), sources.data(),
                   outputs.data());
}

}  // namespace respaldo::parity
