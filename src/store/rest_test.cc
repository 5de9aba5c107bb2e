#include "store/rest.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <set>

#include "os/process.h"
#include "store/backend_suite.h"
#include "store/rest_listing.h"
#include "testing/errors.h"
#include "testing/http_script.h"
#include "testing/memory_folder.h"
#include "testing/server_process.h"
#include "testing/temp.h"

namespace respaldo::store {
namespace {

using ::testing::HasSubstr;
using testing::HttpScript;
using ::testing::Not;
using Reply = HttpScript::Reply;
using Request = HttpScript::Request;

const std::string kName(64, 'a');
const Handle kPack{FileType::pack, kName};

std::optional<std::string> no_variables(const char*) { return std::nullopt; }

// For what stalls on purpose; elsewhere a busy machine would.
HttpOptions impatient() {
  HttpOptions options;
  options.stall = std::chrono::milliseconds(1500);
  return options;
}

std::unique_ptr<Backend> rest(const std::string& url, const HttpOptions& options = {}) {
  return open_rest(parse_rest_place(url, no_variables), options);
}

using testing::error_of;

void save(Backend& backend, const Handle& handle, std::string_view text, Durability how = Durability::now) {
  const ByteView whole = as_bytes(text);
  backend.save(handle, {&whole, 1}, how);
}

// A key and a certificate for 127.0.0.1, signed by itself.
void make_certificate(const os::Path& key, const os::Path& certificate, const std::string& name) {
  const auto made = os::run_command({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                                     "-subj", "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1",
                                     "-keyout", key.native(), "-out", certificate.native()});
  if (made.exit_code != 0) throw std::runtime_error(made.err);
}

// `rclone serve restic`, on a port of its own.
class RcloneServer {
 public:
  explicit RcloneServer(std::vector<std::string> more = {})
      : process_(words(std::move(more)), {"RCLONE_CONFIG=/dev/null"}) {
    url_ = process_.wait_for(R"((https?://127\.0\.0\.1:\d+/))");
  }
  std::string url() const { return url_; }
  os::Path folder() const { return folder_.path(); }
  std::string log() const { return process_.log(); }

 private:
  std::vector<std::string> words(std::vector<std::string> more) {
    std::vector<std::string> argv{"rclone", "serve", "restic", "--addr", "127.0.0.1:0", "-v"};
    argv.insert(argv.end(), more.begin(), more.end());
    argv.push_back(folder_.path().native());
    return argv;
  }
  testing::MemoryFolder folder_;
  testing::ServerProcess process_;
  std::string url_;
};

class RestPlaceOfSuite final : public SuitePlace {
 public:
  RestPlaceOfSuite() { keeps_parity = false; }
  std::unique_ptr<Backend> open() override { return rest(server().url() + path_, {}); }
  bool plant(const std::string& path, const std::string& contents) override {
    const os::Path file = server().folder() / path_ / path;
    std::filesystem::create_directories(file.parent_path());
    os::AtomicFile(file, 0600).commit();
    const os::UniqueFd fd = os::open_file(file, O_WRONLY);
    os::write_all(fd.get(), as_bytes(contents), file);
    return true;
  }

