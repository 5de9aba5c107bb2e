#include "block/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/units.h"

namespace respaldo::block {

std::vector<Run> Device::runs(Extent range) const {
  const Extent inside = intersect(range, {0, size()});
  if (inside.empty()) return {};
  return {{inside, RunKind::data}};
}

void WritableDevice::zero(Extent range) {
  require_within(*this, range.offset, range.length);
  const Bytes zeros = Bytes::zeroed(std::min<std::uint64_t>(range.length, kMiB));
  for (std::uint64_t at = range.offset; at < range.end();) {
    const auto n = std::min<std::uint64_t>(zeros.size(), range.end() - at);
    write_at(at, zeros.view(0, n));
    at += n;
  }
}

void require_within(const Device& device, std::uint64_t offset, std::uint64_t length) {
  if (offset > device.size() || length > device.size() - offset)
    throw Error(ErrorKind::internal, fmt::format("{}: {} bytes at byte {} lie outside its {} bytes", device.describe(),
                                                 length, offset, device.size()));
}

void append_run(std::vector<Run>& runs, Run run) {
  if (run.extent.empty()) return;
  if (!runs.empty() && runs.back().kind == run.kind && runs.back().extent.end() == run.extent.offset) {
    runs.back().extent.length += run.extent.length;
  } else {
    runs.push_back(run);
  }
}

Bytes read(const Device& device, std::uint64_t offset, std::size_t length) {
  Bytes bytes(length);
  device.read_at(offset, bytes);
  return bytes;
}

}  // namespace respaldo::block
