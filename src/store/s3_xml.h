// What an S3 server says in XML.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace respaldo::store {

// One page of ListObjectsV2.
struct S3Page {
  std::vector<std::pair<std::string, std::uint64_t>> keys;  // with their sizes
  std::string next;  // the token that asks for the next page; empty: the last one
};
// Error(corrupt) for what is no such page, or has no end.
S3Page parse_s3_page(ByteView text);

struct S3Failure {
  std::string code;     // "NoSuchKey"
  std::string message;  // for people
  std::string region;   // where the bucket is, when it is said
};
// Absent when it is something else.
std::optional<S3Failure> parse_s3_failure(ByteView text);

}  // namespace respaldo::store
