#include "engine/amount.h"

#include <fmt/format.h>

#include <charconv>
#include <string>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"

namespace respaldo::engine {

namespace {

std::uint64_t percent(std::uint64_t whole, std::uint64_t hundredths) {
  return whole / 100 * hundredths + whole % 100 * hundredths / 100;
}

}  // namespace

Amount Amount::parse(std::string_view text, std::string_view what, Of percent_of) {
  const std::size_t sign = text.find('%');
  if (sign == text.npos) return bytes(parse_size(text, what, kMiB));
  const auto bad = [&](std::string_view hint) {
    return Error(ErrorKind::usage, fmt::format("'{}' is no size for {}", printable(text), what),
                 std::string(hint));
  };
  Amount amount;
  const auto [end, error] = std::from_chars(text.data(), text.data() + sign, amount.value);
  if (error != std::errc() || end != text.data() + sign || sign == 0 || amount.value > 100)
    throw bad("write a size (10G), or a share from 0% to 100%");
  std::string of(text.substr(sign + 1));
  for (char& c : of) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  if (of.empty())
    amount.of = percent_of;
  else if (of == "ORIGIN")
    amount.of = Of::origin;
  else if (of == "VG")
    amount.of = Of::vg;
  else if (of == "FREE")
    amount.of = Of::free;
  else
    throw bad("a share is of ORIGIN, VG or FREE, as in 20%ORIGIN");
  return amount;
}

std::uint64_t Amount::resolve(const Whole& whole) const {
  switch (of) {
    case Of::bytes:
      return value;
    case Of::origin:
      return percent(whole.origin, value);
    case Of::vg:
      return percent(whole.vg, value);
    case Of::free:
      return percent(whole.free, value);
    case Of::pool:
      return percent(whole.pool, value);
  }
  return value;
}

}  // namespace respaldo::engine
