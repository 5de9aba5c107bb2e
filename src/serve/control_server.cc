#include "serve/control_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/image/activation_client.h"

namespace respaldo::serve {

ControlServer::ControlServer(os::Path socket, Answer answer)
    : socket_(std::move(socket)), answer_(std::move(answer)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = socket_.string();
  if (path.size() >= sizeof address.sun_path)
    throw Error(ErrorKind::usage, fmt::format("the path of the control socket is too long: {}", path),
                "set XDG_RUNTIME_DIR to a shorter path");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  ::unlink(path.c_str());
  listener_ = os::UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener_ || ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw os::system_error(errno, "bind", socket_);
  if (::chmod(path.c_str(), 0600) != 0 || ::listen(listener_.get(), 16) != 0)
    throw os::system_error(errno, "listen", socket_);
  threads_.spawn([this](std::stop_token stop) { accept_connections(stop); });
}

ControlServer::~ControlServer() {
  threads_.request_stop();
  ::unlink(socket_.c_str());
}

void ControlServer::accept_connections(std::stop_token stop) {
  while (!stop.stop_requested()) {
    pollfd waiting{listener_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 200) <= 0) continue;
    os::UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) continue;
    // One after the other: requests are short and rare, and changes exclude one another anyway.
    try {
      serve_connection(std::move(connection));
    } catch (const Error&) {
      // The client went away or spoke nonsense: its own business.
    }
  }
}

void ControlServer::serve_connection(os::UniqueFd connection) {
  const timeval patience{10, 0};
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const auto request = engine::receive_message(connection.get());
  if (!request) return;
  nlohmann::json answer;
  try {
    answer = answer_(*request);
  } catch (const Error& error) {
    answer = engine::error_to_json(error);
  } catch (const std::exception& error) {
    answer =
        engine::error_to_json(Error(ErrorKind::usage, fmt::format("malformed request: {}", error.what())));
  }
  engine::send_message(connection.get(), answer);
}

}  // namespace respaldo::serve
