#include "store/http.h"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>

#include "base/printable.h"
#include "crypto/secret.h"
#include "store/curl_library.h"

namespace respaldo::store {

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::size_t kFailureText = 8U << 10;      // bytes kept of what a server says to a failure
constexpr std::uint64_t kFailureRead = 256U << 10;  // and read, so that the connection can be kept
constexpr std::size_t kHeaderBytes = 64U << 10, kHeaderCount = 100;
constexpr std::size_t kFirstRoom = 64U << 20;  // memory taken for a length that is only claimed
constexpr long kSocketBuffer = 512L << 10;
constexpr int kAnswered = EREMOTEIO;               // of an Error(io): the server was heard
constexpr std::uint64_t kWorthAsking = 64U << 10;  // bytes of a body before which to ask for leave, if at all

struct CloseHandle {
  void operator()(CURL* handle) const { curl().easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, CloseHandle>;
// A handle of libcurl, which keeps its connection, and that connection's socket.
struct Line {
  std::unique_ptr<int> socket = std::make_unique<int>(-1);  // outlives the handle, which closes it
  Handle handle;
};
int on_socket(void* kept, curl_socket_t socket, curlsocktype) {
  *static_cast<int*>(kept) = socket;
  return CURL_SOCKOPT_OK;
}
int on_close(void* kept, curl_socket_t socket) {
  if (*static_cast<int*>(kept) == socket) *static_cast<int*>(kept) = -1;
  return ::close(socket);
}
// Bytes that were handed to the kernel and have not arrived.
std::uint64_t bytes_under_way(int socket) {
  int bytes = 0;
  return socket >= 0 && ::ioctl(socket, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
}
struct FreeList {
  void operator()(curl_slist* list) const { curl().slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, FreeList>;

void start_curl() {
  static const CURLcode code = curl().global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK)
    throw Error(ErrorKind::io, fmt::format("libcurl does not start: {}", curl().easy_strerror(code)));
}

template <class Value>
void set(CURL* handle, CURLoption option, Value value) {
  const CURLcode code = curl().easy_setopt(handle, option, value);
  if (code == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
  if (code != CURLE_OK)
    throw Error(ErrorKind::internal, fmt::format("libcurl refuses option {}: {}", static_cast<int>(option),
                                                 curl().easy_strerror(code)));
}

void append(List& list, const std::string& line) {
  curl_slist* longer = curl().slist_append(list.get(), line.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  (void)list.release();
  list.reset(longer);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && std::string_view(" \t\r\n").find(text.back()) != std::string_view::npos)
    text.remove_suffix(1);
  return text;
}

// Digits alone.
std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// One request on its way. Its callbacks are called by libcurl: no exception leaves them.
class Transfer {
 public:
  // `tidying`: a stop came before it began; what is to be tidied up then still has its attempt.
  Transfer(const HttpRequest& request, const HttpOptions& options, const Line& line, bool tidying)
      : request_(request),
        options_(options),
        handle_(line.handle.get()),
        socket_(*line.socket),
        tidying_(tidying),
        window_begin_(Clock::now()) {
    for (const ByteView part : request.body) size_ += part.size();
  }

  std::uint64_t size() const { return size_; }
  HttpAnswer& answer() { return answer_; }
  bool stalled() const { return stalled_; }
  bool has_enough() const { return enough_; }
  bool headers_ended() const { return headers_end_; }
  const std::exception_ptr& failure() const { return failure_; }

  // The status and headers are here: what of the body is wanted?
  void begin_body() {
    if (begun_) return;
    begun_ = true;
    long status = 0;
    curl().easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &status);
    answer_.status = static_cast<int>(status);
    if (!answer_.success()) {
      wanted_ = kFailureText;
      return;
    }
    wanted_ = request_.limit;
    if (!request_.range) return;
    const HttpRange& range = *request_.range;
    wanted_ = range.length;
    if (answer_.status != 206) {
      skip_ = range.offset;
      return;
    }
    const auto given = parse_content_range(answer_.header("content-range"));
    // A server that leaves the header out is believed: what is read is compared with its hash anyway.
    if (given && (!given->span || given->span->first != range.offset ||
                  given->span->second - range.offset >= range.length))
      throw Error(ErrorKind::corrupt,
                  fmt::format("{} answered with another range than was asked for", answer_.origin),
                  "this is a fault of the server, or of a proxy before it");
  }

  static std::size_t on_header(char* data, std::size_t, std::size_t length, void* self) {
    return static_cast<Transfer*>(self)->guarded(length, [&](Transfer& t) { t.take_header({data, length}); });
  }
  static std::size_t on_body(char* data, std::size_t, std::size_t length, void* self) {
    return static_cast<Transfer*>(self)->guarded(length, [&](Transfer& t) {
      t.begin_body();
      t.take_body(as_bytes({data, length}));
    });
  }
  static std::size_t on_read(char* out, std::size_t, std::size_t room, void* self) {
    return static_cast<Transfer*>(self)->give_body({reinterpret_cast<std::uint8_t*>(out), room});
  }
  // libcurl sends again when a kept connection turned out to be closed.
  static int on_seek(void* self, curl_off_t offset, int origin) {
    auto* t = static_cast<Transfer*>(self);
    if (origin != SEEK_SET || offset != 0) return CURL_SEEKFUNC_CANTSEEK;
    t->part_ = t->part_at_ = 0;
    return CURL_SEEKFUNC_OK;
  }
  static int on_progress(void* self, curl_off_t, curl_off_t down, curl_off_t, curl_off_t up) {
    auto* t = static_cast<Transfer*>(self);
    const bool cancelled = !t->tidying_ && t->options_.stop.stop_requested();
    // To libcurl what the kernel took was sent, which on a slow line takes minutes more.
    const auto moved = static_cast<std::uint64_t>(down + up);
    return cancelled || t->is_stalled(moved - std::min(moved, bytes_under_way(t->socket_))) ? 1 : 0;
  }

 private:
  template <class Body>
  std::size_t guarded(std::size_t length, Body&& body) {
    try {
      body(*this);
      return enough_ ? 0 : length;
    } catch (...) {
      failure_ = std::current_exception();
      return 0;
    }
  }

  void take_header(std::string_view line) {
    if (line.starts_with("HTTP/")) {  // of "100 Continue", or the real one
      answer_.headers.clear();
      header_bytes_ = 0;
      headers_end_ = false;
      answer_.framed = line.starts_with("HTTP/2");
      return;
    }
    header_bytes_ += line.size();
    if (trimmed(line).empty()) headers_end_ = true;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) return;
    if (header_bytes_ > kHeaderBytes || answer_.headers.size() >= kHeaderCount)
      throw Error(ErrorKind::corrupt, fmt::format("{} sends more headers than can be right", answer_.origin));
    std::string name = lower(trimmed(line.substr(0, colon)));
    if (name == "content-length" || name == "transfer-encoding") answer_.framed = true;
    answer_.headers[std::move(name)] = trimmed(line.substr(colon + 1));
  }

  void take_body(ByteView bytes) {
    received_ += bytes.size();
    if (const std::uint64_t skipped = std::min<std::uint64_t>(skip_, bytes.size()); skipped > 0) {
      skip_ -= skipped;
      bytes = bytes.subspan(skipped);
    }
    const std::uint64_t room = wanted_ - answer_.body.size();
    if (answer_.success() && !request_.range && bytes.size() > room)
      throw Error(ErrorKind::corrupt, fmt::format("{} sends more than can be right: {} bytes are the limit",
                                                  answer_.origin, request_.limit));
    const std::size_t taken = std::min<std::uint64_t>(room, bytes.size());
    keep(bytes.first(taken));
    // Of a whole object instead of a range, what comes after it; of a failure, an endless text.
    if (answer_.success() ? taken < bytes.size() : received_ > kFailureRead) enough_ = true;
  }

  void keep(ByteView bytes) {
    if (bytes.empty()) return;
    const std::size_t before = answer_.body.size(), after = before + bytes.size();
    if (after > answer_.body.capacity()) {
      curl_off_t claimed = -1;
      curl().easy_getinfo(handle_, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &claimed);
      std::uint64_t room = 2 * after;
      if (before == 0 && claimed > 0)
        room = std::min<std::uint64_t>(static_cast<std::uint64_t>(claimed), kFirstRoom);
      room = std::max<std::uint64_t>(std::min(room, wanted_), after);
      Bytes longer(room);
      if (before > 0) std::memcpy(longer.data(), answer_.body.data(), before);
      answer_.body = std::move(longer);
    }
    answer_.body.resize(after);
    std::memcpy(answer_.body.data() + before, bytes.data(), bytes.size());
  }

  std::size_t give_body(MutableBytes out) {
    std::size_t given = 0;
    while (given < out.size() && part_ < request_.body.size()) {
      const ByteView rest = request_.body[part_].subspan(part_at_);
      const std::size_t length = std::min(rest.size(), out.size() - given);
      if (length > 0) std::memcpy(out.data() + given, rest.data(), length);
      given += length;
      part_at_ += length;
      if (part_at_ == request_.body[part_].size()) ++part_, part_at_ = 0;
    }
    return given;
  }

  bool is_stalled(std::uint64_t moved) {
    const auto now = Clock::now();
    const double enough = static_cast<double>(options_.least_rate) * Seconds(options_.stall).count();
    // Counted anew when libcurl sends again.
    if (moved < window_moved_ || static_cast<double>(moved - window_moved_) >= enough) {
      window_moved_ = moved;
      window_begin_ = now;
    }
    constexpr std::chrono::milliseconds kTidyingStall = std::chrono::seconds(10);
    stalled_ = now - window_begin_ > (tidying_ ? std::min<std::chrono::milliseconds>(options_.stall, kTidyingStall)
                                               : std::chrono::milliseconds(options_.stall));
    return stalled_;
  }

  const HttpRequest& request_;
  const HttpOptions& options_;
  CURL* const handle_;
  const int& socket_;
  const bool tidying_;
  HttpAnswer answer_;
  std::exception_ptr failure_;
  std::uint64_t size_ = 0, skip_ = 0, wanted_ = 0, received_ = 0, window_moved_ = 0;
  std::size_t header_bytes_ = 0, part_ = 0, part_at_ = 0;
  Clock::time_point window_begin_;
  bool begun_ = false, enough_ = false, stalled_ = false, headers_end_ = false;
};

bool is_about_trust(CURLcode code, std::string_view text) {
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CRL_BADFILE:
      return true;
    default:  // the server's word on us: "tlsv13 alert certificate required"
      return text.find(" alert ") != std::string_view::npos;
  }
}

}  // namespace

struct HttpClient::Impl {
  HttpOptions options;
  std::string origin;
  bool loopback = false, tls = false;
  bool has_credentials = false;
  crypto::SecretText user, password;

