// Bases inside a running activation: requests beside those of activation_client.h.
//
//   {"op":"bases"}                                   ->
//   {"bases":[{"vg":..,"lv":..,"uuid":..,"token":..,"origin":..,
//                                                        "origin_uuid":..,"vg_uuid":..,"size":N,"chunk":N,"cow":{..}}]}
//   {"op":"as_base","volume":"vg0/snap"}             -> one of those, of any snapshot; its token may be empty
//   {"op":"changed","volume":"vg0/snap","uuid":".."} -> {"changed":[offset,length,...]}: written since it was
//   made
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/base.h"
#include "engine/image/activation_client.h"
#include "engine/image/live_volumes.h"

namespace respaldo::engine {

std::vector<BaseInfo> served_bases(const ActivationClient& client);

// Of the volume, newest first: a base and what it is.
std::vector<std::pair<VolumeName, BaseIdentity>> served_bases_of(const ActivationClient& client,
                                                                 const VolumeName& origin);
BaseIdentity served_as_base(const ActivationClient& client, const VolumeName& snapshot);
// What was written to the snapshot or its origin since it was made; the snapshot must have that UUID.
ExtentSet served_changes(const ActivationClient& client, const VolumeName& snapshot, const std::string& uuid);

// The other end. Null (JSON) when `request` is none of the three.
nlohmann::json answer_about_bases(LiveVolumes& volumes, const nlohmann::json& request);

}  // namespace respaldo::engine
