// The words of the SFTP protocol, version 3 (draft-ietf-secsh-filexfer-02), with OpenSSH's extensions (its
// file PROTOCOL, section 4). What a server answers is foreign: every number is checked before it is used.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace respaldo::store::sftp {

enum class PacketType : std::uint8_t {
  init = 1,
  version = 2,
  open = 3,
  close = 4,
  read = 5,
  write = 6,
  fstat = 8,
  fsetstat = 10,
  opendir = 11,
  readdir = 12,
  remove = 13,
  mkdir = 14,
  stat = 17,
  rename = 18,
  status = 101,
  handle = 102,
  data = 103,
  name = 104,
  attributes = 105,
  extended = 200,
  extended_reply = 201,
};

enum class Status : std::uint32_t {
  ok = 0,
  eof = 1,
  no_such_file = 2,
  permission_denied = 3,
  failure = 4,
  bad_message = 5,
  no_connection = 6,
  connection_lost = 7,
  unsupported = 8,
};

// Flags of open.
inline constexpr std::uint32_t kRead = 1, kWrite = 2, kCreate = 8, kTruncate = 16, kExclusive = 32;

// A request; its length and number are filled in when it is sent.
class Request {
 public:
  explicit Request(PacketType type);
  PacketType type() const;
  static Request extended(std::string_view name);
  Request& u32(std::uint32_t value);
  Request& u64(std::uint64_t value);
  Request& text(std::string_view value);     // its length, then its bytes
  Request& permissions(std::uint32_t mode);  // attributes with nothing else
  Request& no_attributes() { return u32(0); }
  // The whole packet. REQUIRES that it is not init.
  std::string_view packet(std::uint32_t number);
  static std::string init();  // the first packet: our version

 private:
  std::string bytes_;
};

struct Attributes {
  std::optional<std::uint64_t> size;  // bytes
  std::optional<std::uint32_t> permissions;
  std::optional<std::uint32_t> changed;  // seconds since 1970
  bool may_be_file() const { return !permissions || (*permissions & 0170000) == 0100000; }
  bool may_be_folder() const { return !permissions || (*permissions & 0170000) == 0040000; }
};
struct Name {
  std::string name;
  Attributes attributes;
};
struct StatusAnswer {
  Status status = Status::failure;
  std::string message;  // printable, cut short
};
struct Limits {
  std::uint64_t packet = 0, read = 0, write = 0, handles = 0;  // 0: not told
};

// What a server sent behind the length: a type, a number, a body.
struct Answer {
  PacketType type = PacketType::status;
  std::uint32_t number = 0;
  Bytes body;
  std::chrono::nanoseconds latency{};  // since its request was handed over; the session knows
};

// A packet of the server never has more bytes than this.
inline constexpr std::uint32_t kLongestPacket = 1U << 20;

// Cuts a stream into packets.
class Framer {
 public:
  // The next whole packet of what was fed, without its length (type first). Error(corrupt) when the stream
  // cannot be SFTP.
  std::optional<Bytes> next();
  void feed(ByteView bytes);
  // What stands at the start of the stream, for a message about a server that speaks something else.
  std::string_view unread() const { return std::string_view(buffer_).substr(at_); }

 private:
  std::string buffer_;
  std::size_t at_ = 0;
};

// All of these throw Error(corrupt) when the bytes are not what they should be.
std::map<std::string, std::string> parse_version(
    ByteView packet);  // the extensions; Error(unsupported) below version 3
Answer parse_answer(Bytes packet);
StatusAnswer parse_status(const Answer& answer);
std::string parse_handle(const Answer& answer);
ByteView parse_data(const Answer& answer);  // lives as long as the answer
std::vector<Name> parse_names(const Answer& answer);
Attributes parse_attributes(const Answer& answer);
Limits parse_limits(const Answer& answer);             // of limits@openssh.com
std::uint64_t parse_free_space(const Answer& answer);  // bytes for us, of statvfs@openssh.com

}  // namespace respaldo::store::sftp
