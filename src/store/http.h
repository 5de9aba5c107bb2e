// The HTTP client of the stores: libcurl, with kept connections, deadlines by progress, and limits on what a
// server may send. Statuses are answers; what never became an answer is an Error.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "store/http_url.h"

namespace respaldo::store {

struct HttpOptions {
  int connections = 5;             // at once; further requests wait for one
  std::string ca_certificate;      // PEM file of who may vouch for the server, instead of the system's
  std::string client_certificate;  // PEM file with our certificate and its private key
  std::chrono::milliseconds connect{30'000};
  // A request that moved less than `least_rate` bytes a second for this long is given up.
  std::chrono::milliseconds stall{60'000};
  std::uint64_t least_rate = 1024;
  std::chrono::milliseconds longest_hold{
      60'000};             // a server that asks for a pause (Retry-After) gets at most this
  std::stop_token stop{};  // ends every wait: Cancelled
};

struct HttpRange {
  std::uint64_t offset = 0, length = 1;  // bytes; REQUIRES length > 0
};

struct HttpRequest {
  std::string_view method = "GET";     // GET, HEAD, POST, PUT, DELETE
  std::string url;                     // without credentials
  std::vector<std::string> headers{};  // "Name: value"
  // Further ones that are of the moment: made when the request is sent, whatever it waited for.
  std::function<std::vector<std::string>()> late_headers{};
  std::span<const ByteView> body{};    // of POST and PUT; outlives the request
  std::optional<HttpRange> range{};    // of GET
  std::uint64_t limit = 64U << 10;     // bytes; an answer with more is Error(corrupt)
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string, std::less<>> headers;  // names in lower case
  // What was asked for: of a range its bytes, even if the server gave the whole; fewer when the object ends
  // before. Of a failure the first bytes of its text.
  Bytes body;
  bool framed = false;  // its end was announced: not only the connection closed
  std::string origin;   // who answered, for messages

  bool success() const { return status >= 200 && status < 300; }
  std::string_view header(std::string_view name) const;  // empty when absent
  std::optional<std::uint64_t> content_length() const;
};

// Thread-safe.
class HttpClient {
 public:
  // The credentials of `url`, when it has any, go to its host with each request (basic authentication).
  HttpClient(HttpOptions options, const HttpUrl& url);
  ~HttpClient();

  // Redirections are answers. Error(io) when there was no whole answer (unreachable, reset, stalled, cut
  // short; with an error_number() when it had begun): trying again may help; Error(refused) when the server
  // could not be trusted; Error(corrupt) for one that sends more than was asked for, or another range.
  HttpAnswer perform(const HttpRequest& request);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

// The Error for an answer that is no success. io, with an error_number(): trying again may help (408, 425,
// 429, 5xx); refused: 401, 403 and most others; not_found: 404, 410; no_space: 507. `what` was done: "saving
// pack 0aadcd3c". `said` replaces the text of the server when it has been understood already.
Error http_error(const HttpAnswer& answer, std::string_view what, std::optional<std::string> said = {});

// The bytes of a range out of an answer to a request for it: Error(corrupt) when the object `name` is shorter
// than that.
Bytes range_of(HttpAnswer answer, const HttpRange& range, std::string_view name);

// The Error(io) for an answer that is not all that it was to be.
Error cut_short(const HttpAnswer& answer);
// What parse() makes of the body: one that is not valid may have been cut short, unless its end was
// announced.
template <class Parse>
auto parsed(const HttpAnswer& answer, Parse parse) {
  try {
    return parse();
  } catch (const Error&) {
    if (answer.framed) throw;
    throw cut_short(answer);
  }
}

// "bytes 0-4/10", "bytes */10", "bytes 0-4/*" (RFC 9110 section 14.4); absent for anything else.
struct ContentRange {
  std::optional<std::pair<std::uint64_t, std::uint64_t>> span;  // first and last byte
  std::optional<std::uint64_t> size;                            // of the whole object
};
std::optional<ContentRange> parse_content_range(std::string_view text);

}  // namespace respaldo::store
