// AWS Signature Version 4: how S3 knows who asks. Amazon, "Authenticating Requests: Using the Authorization
// Header (AWS Signature Version 4)", S3 API reference. (libcurl 7.88 has it, too, but signs queries as they
// are written: neither sorted nor encoded.)
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/secret.h"

namespace respaldo::store {

struct S3Credentials {
  std::string access_key;
  crypto::SecretText secret_key;
  std::string session_token;  // empty: none
};

struct SigningRequest {
  std::string_view method;
  std::string host;  // as in the Host header: with a port that is not the scheme's own
  std::string path;  // percent-encoded, from "/"
  std::vector<std::pair<std::string, std::string>> query{};  // not encoded
  std::vector<std::pair<std::string, std::string>>
      headers{};             // to be signed besides host; names in lower case
  std::string payload_hash;  // SHA-256 of the body, in hex
};

// "20130524T000000Z"
std::string amazon_time(std::chrono::system_clock::time_point time);

// As it is signed and as it must be sent: sorted, encoded.
std::string canonical_query(std::vector<std::pair<std::string, std::string>> query);

// The value of the Authorization header. The request's headers must have x-amz-date with `time`.
std::string authorization(const SigningRequest& request, const S3Credentials& credentials,
                          std::string_view region, std::string_view time);

}  // namespace respaldo::store
