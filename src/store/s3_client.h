// Signed requests to one bucket. Internal to the S3 backend.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/http.h"
#include "store/s3.h"
#include "store/s3_xml.h"

namespace respaldo::store {

struct S3Request {
  std::string_view method = "GET";
  std::string key{};  // empty: the bucket itself
  std::vector<std::pair<std::string, std::string>> query{};
  std::vector<std::pair<std::string, std::string>> headers{};  // names in lower case; all are signed
  std::span<const ByteView> body{};
  std::optional<HttpRange> range{};
  std::uint64_t limit = 64U << 10;
};

// Thread-safe.
class S3Client {
 public:
  S3Client(const S3Place& place, S3Options options);

  // As HttpClient::perform. Asked once more when the server says that the bucket is in another region, or
  // that the credentials have expired and there are newer ones.
  HttpAnswer perform(const S3Request& request);
  std::string region() const;

 private:
  // Puts the session token that it was signed with into `token`.
  HttpAnswer attempt(const S3Request& request, std::string& token);
  // True when another attempt may go better. `token`: what the answer is about; others may have learnt since.
  bool learn(const HttpAnswer& answer, const std::string& token);
  HttpUrl address() const;

  const S3Place place_;
  const S3Options options_;
  HttpClient http_;
  mutable std::mutex mutex_;
  std::string region_;
  bool region_is_learnt_ = false;
  std::shared_ptr<const S3Credentials> credentials_;
};

// The Error for an answer that is no success, as http_error(), with S3's own codes understood.
Error s3_error(const HttpAnswer& answer, std::string_view what);

}  // namespace respaldo::store
