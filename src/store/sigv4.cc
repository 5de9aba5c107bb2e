#include "store/sigv4.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hex.h"
#include "crypto/crypto.h"
#include "store/http_url.h"

namespace respaldo::store {

namespace {

using Key = std::array<std::uint8_t, 32>;

Key hmac(ByteView key, std::string_view message) {
  Key out{};
  unsigned length = 0;
  const ByteView bytes = as_bytes(message);
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes.data(), bytes.size(), out.data(),
           &length) == nullptr)
    throw Error(ErrorKind::internal, "OpenSSL has no HMAC-SHA-256");
  return out;
}

// Without blanks around it, and one where several are.
std::string folded(std::string_view value) {
  std::string text;
  for (const char c : value)
    if (c != ' ' || (!text.empty() && text.back() != ' ')) text += c;
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

std::string amazon_time(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string canonical_query(std::vector<std::pair<std::string, std::string>> query) {
  for (auto& [name, value] : query) name = percent_encoded(name), value = percent_encoded(value);
  std::ranges::sort(query);
  std::string text;
  for (const auto& [name, value] : query)
    text += fmt::format("{}{}={}", text.empty() ? "" : "&", name, value);
  return text;
}

std::string authorization(const SigningRequest& request, const S3Credentials& credentials,
                          std::string_view region, std::string_view time) {
  auto headers = request.headers;
  headers.emplace_back("host", request.host);
  std::ranges::sort(headers);
  std::string lines, names;
  for (const auto& [name, value] : headers) {
    lines += fmt::format("{}:{}\n", name, folded(value));
    names += (names.empty() ? "" : ";") + name;
  }
  const std::string canonical =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, request.path, canonical_query(request.query),
                  lines, names, request.payload_hash);
  const std::string_view day = time.substr(0, 8);
  const std::string scope = fmt::format("{}/{}/s3/aws4_request", day, region);
  const std::string to_sign =
      fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", time, scope, to_hex(crypto::sha256(as_bytes(canonical))));

  std::string secret = fmt::format("AWS4{}", credentials.secret_key.view());
  Key key = hmac(as_bytes(secret), day);
  crypto::wipe(secret.data(), secret.size());
  for (const std::string_view part : {region, std::string_view("s3"), std::string_view("aws4_request")})
    key = hmac(key, part);
  const std::string signature = to_hex(hmac(key, to_sign));
  crypto::wipe(key.data(), key.size());
  return fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                     credentials.access_key, scope, names, signature);
}

}  // namespace respaldo::store
