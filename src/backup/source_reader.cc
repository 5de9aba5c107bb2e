#include "backup/source_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "os/thread_group.h"

namespace respaldo::backup {

namespace {

bool is_reading_error(const Error& error) {
  return error.kind() == ErrorKind::io || error.kind() == ErrorKind::missing;
}

}  // namespace

void SourceReader::read(std::uint64_t offset, MutableBytes out, std::vector<view::LostRange>& lost,
                        const std::stop_token& stop) const {
  try {
    device_.read_at(offset, out);
    return;
  } catch (const Error& error) {
    if (!is_reading_error(error)) throw;
  }
  require_valid_();
  while (!out.empty()) {
    os::throw_if_stopped(stop);
    const std::size_t n = std::min<std::uint64_t>(out.size(), kRetryUnit - offset % kRetryUnit);
    const MutableBytes step = out.first(n);
    try {
      device_.read_at(offset, step);
    } catch (const Error& error) {
      if (!is_reading_error(error)) throw;
      require_valid_();
      if (on_error_ == OnReadError::fail) {
        const std::string file = file_at_ ? printable(file_at_(offset)) : "";
        throw Error(error.kind(),
                    fmt::format("{} cannot be read at byte {}{}: {}", volume_, offset,
                                file.empty() ? "" : fmt::format(", in {}", file), error.what()),
                    "--on-read-error=skip saves the rest and records what is lost")
            .set_error_number(error.error_number());
      }
      std::ranges::fill(step, std::uint8_t{0});
      append_lost(lost, {{offset, n}, error.message()});
    }
    out = out.subspan(n);
    offset += n;
  }
}

void append_lost(std::vector<view::LostRange>& lost, view::LostRange range) {
  constexpr std::size_t kMostRanges = 65536;
  if (!lost.empty() && (lost.back().extent.end() == range.extent.offset || lost.size() >= kMostRanges)) {
    lost.back().extent.length = range.extent.end() - lost.back().extent.offset;
  } else {
    lost.push_back(std::move(range));
  }
}

}  // namespace respaldo::backup
