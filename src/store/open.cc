#include "store/open.h"

#include <fmt/format.h>
#include <strings.h>

#include <algorithm>
#include <array>

#include "base/printable.h"
#include "base/units.h"
#include "store/layers.h"
#include "store/open_http.h"
#include "store/sftp.h"

namespace respaldo::store {

namespace {

constexpr std::pair<std::string_view, Scheme> kSchemes[] = {
    {"local:", Scheme::local}, {"sftp:", Scheme::sftp}, {"rest:", Scheme::rest}, {"s3:", Scheme::s3}};
// restic's others.
constexpr std::string_view kForeign[] = {"b2:", "azure:", "gs:", "swift:", "rclone:"};

[[noreturn]] void throw_unsupported(std::string_view scheme) {
  throw Error(ErrorKind::unsupported, fmt::format("repositories at {}... are not supported", scheme),
              "use a folder, sftp:, rest: or s3: (`rclone serve restic` gives rest: to most others)");
}

// "sftp.command": what speaks SFTP on its standard input and output, instead of ssh. "sftp.args": more words
// for ssh. The others: store/s3.h, and docs/remote.md.
constexpr std::string_view kOptions[] = {"rest.stall", "s3.bucket-lookup", "s3.region", "s3.retention",
                                         "s3.stall",   "s3.storage-class", "sftp.args", "sftp.command"};

void require_known(const StoreOptions& options) {
  for (const auto& [key, value] : options.extended)
    if (std::ranges::find(kOptions, key) == std::end(kOptions))
      throw Error(ErrorKind::usage, fmt::format("there is no option '{}'", printable(key)),
                  fmt::format("-o takes {}", fmt::join(kOptions, ", ")));
}

std::unique_ptr<Backend> open_backend(const Location& location, const StoreOptions& options) {
  switch (location.scheme) {
    case Scheme::local:
      return open_local(location.rest);
    case Scheme::sftp:
      return open_sftp(location.rest, options);
    case Scheme::rest:
      return open_rest_location(location.rest, options);
    case Scheme::s3:
      return open_s3_location(location.rest, options);
  }
  throw Error(ErrorKind::internal, "no such scheme");
}

}  // namespace

Location parse_location(const std::string& location) {
  if (location.empty()) throw Error(ErrorKind::usage, "no repository is given", "name its folder with -r");
  for (const auto& [prefix, scheme] : kSchemes)
    if (location.starts_with(prefix)) {
      Location found{scheme, location.substr(prefix.size())};
      if (found.rest.empty())
        throw Error(ErrorKind::usage, fmt::format("'{}' names no place", prefix), "see `respaldo --help`");
      return found;
    }
  for (const std::string_view scheme : kForeign)
    if (location.starts_with(scheme)) throw_unsupported(scheme);
  // A password must not end in a message about folders.
  const auto begins = [&](std::string_view prefix) {
    return ::strncasecmp(location.c_str(), prefix.data(), prefix.size()) == 0;
  };
  for (const auto& [prefix, scheme] : kSchemes)
    if (begins(prefix))
      throw Error(ErrorKind::usage, fmt::format("{} begins with a scheme in capitals", display_location(location)),
                  fmt::format("write {}; a folder of that name is ./{}...", prefix, location.substr(0, prefix.size())));
  if (begins("http://") || begins("https://"))
    throw Error(ErrorKind::usage, fmt::format("{} does not say what kind of server that is", display_location(location)),
                "write rest:https://... for a REST server, s3:https://... for an S3 store");
  return {Scheme::local, location};
}

std::string display_location(const std::string& location) {
  const std::size_t slashes = location.find("//");
  const bool url = slashes != std::string::npos && !location.starts_with('/') && !location.starts_with('.') &&
                   !location.starts_with("local:");
  if (!url) return printable(location);
  const std::size_t start = slashes + 2;
  const std::string authority = location.substr(start, location.find('/', start) - start);
  const std::size_t colon = authority.find(':'), at = location.rfind('@');
  if (colon == std::string::npos || at == std::string::npos || at < start + colon) return printable(location);
  // A password with a '/' in it is a mistake, and a password all the same. Only a port is left alone.
  const bool port = colon + 1 < authority.size() && authority.find('@') == std::string::npos &&
                    authority.find_first_not_of("0123456789", colon + 1) == std::string::npos;
  if (port) return printable(location);
  return printable(location.substr(0, start + colon + 1) + "***" + location.substr(at));
}

std::unique_ptr<Backend> open_location(const std::string& location, const StoreOptions& options) {
  require_known(options);
  const Location place = parse_location(location);
  std::unique_ptr<Backend> store = open_backend(place, options);
  if (place.scheme == Scheme::local) return store;
  RetryOptions retry;
  retry.first_contact = options.first_contact;
  retry.total = options.patience;
  retry.stop = options.stop;
  retry.tell = options.tell;
  store = with_retries(std::move(store), retry);
  const auto failed = std::make_shared<std::stop_source>();
  if (options.limit_upload != 0 || options.limit_download != 0)
    store = with_limits(std::move(store), options.limit_upload * kKiB, options.limit_download * kKiB,
                        options.stop, failed->get_token());
  // Over SFTP an object takes several round trips. While some wait for theirs, others use the same connections.
  const int uploads =
      place.scheme == Scheme::sftp ? options.connections + (options.connections + 1) / 2 : options.connections;
  return with_parallel_uploads(std::move(store), uploads, options.stop, [failed] { failed->request_stop(); });
}

std::unique_ptr<Backend> open_location(const std::string& location) {
  return open_location(location, StoreOptions{});
}

}  // namespace respaldo::store
