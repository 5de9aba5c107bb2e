// What the control socket's requests do to live volumes.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "serve/activate.h"

namespace respaldo::serve {

// Both references must outlive it. answer() is called by one thread at a time.
class Control {
 public:
  Control(engine::LiveVolumes& volumes, const LvmVerb& lvm) : volumes_(volumes), lvm_(lvm) {}
  nlohmann::json answer(const nlohmann::json& request);

 private:
  engine::ActivationClient::CommandReply run(const std::vector<std::string>& argv);
  void must(const std::vector<std::string>& argv);
  nlohmann::json snapshot(const engine::VolumeName& origin, const nlohmann::json& request);

  engine::LiveVolumes& volumes_;
  const LvmVerb& lvm_;
};

}  // namespace respaldo::serve
