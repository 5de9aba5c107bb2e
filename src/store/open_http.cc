#include "store/open_http.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

#include "base/printable.h"
#include "store/rest.h"
#include "store/s3.h"

namespace respaldo::store {

namespace {

std::optional<std::string> own_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Environment environment_of(const StoreOptions& options) {
  return options.environment ? options.environment : own_variable;
}

// "rest.stall" and "s3.stall": seconds.
constexpr long kLongestStall = 3600;

HttpOptions http_options(const StoreOptions& options, const std::string& stall_key) {
  HttpOptions http;
  http.connections = options.connections;
  http.ca_certificate = options.ca_certificate;
  http.client_certificate = options.client_certificate;
  http.stall = options.stall;
  http.stop = options.stop;
  if (const auto it = options.extended.find(stall_key); it != options.extended.end()) {
    const std::string& value = it->second;
    long seconds = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (error != std::errc{} || end != value.data() + value.size() || seconds < 1 || seconds > kLongestStall)
      throw Error(ErrorKind::usage,
                  fmt::format("-o {}: '{}' is not a number of seconds", stall_key, printable(value)));
    http.stall = http.connect = std::chrono::seconds(seconds);
  }
  return http;
}

}  // namespace

std::unique_ptr<Backend> open_rest_location(const std::string& text, const StoreOptions& options) {
  for (const auto& [name, value] : options.extended)
    if (name.starts_with("rest.") && name != "rest.stall")
      throw Error(ErrorKind::usage, fmt::format("there is no option {}", printable(name)),
                  "rest.stall is one");
  return open_rest(parse_rest_place(text, environment_of(options)), http_options(options, "rest.stall"));
}

std::unique_ptr<Backend> open_s3_location(const std::string& text, const StoreOptions& options) {
  return open_s3(parse_s3_place(text),
                 s3_options(options.extended, environment_of(options), http_options(options, "s3.stall")));
}

}  // namespace respaldo::store
