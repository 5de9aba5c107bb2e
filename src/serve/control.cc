#include "serve/control.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "base/printable.h"
#include "base/units.h"
#include "dm/cow_store.h"
#include "engine/image/base_client.h"
#include "lvm/volume_group.h"

namespace respaldo::serve {

using engine::VolumeName;
using nlohmann::json;

namespace {

// The size that a backup's own snapshot gets when nobody says: a fifth of the volume, never more than can be
// used, never more than there is.
std::uint64_t default_cow_size(const engine::DiskSet::Group& group, const lvm::LogicalVolume& lv) {
  const std::uint64_t origin = group.vg.lv_bytes(lv), extent = group.vg.extent_bytes();
  const std::uint64_t wanted =
      std::min(dm::cow_store_maximum(origin, 4096), std::max<std::uint64_t>(origin / 5, 64 * kMiB));
  const std::uint64_t free = group.vg.free_extent_count() * extent;
  if (free == 0)
    throw Error(
        ErrorKind::no_space,
        fmt::format("volume group {} has no free extent for a snapshot of {}", group.vg.name, lv.name),
        "extend the group, or remove a volume that is not needed");
  return std::min((wanted + extent - 1) / extent * extent, free);
}

std::string random_name() {
  std::uint8_t random[6];
  os::read_exactly_at(os::open_file("/dev/urandom", O_RDONLY).get(), 0, random, "/dev/urandom");
  return "respaldo_" + to_hex(random);
}

}  // namespace

json Control::answer(const json& request) {
  const std::string op = request.at("op").get<std::string>();
  if (op == "lvm") {
    const auto reply = run(request.at("argv").get<std::vector<std::string>>());
    return {{"exit", reply.exit_code}, {"out", reply.out}, {"err", reply.err}};
  }
  if (op == "list") {
    json list = json::array();
    for (const auto& info : volumes_.volume_infos()) list.push_back(engine::volume_to_json(info));
    return {{"volumes", list}};
  }
  if (op == "vg_config") {
    std::string text;
    volumes_.run_paused([&](engine::DiskSet& disks) {
      text = disks.group(request.at("vg").get<std::string>())
                 .vg.text(lvm::TextStyle::file, "respaldo", std::time(nullptr));
    });
    return {{"text", text}};
  }
  if (json answer = engine::answer_about_bases(volumes_, request); !answer.is_null()) return answer;
  const VolumeName name = VolumeName::parse(request.at("volume").get<std::string>());
  if (op == "snapshot") return snapshot(name, request);
  if (op == "status") {
    const auto cow = volumes_.cow(name);
    if (!cow)
      throw Error(ErrorKind::not_found, fmt::format("snapshot {} does not exist", printable(name.str())));
    return engine::cow_to_json(*cow);
  }
  if (op == "remove") {
    must({"lvremove", "-f", name.str()});
    return json::object();
  }
  if (op == "claim") {
    if (!volumes_.claim(name))
      throw Error(ErrorKind::busy, fmt::format("volume {} is open or mounted", printable(name.str())),
                  "unmount it, or end what has its file open (`fuser -v` shows it), and run again");
    return json::object();
  }
  throw Error(ErrorKind::usage, fmt::format("unknown request '{}'", printable(op)));
}

engine::ActivationClient::CommandReply Control::run(const std::vector<std::string>& argv) {
  engine::ActivationClient::CommandReply reply;
  const std::vector<VolumeName> died = volumes_.died();
  VolumeStates states;
  states.is_open = [this](const VolumeName& name) { return volumes_.is_open(name); };
  states.has_died = [&](const VolumeName& name) { return std::ranges::find(died, name) != died.end(); };
  volumes_.run_paused([&](engine::DiskSet& disks) { reply = lvm_(disks, argv, states); });
  return reply;
}

void Control::must(const std::vector<std::string>& argv) {
  const auto reply = run(argv);
  if (reply.exit_code == 0) return;
  std::string said = reply.err;
  while (!said.empty() && (said.back() == '\n' || said.back() == ' ')) said.pop_back();
  throw Error(ErrorKind::io, fmt::format("{} failed: {}", argv.front(), printable(said)));
}

json Control::snapshot(const VolumeName& origin, const json& request) {
  const std::string name = random_name();
  std::uint64_t size = request.value("cow_size", std::uint64_t{0});
  if (size == 0) {
    volumes_.run_paused([&](engine::DiskSet& disks) {
      const auto& group = disks.group(origin.vg);
      const lvm::LogicalVolume* lv = group.vg.find_lv(origin.lv);
      if (lv == nullptr)
        throw Error(ErrorKind::not_found, fmt::format("volume {} does not exist", printable(origin.str())));
      size = default_cow_size(group, *lv);
    });
  }
  std::vector<std::string> argv = {"lvcreate", "-s", "-n", name, "-L", fmt::format("{}b", size)};
  std::vector<std::string> tags = request.value("tags", std::vector<std::string>());
  // Of a client of an older version.
  if (const std::string tag = request.value("tag", ""); tags.empty() && !tag.empty()) tags = {tag};
  for (std::string& tag : tags) {
    argv.emplace_back("--addtag");
    argv.push_back(std::move(tag));
  }
  argv.push_back(origin.str());
  must(argv);
  return {{"snapshot", origin.vg + "/" + name}};
}

}  // namespace respaldo::serve
