#include "store/s3_credentials.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/printable.h"
#include "os/file.h"

namespace respaldo::store {

namespace {

constexpr std::uint64_t kFileLimit = 1U << 20;

std::optional<std::string> given(const Environment& environment, const char* name) {
  auto value = environment(name);
  return value && value->empty() ? std::nullopt : value;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  while (!text.empty() && kBlank.find(text.front()) != std::string_view::npos) text.remove_prefix(1);
  while (!text.empty() && kBlank.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  return text;
}

std::optional<os::Path> file_of(const Environment& environment, const char* variable, const char* name) {
  if (const auto path = given(environment, variable)) return *path;
  if (const auto home = given(environment, "HOME")) return os::Path(*home) / ".aws" / name;
  return std::nullopt;
}

std::string profile_of(const Environment& environment) {
  return given(environment, "AWS_PROFILE").value_or("default");
}

}  // namespace

std::optional<std::map<std::string, std::string>> profile_section(std::string_view text,
                                                                  std::string_view section) {
  std::optional<std::map<std::string, std::string>> found;
  bool inside = false;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view whole = text.substr(0, end), line = trimmed(whole);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      inside = line.back() == ']' && trimmed(line.substr(1, line.size() - 2)) == section;
      if (inside && !found) found.emplace();
    } else if (const auto equals = line.find('='); inside && equals != std::string_view::npos) {
      // An indented line belongs to the settings of one service.
      if (whole.front() != ' ' && whole.front() != '\t')
        found->insert_or_assign(std::string(trimmed(line.substr(0, equals))),
                                std::string(trimmed(line.substr(equals + 1))));
    }
  }
  return found;
}

S3Credentials find_s3_credentials(const Environment& environment) {
  const auto key = given(environment, "AWS_ACCESS_KEY_ID"),
             secret = given(environment, "AWS_SECRET_ACCESS_KEY");
  if (key && secret)
    return {*key, crypto::SecretText(*secret), given(environment, "AWS_SESSION_TOKEN").value_or("")};
  if (key || secret)
    throw Error(ErrorKind::usage,
                fmt::format("only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set"));
  const std::string profile = profile_of(environment);
  const auto file = file_of(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
  const auto text = file ? os::try_read_text(*file, kFileLimit) : std::nullopt;
  if (!text)
    throw Error(ErrorKind::usage, "there are no credentials for the S3 server",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ~/.aws/credentials");
  const auto section = profile_section(*text, profile);
  const auto field = [&](const char* name) {
    const auto it = section->find(name);
    return it == section->end() ? std::string() : it->second;
  };
  if (!section || field("aws_access_key_id").empty() || field("aws_secret_access_key").empty())
    throw Error(ErrorKind::usage,
                fmt::format("{} has no credentials for the profile '{}'", printable(file->native()),
                            printable(profile)),
                "AWS_PROFILE chooses another one");
  return {field("aws_access_key_id"), crypto::SecretText(field("aws_secret_access_key")),
          field("aws_session_token")};
}

std::optional<std::string> find_s3_region(const Environment& environment) {
  for (const char* name : {"AWS_DEFAULT_REGION", "AWS_REGION"})
    if (const auto region = given(environment, name)) return region;
  const auto file = file_of(environment, "AWS_CONFIG_FILE", "config");
  const auto text = file ? os::try_read_text(*file, kFileLimit) : std::nullopt;
  if (!text) return std::nullopt;
  const std::string profile = profile_of(environment);
  const auto section = profile_section(*text, profile == "default" ? profile : "profile " + profile);
  if (!section) return std::nullopt;
  const auto it = section->find("region");
  return it == section->end() || it->second.empty() ? std::nullopt : std::optional(it->second);
}

}  // namespace respaldo::store
