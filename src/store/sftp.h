// restic's default layout on a host that is reached by SFTP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/backend.h"
#include "store/open.h"

namespace respaldo::store {

struct SftpPlace {
  std::string user, host;  // user: empty when not named
  std::uint16_t port = 0;  // 0: ssh's own choice
  std::string path;        // absolute, or relative to where the user arrives
  friend bool operator==(const SftpPlace&, const SftpPlace&) = default;
};

// What stands behind "sftp:", in restic's two forms: "[user@]host:path" and "//[user@]host[:port]/path" (of
// which the first
// '/' behind the host only ends it: "//host//srv" is the absolute "/srv"). Error(usage).
SftpPlace parse_sftp_place(const std::string& rest);

// OpenSSH's client for the place: its keys, agent, known_hosts and configuration are all its own. It asks for
// nothing unless `may_ask`. `more` are further words for it.
std::vector<std::string> ssh_command(const SftpPlace& place, bool may_ask,
                                     const std::vector<std::string>& more = {});

// Connects at the first request, and again when the connection was lost. Durability::now: flushed there, file
// and folder, when the server can (OpenSSH's can); `options.tell` hears once when it cannot.
std::unique_ptr<Backend> open_sftp(const std::string& rest, const StoreOptions& options);

}  // namespace respaldo::store