  std::mutex mutex;
  std::condition_variable_any freed, changed;
  std::vector<Line> idle;
  int in_use = 0;
  Clock::time_point hold_until{};
  // An upload broke off: the next ones ask for leave, so that the server's reason is heard.
  std::atomic<bool> cautious = false;

  Line take(bool tidying) {
    std::unique_lock lock(mutex);
    const auto is_free = [&] { return in_use < options.connections; };
    if (tidying)
      freed.wait(lock, is_free);  // the others are cancelled
    else if (!freed.wait(lock, options.stop, is_free))
      throw Cancelled();
    ++in_use;
    if (!idle.empty()) {
      Line line = std::move(idle.back());
      idle.pop_back();
      return line;
    }
    return {};
  }
  void give_back(Line line) {
    std::lock_guard lock(mutex);
    --in_use;
    if (line.handle) idle.push_back(std::move(line));
    freed.notify_one();
  }

  void wait_out_hold() {
    std::unique_lock lock(mutex);
    while (Clock::now() < hold_until && !options.stop.stop_requested())
      changed.wait_until(lock, options.stop, hold_until, [] { return false; });
    if (options.stop.stop_requested()) throw Cancelled();
  }

  void prepare(const Line& line, const HttpRequest& request, Transfer& transfer, char* error_text,
               List& headers) {
    CURL* const handle = line.handle.get();
    curl().easy_reset(handle);  // keeps connections
    set(handle, CURLOPT_ERRORBUFFER, error_text);
    set(handle, CURLOPT_NOSIGNAL, 1L);
    set(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    set(handle, CURLOPT_URL, request.url.c_str());
    set(handle, CURLOPT_PATH_AS_IS, 1L);
    set(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    set(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect.count()));
    set(handle, CURLOPT_TCP_KEEPALIVE, 1L);
    set(handle, CURLOPT_SOCKOPTFUNCTION, &on_socket);
    set(handle, CURLOPT_SOCKOPTDATA, line.socket.get());
    set(handle, CURLOPT_CLOSESOCKETFUNCTION, &on_close);
    set(handle, CURLOPT_CLOSESOCKETDATA, line.socket.get());
    set(handle, CURLOPT_BUFFERSIZE, kSocketBuffer);
    set(handle, CURLOPT_UPLOAD_BUFFERSIZE, kSocketBuffer);
    set(handle, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (loopback) set(handle, CURLOPT_PROXY, "");  // $http_proxy is for what lies outside
    if (!options.ca_certificate.empty()) {
      set(handle, CURLOPT_CAINFO, options.ca_certificate.c_str());
      set(handle, CURLOPT_CAPATH, static_cast<char*>(nullptr));
    }
    if (!options.client_certificate.empty()) {
      set(handle, CURLOPT_SSLCERT, options.client_certificate.c_str());
      set(handle, CURLOPT_SSLKEY, options.client_certificate.c_str());
    }
    if (has_credentials) {
      set(handle, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
      set(handle, CURLOPT_USERNAME, std::string(user.view()).c_str());
      set(handle, CURLOPT_PASSWORD, std::string(password.view()).c_str());
    }
    set(handle, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(handle, CURLOPT_HEADERDATA, &transfer);
    set(handle, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(handle, CURLOPT_WRITEDATA, &transfer);
    set(handle, CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
    set(handle, CURLOPT_XFERINFODATA, &transfer);
    set(handle, CURLOPT_NOPROGRESS, 0L);
    prepare_method(handle, request, transfer);
    for (const std::string& one : request.headers) append(headers, one);
    if (request.late_headers)
      for (const std::string& one : request.late_headers()) append(headers, one);
    const bool ask = cautious && transfer.size() > kWorthAsking;
    append(headers, ask ? "Expect: 100-continue" : "Expect:");
    if (request.range)
      append(headers, fmt::format("Range: bytes={}-{}", request.range->offset,
                                  request.range->offset + (request.range->length - 1)));
    set(handle, CURLOPT_HTTPHEADER, headers.get());
  }

  static void prepare_method(CURL* handle, const HttpRequest& request, Transfer& transfer) {
    if (request.method == "HEAD") {
      set(handle, CURLOPT_NOBODY, 1L);
    } else if (request.method == "POST" || request.method == "PUT") {
      const auto size = static_cast<curl_off_t>(transfer.size());
      const bool post = request.method == "POST";
      set(handle, post ? CURLOPT_POST : CURLOPT_UPLOAD, 1L);
      set(handle, post ? CURLOPT_POSTFIELDSIZE_LARGE : CURLOPT_INFILESIZE_LARGE, size);
      set(handle, CURLOPT_READFUNCTION, &Transfer::on_read);
      set(handle, CURLOPT_READDATA, &transfer);
      set(handle, CURLOPT_SEEKFUNCTION, &Transfer::on_seek);
      set(handle, CURLOPT_SEEKDATA, &transfer);
    } else if (request.method == "DELETE") {
      set(handle, CURLOPT_CUSTOMREQUEST, "DELETE");
    } else {
      set(handle, CURLOPT_HTTPGET, 1L);
    }
  }

  [[noreturn]] void fail(CURLcode code, const Transfer& transfer, const char* error_text) {
    std::string text = error_text[0] != 0 ? error_text : curl().easy_strerror(code);
    if (text.size() > 300) text.resize(300);
    if (transfer.stalled())
      throw Error(ErrorKind::io,
                  fmt::format("{} stalled: less than {} bytes a second for {:.3g} s", origin,
                              options.least_rate, Seconds(options.stall).count()),
                  "look after the connection and the server")
          .set_error_number(transfer.headers_ended() ? kAnswered : 0);
    if (code == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
    if (is_about_trust(code, text))
      throw Error(ErrorKind::refused, fmt::format("no trusted connection to {}: {}", origin, printable(text)),
                  "give the certificate of its authority with --cacert, or ours with --tls-client-cert");
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT)
      throw Error(ErrorKind::usage, fmt::format("{} is not an address: {}", origin, printable(text)));
    // A server that asks for a certificate may hang up before its reason is read.
    throw Error(ErrorKind::io, fmt::format("the exchange with {} failed: {}", origin, printable(text)),
                tls && options.client_certificate.empty()
                    ? "if the server asks for a certificate of ours, give it with --tls-client-cert"
                    : "")
        .set_error_number(transfer.headers_ended() ? kAnswered : 0);
  }
};

HttpClient::HttpClient(HttpOptions options, const HttpUrl& url) : impl_(std::make_unique<Impl>()) {
  start_curl();
  impl_->options = std::move(options);
  impl_->options.connections = std::max(impl_->options.connections, 1);
  impl_->origin = url.origin();
  impl_->loopback = url.is_loopback();
  impl_->tls = url.tls;
  impl_->has_credentials = url.user || url.password;
  impl_->user = crypto::SecretText(url.user.value_or(""));
  impl_->password = crypto::SecretText(url.password.value_or(""));
}

HttpClient::~HttpClient() = default;

HttpAnswer HttpClient::perform(const HttpRequest& request) {
  const bool tidying = impl_->options.stop.stop_requested();
  if (!tidying) impl_->wait_out_hold();
  struct Lease {
    Lease(Impl& owner, bool tidying) : impl(owner), line(owner.take(tidying)) {}
    ~Lease() { impl.give_back(std::move(line)); }
    Impl& impl;
    Line line;
  } lease(*impl_, tidying);
  if (!lease.line.handle) lease.line.handle.reset(curl().easy_init());
  CURL* const handle = lease.line.handle.get();
  if (handle == nullptr) throw std::bad_alloc();

  char error_text[CURL_ERROR_SIZE] = {};
  List headers;
  Transfer transfer(request, impl_->options, lease.line, tidying);
  transfer.answer().origin = impl_->origin;
  impl_->prepare(lease.line, request, transfer, error_text, headers);
  const CURLcode code = curl().easy_perform(handle);
  if (transfer.failure()) std::rethrow_exception(transfer.failure());
  if (code == CURLE_ABORTED_BY_CALLBACK && !tidying && impl_->options.stop.stop_requested()) throw Cancelled();
  if (code != CURLE_OK && !transfer.has_enough()) {
    if (transfer.size() > kWorthAsking) impl_->cautious = true;
    impl_->fail(code, transfer, error_text);
  }
  // To libcurl, a connection that is closed within the headers ends them.
  if (!transfer.headers_ended()) throw cut_short(transfer.answer());
  transfer.begin_body();  // when there was none
  curl_off_t pause = 0;
  curl().easy_getinfo(handle, CURLINFO_RETRY_AFTER, &pause);
  const int status = transfer.answer().status;
  if (pause > 0 && (status == 429 || status == 503)) {
    const auto longest = impl_->options.longest_hold;
    const auto asked = pause > longest.count() / 1000 ? longest : std::chrono::milliseconds(pause * 1000);
    std::lock_guard lock(impl_->mutex);
    impl_->hold_until = std::max(impl_->hold_until, Clock::now() + asked);
  }
  curl().easy_setopt(handle, CURLOPT_ERRORBUFFER, nullptr);
  return std::move(transfer.answer());
}

std::string_view HttpAnswer::header(std::string_view name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? std::string_view{} : std::string_view(it->second);
}

std::optional<std::uint64_t> HttpAnswer::content_length() const { return number(header("content-length")); }

std::optional<ContentRange> parse_content_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return std::nullopt;
  text.remove_prefix(kUnit.size());
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view span = text.substr(0, slash), size = text.substr(slash + 1);
  ContentRange range;
  if (size != "*") {
    range.size = number(size);
    if (!range.size) return std::nullopt;
  }
  if (span != "*") {
    const auto dash = span.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    const auto first = number(span.substr(0, dash)), last = number(span.substr(dash + 1));
    if (!first || !last || *first > *last || (range.size && *last >= *range.size)) return std::nullopt;
    range.span.emplace(*first, *last);
  }
  if (!range.span && !range.size) return std::nullopt;
  return range;
}

Error cut_short(const HttpAnswer& answer) {
  return Error(ErrorKind::io, fmt::format("the answer of {} was cut short", answer.origin))
      .set_error_number(kAnswered);
}

Bytes range_of(HttpAnswer answer, const HttpRange& range, std::string_view name) {
  const auto given = parse_content_range(answer.header("content-range"));
  if (answer.status != 416 && answer.body.size() == range.length) return std::move(answer.body);
  if (answer.status != 416 &&
      (!answer.framed ||
       (given && given->span && answer.body.size() < given->span->second - given->span->first + 1)))
    throw cut_short(answer);
  const std::string end =
      given && given->size ? fmt::format(" ends at byte {}", *given->size) : " is shorter";
  throw Error(ErrorKind::corrupt,
              fmt::format("{}{}: there are no {} bytes at byte {}", name, end, range.length, range.offset));
}

namespace {

struct Meaning {
  ErrorKind kind;
  std::string_view words, hint;
};

Meaning meaning_of(int status) {
  switch (status) {
    case 401:
      return {ErrorKind::refused, "does not accept our credentials",
              "look after the user name and the password"};
    case 403:
      return {ErrorKind::refused, "does not allow this", "look after the user's rights on the server"};
    case 404:
    case 410:
      return {ErrorKind::not_found, "does not have it", ""};
    case 408:
    case 425:
    case 429:
      return {ErrorKind::io, "asks to try later", "give it fewer requests at once: --connections"};
    case 413:
      return {ErrorKind::refused, "does not take objects of this size",
              "raise the limit in the server, or in the proxy before it"};
    case 501:
    case 505:
      return {ErrorKind::unsupported, "cannot do this", ""};
    case 507:
      return {ErrorKind::no_space, "is full", "make room on the server, or raise the quota"};
    default:
      break;
  }
  if (status >= 500) return {ErrorKind::io, "failed", "the server's own log says why"};
  if (status >= 300 && status < 400)
    return {ErrorKind::refused, "points to another address",
            "give that address as the repository, if it is right"};
  return {ErrorKind::refused, "refuses", ""};
}

// Without credentials that an address may hold.
std::string shown_address(std::string_view text) {
  try {
    return parse_http_url(text).shown();
  } catch (const Error&) {
    return "";
  }
}

}  // namespace

Error http_error(const HttpAnswer& answer, std::string_view what, std::optional<std::string> said) {
  const Meaning meaning = meaning_of(answer.status);
  std::string text;
  if (answer.status >= 300 && answer.status < 400) {
    text = shown_address(answer.header("location"));
  } else if (said) {
    text = *said;
  } else {
    const std::string_view body = as_text(answer.body);
    // Pages for browsers say nothing that the status does not.
    if (const auto first = body.find_first_not_of(" \t\r\n");
        first != std::string_view::npos && body[first] != '<')
      text = trimmed(body.substr(first, body.find_first_of("\r\n", first) - first));
  }
  if (text.size() > 200) text.resize(200);
  Error error(meaning.kind,
              fmt::format("{}: {} {} (status {}{}{})", what, answer.origin, meaning.words, answer.status,
                          text.empty() ? "" : ": ", printable(text)),
              std::string(meaning.hint));
  return meaning.kind == ErrorKind::io ? error.set_error_number(kAnswered) : error;
}

}  // namespace respaldo::store
