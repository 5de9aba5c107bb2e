#include "engine/image/activation_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/endian.h"
#include "base/printable.h"

namespace respaldo::engine {

using nlohmann::json;

namespace {

constexpr std::uint32_t kLongestMessage = 64U << 20;

Error broken(const std::string& what) {
  return Error(ErrorKind::io, "the running activation does not answer: " + what,
               "see whether `respaldo activate` still runs; unmount it with `fusermount3 -u DIR` if not");
}

// False at the end of the stream before the first byte.
bool receive_exactly(int fd, MutableBytes out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::recv(fd, out.data() + done, out.size() - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw broken(std::strerror(errno));
    if (n == 0 && done == 0) return false;
    if (n == 0) throw broken("the connection closed in the middle of a message");
    done += static_cast<std::size_t>(n);
  }
  return true;
}

void send_all(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw broken(std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

// Until something can be received.
void await_answer(int fd, const std::stop_token& stop) {
  while (stop.stop_possible()) {
    if (stop.stop_requested()) throw Cancelled();
    pollfd waiting{fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, 100);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return;  // an error shows when receiving
  }
}

}  // namespace

void send_message(int fd, const json& message) {
  const std::string text = message.dump(-1, ' ', false, json::error_handler_t::replace);
  Be32 length;
  length.set(static_cast<std::uint32_t>(text.size()));
  send_all(fd, length.bytes);
  send_all(fd, as_bytes(text));
}

std::optional<json> receive_message(int fd) {
  Be32 length;
  if (!receive_exactly(fd, length.bytes)) return std::nullopt;
  if (length.get() > kLongestMessage) throw broken("a message is too long");
  std::string text(length.get(), '\0');
  if (!text.empty() && !receive_exactly(fd, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()}))
    throw broken("the connection closed in the middle of a message");
  json message = json::parse(text, nullptr, false);
  if (!message.is_object()) throw broken("a message is not a JSON object");
  return message;
}

json error_to_json(const Error& error) {
  return {{"error", {{"kind", to_string(error.kind())}, {"message", error.what()}, {"hint", error.hint()}}}};
}

void throw_error_from_json(const json& answer) {
  const json& error = answer.at("error");
  ErrorKind kind = ErrorKind::io;
  const std::string name = error.value("kind", "io");
  for (int k = 0; k <= static_cast<int>(ErrorKind::internal); ++k)
    if (to_string(static_cast<ErrorKind>(k)) == name) kind = static_cast<ErrorKind>(k);
  throw Error(kind, error.value("message", ""), error.value("hint", ""));
}

json cow_to_json(const CowFigures& cow) {
  return {{"size", cow.size},
          {"chunk", cow.chunk},
          {"used", cow.used},
          {"percent_x100", cow.percent_x100},
          {"valid", cow.valid}};
}

CowFigures cow_from_json(const json& j) {
  return {j.at("size").get<std::uint64_t>(), j.at("chunk").get<std::uint64_t>(),
          j.at("used").get<std::uint64_t>(), j.at("percent_x100").get<std::uint32_t>(),
          j.at("valid").get<bool>()};
}

json volume_to_json(const VolumeInfo& info) {
  json j = {{"vg", info.name.vg},
            {"lv", info.name.lv},
            {"uuid", info.uuid},
            {"vg_uuid", info.vg_uuid},
            {"size", info.size},
            {"kind", info.kind},
            {"unreadable", info.unreadable},
            {"missing_pvs", info.missing_pvs},
            {"in_use", info.in_use}};
  if (info.origin) j["origin"] = *info.origin;
  if (info.cow) j["cow"] = cow_to_json(*info.cow);
  return j;
}

VolumeInfo volume_from_json(const json& j) {
  VolumeInfo info;
  info.name = {j.at("vg").get<std::string>(), j.at("lv").get<std::string>()};
  info.uuid = j.at("uuid").get<std::string>();
  info.vg_uuid = j.at("vg_uuid").get<std::string>();
  info.size = j.at("size").get<std::uint64_t>();
  info.kind = j.at("kind").get<std::string>();
  info.unreadable = j.at("unreadable").get<std::string>();
  info.missing_pvs = j.at("missing_pvs").get<std::vector<std::string>>();
  info.in_use = j.at("in_use").get<bool>();
  if (j.contains("origin")) info.origin = j["origin"].get<std::string>();
  if (j.contains("cow")) info.cow = cow_from_json(j["cow"]);
  return info;
}

json ActivationClient::call(const json& request) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = address_.socket.string();
  if (path.size() >= sizeof address.sun_path) throw broken("its socket's path is too long");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const os::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw broken(std::strerror(errno));
  send_message(fd.get(), request);
  await_answer(fd.get(), stop_);
  auto answer = receive_message(fd.get());
  if (!answer) throw broken("the connection closed");
  if (answer->contains("error")) throw_error_from_json(*answer);
  return *answer;
}

namespace {
// A peer that answers with other types than agreed is a broken peer.
template <class Body>
auto agreed(Body body) {
  try {
    return body();
  } catch (const json::exception& error) {
    throw broken(error.what());
  }
}
}  // namespace

ActivationClient::CommandReply ActivationClient::lvm(const std::vector<std::string>& argv) const {
  const json answer = call({{"op", "lvm"}, {"argv", argv}});
  return agreed([&] {
    return CommandReply{answer.at("exit").get<int>(), answer.at("out").get<std::string>(),
                        answer.at("err").get<std::string>()};
  });
}

std::vector<VolumeInfo> ActivationClient::list() const {
  const json answer = call({{"op", "list"}});
  return agreed([&] {
    std::vector<VolumeInfo> volumes;
    for (const json& volume : answer.at("volumes")) volumes.push_back(volume_from_json(volume));
    return volumes;
  });
}

std::string ActivationClient::vg_config(const std::string& vg) const {
  const json answer = call({{"op", "vg_config"}, {"vg", vg}});
  return agreed([&] { return answer.at("text").get<std::string>(); });
}

VolumeName ActivationClient::snapshot(const VolumeName& origin, std::optional<std::uint64_t> cow_size,
                                      const std::vector<std::string>& tags) const {
  json request = {{"op", "snapshot"}, {"volume", origin.str()}, {"tags", tags}};
  // All that an activation of an older version takes.
  if (!tags.empty()) request["tag"] = tags.front();
  if (cow_size) request["cow_size"] = *cow_size;
  const json answer = call(request);
  return agreed([&] { return VolumeName::parse(answer.at("snapshot").get<std::string>()); });
}

CowFigures ActivationClient::status(const VolumeName& snapshot) const {
  const json answer = call({{"op", "status"}, {"volume", snapshot.str()}});
  return agreed([&] { return cow_from_json(answer); });
}

json ActivationClient::ask(const json& request) const { return call(request); }

void ActivationClient::remove(const VolumeName& snapshot) const {
  call({{"op", "remove"}, {"volume", snapshot.str()}});
}

void ActivationClient::claim(const VolumeName& name) const {
  const json request = {{"op", "claim"}, {"volume", name.str()}};
  // FUSE tells the activation of a close a moment later.
  for (int tries = 25;; --tries) {
    try {
      call(request);
      return;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::usage && std::string_view(error.what()).starts_with("unknown request"))
        throw Error(ErrorKind::busy,
                    fmt::format("the activation at {} is of an older version, which cannot keep others from the volume",
                                printable(address_.mount_point.native())),
                    "end it (fusermount3 -u) and activate again");
      if (tries == 0 || error.kind() != ErrorKind::busy) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

}  // namespace respaldo::engine
