#include "store/s3_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/hex.h"
#include "base/printable.h"
#include "crypto/base64.h"
#include "crypto/crypto.h"
#include "store/curl_library.h"

namespace respaldo::store {

namespace {

constexpr std::string_view kAmazon = "s3.amazonaws.com", kUsual = "us-east-1";

bool is_amazon(std::string_view host) { return host == kAmazon || host.ends_with(".amazonaws.com"); }

// "s3.eu-west-1.amazonaws.com", "s3-eu-west-1.amazonaws.com"
std::string region_in(std::string_view host) {
  constexpr std::string_view kEnd = ".amazonaws.com";
  if (!host.starts_with("s3") || !host.ends_with(kEnd) || host.size() <= kEnd.size() + 3) return "";
  return std::string(host.substr(3, host.size() - kEnd.size() - 3));
}

bool is_region(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::string hash_of(std::span<const ByteView> parts, std::string* base64) {
  crypto::Sha256 hash;
  for (const ByteView part : parts) hash.update(part);
  const crypto::Digest digest = hash.finish();
  if (base64 != nullptr) *base64 = crypto::to_base64(digest);
  return to_hex(digest);
}

}  // namespace

S3Client::S3Client(const S3Place& place, S3Options options)
    : place_(place),
      options_(std::move(options)),
      http_(options_.http, place.endpoint),
      region_(options_.region) {
  if (region_.empty()) region_ = region_in(place.endpoint.host);
  if (region_.empty()) region_ = kUsual;
}

std::string S3Client::region() const {
  std::lock_guard lock(mutex_);
  return region_;
}

// The bucket's own: of its region, and with its name in it where that is the style.
HttpUrl S3Client::address() const {
  HttpUrl url = place_.endpoint;
  const bool amazon = is_amazon(url.host);
  if (url.host == kAmazon && region_ != kUsual) url.host = fmt::format("s3.{}.amazonaws.com", region_);
  using Lookup = S3Options::Lookup;
  // No certificate is good for a name with further dots.
  const bool dotted = url.tls && place_.bucket.find('.') != std::string::npos;
  if (options_.lookup == Lookup::dns || (options_.lookup == Lookup::automatic && amazon && !dotted))
    url.host = fmt::format("{}.{}", place_.bucket, url.host);
  else
    url.path = fmt::format("/{}", place_.bucket);
  return url;
}

HttpAnswer S3Client::attempt(const S3Request& request, std::string& token) {
  SigningRequest signing{.method = request.method, .host = {}, .path = {}, .payload_hash = {}};
  signing.query = request.query;
  signing.headers = request.headers;
  const bool upload = request.method == "PUT";
  std::string checksum;
  signing.payload_hash = hash_of(request.body, upload && !request.key.empty() ? &checksum : nullptr);
  signing.headers.emplace_back("x-amz-content-sha256", signing.payload_hash);
  if (!checksum.empty()) signing.headers.emplace_back("x-amz-checksum-sha256", checksum);

  HttpRequest http{.method = request.method, .url = {}, .body = request.body, .range = request.range};
  http.limit = request.limit;
  std::string region;
  std::shared_ptr<const S3Credentials> credentials;
  {
    std::lock_guard lock(mutex_);
    if (!credentials_) credentials_ = std::make_shared<const S3Credentials>(options_.credentials());
    const HttpUrl url = address();
    const bool usual_port = url.port.empty() || url.port == (url.tls ? "443" : "80");
    signing.host = usual_port ? url.host : fmt::format("{}:{}", url.host, url.port);
    signing.path = url.path == "/" ? "" : url.path;
    if (signing.path.empty() || !request.key.empty()) signing.path += '/';
    signing.path += percent_encoded(request.key, true);
    http.url = url.origin() + signing.path;
    if (!credentials_->session_token.empty())
      signing.headers.emplace_back("x-amz-security-token", credentials_->session_token);
    credentials = credentials_;
    region = region_;
  }
  token = credentials->session_token;
  if (const std::string query = canonical_query(signing.query); !query.empty()) http.url += "?" + query;
  // A signature is good for a quarter of an hour, and a request may wait for others.
  http.late_headers = [&] {
    const std::string time = amazon_time(std::chrono::system_clock::now());
    signing.headers.emplace_back("x-amz-date", time);
    std::vector<std::string> lines;
    for (const auto& [name, value] : signing.headers) lines.push_back(fmt::format("{}: {}", name, value));
    lines.push_back("authorization: " + authorization(signing, *credentials, region, time));
    return lines;
  };
  return http_.perform(http);
}

bool S3Client::learn(const HttpAnswer& answer, const std::string& token) {
  const auto failure = parse_s3_failure(answer.body);
  std::string region(answer.header("x-amz-bucket-region"));
  if (region.empty() && failure) region = failure->region;
  std::lock_guard lock(mutex_);
  if (is_region(region) && region != region_ && !region_is_learnt_) {
    region_ = region;
    region_is_learnt_ = true;
    return true;
  }
  if (failure && (failure->code == "ExpiredToken" || failure->code == "TokenRefreshRequired")) {
    if (credentials_->session_token != token) return true;
    S3Credentials newer = options_.credentials();
    if (newer.session_token != credentials_->session_token) {
      credentials_ = std::make_shared<const S3Credentials>(std::move(newer));
      return true;
    }
  }
  return false;
}

HttpAnswer S3Client::perform(const S3Request& request) {
  std::string token;
  HttpAnswer answer = attempt(request, token);
  const int status = answer.status;
  if ((status == 301 || status == 307 || status == 400 || status == 403) && learn(answer, token))
    return attempt(request, token);
  return answer;
}

namespace {

// How far our clock is from the server's, in words.
std::string skew_of(const HttpAnswer& answer) {
  const std::time_t theirs = curl().getdate(std::string(answer.header("date")).c_str(), nullptr);
  if (theirs <= 0) return "set this machine's clock";
  const double minutes = std::difftime(std::time(nullptr), theirs) / 60;
  return fmt::format("set this machine's clock: it is {:.0f} minutes {} the server's", std::abs(minutes),
                     minutes > 0 ? "ahead of" : "behind");
}

}  // namespace

Error s3_error(const HttpAnswer& answer, std::string_view what) {
  const auto failure = parse_s3_failure(answer.body);
  if (!failure) return http_error(answer, what);
  const std::string& code = failure->code;
  const std::string said = failure->message.empty() || failure->message == code
                               ? code
                               : fmt::format("{}: {}", code, failure->message);
  const auto as = [&](ErrorKind kind, std::string_view words, std::string hint) {
    return Error(kind,
                 fmt::format("{}: {} {} (status {}: {})", what, answer.origin, words, answer.status,
                             printable(said.substr(0, 200))),
                 std::move(hint));
  };
  if (code == "RequestTimeTooSkewed")
    return as(ErrorKind::refused, "does not believe our clock", skew_of(answer));
  if (code == "ExpiredToken" || code == "TokenRefreshRequired")
    return as(ErrorKind::refused, "says that our credentials have expired",
              "get new ones and go on: what is stored stays");
  if (code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" || code == "InvalidToken")
    return as(ErrorKind::refused, "does not accept our credentials",
              "look after AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials");
  if (code == "QuotaExceeded" || code == "InsufficientCapacity" || code == "XMinioStorageFull")
    return as(ErrorKind::no_space, "is full", "make room in the bucket, or raise the quota");
  // What was sent is not what came; or took too long to come.
  if (code == "BadDigest" || code == "XAmzContentSHA256Mismatch" || code == "RequestTimeout" ||
      code == "OperationAborted" || code == "ConditionalRequestConflict")
    return as(ErrorKind::io, "asks to send it again", "").set_error_number(EREMOTEIO);
  if (code == "NoSuchBucket")
    return as(ErrorKind::not_found, "has no such bucket", "`respaldo init` makes it");
  return http_error(answer, what, said);
}

}  // namespace respaldo::store
