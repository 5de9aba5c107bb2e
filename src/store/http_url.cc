#include "store/http_url.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>

#include "base/error.h"
#include "base/printable.h"
#include "store/curl_library.h"

namespace respaldo::store {

namespace {

struct FreeUrl {
  void operator()(CURLU* url) const { curl().url_cleanup(url); }
};

// Absent when the address has no such part.
std::optional<std::string> part_of(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl().url_get(url, part, &text, flags) != CURLUE_OK) return std::nullopt;
  const std::unique_ptr<char, decltype(curl().free)> owned(text, curl().free);
  return std::string(text);
}

[[noreturn]] void bad_url(std::string_view why) {
  throw Error(ErrorKind::usage, fmt::format("the repository's address is not valid: {}", why),
              "it looks like http://host:8000/path/ or https://user:password@host/path/; "
              "in a name or password, write / as %2F, @ as %40 and % as %25");
}

}  // namespace

HttpUrl parse_http_url(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) bad_url("it has a zero byte");
  if (!text.starts_with("http://") && !text.starts_with("https://"))
    bad_url("it begins neither with http:// nor with https://");
  const std::unique_ptr<CURLU, FreeUrl> url(curl().url());
  if (!url) throw std::bad_alloc();
  const CURLUcode code = curl().url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), CURLU_PATH_AS_IS);
  if (code != CURLUE_OK) bad_url(curl().url_strerror(code));
  HttpUrl parsed;
  parsed.tls = text.starts_with("https");
  parsed.host = part_of(url.get(), CURLUPART_HOST).value_or("");
  parsed.zone = part_of(url.get(), CURLUPART_ZONEID).value_or("");
  parsed.port = part_of(url.get(), CURLUPART_PORT).value_or("");
  parsed.path = part_of(url.get(), CURLUPART_PATH).value_or("/");
  if (parsed.host.empty()) bad_url("it names no host");
  if (part_of(url.get(), CURLUPART_QUERY)) bad_url("it has a ?");
  if (part_of(url.get(), CURLUPART_FRAGMENT)) bad_url("it has a #");
  for (const char c : parsed.path)
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f)
      bad_url("a blank or control character is not encoded");
  if (!parsed.path.ends_with('/')) parsed.path += '/';
  for (const auto part : {CURLUPART_USER, CURLUPART_PASSWORD})
    if (part_of(url.get(), part)) {
      auto& kept = part == CURLUPART_USER ? parsed.user : parsed.password;
      kept = part_of(url.get(), part, CURLU_URLDECODE);
      if (!kept) bad_url("its name or password is not well encoded");
    }
  return parsed;
}

std::string HttpUrl::authority() const {
  std::string text = host;
  if (!zone.empty() && text.ends_with(']')) text.insert(text.size() - 1, "%25" + zone);
  return port.empty() ? text : fmt::format("{}:{}", text, port);
}

std::string HttpUrl::origin() const { return fmt::format("{}://{}", tls ? "https" : "http", authority()); }

std::string HttpUrl::base() const { return origin() + path; }

std::string HttpUrl::shown() const {
  if (!user && !password) return base();
  return fmt::format("{}://{}{}@{}{}", tls ? "https" : "http", percent_encoded(user.value_or("")),
                     password ? ":***" : "", authority(), path);
}

bool HttpUrl::is_loopback() const {
  return host == "localhost" || host.starts_with("127.") || host == "[::1]";
}

std::string percent_encoded(std::string_view bytes, bool slashes) {
  std::string text;
  for (const char c : bytes) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~' || (slashes && c == '/');
    if (plain)
      text += c;
    else
      text += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return text;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      bytes += text[i];
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 2 || error != std::errc{} || end != digits.data() + 2) return std::nullopt;
    bytes += static_cast<char>(value);
    i += 2;
  }
  return bytes;
}

}  // namespace respaldo::store
