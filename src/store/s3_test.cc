#include "store/s3.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <latch>
#include <thread>

#include "base/hex.h"
#include "os/file.h"
#include "store/backend_suite.h"
#include "store/in_parallel.h"
#include "store/s3_client.h"
#include "store/s3_xml.h"
#include "store/sigv4.h"
#include "testing/errors.h"
#include "testing/http_script.h"
#include "testing/temp.h"

namespace respaldo::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HttpScript;
using ::testing::Not;
using Reply = HttpScript::Reply;
using Request = HttpScript::Request;

const std::string kName(64, 'a');
const Handle kPack{FileType::pack, kName};

using testing::error_of;

S3Credentials example() {
  return {"AKIAIOSFODNN7EXAMPLE", crypto::SecretText("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), ""};
}

S3Credentials with_token(const std::string& token) {
  S3Credentials credentials = example();
  credentials.session_token = token;
  return credentials;
}

S3Options with_example() {
  S3Options options;
  options.credentials = example;
  return options;
}

std::unique_ptr<Backend> s3(const HttpScript& server, S3Options options = with_example()) {
  return open_s3(parse_s3_place(server.url() + "bucket/some/where"), std::move(options));
}

void save(Backend& backend, const Handle& handle, std::string_view text, Durability how = Durability::now) {
  const ByteView whole = as_bytes(text);
  backend.save(handle, {&whole, 1}, how);
}

Reply failure(int status, const std::string& code, const std::string& more = "",
              const std::string& headers = "") {
  return HttpScript::reply(
      status,
      fmt::format("<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>In words</Message>{}</Error>", code,
                  more),
      headers);
}

// Amazon, S3 API reference, "Examples: Signature Calculations".
TEST(SigV4, the_published_examples) {
  const std::string nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                    time = "20130524T000000Z", host = "examplebucket.s3.amazonaws.com";
  const auto signature = [&](SigningRequest request) {
    request.host = host;
    request.headers.emplace_back("x-amz-date", time);
    request.headers.emplace_back("x-amz-content-sha256", request.payload_hash);
    const std::string value = authorization(request, example(), "us-east-1", time);
    EXPECT_THAT(value, HasSubstr("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"));
    return value.substr(value.size() - 64);
  };
  EXPECT_EQ(signature({.method = "GET",
                       .host = "",
                       .path = "/test.txt",
                       .headers = {{"range", "bytes=0-9"}},
                       .payload_hash = nothing}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_EQ(signature({.method = "PUT",
                       .host = "",
                       .path = "/test%24file.text",
                       .headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                   {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                       .payload_hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"}),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  EXPECT_EQ(
      signature(
          {.method = "GET", .host = "", .path = "/", .query = {{"lifecycle", ""}}, .payload_hash = nothing}),
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  EXPECT_EQ(signature({.method = "GET",
                       .host = "",
                       .path = "/",
                       .query = {{"prefix", "J"}, {"max-keys", "2"}},
                       .payload_hash = nothing}),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(SigV4, queries_are_sorted_and_encoded) {
  EXPECT_EQ(canonical_query({{"prefix", "a b/c+d"}, {"list-type", "2"}}), "list-type=2&prefix=a%20b%2Fc%2Bd");
  EXPECT_EQ(amazon_time(std::chrono::system_clock::from_time_t(1369353600)), "20130524T000000Z");
}

TEST(S3Place, restic_s_words) {
  const auto at = [](const char* text) {
    const S3Place place = parse_s3_place(text);
    return fmt::format("{} {} {}", place.endpoint.origin(), place.bucket, place.prefix);
  };
  EXPECT_EQ(at("http://127.0.0.1:9000/bucket"), "http://127.0.0.1:9000 bucket ");
  EXPECT_EQ(at("https://host/bucket/a/b/"), "https://host bucket a/b/");
  EXPECT_EQ(at("s3.amazonaws.com/bucket/a"), "https://s3.amazonaws.com bucket a/");
  EXPECT_EQ(at("https://host/bucket//a%20b"), "https://host bucket a b/");
  // Without a scheme nothing is encoded.
  EXPECT_EQ(at("//host/bucket//a%20b"), "https://host bucket a%20b/");
  EXPECT_EQ(at("host:9000/bucket/my repo/c#1/d?"), "https://host:9000 bucket my repo/c#1/d?/");
  for (const char* text : {"host", "http://host/", "http://host/b%2", "http://me:secret@host/bucket",
                           "host/buck et/x", "host/b?x", "host/bucket/../x"}) {
    const Error error = error_of([&] { parse_s3_place(text); });
    EXPECT_EQ(error.kind(), ErrorKind::usage) << text;
    EXPECT_THAT(error.what(), Not(HasSubstr("secret")));
  }
}

TEST(S3Options, extended_options_are_checked) {
  const Environment nothing = [](const char*) { return std::nullopt; };
  const S3Options options = s3_options({{"s3.bucket-lookup", "dns"},
                                        {"s3.region", "here"},
                                        {"s3.storage-class", "COLD"},
                                        {"s3.retention", "governance:36h"},
                                        {"sftp.command", "x"}},
                                       nothing, {});
  EXPECT_EQ(options.lookup, S3Options::Lookup::dns);
  EXPECT_EQ(options.region, "here");
  EXPECT_EQ(options.retention->time, std::chrono::hours(36));
  EXPECT_FALSE(options.retention->compliance);
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"s3.lookup", "x"},
                                                        {"s3.bucket-lookup", "x"},
                                                        {"s3.retention", "30d"},
                                                        {"s3.retention", "compliance:"},
                                                        {"s3.retention", "compliance:0d"},
                                                        {"s3.retention", "compliance:3"},
                                                        {"s3.retention", "legal:3d"}})
    EXPECT_EQ(error_of([&] { s3_options({{name, value}}, nothing, {}); }).kind(), ErrorKind::usage) << value;
  EXPECT_EQ(error_of([&] { s3_options({}, nothing, {}).credentials(); }).kind(), ErrorKind::usage);
}

TEST(S3Credentials, the_environment_and_profiles) {
  const os::TemporaryFolder folder;
  const os::Path file = folder.path() / "credentials";
  os::write_all(os::open_file(file, O_WRONLY | O_CREAT).get(),
                as_bytes("# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=B=+/\n\n"
                         "[ other ]\r\naws_access_key_id=C\r\naws_secret_access_key= D \r\naws_session_token "
                         "= E\ns3 =\n  region = x\n"),
                file);
  std::map<std::string, std::string> variables{{"AWS_SHARED_CREDENTIALS_FILE", file.native()}};
  const Environment environment = [&](const char* name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    return it == variables.end() ? std::nullopt : std::optional(it->second);
  };
  S3Credentials found = find_s3_credentials(environment);
  EXPECT_EQ(found.access_key, "A");
  EXPECT_EQ(found.secret_key.view(), "B=+/");
  variables["AWS_PROFILE"] = "other";
  found = find_s3_credentials(environment);
  EXPECT_EQ(found.access_key, "C");
  EXPECT_EQ(found.secret_key.view(), "D");
  EXPECT_EQ(found.session_token, "E");
  variables["AWS_PROFILE"] = "third";
  EXPECT_THAT(error_of([&] { find_s3_credentials(environment); }).what(), HasSubstr("third"));
  variables["AWS_ACCESS_KEY_ID"] = "F";
  EXPECT_EQ(error_of([&] { find_s3_credentials(environment); }).kind(), ErrorKind::usage);
  variables["AWS_SECRET_ACCESS_KEY"] = "G";
  EXPECT_EQ(find_s3_credentials(environment).access_key, "F");
  EXPECT_FALSE(find_s3_region(environment));
  variables["AWS_CONFIG_FILE"] = folder.path() / "config";
  os::write_all(os::open_file(folder.path() / "config", O_WRONLY | O_CREAT).get(),
                as_bytes("[default]\nregion=one\n[profile third]\nregion = two\n"), "config");
  EXPECT_EQ(find_s3_region(environment), "two");
  variables["AWS_DEFAULT_REGION"] = "three";
  EXPECT_EQ(find_s3_region(environment), "three");
}

TEST(S3Xml, pages_are_read_strictly) {
  const S3Page page = parse_s3_page(
      as_bytes("<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e \"bad\">]><ListBucketResult "
               "xmlns=\"http://s3\"><Name>b</Name>"
               "<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b&e;</NextContinuationToken>"
               "<Contents><Key>k&lt;1</Key><Size>12</Size></Contents><Contents><Size>0</Size><Key>k2</Key></"
               "Contents></ListBucketResult>"));
  ASSERT_EQ(page.keys.size(), 2U);
  EXPECT_EQ(page.keys[0], std::pair(std::string("k<1"), std::uint64_t{12}));
  EXPECT_EQ(page.next, "a&b&e;");
  for (const char* text : {"", "x", "<Other/>", "<ListBucketResult/>",
                           "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
                           "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
                           "<ListBucketResult><IsTruncated>false</IsTruncated>",
                           "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>x</Key></"
                           "Contents></ListBucketResult>",
                           "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>x</"
                           "Key><Size>-1</Size></Contents></ListBucketResult>"})
    EXPECT_EQ(error_of([&] { parse_s3_page(as_bytes(text)); }).kind(), ErrorKind::corrupt) << text;
  EXPECT_FALSE(parse_s3_failure(as_bytes("<html><Code>x</Code></html>")));
}

std::string page_of(const std::string& keys, const std::string& next) {
  return fmt::format("<ListBucketResult><IsTruncated>{}</IsTruncated>{}{}</ListBucketResult>", !next.empty(),
                     next.empty() ? "" : "<NextContinuationToken>" + next + "</NextContinuationToken>", keys);
}
std::string key_of(const std::string& key, int size) {
  return fmt::format("<Contents><Key>{}</Key><Size>{}</Size></Contents>", key, size);
}

TEST(S3, pages_are_gone_through_and_only_objects_are_listed) {
  const std::string other(64, 'b');
  const HttpScript server([&](const Request& request) {
    if (request.target.find("prefix=some%2Fwhere%2Findex%2F") == std::string::npos)
      return failure(400, "Wrong");
    if (request.target.find("continuation-token=a%2B%2F%3D") != std::string::npos)
      return HttpScript::reply(200, page_of(key_of("some/where/index/" + other, 2), ""));
    return HttpScript::reply(
        200, page_of(key_of("some/where/index/" + kName, 1) + key_of("some/where/index/README", 1) +
                         key_of("some/where/index/x/" + kName, 1) + key_of("elsewhere/" + kName, 1),
                     "a+/="));
  });
  auto files = s3(server)->list(FileType::index);
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].name, kName);
  EXPECT_EQ(files[1].name, other);
  EXPECT_EQ(files[1].size, 2U);
}

TEST(S3, many_packs_are_listed_side_by_side) {
  const auto name = [](char c) { return std::string(64, c); };
  const HttpScript server([&](const Request& request) {
    const auto at = request.target.find("data%2F");
    if (at == std::string::npos) return failure(400, "Wrong");
    const char shard = at + 7 < request.target.size() ? request.target[at + 7] : 0;
    if (shard == 0)
      return HttpScript::reply(200, page_of(key_of("some/where/data/00/" + name('0'), 1), "more"));
    return HttpScript::reply(
        200, page_of(key_of(fmt::format("some/where/data/{0}{0}/{1}", shard, name(shard)), 7) +
                         key_of(fmt::format("some/where/data/11/{}", name('e')), 7),
                     ""));
  });
  const auto files = s3(server)->list(FileType::pack);
  EXPECT_EQ(files.size(), 16U);
  EXPECT_EQ(server.seen().size(), 17U);
}

TEST(S3, a_bucket_that_goes_in_the_midst_of_a_list_is_no_end_of_it) {
  const HttpScript server([](const Request& request) {
    return request.target.find("continuation-token") == std::string::npos
               ? HttpScript::reply(200, page_of(key_of("some/where/index/" + kName, 1), "more"))
               : failure(404, "NoSuchBucket");
  });
  EXPECT_EQ(error_of([&] { s3(server)->list(FileType::index); }).kind(), ErrorKind::not_found);
  const HttpScript none([](const Request&) { return failure(404, "NoSuchBucket"); });
  EXPECT_TRUE(s3(none)->list(FileType::index).empty());
}

TEST(S3, a_list_without_an_end_ends) {
  const HttpScript server([&](const Request&) { return HttpScript::reply(200, page_of("", "again")); });
  EXPECT_EQ(error_of([&] { s3(server)->list(FileType::index); }).kind(), ErrorKind::corrupt);
}

TEST(S3, what_is_sent_is_signed_with_its_checksum) {
  const HttpScript server([](const Request&) { return HttpScript::reply(200); });
  S3Options options = with_example();
  options.credentials = [] { return with_token("token"); };
  options.storage_class = "GLACIER";
  options.retention = S3Options::Retention{false, std::chrono::hours(24)};
  const auto backend = s3(server, std::move(options));
  save(*backend, kPack, "contents");
  save(*backend, {FileType::lock, kName}, "contents");
  const auto seen = server.seen();
  EXPECT_EQ(seen[0].target, "/bucket/some/where/data/aa/" + kName);
  EXPECT_EQ(seen[0].body, "contents");
  for (const char* part :
       {"x-amz-content-sha256: d1b2a59fbea7e20077af9f91b27e95e865061b270be03ff539ab3b73587882e8\r\n",
        "x-amz-checksum-sha256: 0bkln76n4gb3r5+rsn6v6guggycl4d/1oas7c1h4gug=",
        "x-amz-security-token: token\r\n", "x-amz-storage-class: glacier\r\n",
        "content-md5: ", "x-amz-object-lock-mode: governance\r\n", "x-amz-object-lock-retain-until-date: 20",
        "signedheaders=content-md5;content-type;host;x-amz-checksum-sha256;x-amz-content-sha256;x-amz-date;"
        "x-amz-object-lock-mode;x-amz-object-lock-retain-until-date;x-amz-security-token;x-amz-storage-"
        "class,"})
    EXPECT_THAT(seen[0].head, HasSubstr(part));
  for (const char* part : {"storage-class", "object-lock", "content-md5", "expect"})
    EXPECT_THAT(seen[1].head, Not(HasSubstr(part)));
}

TEST(S3, a_list_without_end_ends) {
  enum class Way { cycle, same_keys, nothing, ever_more };
  std::atomic<Way> way = Way::cycle;
  std::atomic<int> page = 0;
  const HttpScript server([&](const Request&) {
    // So that this test ends in any case.
    const int number = ++page;
    const bool last = number == 200;
    const std::string key =
        way == Way::nothing
            ? ""
            : fmt::format("<Contents><Key>some/where/locks/{:064x}</Key><Size>1</Size></Contents>",
                          way == Way::ever_more ? number : number % 3);
    const std::string token = way == Way::cycle ? fmt::format("{}", number % 3) : fmt::format("{}", number);
    return HttpScript::reply(
        200, fmt::format("<ListBucketResult>{}<IsTruncated>{}</IsTruncated>"
                         "<NextContinuationToken>{}</NextContinuationToken></ListBucketResult>",
                         key, last ? "false" : "true", token));
  });
  S3Options options = with_example();
  options.idle_pages = 20;
  options.most_objects = 100;
  const auto backend = s3(server, std::move(options));
  for (const Way one : {Way::cycle, Way::same_keys, Way::nothing, Way::ever_more}) {
    way = one;
    page = 0;
    const Error error = error_of([&] { backend->list(FileType::lock); });
    EXPECT_EQ(error.kind(), ErrorKind::corrupt) << static_cast<int>(one);
    EXPECT_TRUE(backend->is_permanent(error));
    EXPECT_THAT(error.what(), HasSubstr("listing the lock files"));
    EXPECT_LT(page, 120);
  }
}

TEST(S3, a_list_cut_short_may_be_asked_for_again) {
  const HttpScript server([&](const Request& request) {
    if (request.method == "HEAD") return Reply{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"};
    return Reply{"HTTP/1.0 200 OK\r\n\r\n<ListBucketResult><Contents><Key>some/wh", Reply::Then::close};
  });
  const auto backend = s3(server);
  EXPECT_FALSE(backend->is_permanent(error_of([&] { backend->list(FileType::lock); })));
  EXPECT_FALSE(backend->is_permanent(error_of([&] { backend->load_all(kPack); })));
}

TEST(S3, codes_have_their_meaning) {
  std::pair<int, std::string> next;
  const HttpScript server([&](const Request&) {
    return failure(next.first, next.second, "", "Date: Fri, 24 May 2013 00:00:00 GMT\r\n");
  });
  const auto backend = s3(server);
  const std::tuple<int, const char*, ErrorKind> meanings[] = {
      {403, "AccessDenied", ErrorKind::refused},
      {403, "InvalidAccessKeyId", ErrorKind::refused},
      {403, "RequestTimeTooSkewed", ErrorKind::refused},
      {400, "ExpiredToken", ErrorKind::refused},
      {403, "QuotaExceeded", ErrorKind::no_space},
      {503, "SlowDown", ErrorKind::io},
      {400, "RequestTimeout", ErrorKind::io},
      {400, "BadDigest", ErrorKind::io},
      {409, "OperationAborted", ErrorKind::io},
      {500, "InternalError", ErrorKind::io},
      {404, "NoSuchBucket", ErrorKind::not_found},
      {400, "InvalidRequest", ErrorKind::refused}};
  for (const auto& [status, code, kind] : meanings) {
    next = {status, code};
    const Error error = error_of([&] { save(*backend, kPack, "contents"); });
    EXPECT_EQ(error.kind(), kind) << code;
    EXPECT_THAT(error.what(), HasSubstr(code));
    EXPECT_EQ(backend->is_permanent(error), kind != ErrorKind::io);
    if (code == std::string_view("RequestTimeTooSkewed")) {
      EXPECT_THAT(error.hint(), HasSubstr("minutes ahead of"));
    }
  }
}

TEST(S3, a_refused_second_write_of_the_same_object_is_success) {
  const HttpScript server([](const Request& request) {
    return request.method == "PUT" ? failure(403, "AccessDenied")
                                   : Reply{"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"};
  });
  const auto backend = s3(server);
  EXPECT_NO_THROW(save(*backend, kPack, "contents"));
  EXPECT_EQ(error_of([&] { save(*backend, kPack, "longer contents"); }).kind(), ErrorKind::refused);
}

TEST(S3, the_region_is_learnt_once) {
  const HttpScript server([](const Request& request) {
    if (request.head.find("/there-1/s3/aws4_request") != std::string::npos)
      return HttpScript::reply(200, "contents");
    return failure(400, "AuthorizationHeaderMalformed", "<Region>there-1</Region>");
  });
  const auto backend = s3(server);
  EXPECT_EQ(as_text(backend->load_all(kPack)), "contents");
  EXPECT_EQ(as_text(backend->load_all(kPack)), "contents");
  EXPECT_EQ(server.seen().size(), 3U);
}

TEST(S3, credentials_that_expire_are_asked_for_again) {
  const HttpScript server([](const Request& request) {
    return request.head.find("token: second") != std::string::npos ? HttpScript::reply(200, "contents")
                                                                   : failure(400, "ExpiredToken");
  });
  int asked = 0;
  S3Options options = with_example();
  options.credentials = [&] { return with_token(++asked == 1 ? "first" : "second"); };
  const auto backend = s3(server, std::move(options));
  EXPECT_EQ(as_text(backend->load_all(kPack)), "contents");
  EXPECT_EQ(asked, 2);
}

TEST(S3, credentials_that_expire_for_several_at_once_are_asked_for_once) {
  constexpr int kAtOnce = 4;
  std::latch all(kAtOnce);
  const HttpScript server([&](const Request& request) {
    if (request.head.find("token: second") != std::string::npos) return HttpScript::reply(200, "contents");
    all.arrive_and_wait();
    return failure(400, "ExpiredToken");
  });
  std::atomic<int> asked = 0;
  S3Options options = with_example();
  options.credentials = [&] { return with_token(++asked == 1 ? "first" : "second"); };
  const auto backend = s3(server, std::move(options));
  std::vector<std::jthread> threads;
  for (int i = 0; i < kAtOnce; ++i)
    threads.emplace_back([&] {
      try {
        EXPECT_EQ(as_text(backend->load_all(kPack)), "contents");
      } catch (const Error& error) {
        ADD_FAILURE() << error.what();
      }
    });
  threads.clear();
  EXPECT_EQ(asked, 2);
}

TEST(S3, why_HEAD_failed_is_asked_for) {
  const HttpScript server([](const Request& request) {
    return request.method == "HEAD" ? Reply{"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"}
                                    : failure(403, "InvalidAccessKeyId");
  });
  const Error error = error_of([&] { s3(server)->stat(kPack); });
  EXPECT_THAT(error.what(), HasSubstr("InvalidAccessKeyId"));
  EXPECT_THAT(error.what(), Not(HasSubstr("EXAMPLEKEY")));
}

// A real server, named by the environment (tests/servers/s3.py): without one, these are no tests.
class ServerPlace final : public SuitePlace {
 public:
  ServerPlace(std::string address, S3Options::Lookup lookup)
      : address_(std::move(address)), lookup_(lookup) {}
  std::unique_ptr<Backend> open() override {
    S3Options options =
        s3_options({},
                   [](const char* name) -> std::optional<std::string> {
                     const char* value = std::getenv(name);
                     return value == nullptr ? std::nullopt : std::optional<std::string>(value);
                   },
                   {});
    options.lookup = lookup_;
    return open_s3(parse_s3_place(address_), std::move(options));
  }

 private:
  const std::string address_;
  const S3Options::Lookup lookup_;
};

std::vector<MakePlace> server_places() {
  const char* const address = std::getenv("RESPALDO_TEST_S3");
  if (address == nullptr) return {};
  const auto make = [base = std::string(address)](S3Options::Lookup lookup) {
    return [base, lookup] {
      static int number = 0;
      return std::make_unique<ServerPlace>(fmt::format("{}/{}/place%20{}", base, ::getpid(), ++number),
                                           lookup);
    };
  };
  return {make(S3Options::Lookup::path), make(S3Options::Lookup::dns)};
}

INSTANTIATE_TEST_SUITE_P(s3, BackendSuite, ::testing::ValuesIn(server_places()));

class S3Server : public ::testing::TestWithParam<std::string> {
 protected:
  static S3Options options() {
    return s3_options({},
                      [](const char* name) -> std::optional<std::string> {
                        const char* value = std::getenv(name);
                        return value == nullptr ? std::nullopt : std::optional<std::string>(value);
                      },
                      {});
  }
  static std::unique_ptr<Backend> open(const S3Place& place, S3Options how) {
    return open_s3(place, std::move(how));
  }
};

std::vector<std::string> servers() {
  const char* const address = std::getenv("RESPALDO_TEST_S3");
  return address == nullptr ? std::vector<std::string>{} : std::vector<std::string>{address};
}

TEST_P(S3Server, more_than_a_page_is_listed) {
  const auto backend = open(parse_s3_place(GetParam() + "/pages"), options());
  backend->create();
  constexpr std::size_t kCount = 1'030;
  in_parallel(kCount, 16, [&](std::size_t i) {
    save(*backend, {FileType::pack, fmt::format("{:02x}{:062x}", i % 256, i)}, "");
    if (i % 20 == 0) save(*backend, {FileType::lock, fmt::format("{:064x}", i)}, "x");
  });
  auto files = backend->list(FileType::pack);
  std::ranges::sort(files, {}, &FileInfo::name);
  EXPECT_EQ(files.size(), kCount);
  EXPECT_TRUE(std::ranges::adjacent_find(files, {}, &FileInfo::name) == files.end());
  EXPECT_EQ(backend->list(FileType::lock).size(), 52U);
}

TEST_P(S3Server, the_server_compares_what_it_gets) {
  const S3Place place = parse_s3_place(GetParam() + "/checked");
  open(place, options())->create();
  S3Client client(place, options());
  // A checksum of other bytes. What was sent is not stored.
  const ByteView body = as_bytes("contents");
  const HttpAnswer answer = client.perform({.method = "PUT",
                                            .key = "checked/x",
                                            .headers = {{"content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="}},
                                            .body = {&body, 1}});
  EXPECT_FALSE(answer.success());
  EXPECT_EQ(s3_error(answer, "saving").kind(), ErrorKind::io) << s3_error(answer, "saving").what();
  EXPECT_EQ(client.perform({.method = "HEAD", .key = "checked/x"}).status, 404);
}

TEST_P(S3Server, locked_objects_stay) {
  const S3Place place = parse_s3_place(GetParam() + "-locked/a");
  S3Client client(place, options());
  ASSERT_TRUE(
      client.perform({.method = "PUT", .headers = {{"x-amz-bucket-object-lock-enabled", "true"}}}).success());
  S3Options how = options();
  how.retention = S3Options::Retention{true, std::chrono::hours(1)};
  how.storage_class = "STANDARD";
  const auto backend = open(place, std::move(how));
  backend->create();
  save(*backend, kPack, "contents", Durability::proven);
  const std::string key = "a/data/aa/" + kName;
  const HttpAnswer there = client.perform({.method = "HEAD", .key = key});
  EXPECT_EQ(there.header("x-amz-object-lock-mode"), "COMPLIANCE");
  const std::string version(there.header("x-amz-version-id"));
  ASSERT_FALSE(version.empty());
  EXPECT_EQ(client.perform({.method = "DELETE", .key = key, .query = {{"versionId", version}}}).status, 403);
  backend->remove(kPack);  // hidden, not gone
  EXPECT_FALSE(backend->stat(kPack));
  const HttpAnswer kept = client.perform({.key = key, .query = {{"versionId", version}}});
  EXPECT_EQ(as_text(kept.body), "contents");
  save(*backend, {FileType::lock, kName}, "lock");
  EXPECT_TRUE(
      client.perform({.method = "HEAD", .key = "a/locks/" + kName}).header("x-amz-object-lock-mode").empty());
}

INSTANTIATE_TEST_SUITE_P(s3, S3Server, ::testing::ValuesIn(servers()));
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(S3Server);

}  // namespace
}  // namespace respaldo::store
