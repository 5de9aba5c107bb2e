#include "engine/image/base_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "engine/image/leases.h"

namespace respaldo::engine {

using nlohmann::json;

namespace {

// A peer that answers with other types than agreed is a broken peer.
template <class Body>
auto agreed(Body body) {
  try {
    return body();
  } catch (const json::exception& error) {
    throw Error(ErrorKind::io, fmt::format("the activation does not answer as it should: {}", error.what()));
  }
}

struct Found {
  BaseInfo info;
  BaseIdentity identity;
};

Found found_from_json(const json& j) {
  Found found;
  found.info.name = {j.at("vg").get<std::string>(), j.at("lv").get<std::string>()};
  found.info.volume = j.at("origin").get<std::string>();
  found.info.uuid = j.at("uuid").get<std::string>();
  found.info.token = j.at("token").get<std::string>();
  if (j.contains("cow")) found.info.cow = cow_from_json(j["cow"]);
  found.identity.token = found.info.token;
  found.identity.snapshot_uuid = found.info.uuid;
  found.identity.origin_uuid = j.at("origin_uuid").get<std::string>();
  found.identity.vg_uuid = j.at("vg_uuid").get<std::string>();
  found.identity.size = j.at("size").get<std::uint64_t>();
  found.identity.chunk = j.at("chunk").get<std::uint64_t>();
  return found;
}

json to_json(const DiskSet& disks, const DiskSet::Group& group,
             const lvm::VolumeGroup::SnapshotBinding& binding) {
  json j = {{"vg", group.vg.name},
            {"lv", binding.cow->name},
            {"uuid", binding.cow->id.dashed()},
            {"token", base_token(binding.cow->tags)},
            {"origin", binding.origin->name},
            {"origin_uuid", binding.origin->id.dashed()},
            {"vg_uuid", group.vg.id.dashed()},
            {"size", binding.virtual_extents * group.vg.extent_bytes()},
            {"chunk", binding.chunk_sectors * kSector}};
  try {
    j["cow"] = cow_to_json(figures_of(disks, group, binding));
  } catch (const Error&) {
    // A store that cannot be read is met again by who wants to use it.
  }
  return j;
}

std::vector<Found> all_served(const ActivationClient& client) {
  const json answer = client.ask({{"op", "bases"}});
  return agreed([&] {
    std::vector<Found> all;
    for (const json& base : answer.at("bases")) all.push_back(found_from_json(base));
    return all;
  });
}

// Between two writes: the store on the disk tells of every write that has ended.
json changed(const DiskSet& disks, const DiskSet::Group& group,
             const lvm::VolumeGroup::SnapshotBinding& binding) {
  const change::ChangeMap map =
      change::cow_delta(*disks.open_layer(group, *binding.cow, "cow"), binding.chunk_sectors * kSector,
                        binding.virtual_extents * group.vg.extent_bytes(), base_token(binding.cow->tags));
  // An answer has a largest size; too much is no harm.
  constexpr std::size_t kMostRanges = 1U << 20;
  ExtentSet ranges = map.changed;
  for (std::uint64_t unit = 64 * kKiB; ranges.extents().size() > kMostRanges; unit *= 4)
    ranges = ranges.aligned_out(unit, map.size);
  json list = json::array();
  for (const Extent& extent : ranges.extents()) {
    list.push_back(extent.offset);
    list.push_back(extent.length);
  }
  return {{"changed", std::move(list)}};
}

}  // namespace

std::vector<BaseInfo> served_bases(const ActivationClient& client) {
  std::vector<BaseInfo> bases;
  for (Found& found : all_served(client)) bases.push_back(std::move(found.info));
  return bases;
}

std::vector<std::pair<VolumeName, BaseIdentity>> served_bases_of(const ActivationClient& client,
                                                                 const VolumeName& origin) {
  std::vector<std::pair<VolumeName, BaseIdentity>> bases;
  for (Found& found : all_served(client))
    if (found.info.name.vg == origin.vg && found.info.volume == origin.lv)
      bases.emplace_back(found.info.name, std::move(found.identity));
  // Tokens begin with the time at which they were made.
  std::ranges::sort(bases, std::greater(), [](const auto& base) { return base.second.token; });
  return bases;
}

BaseIdentity served_as_base(const ActivationClient& client, const VolumeName& snapshot) {
  const json answer = client.ask({{"op", "as_base"}, {"volume", snapshot.str()}});
  return agreed([&] { return found_from_json(answer).identity; });
}

ExtentSet served_changes(const ActivationClient& client, const VolumeName& snapshot,
                         const std::string& uuid) {
  const json answer = client.ask({{"op", "changed"}, {"volume", snapshot.str()}, {"uuid", uuid}});
  return agreed([&] {
    const json& list = answer.at("changed");
    ExtentSet set;
    for (std::size_t i = 0; i < list.size(); i += 2)
      set.add({list.at(i).get<std::uint64_t>(), list.at(i + 1).get<std::uint64_t>()});
    return set;
  });
}

json answer_about_bases(LiveVolumes& volumes, const json& request) {
  const std::string op = request.at("op").get<std::string>();
  json answer;
  if (op == "bases") {
    json list = json::array();
    volumes.run_paused([&](DiskSet& disks) {
      for (const DiskSet::Group& group : disks.groups())
        for (const lvm::LogicalVolume& lv : group.vg.lvs)
          if (const auto binding = group.vg.snapshot_binding(lv); binding && !base_token(lv.tags).empty())
            if (!binding->merging) list.push_back(to_json(disks, group, *binding));
    });
    answer["bases"] = std::move(list);
  } else if (op == "as_base" || op == "changed") {
    const VolumeName name = VolumeName::parse(request.at("volume").get<std::string>());
    volumes.run_paused([&](DiskSet& disks) {
      const DiskSet::Group& group = disks.group(name.vg);
      const lvm::LogicalVolume* lv = group.vg.find_lv(name.lv);
      const auto binding = lv != nullptr ? group.vg.snapshot_binding(*lv) : std::nullopt;
      if (!binding || (op == "changed" && lv->id.dashed() != request.at("uuid").get<std::string>()))
        throw Error(ErrorKind::not_found, fmt::format("snapshot {} does not exist", printable(name.str())));
      answer = op == "changed" ? changed(disks, group, *binding) : to_json(disks, group, *binding);
    });
  }
  return answer;
}

}  // namespace respaldo::engine
