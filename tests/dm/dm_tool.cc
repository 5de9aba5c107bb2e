// The dm room on the command line, for tests beside the real device-mapper. Sizes in sectors.
//
//   dm_tool raid LEVEL CHUNK SIZE LEG[,RMETA]...  the array's bytes on standard output; LEG "-": missing
//   dm_tool snapshot ORIGIN COW                   the snapshot's bytes
//   dm_tool status COW                            as `dmsetup status` has it: "used/total metadata" or
//   "Invalid" dm_tool write SEED COUNT ORIGIN COW...        random writes to origin and snapshots, copied on
//   write dm_tool merge ORIGIN COW dm_tool thin META DATA ID SIZE                the thin volume's bytes
#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <random>

#include "base/error.h"
#include "base/units.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "dm/cow_store.h"
#include "dm/table.h"
#include "dm/thin_metadata.h"
#include "testing/temp.h"

using namespace respaldo;

namespace {

constexpr std::uint64_t kFallback = 4096;

std::shared_ptr<block::FileDevice> file(const std::string& path) {
  return std::make_shared<block::FileDevice>(path, block::FileDevice::Access::read_write);
}

class Files final : public dm::Resolver {
 public:
  std::map<std::string, dm::Table> tables;
  block::DevicePtr device(const std::string& name) override {
    if (name.starts_with("-"))
      return block::error_device(kTiB, name, Error(ErrorKind::missing, "leg " + name + " is missing"));
    return file(name);
  }
  const dm::Table* table(const std::string& name) override { return &tables.at(name); }
};

void print(const block::Device& device) {
  for (std::uint64_t at = 0; at < device.size();) {
    const Bytes bytes = block::read(device, at, std::min<std::uint64_t>(kMiB, device.size() - at));
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    at += bytes.size();
  }
}

dm::RaidLevel level_of(const std::string& name) {
  const std::map<std::string, dm::RaidLevel> levels{
      {"raid0", dm::RaidLevel::raid0},     {"raid1", dm::RaidLevel::raid1},
      {"raid4", dm::RaidLevel::raid4},     {"raid5_ls", dm::RaidLevel::raid5_ls},
      {"raid5_n", dm::RaidLevel::raid5_n}, {"raid6_zr", dm::RaidLevel::raid6_zr},
      {"raid10", dm::RaidLevel::raid10}};
  return levels.at(name);
}

void random_writes(std::uint64_t seed, int count, const std::vector<std::string>& paths) {
  dm::SnapshotSet set(file(paths[0]));
  std::vector<block::WritableDevicePtr> devices{set.origin_device()};
  for (std::size_t i = 1; i < paths.size(); ++i) {
    set.add(paths[i], file(paths[i]), devices[0]->size(), kFallback);
    if (set.status(paths[i]).valid) devices.push_back(set.snapshot_device(paths[i]));
  }
  std::mt19937_64 random(seed);
  for (int i = 0; i < count; ++i) {
    block::WritableDevice& device = *devices[random() % 3 == 0 ? random() % devices.size() : 0];
    const std::uint64_t offset = random() % (device.size() / 512) * 512;
    const std::uint64_t length =
        (random() % std::min<std::uint64_t>((device.size() - offset) / 512, 300) + 1) * 512;
    device.write_at(offset, testing::random_bytes(length, random()));
  }
  for (const auto& device : devices) device->flush();
}

int run(const std::vector<std::string>& words) {
  const std::string& verb = words.at(0);
  if (verb == "raid") {
    dm::RaidTarget target;
    target.level = level_of(words.at(1));
    target.chunk = std::stoull(words.at(2));
    for (std::size_t i = 4; i < words.size(); ++i) {
      const std::size_t comma = words[i].find(',');
      dm::RaidLeg leg;
      leg.data = words[i].substr(0, comma);
      if (comma != std::string::npos) leg.metadata = words[i].substr(comma + 1);
      target.legs.push_back(leg);
    }
    Files files;
    print(*dm::assemble({{0, std::stoull(words.at(3)), target}}, files, "array"));
  } else if (verb == "snapshot") {
    Files files;
    const std::uint64_t size = file(words.at(1))->size() / 512;
    print(*dm::assemble({{0, size, dm::SnapshotTarget{words[1], words.at(2), 8}}}, files, "snapshot"));
  } else if (verb == "status") {
    const dm::CowStatus status = dm::CowStore::load(*file(words.at(1)), kFallback).status();
    fmt::print("{}\n", status.valid ? fmt::format("{}/{} {}", status.used / 512, status.total / 512,
                                                  status.metadata / 512)
                                    : "Invalid");
  } else if (verb == "write") {
    random_writes(std::stoull(words.at(1)), std::stoi(words.at(2)), {words.begin() + 3, words.end()});
  } else if (verb == "merge") {
    dm::merge_snapshot(*file(words.at(1)), *file(words.at(2)), kFallback);
  } else if (verb == "thin") {
    Files files;
    files.tables["pool"] = {{0, 1, dm::ThinPoolTarget{words.at(1), words.at(2), 128, std::nullopt}}};
    const dm::ThinTarget target{"pool", static_cast<std::uint32_t>(std::stoul(words.at(3))), std::nullopt};
    print(*dm::assemble({{0, std::stoull(words.at(4)), target}}, files, "thin"));
  } else if (verb == "thin-delta") {
    const dm::ThinMetadata metadata(file(words.at(1)));
    for (const dm::ThinDifference& one :
         metadata.differences(static_cast<std::uint32_t>(std::stoul(words.at(2))),
                              static_cast<std::uint32_t>(std::stoul(words.at(3))))) {
      const char* kind = one.kind == dm::ThinDifferenceKind::left_only    ? "left_only"
                         : one.kind == dm::ThinDifferenceKind::right_only ? "right_only"
                                                                          : "different";
      fmt::print("<{} begin=\"{}\" length=\"{}\"/>\n", kind, one.virtual_block, one.length);
    }
  } else {
    throw Error(ErrorKind::usage, "unknown verb " + verb);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "dm_tool: {}\n", error.what());
    return 1;
  }
}
