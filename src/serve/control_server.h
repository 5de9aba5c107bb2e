// The activation's control socket.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>

#include "os/file.h"
#include "os/thread_group.h"

namespace respaldo::serve {

// Answers requests (engine/image/activation_client.h) on a Unix socket of mode 0600 until destroyed. `answer`
// is called from a thread of the server's own; an Error that it throws becomes the answer.
class ControlServer {
 public:
  using Answer = std::function<nlohmann::json(const nlohmann::json& request)>;
  ControlServer(os::Path socket, Answer answer);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  void accept_connections(std::stop_token stop);
  void serve_connection(os::UniqueFd connection);
  os::Path socket_;
  Answer answer_;
  os::UniqueFd listener_;
  os::ThreadGroup threads_;
};

}  // namespace respaldo::serve
