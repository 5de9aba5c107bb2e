// The addresses of stores behind HTTP, as restic writes them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace respaldo::store {

// A value. The credentials are apart from what may be shown or sent as an address.
struct HttpUrl {
  bool tls = false;
  std::string host;                           // as it stands in an address: IPv6 in brackets
  std::string zone;                           // of a link-local IPv6 address, decoded; empty: none
  std::string port;                           // empty: the scheme's own
  std::string path;                           // percent-encoded as given; begins and ends with "/"
  std::optional<std::string> user, password;  // decoded

  std::string authority() const;  // "host:port", without credentials
  std::string origin() const;     // "https://host:port"
  std::string base() const;    // origin() and path
  std::string shown() const;   // as given, the password as ***
  bool is_loopback() const;
};

// http and https alone, without query and fragment; Error(usage), which never repeats the text (it may hold a
// password). Error(unsupported) where there is no libcurl.
HttpUrl parse_http_url(std::string_view text);

// For one part of a path or of a query: everything but unreserved characters (RFC 3986 section 2.3) becomes
// %XX; `slashes` are kept.
std::string percent_encoded(std::string_view bytes, bool slashes = false);
// Absent when a % has no two digits behind it.
std::optional<std::string> percent_decoded(std::string_view text);

}  // namespace respaldo::store
