#include "store/s3.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>

#include "base/printable.h"
#include "crypto/base64.h"
#include "store/compare.h"
#include "store/in_parallel.h"
#include "store/layout.h"
#include "store/s3_client.h"

namespace respaldo::store {

namespace {

constexpr std::uint64_t kPageLimit = 8U << 20;  // bytes: a page has at most 1000 keys of 1024 bytes
constexpr std::string_view kHexDigits = "0123456789abcdef";

std::string md5_of(std::span<const ByteView> parts) {
  std::array<std::uint8_t, 16> digest{};
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  bool good = context && EVP_DigestInit_ex(context.get(), EVP_md5(), nullptr) == 1;
  for (const ByteView part : parts)
    good = good && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  if (!good || EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1)
    throw Error(ErrorKind::unsupported,
                "OpenSSL has no MD5 here, which S3 asks for where objects are locked");
  return crypto::to_base64(digest);
}

// Objects of these are not read again before they were asked for.
bool is_archive(std::string_view storage_class) {
  return storage_class == "GLACIER" || storage_class == "DEEP_ARCHIVE";
}

// "2030-01-01T00:00:00Z"
std::string until(std::chrono::hours time) {
  const std::string text = amazon_time(std::chrono::system_clock::now() + time);
  return fmt::format("{}-{}-{}T{}:{}:{}Z", text.substr(0, 4), text.substr(4, 2), text.substr(6, 2),
                     text.substr(9, 2), text.substr(11, 2), text.substr(13, 2));
}

bool is_absent(const HttpAnswer& answer) { return answer.status == 404 || answer.status == 410; }

class S3Backend final : public Backend {
 public:
  S3Backend(const S3Place& place, S3Options options)
      : shown_(fmt::format("s3:{}/{}/{}", place.endpoint.origin(), place.bucket, place.prefix)),
        prefix_(place.prefix),
        storage_class_(options.storage_class),
        retention_(options.retention),
        most_objects_(options.most_objects),
        idle_pages_(options.idle_pages),
        connections_(options.http.connections),
        client_(place, std::move(options)) {
    if (shown_.ends_with('/')) shown_.pop_back();
  }

  std::string location() const override { return shown_; }

  void create() override {
    make_bucket();
    if (stat({FileType::config, ""}) || !list(FileType::key).empty() || !list(FileType::snapshot).empty())
      throw Error(ErrorKind::refused, fmt::format("{} holds a repository already", printable(shown_)),
                  "use it as it is, or choose another prefix or bucket");
  }

  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    S3Request request{.method = "PUT", .key = key_of(handle), .body = parts};
    request.headers = {{"content-type", "application/octet-stream"}};
    if (!storage_class_.empty() && (handle.type == FileType::pack || !is_archive(storage_class_)))
      request.headers.emplace_back("x-amz-storage-class", storage_class_);
    if (retention_ && handle.type != FileType::lock) {
      request.headers.emplace_back("content-md5", md5_of(parts));
      request.headers.emplace_back("x-amz-object-lock-mode",
                                   retention_->compliance ? "COMPLIANCE" : "GOVERNANCE");
      request.headers.emplace_back("x-amz-object-lock-retain-until-date", until(retention_->time));
    }
    const HttpAnswer answer = client_.perform(request);
    if (!answer.success() && !is_kept_as_it_is(answer, handle, parts))
      throw s3_error(answer, fmt::format("saving {}", handle.str()));
    if (durability == Durability::proven) require_stored(*this, handle, parts);
  }