 private:
  // One for all tests of a process.
  static RcloneServer& server() {
    static RcloneServer one;
    return one;
  }
  static int next() {
    static int number = 0;
    return ++number;
  }
  const std::string path_ = fmt::format("place{}", next());
};

INSTANTIATE_TEST_SUITE_P(rest, BackendSuite,
                         ::testing::Values([] { return std::make_unique<RestPlaceOfSuite>(); }));

TEST(Rest, an_append_only_server_keeps_what_it_has) {
  const RcloneServer server({"--append-only"});
  const auto backend = rest(server.url());
  backend->create();
  save(*backend, {FileType::config, ""}, "config");
  save(*backend, kPack, "contents");
  save(*backend, {FileType::lock, kName}, "lock");
  EXPECT_NO_THROW(backend->remove({FileType::lock, kName}));
  EXPECT_NO_THROW(save(*backend, kPack, "contents"));  // the answer to a first try was lost
  const Error error = error_of([&] { backend->remove(kPack); });
  EXPECT_EQ(error.kind(), ErrorKind::refused);
  EXPECT_TRUE(backend->is_permanent(error));
  EXPECT_THAT(error.hint(), HasSubstr("append-only"));
  EXPECT_EQ(error_of([&] { save(*backend, kPack, "other, and longer"); }).kind(), ErrorKind::refused);
  EXPECT_EQ(error_of([&] { save(*backend, {FileType::config, ""}, "CONFIG"); }).kind(), ErrorKind::refused);
  EXPECT_EQ(as_text(backend->load_all(kPack)), "contents");
}

TEST(Rest, credentials_are_asked_for_and_never_shown) {
  const RcloneServer server({"--user", "us@er", "--pass", "pa/ss%"});
  const std::string address = server.url().substr(std::string_view("http://").size());
  const auto denied = rest(server.url());
  const Error error = error_of([&] { denied->stat(kPack); });
  EXPECT_EQ(error.kind(), ErrorKind::refused);
  EXPECT_THAT(error.what(), HasSubstr("401"));
  const auto wrong = rest("http://us:secretword@" + address);
  EXPECT_THAT(error_of([&] { wrong->list(FileType::pack); }).what(), Not(HasSubstr("secretword")));
  EXPECT_THAT(wrong->location(), Not(HasSubstr("secretword")));

  const auto backend = rest("http://us%40er:pa%2Fss%25@" + address);
  EXPECT_EQ(backend->location(), "rest:http://us%40er:***@" + address);
  backend->create();
  save(*backend, kPack, "contents");
  EXPECT_EQ(as_text(backend->load(kPack, 3, 2)), "te");

  const auto variables = [](const char* name) -> std::optional<std::string> {
    if (name == std::string_view("RESTIC_REST_USERNAME")) return "us@er";
    if (name == std::string_view("RESTIC_REST_PASSWORD")) return "pa/ss%";
    return std::nullopt;
  };
  EXPECT_TRUE(open_rest(parse_rest_place(server.url(), variables), {})->stat(kPack));
}

TEST(Rest, tls_with_an_own_authority) {
  const testing::MemoryFolder folder;
  const os::Path key = folder.path() / "key", certificate = folder.path() / "certificate";
  make_certificate(key, certificate, "here");
  const RcloneServer server({"--cert", certificate.native(), "--key", key.native()});
  ASSERT_TRUE(server.url().starts_with("https:"));
  const auto unknown = rest(server.url());
  const Error error = error_of([&] { unknown->stat(kPack); });
  EXPECT_EQ(error.kind(), ErrorKind::refused) << error.what();
  EXPECT_TRUE(unknown->is_permanent(error));
  EXPECT_THAT(error.hint(), HasSubstr("--cacert"));

  HttpOptions options;
  options.ca_certificate = certificate.native();
  const auto backend = rest(server.url(), options);
  backend->create();
  const Bytes object = testing::random_bytes(3'000'000, 1);
  const ByteView whole = object;
  backend->save(kPack, {&whole, 1}, Durability::proven);
  EXPECT_EQ(backend->list(FileType::pack).at(0).size, object.size());
  EXPECT_EQ(as_text(backend->load(kPack, 1'000'000, 2'000'000)), as_text(object.view(1'000'000, 2'000'000)));
}

TEST(Rest, a_server_may_ask_who_we_are) {
  const testing::MemoryFolder folder;
  const os::Path key = folder.path() / "key", certificate = folder.path() / "certificate",
                 both = folder.path() / "both";
  make_certificate(key, certificate, "here");
  make_certificate(folder.path() / "own_key", folder.path() / "own", "host");
  const std::string pem = os::read_text(folder.path() / "own") + os::read_text(folder.path() / "own_key");
  os::write_all(os::open_file(both, O_WRONLY | O_CREAT, 0600).get(), as_bytes(pem), both);
  const RcloneServer server({"--cert", certificate.native(), "--key", key.native(), "--client-ca",
                             (folder.path() / "own").native()});
  HttpOptions options;
  options.ca_certificate = certificate.native();
  const auto nobody = rest(server.url(), options);
  const Error error = error_of([&] { nobody->stat(kPack); });
  EXPECT_THAT(error.hint(), HasSubstr("--tls-client-cert")) << error.what();
  options.client_certificate = both.native();
  const auto backend = rest(server.url(), options);
  backend->create();
  save(*backend, kPack, "contents");
  EXPECT_EQ(backend->stat(kPack)->size, 8U);
}

TEST(Rest, nobody_there_is_worth_another_try) {
  std::string url;
  {
    const HttpScript gone([](const Request&) { return HttpScript::reply(200); });
    url = gone.url();
  }
  const auto backend = rest(url);
  const Error error = error_of([&] { backend->stat(kPack); });
  EXPECT_EQ(error.kind(), ErrorKind::io);
  EXPECT_FALSE(backend->is_permanent(error));
  EXPECT_THAT(error.what(), HasSubstr("127.0.0.1"));
}

TEST(Rest, lists_of_version_1_are_asked_for_sizes) {
  const std::string other(64, 'b'), gone(64, 'c');
  const HttpScript server([&](const Request& request) {
    if (request.target == "/data/")
      return HttpScript::reply(200, fmt::format(R"(["{}","x","{}","{}"])", kName, other, gone));
    if (request.target == "/data/" + kName) return Reply{"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"};
    if (request.target == "/data/" + other) return Reply{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"};
    return HttpScript::reply(404);
  });
  auto files = rest(server.url())->list(FileType::pack);
  std::ranges::sort(files, {}, &FileInfo::size);
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].name, kName);
  EXPECT_EQ(files[0].size, 7U);
  EXPECT_EQ(files[1].size, 9U);
  EXPECT_THAT(server.seen().front().head, HasSubstr("application/vnd.x.restic.rest.v2"));
}

TEST(Rest, a_list_that_is_none_is_corrupt) {
  std::string body, type;
  const HttpScript server([&](const Request&) { return HttpScript::reply(200, body, type); });
  const auto backend = rest(server.url());
  const std::string version2 = "Content-Type: application/vnd.x.restic.rest.v2\r\n";
  for (const auto& [text, header] :
       std::vector<std::pair<std::string, std::string>>{{"", ""},
                                                        {"{}", ""},
                                                        {"[", version2},
                                                        {R"([{"name":"x"}])", version2},
                                                        {R"([{"name":"x","size":-1}])", version2},
                                                        {R"(["a"])", version2},
                                                        {R"([{"name":"x","size":1}])", ""},
                                                        {"[] []", version2},
                                                        {"<html>", ""}}) {
    body = text, type = header;
    EXPECT_EQ(error_of([&] { backend->list(FileType::lock); }).kind(), ErrorKind::corrupt) << text;
  }
  body = fmt::format(
      R"([{{"name":"{}","size":18446744073709551615,"mode":[1]}}, {{"size":0,"name":"README"}}])", kName);
  type = "content-type: application/vnd.x.restic.rest.v2; charset=utf-8\r\n";
  ASSERT_EQ(backend->list(FileType::lock).size(), 1U);
  EXPECT_EQ(backend->list(FileType::lock)[0].size, UINT64_MAX);
}

TEST(Rest, statuses_have_their_meaning) {
  int status = 0;
  const HttpScript server(
      [&](const Request&) { return HttpScript::reply(status, "for a reason\x1b[2J\nmore"); });
  const auto backend = rest(server.url());
  const std::pair<int, ErrorKind> meanings[] = {
      {400, ErrorKind::refused}, {401, ErrorKind::refused}, {404, ErrorKind::not_found},
      {408, ErrorKind::io},      {413, ErrorKind::refused}, {429, ErrorKind::io},
      {500, ErrorKind::io},      {502, ErrorKind::io},      {501, ErrorKind::unsupported},
      {503, ErrorKind::io},      {507, ErrorKind::no_space}};
  for (const auto& [code, kind] : meanings) {
    status = code;
    const Error error = error_of([&] { save(*backend, kPack, "contents"); });
    EXPECT_EQ(error.kind(), kind) << code;
    EXPECT_EQ(backend->is_permanent(error), kind != ErrorKind::io);
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(code)));
    EXPECT_THAT(error.what(), HasSubstr("for a reason\\x1b[2J"));
    EXPECT_THAT(error.what(), Not(HasSubstr("more")));
  }
}

