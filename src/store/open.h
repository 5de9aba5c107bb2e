// Where a repository lies, in restic's words, and the store that is made of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "store/backend.h"

namespace respaldo::store {

// How a repository elsewhere is reached; a local folder uses none of it.
struct StoreOptions {
  int connections = 5;                                 // requests at once, and threads that upload
  std::uint64_t limit_upload = 0, limit_download = 0;  // KiB/s; 0: none
  std::string cache_folder;                            // --cache-dir; empty: the usual place
  bool no_cache = false;
  std::string ca_certificate;      // --cacert: a PEM file of the authorities to trust instead of the system's
  std::string client_certificate;  // --tls-client-cert: a PEM file with certificate and key
  std::chrono::milliseconds stall{120'000};  // without a byte: the connection is given up
  // No attempt to reach the store begins later than this after the first; once it was reached, `patience`
  // counts.
  std::chrono::milliseconds first_contact{60'000}, patience{900'000};
  std::map<std::string, std::string> extended;  // -o NAME=VALUE, in restic's words: "s3.bucket-lookup"
  // Told, at most once in some seconds, what is waited for ("... again in 4 s: connection refused").
  std::function<void(std::string_view)> tell;
  // $NAME, for credentials; absent: the process's own environment.
  std::function<std::optional<std::string>(const char*)> environment;
  std::stop_token stop;      // ends every wait: Cancelled
  bool interactive = false;  // a terminal is there: ssh may ask for a password
  bool will_write = false;   // much, and soon: what takes time to open may be opened at once
};

enum class Scheme { local, sftp, rest, s3 };

// A location taken apart. What holds a password is not printable: use display().
struct Location {
  Scheme scheme = Scheme::local;
  std::string rest;  // behind "scheme:"; the folder of a local one
};

// restic's syntax: a folder, with or without "local:"; "sftp:", "rest:" and "s3:". A relative or absolute
// path whose first part has a colon needs "local:" or "./". Error(usage) when empty, Error(unsupported) for a
// scheme of restic's that respaldo does not speak.
Location parse_location(const std::string& location);

// The location with "***" in the place of a password, for messages. Never throws.
std::string display_location(const std::string& location);

// The backend at `location` and, unless it is local, the layers above it: retries, limits, uploads in
// parallel. (The cache comes above them, where the repository's id is known: store/cache.h.)
std::unique_ptr<Backend> open_location(const std::string& location, const StoreOptions& options);

}  // namespace respaldo::store
