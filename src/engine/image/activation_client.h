// Talking to a running activation: one JSON object for each request and answer, over its Unix socket.
//
//   {"op":"lvm","argv":["lvs","-a"]}                 -> {"exit":0,"out":"...","err":"..."}
//   {"op":"list"}                                    -> {"volumes":[{...}]}
//   {"op":"vg_config","vg":"vg0"}                    -> {"text":"..."}
//   {"op":"snapshot","volume":"vg0/root","tags":["..",".."],"cow_size":N} -> {"snapshot":"vg0/respaldo_..."}
//   {"op":"status","volume":"vg0/snap"}              ->
//   {"size":N,"chunk":N,"used":N,"percent_x100":N,"valid":true}
//   {"op":"remove","volume":"vg0/snap"}              -> {}
//   {"op":"claim","volume":"vg0/root"}               -> {}
// Any answer may be {"error":{"kind":"..","message":"..","hint":".."}} instead.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/image/activation_address.h"

namespace respaldo::engine {

// Each call is one connection; thread-safe. Error(io) when the activation does not answer; its own errors are
// rethrown as they were there. Cancelled when a stop is asked for while the answer is awaited: the activation goes on with
// what it was asked. What tidies up must not have a stop token.
class ActivationClient {
 public:
  explicit ActivationClient(ActivationAddress address, std::stop_token stop = {})
      : address_(std::move(address)), stop_(std::move(stop)) {}
  const ActivationAddress& address() const { return address_; }

  struct CommandReply {
    int exit_code = 0;
    std::string out, err;
  };
  CommandReply lvm(const std::vector<std::string>& argv) const;
  std::vector<VolumeInfo> list() const;
  std::string vg_config(const std::string& vg) const;
  VolumeName snapshot(const VolumeName& origin, std::optional<std::uint64_t> cow_size,
                      const std::vector<std::string>& tags) const;
  CowFigures status(const VolumeName& snapshot) const;
  void remove(const VolumeName& snapshot) const;
  // For whoever has just opened file_of(name): nobody else opens it until he closes it. Error(busy) when somebody else
  // has it open, a mount of it for example.
  void claim(const VolumeName& name) const;
  // Any request (base_client.h has some). Errors in the answer are thrown.
  nlohmann::json ask(const nlohmann::json& request) const;
  // The file through which a volume is read.
  os::Path file_of(const VolumeName& name) const { return address_.mount_point / name.vg / name.lv; }

 private:
  nlohmann::json call(const nlohmann::json& request) const;
  ActivationAddress address_;
  std::stop_token stop_;
};

// The two halves of the protocol's values, used by client and server.
nlohmann::json volume_to_json(const VolumeInfo& info);
VolumeInfo volume_from_json(const nlohmann::json& json);
nlohmann::json error_to_json(const Error& error);
[[noreturn]] void throw_error_from_json(const nlohmann::json& json);
nlohmann::json cow_to_json(const CowFigures& cow);
CowFigures cow_from_json(const nlohmann::json& json);

// One message over a connected socket: 4 bytes of length (big-endian), then the JSON text; at most 64 MiB.
void send_message(int fd, const nlohmann::json& message);
std::optional<nlohmann::json> receive_message(int fd);  // absent when the peer closed

}  // namespace respaldo::engine
