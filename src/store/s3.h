// Amazon's S3 protocol, and what speaks it: the client. restic's default layout, one object for each file.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "store/backend.h"
#include "store/http.h"
#include "store/s3_credentials.h"

namespace respaldo::store {

struct S3Place {
  HttpUrl endpoint;  // without credentials; its path is "/"
  std::string bucket;
  std::string prefix;  // "" or "a/b/"
};

// What stands behind "s3:": "host/bucket/prefix", "//host/bucket/prefix" (both https) or an address.
// Error(usage).
S3Place parse_s3_place(std::string_view text);

struct S3Options {
  HttpOptions http;
  // How a bucket is addressed: below the host's name, or as a part of it. automatic: as part of the name at
  // Amazon, below it elsewhere.
  enum class Lookup { automatic, path, dns } lookup = Lookup::automatic;
  std::string region;         // empty: found out
  std::string storage_class;  // empty: the bucket's; one for archives is for packs alone
  struct Retention {
    bool compliance = true;  // not even its owner removes it before; else governance
    std::chrono::hours time{0};
  };
  std::optional<Retention> retention;  // for all but locks; the bucket must have been made with object lock
  std::function<S3Credentials()> credentials;  // asked again when the server calls them expired
  // What a server may list: so many objects of one type, and so many pages in a row that bring nothing new.
  std::uint64_t most_objects = 20'000'000;
  int idle_pages = 1'000;
};

// $AWS_... and restic's extended options: "s3.bucket-lookup" (auto, path, dns), "s3.region",
// "s3.storage-class"; and "s3.retention" ("compliance:30d", "governance:12h"). Error(usage) for others that
// begin with "s3.".
S3Options s3_options(const std::map<std::string, std::string>& extended, const Environment& environment,
                     const HttpOptions& http);

// The server acknowledges what it has stored, and compares it with SHA-256 before: Durability now and at_sync
// are one, proven reads back. create() makes the bucket when it is missing.
std::unique_ptr<Backend> open_s3(const S3Place& place, S3Options options);

}  // namespace respaldo::store
