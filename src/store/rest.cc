#include "store/rest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "base/printable.h"
#include "store/compare.h"
#include "store/in_parallel.h"
#include "store/layout.h"
#include "store/rest_listing.h"

namespace respaldo::store {

namespace {

// Sent alone: rclone takes nothing beside it. A server of version 1 ignores it.
constexpr std::string_view kVersion2 = "application/vnd.x.restic.rest.v2";
constexpr std::uint64_t kListLimit = std::uint64_t{1} << 30;  // bytes: ten million files
constexpr std::string_view kAppendOnly =
    "an append-only server keeps what it has: remove it where the server runs, or with credentials that may";

std::string media_type(std::string_view header) {
  std::string type(header.substr(0, header.find(';')));
  while (type.ends_with(' ')) type.pop_back();
  return type;
}

class RestBackend final : public Backend {
 public:
  RestBackend(const RestPlace& place, const HttpOptions& options)
      : shown_("rest:" + place.url.shown()),
        base_(place.url.base()),
        connections_(options.connections),
        client_(options, place.url) {}

  std::string location() const override { return shown_; }
  // The protocol has restic's own types alone, in folders of the same names.
  bool keeps(FileType type) const override {
    return type != FileType::parity && type != FileType::parity_group && type != FileType::parity_settings;
  }

  void create() override {
    if (stat({FileType::config, ""}) || !list(FileType::key).empty() || !list(FileType::snapshot).empty())
      throw Error(ErrorKind::refused, fmt::format("{} holds a repository already", printable(shown_)),
                  "use it as it is, or choose another path");
    const HttpAnswer answer = send({.method = "POST", .url = base_ + "?create=true"});
    if (!answer.success()) throw http_error(answer, fmt::format("making {}", printable(shown_)));
  }

  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    if (!keeps(handle.type))
      throw Error(ErrorKind::unsupported,
                  fmt::format("a REST server keeps no {}: its protocol has only restic's own types of files",
                              to_string(handle.type)),
                  "parity needs a repository in a folder, or at sftp: or s3:");
    HttpAnswer answer = post(handle, parts);
    if (answer.status == 403 || answer.status == 409 || answer.status == 412) {
      if (is_there(handle, parts)) {
        answer.status = 200;
      } else if (handle.type == FileType::config) {
        throw Error(ErrorKind::refused, fmt::format("{} holds a repository already", printable(shown_)),
                    "use it as it is, or choose another path");
      } else if (stat(handle)) {  // other than it should be: damaged
        remove(handle);
        answer = post(handle, parts);
      }
    }
    if (!answer.success()) throw http_error(answer, fmt::format("saving {}", handle.str()));
    if (durability == Durability::proven) require_stored(*this, handle, parts);
  }

