// The words that choose a place and how it is spoken to.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/printable.h"
#include "store/s3.h"

namespace respaldo::store {

namespace {

[[noreturn]] void bad_place(std::string_view why) {
  throw Error(ErrorKind::usage, fmt::format("the repository's place is not valid: {}", why),
              "it looks like s3:https://host/bucket/path or s3:s3.amazonaws.com/bucket/path");
}

[[noreturn]] void bad_option(std::string_view name, std::string_view value, std::string_view expected) {
  throw Error(ErrorKind::usage, fmt::format("-o {}: '{}' is not {}", name, printable(value), expected));
}

S3Options::Lookup parse_lookup(std::string_view value) {
  if (value == "auto") return S3Options::Lookup::automatic;
  if (value == "path") return S3Options::Lookup::path;
  if (value == "dns") return S3Options::Lookup::dns;
  bad_option("s3.bucket-lookup", value, "auto, path or dns");
}

S3Options::Retention parse_retention(std::string_view value) {
  constexpr std::string_view kName = "s3.retention", kExpected = "like compliance:30d or governance:12h";
  S3Options::Retention retention;
  const auto colon = value.find(':');
  const std::string_view mode = value.substr(0, colon);
  if (colon == std::string_view::npos || (mode != "compliance" && mode != "governance"))
    bad_option(kName, value, kExpected);
  retention.compliance = mode == "compliance";
  const std::string_view time = value.substr(colon + 1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(time.data(), time.data() + time.size(), number);
  if (error != std::errc{} || end + 1 != time.data() + time.size() || (*end != 'd' && *end != 'h') ||
      number == 0 || number > 100 * 366)
    bad_option(kName, value, kExpected);
  retention.time = std::chrono::hours(number) * (*end == 'd' ? 24 : 1);
  return retention;
}

}  // namespace

S3Place parse_s3_place(std::string_view text) {
  const bool address = text.starts_with("http://") || text.starts_with("https://");
  if (text.starts_with("//")) text.remove_prefix(2);
  S3Place place;
  // Only an address is encoded; without a scheme restic takes bucket and prefix as they are.
  const std::size_t host_end = address ? text.size() : std::min(text.find('/'), text.size());
  place.endpoint = parse_http_url(fmt::format("{}{}", address ? "" : "https://", text.substr(0, host_end)));
  if (place.endpoint.user || place.endpoint.password)
    throw Error(ErrorKind::usage, "credentials for S3 do not belong into the repository's place",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ~/.aws/credentials");
  const auto path = address ? percent_decoded(place.endpoint.path) : std::string(text.substr(host_end));
  if (!path) bad_place("a % has no two digits behind it");
  place.endpoint.path = "/";
  // Parts without a name have no meaning, as with restic.
  std::string_view rest = *path;
  while (!rest.empty()) {
    const auto slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") bad_place("it has a .. in it");
    if (place.bucket.empty())
      place.bucket = part;
    else
      place.prefix += fmt::format("{}/", part);
  }
  if (place.bucket.empty()) bad_place("it names no bucket");
  const bool plain = std::ranges::all_of(place.bucket, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
  if (!plain) bad_place(fmt::format("no bucket can be called '{}'", printable(place.bucket)));
  return place;
}

S3Options s3_options(const std::map<std::string, std::string>& extended, const Environment& environment,
                     const HttpOptions& http) {
  S3Options options;
  options.http = http;
  options.region = find_s3_region(environment).value_or("");
  options.credentials = [environment] { return find_s3_credentials(environment); };
  for (const auto& [name, value] : extended) {
    if (name == "s3.bucket-lookup") {
      options.lookup = parse_lookup(value);
    } else if (name == "s3.region") {
      options.region = value;
    } else if (name == "s3.storage-class") {
      options.storage_class = value;
    } else if (name == "s3.retention") {
      options.retention = parse_retention(value);
    } else if (name.starts_with("s3.") && name != "s3.stall") {
      throw Error(ErrorKind::usage, fmt::format("there is no option {}", printable(name)),
                  "s3.bucket-lookup, s3.region, s3.storage-class, s3.retention and s3.stall are");
    }
  }
  return options;
}

}  // namespace respaldo::store