  void sync() override {}

  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    const std::string key = key_of(handle);
    require_possible(handle, offset, length);
    if (length == 0) return load_nothing(*this, handle, offset);
    const HttpRange range{offset, length};
    HttpAnswer answer = client_.perform({.key = key, .range = range});
    if (!answer.success() && answer.status != 416) throw failed_load(answer, handle);
    return range_of(std::move(answer), range, handle.str());
  }

  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    HttpAnswer answer = client_.perform({.key = key_of(handle), .limit = limit});
    if (!answer.success()) throw failed_load(answer, handle);
    // A connection that closes may end it or break it off.
    if (!answer.framed)
      if (const auto there = stat(handle); !there || there->size != answer.body.size())
        throw cut_short(answer);
    return std::move(answer.body);
  }

  std::optional<FileInfo> stat(const Handle& handle) override {
    const std::string key = key_of(handle);
    const HttpAnswer head = client_.perform({.method = "HEAD", .key = key});
    if (is_absent(head)) return std::nullopt;
    if (head.success())
      if (const auto size = head.content_length()) return FileInfo{handle.name, *size};
    // The answer to HEAD has no text: asked again in a way that has a reason.
    const HttpAnswer answer = client_.perform({.key = key, .range = HttpRange{0, 1}});
    if (is_absent(answer)) return std::nullopt;
    const auto range = parse_content_range(answer.header("content-range"));
    if ((answer.success() || answer.status == 416) && range && range->size)
      return FileInfo{handle.name, *range->size};
    throw s3_error(answer.success() ? head : answer, fmt::format("looking for {}", handle.str()));
  }

  std::vector<FileInfo> list(FileType type) override {
    if (only_name_of(type) != nullptr) {
      const auto only = stat({type, ""});
      return only ? std::vector<FileInfo>{*only} : std::vector<FileInfo>{};
    }
    const std::string folder = fmt::format("{}{}/", prefix_, folder_of(type));
    std::vector<FileInfo> found;
    std::atomic<std::uint64_t> listed = 0;
    if (list_pages(type, folder, "", found, !is_sharded(type), listed)) return found;
    // There are many: sixteen lists side by side.
    found.clear();
    std::mutex mutex;
    in_parallel(kHexDigits.size(), connections_, [&](std::size_t i) {
      std::vector<FileInfo> some;
      list_pages(type, folder, kHexDigits.substr(i, 1), some, true, listed);
      std::lock_guard lock(mutex);
      found.insert(found.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    });
    return found;
  }

  void remove(const Handle& handle) override {
    const HttpAnswer answer = client_.perform({.method = "DELETE", .key = key_of(handle)});
    if (answer.success() || is_absent(answer)) return;
    Error error = s3_error(answer, fmt::format("removing {}", handle.str()));
    if (answer.status == 403 && error.kind() == ErrorKind::refused &&
        error.hint().find("rights") != std::string::npos)
      error.set_hint(
          "these credentials may not remove objects, or the object is locked until a date: use others that "
          "may");
    throw error;
  }

  void remove_many(std::span<const Handle> handles) override {
    remove_each(*this, handles, connections_);
  }

  bool is_permanent(const Error& error) const override { return error.kind() != ErrorKind::io; }

 private:
  std::string key_of(const Handle& handle) const {
    const char* const folder = folder_of(handle.type);
    if (handle.type == FileType::config) return prefix_ + only_name_of(handle.type);
    if (const char* only = only_name_of(handle.type)) return fmt::format("{}{}/{}", prefix_, folder, only);
    require_object_name(handle);
    if (is_sharded(handle.type))
      return fmt::format("{}{}/{}/{}", prefix_, folder, handle.name.substr(0, 2), handle.name);
    return fmt::format("{}{}/{}", prefix_, folder, handle.name);
  }

  // What stands behind the folder is an object's name, in its place.
  static std::string_view name_in(FileType type, std::string_view rest) {
    if (is_sharded(type)) {
      if (rest.size() != 67 || rest[2] != '/' || rest.substr(0, 2) != rest.substr(3, 2)) return {};
      rest.remove_prefix(3);
    }
    return is_object_name(rest) ? rest : std::string_view{};
  }

  // False when there are further pages, and they were not wanted. `listed`: the keys of all pages of the
  // list.
  bool list_pages(FileType type, const std::string& folder, std::string_view begin,
                  std::vector<FileInfo>& found, bool all, std::atomic<std::uint64_t>& listed) {
    std::string token, last;
    int idle = 0;
    do {
      S3Request request{.limit = kPageLimit};
      request.query = {{"list-type", "2"}, {"prefix", fmt::format("{}{}", folder, begin)}};
      if (!token.empty()) request.query.emplace_back("continuation-token", token);
      const HttpAnswer answer = client_.perform(request);
      // No bucket: nothing to list. In the midst of a list it has gone, and what was listed is not all.
      if (is_absent(answer) && begin.empty() && token.empty()) return true;
      const std::string what = fmt::format("listing the {} files", to_string(type));
      if (!answer.success()) throw s3_error(answer, what);
      S3Page page = in_context([&] { return what; },
                               [&] { return parsed(answer, [&] { return parse_s3_page(answer.body); }); });
      // Keys come in the order of their bytes: what does not get further goes in a circle.
      ++idle;
      for (const auto& [key, size] : page.keys) {
        if (key > last) last = key, idle = 0;
        if (!key.starts_with(folder)) continue;
        if (const auto name = name_in(type, std::string_view(key).substr(folder.size())); !name.empty())
          found.push_back({std::string(name), size});
      }
      if (!page.next.empty() && (page.next == token || idle == idle_pages_))
        throw Error(ErrorKind::corrupt,
                    fmt::format("{}: {} gives page after page, and nothing new in them", what, answer.origin),
                    "this is a fault of the server, or of a proxy before it");
      if ((listed += page.keys.size()) > most_objects_)
        throw Error(ErrorKind::corrupt,
                    fmt::format("{}: {} lists more than {} objects", what, answer.origin, most_objects_),
                    "if they are really there, use several repositories, or larger packs (--pack-size)");
      token = std::move(page.next);
      if (!token.empty() && !all) return false;
    } while (!token.empty());
    return true;
  }

  void make_bucket() {
    const HttpAnswer there = client_.perform({.method = "HEAD"});
    if (!is_absent(there)) return;  // what is not allowed says so later, with its reason
    std::string text;
    if (const std::string region = client_.region(); region != "us-east-1")
      text = fmt::format(
          "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
          "<LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
          region);
    const ByteView body = as_bytes(text);
    const HttpAnswer made = client_.perform({.method = "PUT", .body = {&body, text.empty() ? 0U : 1U}});
    if (!made.success() && made.status != 409) throw s3_error(made, "making the bucket");
  }

  // A bucket may refuse to write a second time. Names are hashes: the same size is the same object.
  bool is_kept_as_it_is(const HttpAnswer& answer, const Handle& handle, std::span<const ByteView> parts) {
    if (answer.status != 403 && answer.status != 409 && answer.status != 412) return false;
    const auto failure = parse_s3_failure(answer.body);
    if (failure && failure->code != "AccessDenied" && failure->code != "PreconditionFailed") return false;
    try {
      const auto there = stat(handle);
      if (!there || there->size != size_of(parts)) return false;
      return handle.type != FileType::config || equals(load_all(handle, size_of(parts)), parts);
    } catch (const Error&) {
      return false;  // the first refusal is the better reason
    }
  }

  static Error failed_load(const HttpAnswer& answer, const Handle& handle) {
    if (is_absent(answer))
      return Error(ErrorKind::not_found, fmt::format("{} is missing ({})", handle.str(), answer.origin));
    const auto failure = parse_s3_failure(answer.body);
    Error error = s3_error(answer, fmt::format("reading {}", handle.str()));
    if (failure && failure->code == "InvalidObjectState")
      error.set_hint("it lies in an archive: have the bucket restore it first");
    return error;
  }

  std::string shown_;
  const std::string prefix_, storage_class_;
  const std::optional<S3Options::Retention> retention_;
  const std::uint64_t most_objects_;
  const int idle_pages_;
  const int connections_;
  S3Client client_;
};

}  // namespace

std::unique_ptr<Backend> open_s3(const S3Place& place, S3Options options) {
  return std::make_unique<S3Backend>(place, std::move(options));
}

}  // namespace respaldo::store