TEST(Rest, a_redirection_is_named_and_not_followed) {
  const HttpScript server([](const Request&) {
    return HttpScript::reply(301, "", "Location: https://me:word@elsewhere/x/\r\n");
  });
  const Error error = error_of([&] { rest(server.url())->load_all(kPack); });
  EXPECT_EQ(error.kind(), ErrorKind::refused);
  EXPECT_THAT(error.what(), HasSubstr("https://me:***@elsewhere/x/"));
  EXPECT_EQ(server.seen().size(), 1U);
}

TEST(Rest, a_pause_is_kept) {
  const HttpScript server([n = 0](const Request&) mutable {
    return ++n == 1 ? HttpScript::reply(429, "", "Retry-After: 1\r\n") : HttpScript::reply(200, "whole");
  });
  const auto backend = rest(server.url());
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(backend->is_permanent(error_of([&] { backend->load_all(kPack); })));
  EXPECT_EQ(as_text(backend->load_all(kPack)), "whole");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

TEST(Rest, what_is_cut_short_or_reset_may_be_tried_again) {
  Reply next;
  const HttpScript server([&](const Request&) { return next; });
  const auto backend = rest(server.url());
  using Then = Reply::Then;
  for (const Reply& reply :
       {Reply{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", Then::close},
        Reply{"HTTP/1.1 200 OK\r\nCont", Then::close},
        Reply{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", Then::reset}, Reply{"", Then::close},
        Reply{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", Then::close},
        Reply{"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nshort", Then::close},
        Reply{"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-9/10\r\nConnection: close\r\n\r\nshort",
              Then::close}}) {
    next = reply;
    const Error error = error_of([&] { backend->load(kPack, 0, 10); });
    EXPECT_EQ(error.kind(), ErrorKind::io) << reply.bytes << error.what();
  }
}

TEST(Rest, a_whole_object_without_an_announced_end_is_measured) {
  std::atomic<const char*> body = "";
  const HttpScript server([&](const Request& request) {
    if (request.method == "HEAD") return Reply{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"};
    return Reply{std::string("HTTP/1.0 200 OK\r\n\r\n") + body.load(), Reply::Then::close};
  });
  const auto backend = rest(server.url());
  for (const char* text : {"", "short"}) {
    body = text;
    const Error error = error_of([&] { backend->load_all(kPack); });
    EXPECT_FALSE(backend->is_permanent(error)) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("cut short"));
  }
  body = "0123456789";
  EXPECT_EQ(as_text(backend->load_all(kPack)), body.load());
  // Lists, too.
  for (const char* text : {"", "[\"", "[{\"name\":\"", "[1"}) {
    body = text;
    EXPECT_FALSE(backend->is_permanent(error_of([&] { backend->list(FileType::pack); }))) << text;
  }
}

TEST(Rest, a_stall_ends_at_the_deadline) {
  const HttpScript server([](const Request& request) {
    return Reply{request.method == "HEAD" ? "" : "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
                 Reply::Then::hang};
  });
  const auto backend = rest(server.url(), impatient());
  const auto start = std::chrono::steady_clock::now();
  for (const auto& attempt :
       std::vector<std::function<void()>>{[&] { backend->stat(kPack); }, [&] { backend->load_all(kPack); }}) {
    const Error error = error_of(attempt);
    EXPECT_FALSE(backend->is_permanent(error));
    EXPECT_THAT(error.what(), HasSubstr("stalled"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(100));
}

TEST(Rest, what_the_kernel_took_but_the_line_did_not_yet_is_no_stall) {
  const HttpScript server([](const Request&) { return HttpScript::reply(200); }, HttpScript::Reading::slowly);
  const auto backend = rest(server.url(), impatient());
  save(*backend, kPack, std::string(3 << 20, 'x'));  // takes longer than the deadline once the kernel has it all
  EXPECT_EQ(server.seen().at(0).body.size(), 3U << 20);
}

TEST(Rest, a_request_ends_when_told_to) {
  const HttpScript server([](const Request&) { return Reply{"", Reply::Then::hang}; });
  std::stop_source source;
  HttpOptions options;
  options.stop = source.get_token();
  const auto backend = rest(server.url(), options);
  std::thread stopper([&] {
    while (server.seen().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    source.request_stop();
  });
  EXPECT_THROW(backend->stat(kPack), Cancelled);
  stopper.join();
}

TEST(Rest, a_server_without_ranges_serves_them_all_the_same) {
  const HttpScript server([](const Request&) { return HttpScript::reply(200, "0123456789"); });
  const auto backend = rest(server.url());
  EXPECT_EQ(as_text(backend->load(kPack, 3, 4)), "3456");
  EXPECT_EQ(as_text(backend->load(kPack, 0, 10)), "0123456789");
  for (const auto& [offset, length] :
       std::vector<std::pair<std::uint64_t, std::uint64_t>>{{3, 8}, {10, 1}, {99, 1}})
    EXPECT_EQ(error_of([&] { backend->load(kPack, offset, length); }).kind(), ErrorKind::corrupt);
}

TEST(Rest, another_range_is_not_taken) {
  const HttpScript server(
      [](const Request&) { return HttpScript::reply(206, "3456", "Content-Range: bytes 3-6/10\r\n"); });
  const auto backend = rest(server.url());
  EXPECT_EQ(as_text(backend->load(kPack, 3, 4)), "3456");
  EXPECT_EQ(error_of([&] { backend->load(kPack, 2, 4); }).kind(), ErrorKind::corrupt);
  EXPECT_EQ(error_of([&] { backend->load(kPack, 3, 2); }).kind(), ErrorKind::corrupt);
}

TEST(Rest, endless_answers_end) {
  const HttpScript server([](const Request& request) {
    if (request.method == "GET")
      return Reply{"HTTP/1.1 200 OK\r\n\r\n" + std::string(3 << 20, 'x'), Reply::Then::close};
    std::string head = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 5000; ++i) head += fmt::format("X-{}: {}\r\n", i, std::string(100, 'y'));
    return Reply{head + "\r\n", Reply::Then::close};
  });
  const auto backend = rest(server.url());
  EXPECT_EQ(error_of([&] { backend->load_all(kPack, 1000); }).kind(), ErrorKind::corrupt);
  EXPECT_THROW(backend->stat(kPack), Error);
}

TEST(Rest, many_are_removed_in_spite_of_some_failures) {
  std::atomic<int> asked = 0;
  const HttpScript server([&](const Request&) { return HttpScript::reply(++asked % 3 == 0 ? 503 : 200); });
  const auto backend = rest(server.url());
  std::vector<Handle> handles;
  for (int i = 0; i < 30; ++i) handles.push_back({FileType::pack, fmt::format("{:064x}", i)});
  EXPECT_NO_THROW(backend->remove_many(handles));
  std::set<std::string> targets;
  for (const Request& request : server.seen()) targets.insert(request.target);
  EXPECT_EQ(targets.size(), 30U);
}

TEST(Rest, connections_are_kept) {
  const HttpScript server([](const Request&) { return HttpScript::reply(200, "x"); });
  HttpOptions options;
  options.connections = 2;
  const auto backend = rest(server.url(), options);
  std::vector<std::thread> threads;
  for (int n = 0; n < 4; ++n)
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) save(*backend, kPack, "contents"), backend->load_all(kPack);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server.seen().size(), 200U);
  EXPECT_LE(server.connections(), 2);
}

TEST(Rest, what_is_read_back_wrong_is_not_proven) {
  const HttpScript server([](const Request& request) {
    return HttpScript::reply(200, request.method == "GET" ? "contentz" : "");
  });
  const auto backend = rest(server.url());
  EXPECT_NO_THROW(save(*backend, kPack, "contents"));
  EXPECT_EQ(error_of([&] { save(*backend, kPack, "contents", Durability::proven); }).kind(), ErrorKind::io);
}

TEST(Rest, an_early_refusal_of_a_large_object_is_heard_at_the_second_try) {
  // It closes upon what is still being sent, which may reset the connection before the answer is read.
  const HttpScript server(
      [](const Request&) {
        return Reply{"HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n", Reply::Then::close};
      },
      HttpScript::Reading::late);
  const auto backend = rest(server.url());
  const std::string large(8U << 20, 'x');
  Error error = error_of([&] { save(*backend, kPack, large); });
  if (!backend->is_permanent(error)) error = error_of([&] { save(*backend, kPack, large); });
  EXPECT_EQ(error.kind(), ErrorKind::no_space) << error.what();
}

TEST(HttpUrl, addresses_are_taken_apart) {
  const HttpUrl url = parse_http_url("https://me:p%40ss@host:8000/a%20b/c");
  EXPECT_EQ(url.user, "me");
  EXPECT_EQ(url.password, "p@ss");
  EXPECT_EQ(url.base(), "https://host:8000/a%20b/c/");
  EXPECT_EQ(url.shown(), "https://me:***@host:8000/a%20b/c/");
  EXPECT_EQ(parse_http_url("http://[::1]").base(), "http://[::1]/");
  EXPECT_TRUE(parse_http_url("http://[::1]").is_loopback());
  const HttpUrl local = parse_http_url("http://me:x@[fe80::1%25eth0]:8000/b");
  EXPECT_EQ(local.host, "[fe80::1]") << "what a server is told";
  EXPECT_EQ(local.base(), "http://[fe80::1%25eth0]:8000/b/");
  EXPECT_EQ(local.shown(), "http://me:***@[fe80::1%25eth0]:8000/b/");
  for (const std::string text :
       {"ftp://host/", "http://", "host/path", "http://me:secret@host:port/", "http://me:secret@/",
        "http://me:secret@host/?x", "http://me:secret@host/#x", "http://me:sec%ret%0@ho st/"}) {
    const Error error = error_of([&] { parse_http_url(text); });
    EXPECT_EQ(error.kind(), ErrorKind::usage) << text;
    EXPECT_THAT(error.what(), Not(HasSubstr("secret")));
  }
}

TEST(ContentRange, is_read_strictly) {
  const auto whole = parse_content_range("bytes 3-6/10");
  ASSERT_TRUE(whole && whole->span);
  EXPECT_EQ(whole->span->first, 3U);
  EXPECT_EQ(whole->span->second, 6U);
  EXPECT_EQ(whole->size, 10U);
  EXPECT_EQ(parse_content_range("bytes */7")->size, 7U);
  EXPECT_FALSE(parse_content_range("bytes 0-0/*")->size);
  for (const char* text : {"", "bytes", "bytes 6-3/10", "bytes 0-10/10", "bytes -3/10", "bytes 1-/10",
                           "bytes */*", "chars 0-1/2", "bytes 0-99999999999999999999/*", "bytes 0-1/2 "})
    EXPECT_FALSE(parse_content_range(text)) << text;
}

}  // namespace
}  // namespace respaldo::store
