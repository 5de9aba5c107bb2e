#include <fmt/format.h>

#include <charconv>
#include <filesystem>

#include "base/printable.h"
#include "store/sftp.h"

namespace respaldo::store {

namespace {

[[noreturn]] void malformed(const std::string& rest, std::string_view why) {
  throw Error(ErrorKind::usage, fmt::format("'{}' names no place: {}", display_location("sftp:" + rest), why),
              "write sftp:user@host:/folder, or sftp://user@host:port//folder");
}

std::string clean(const std::string& path) {
  std::string found = std::filesystem::path(path).lexically_normal().native();
  while (found.size() > 1 && found.ends_with('/')) found.pop_back();
  if (found.starts_with("//")) found.erase(0, found.find_first_not_of('/') - 1);
  return found.empty() ? "." : found;
}

void check(const SftpPlace& place, const std::string& rest) {
  if (place.host.empty()) malformed(rest, "the host is missing");
  // Where ssh looks for options.
  if (place.host.starts_with('-') || place.user.starts_with('-')) malformed(rest, "no name begins with '-'");
  for (const std::string* text : {&place.host, &place.user, &place.path})
    if (text->find('\0') != std::string::npos || text->find('\n') != std::string::npos)
      malformed(rest, "a line ends in it");
  if (place.path.starts_with('~'))
    malformed(rest, "'~' means nothing to SFTP; a relative path begins at home");
}

std::uint16_t parse_port(const std::string& text, const std::string& rest) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0)
    malformed(rest, fmt::format("'{}' is no port", printable(text)));
  return port;
}

SftpPlace parse_url(const std::string& rest) {
  SftpPlace place;
  const std::size_t slash = rest.find('/', 2);
  std::string authority = rest.substr(2, slash == std::string::npos ? slash : slash - 2);
  if (slash != std::string::npos) place.path = rest.substr(slash + 1);
  if (place.path.empty()) malformed(rest, "the folder is missing");
  place.path = clean(place.path);
  if (const std::size_t at = authority.rfind('@'); at != std::string::npos) {
    place.user = authority.substr(0, at);
    place.user.erase(std::min(place.user.find(':'), place.user.size()));  // ssh takes no password from us
    authority.erase(0, at + 1);
  }
  if (authority.starts_with('[')) {
    const std::size_t bracket = authority.find(']');
    if (bracket == std::string::npos) malformed(rest, "a ']' is missing");
    place.host = authority.substr(1, bracket - 1);
    authority.erase(0, bracket + 1);
  } else {
    place.host = authority.substr(0, authority.find(':'));
    authority.erase(0, place.host.size());
  }
  if (authority.starts_with(':'))
    place.port = parse_port(authority.substr(1), rest);
  else if (!authority.empty())
    malformed(rest, "the host is not clear");
  return place;
}

SftpPlace parse_plain(const std::string& rest) {
  SftpPlace place;
  // An IPv6 address stands in brackets here, too.
  std::size_t colon = rest.find(':');
  const std::size_t at_sign = rest.rfind('@', colon), begin = at_sign == std::string::npos ? 0 : at_sign + 1;
  if (rest.substr(begin).starts_with('[')) {
    const std::size_t bracket = rest.find(']', begin);
    if (bracket == std::string::npos) malformed(rest, "a ']' is missing");
    colon = rest.find(':', bracket);
  }
  if (colon == std::string::npos) malformed(rest, "a ':' between host and folder is missing");
  place.path = clean(rest.substr(colon + 1));
  place.host = rest.substr(0, colon);
  if (const std::size_t at = place.host.rfind('@'); at != std::string::npos) {
    place.user = place.host.substr(0, at);
    place.host.erase(0, at + 1);
  }
  if (place.host.starts_with('[') && place.host.ends_with(']'))
    place.host = place.host.substr(1, place.host.size() - 2);
  return place;
}

}  // namespace

SftpPlace parse_sftp_place(const std::string& rest) {
  SftpPlace place = rest.starts_with("//") ? parse_url(rest) : parse_plain(rest);
  check(place, rest);
  return place;
}

std::vector<std::string> ssh_command(const SftpPlace& place, bool may_ask,
                                     const std::vector<std::string>& more) {
  // What was given comes first: of two values ssh takes the first. A host that is silent for a minute is
  // gone.
  std::vector<std::string> command{"ssh"};
  command.insert(command.end(), more.begin(), more.end());
  command.insert(command.end(), {"-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15", "-o",
                                 "ServerAliveCountMax=4", "-o", "ClearAllForwardings=yes", "-a", "-x"});
  if (!may_ask) command.insert(command.end(), {"-o", "BatchMode=yes"});
  if (place.port != 0) command.insert(command.end(), {"-p", fmt::format("{}", place.port)});
  if (!place.user.empty()) command.insert(command.end(), {"-l", place.user});
  command.insert(command.end(), {"-s", "--", place.host, "sftp"});
  return command;
}

}  // namespace respaldo::store