  void sync() override {}

  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    const std::string url = url_of(handle);
    require_possible(handle, offset, length);
    if (length == 0) return load_nothing(*this, handle, offset);
    const HttpRange range{offset, length};
    HttpAnswer answer = send({.url = url, .range = range});
    if (!answer.success() && answer.status != 416) throw failed_load(answer, handle);
    return range_of(std::move(answer), range, handle.str());
  }

  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    HttpAnswer answer = send({.url = url_of(handle), .limit = limit});
    if (!answer.success()) throw failed_load(answer, handle);
    // A connection that closes may end it or break it off.
    if (!answer.framed)
      if (const auto there = stat(handle); !there || there->size != answer.body.size())
        throw cut_short(answer);
    return std::move(answer.body);
  }

  std::optional<FileInfo> stat(const Handle& handle) override {
    if (!keeps(handle.type)) return std::nullopt;
    const HttpAnswer answer = send({.method = "HEAD", .url = url_of(handle)});
    if (answer.status == 404 || answer.status == 410) return std::nullopt;
    if (!answer.success()) throw http_error(answer, fmt::format("looking for {}", handle.str()));
    const auto size = answer.content_length();
    if (!size)
      throw Error(ErrorKind::unsupported,
                  fmt::format("{} does not tell the size of {}", answer.origin, handle.str()),
                  "is it a server of restic's REST protocol?");
    return FileInfo{handle.name, *size};
  }

  std::vector<FileInfo> list(FileType type) override {
    if (type == FileType::config) {
      const auto only = stat({type, ""});
      return only ? std::vector<FileInfo>{*only} : std::vector<FileInfo>{};
    }
    if (!keeps(type)) return {};
    HttpAnswer answer = send({.url = fmt::format("{}{}/", base_, folder_of(type)), .limit = kListLimit});
    if (answer.status == 404) return {};
    if (!answer.success()) throw http_error(answer, fmt::format("listing the {} files", to_string(type)));
    const bool version2 = media_type(answer.header("content-type")) == kVersion2;
    if (version2) return parsed(answer, [&] { return parse_rest_files(std::move(answer.body)); });
    return sizes_of(type, parsed(answer, [&] { return parse_rest_names(std::move(answer.body)); }));
  }

  void remove(const Handle& handle) override {
    if (!keeps(handle.type)) return;
    const HttpAnswer answer = send({.method = "DELETE", .url = url_of(handle)});
    if (answer.success() || answer.status == 404 || answer.status == 410) return;
    Error error = http_error(answer, fmt::format("removing {}", handle.str()));
    if (answer.status == 403 || answer.status == 405) error.set_hint(std::string(kAppendOnly));
    throw error;
  }

  void remove_many(std::span<const Handle> handles) override {
    remove_each(*this, handles, connections_);
  }

  bool is_permanent(const Error& error) const override { return error.kind() != ErrorKind::io; }

 private:
  HttpAnswer send(HttpRequest request) {
    if (request.headers.empty()) request.headers = {fmt::format("Accept: {}", kVersion2)};
    return client_.perform(request);
  }

  HttpAnswer post(const Handle& handle, std::span<const ByteView> parts) {
    return send({.method = "POST",
                 .url = url_of(handle),
                 .headers = {fmt::format("Accept: {}", kVersion2), "Content-Type: application/octet-stream"},
                 .body = parts});
  }

  std::string url_of(const Handle& handle) const {
    if (handle.type == FileType::config) return base_ + "config";
    if (!keeps(handle.type)) throw Error(ErrorKind::not_found, fmt::format("{} is missing", handle.str()));
    require_object_name(handle);
    return fmt::format("{}{}/{}", base_, folder_of(handle.type), handle.name);
  }

  // Names are hashes: the same size is the same object. Only a configuration may differ in its bytes.
  bool is_there(const Handle& handle, std::span<const ByteView> parts) {
    const auto there = stat(handle);
    if (!there || there->size != size_of(parts)) return false;
    return handle.type != FileType::config || equals(load_all(handle, size_of(parts)), parts);
  }

  // A server of version 1 is asked for each.
  std::vector<FileInfo> sizes_of(FileType type, const std::vector<std::string>& names) {
    std::vector<FileInfo> files;
    std::mutex mutex;
    in_parallel(names.size(), connections_, [&](std::size_t i) {
      const auto file = stat({type, names[i]});
      if (!file) return;  // removed since
      std::lock_guard lock(mutex);
      files.push_back(*file);
    });
    return files;
  }

  static Error failed_load(const HttpAnswer& answer, const Handle& handle) {
    if (answer.status == 404 || answer.status == 410)
      return Error(ErrorKind::not_found, fmt::format("{} is missing ({})", handle.str(), answer.origin));
    return http_error(answer, fmt::format("reading {}", handle.str()));
  }

  const std::string shown_, base_;
  const int connections_;
  HttpClient client_;
};

}  // namespace

RestPlace parse_rest_place(std::string_view text,
                           const std::function<std::optional<std::string>(const char*)>& environment) {
  RestPlace place{parse_http_url(text)};
  if (!place.url.user && !place.url.password) {
    const auto given = [&](const char* name) {
      auto value = environment(name);
      return value && value->empty() ? std::nullopt : value;
    };
    place.url.user = given("RESTIC_REST_USERNAME");
    place.url.password = given("RESTIC_REST_PASSWORD");
  }
  return place;
}

std::unique_ptr<Backend> open_rest(const RestPlace& place, const HttpOptions& options) {
  return std::make_unique<RestBackend>(place, options);
}

}  // namespace respaldo::store
