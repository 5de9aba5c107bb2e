#include "dm/table.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

namespace respaldo::dm {

namespace {

std::string_view level_name(RaidLevel level) {
  switch (level) {
    case RaidLevel::raid0:
      return "raid0";
    case RaidLevel::raid1:
      return "raid1";
    case RaidLevel::raid4:
      return "raid4";
    case RaidLevel::raid5_ls:
      return "raid5_ls";
    case RaidLevel::raid5_n:
      return "raid5_n";
    case RaidLevel::raid6_zr:
      return "raid6_zr";
    case RaidLevel::raid10:
      return "raid10";
  }
  return "raid?";
}

// What follows "start length" on a line.
struct Parameters {
  std::string operator()(const LinearTarget& t) const {
    return fmt::format("linear {} {}", t.device.name, t.device.start);
  }
  std::string operator()(const StripedTarget& t) const {
    return fmt::format("striped {} {}{}", t.legs.size(), t.chunk, legs(t.legs));
  }
  std::string operator()(const ErrorTarget&) const { return "error"; }
  std::string operator()(const ZeroTarget&) const { return "zero"; }
  std::string operator()(const MirrorTarget& t) const {
    return fmt::format("mirror core 1 {} {}{}", t.region, t.legs.size(), legs(t.legs));
  }
  std::string operator()(const RaidTarget& t) const {
    std::string options;
    unsigned count = 1;
    const auto option = [&](std::string_view key, std::uint64_t value) {
      fmt::format_to(std::back_inserter(options), " {} {}", key, value);
      count += 2;
    };
    for (std::size_t i = 0; i < t.legs.size(); ++i)
      if (t.legs[i].out_of_sync) option("rebuild", i);
    if (t.region != 0) option("region_size", t.region);
    if (t.level == RaidLevel::raid10 && t.copies != 2) option("raid10_copies", t.copies);
    std::string line =
        fmt::format("raid {} {} {}{} {}", level_name(t.level), count, t.chunk, options, t.legs.size());
    for (const RaidLeg& leg : t.legs)
      fmt::format_to(std::back_inserter(line), " {} {}", leg.metadata.value_or("-"), leg.data);
    return line;
  }
  std::string operator()(const SnapshotOriginTarget& t) const {
    return fmt::format("snapshot-origin {}", t.origin);
  }
  std::string operator()(const SnapshotTarget& t) const {
    return fmt::format("snapshot {} {} P {}", t.origin, t.cow, t.chunk);
  }
  std::string operator()(const SnapshotMergeTarget& t) const {
    return fmt::format("snapshot-merge {} {} P {}", t.origin, t.cow, t.chunk);
  }
  std::string operator()(const ThinPoolTarget& t) const {
    return fmt::format("thin-pool {} {} {} 0 0", t.metadata, t.data, t.chunk);
  }
  std::string operator()(const ThinTarget& t) const {
    std::string line = fmt::format("thin {} {}", t.pool, t.device_id);
    if (t.external_origin) line += " " + *t.external_origin;
    return line;
  }
  std::string operator()(const UnsupportedTarget& t) const { return t.type; }

  static std::string legs(const std::vector<DeviceRef>& refs) {
    std::string text;
    for (const DeviceRef& ref : refs) fmt::format_to(std::back_inserter(text), " {} {}", ref.name, ref.start);
    return text;
  }
};

}  // namespace

std::string to_text(const Table& table) {
  std::string text;
  for (const TableLine& line : table)
    fmt::format_to(std::back_inserter(text), "{} {} {}\n", line.start, line.length,
                   std::visit(Parameters{}, line.target));
  return text;
}

}  // namespace respaldo::dm
