#include "engine/image/hand_work.h"

#include <fmt/format.h>

#include <ctime>

#include "base/printable.h"

namespace respaldo::engine {

OpContext quiet_context(DiskSet& disks, std::string command) {
  return {.disks = disks,
          .print = [](std::string_view) {},
          .warn = [](std::string_view) {},
          .confirm = [](std::string_view) { return true; },
          .now = [] { return static_cast<std::int64_t>(std::time(nullptr)); },
          .host = "respaldo",
          .command = std::move(command),
          .yes = true,
          .is_open = {},
          .has_died = {},
          .stop = {}};
}

void must(const ActivationClient::CommandReply& reply, std::string_view what) {
  if (reply.exit_code == 0) return;
  std::string said = reply.err;
  while (!said.empty() && (said.back() == '\n' || said.back() == ' ')) said.pop_back();
  said.erase(0, said.find_first_not_of(' '));
  throw Error(ErrorKind::io, fmt::format("{} failed: {}", what, printable(said)));
}

}  // namespace respaldo::engine
