#include "store/sftp_packet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/endian.h"
#include "base/printable.h"

namespace respaldo::store::sftp {

namespace {

constexpr std::uint32_t kVersion = 3;
constexpr std::size_t kLongestHandle = 256;       // by the protocol
constexpr std::size_t kLongestMessage = 200;      // of a server's text that is shown
constexpr std::size_t kSmallestName = 4 + 4 + 4;  // of an entry in a listing
constexpr std::size_t kMostExtensions = 1000;

[[noreturn]] void malformed(std::string_view what) {
  throw Error(ErrorKind::corrupt, fmt::format("the SFTP server sent {} that cannot be right", what));
}

std::uint32_t load_be32(const void* at) {
  Be32 value;
  std::memcpy(&value, at, 4);
  return value.get();
}

class Reader {
 public:
  Reader(ByteView bytes, std::string_view what) : left_(bytes), what_(what) {}
  std::uint32_t u32() { return load_be32(take(4).data()); }
  std::uint64_t u64() {
    const std::uint64_t high = u32();
    return high << 32 | u32();
  }
  ByteView string() { return take(u32()); }
  std::string text() { return std::string(as_text(string())); }
  std::size_t left() const { return left_.size(); }

  Attributes attributes() {
    constexpr std::uint32_t kSize = 1, kOwner = 2, kPermissions = 4, kTimes = 8, kExtended = 1U << 31;
    const std::uint32_t flags = u32();
    Attributes found;
    if (flags & kSize) found.size = u64();
    if (flags & kOwner) take(8);
    if (flags & kPermissions) found.permissions = u32();
    if (flags & kTimes) {
      u32();  // of access
      found.changed = u32();
    }
    if (flags & kExtended)
      for (std::uint32_t count = u32(); count > 0; --count) string(), string();
    return found;
  }

 private:
  ByteView take(std::size_t length) {
    if (length > left_.size()) malformed(what_);
    const ByteView found = left_.first(length);
    left_ = left_.subspan(length);
    return found;
  }
  ByteView left_;
  const std::string_view what_;
};

// The body of an answer that must be of `type`.
Reader reader_of(const Answer& answer, PacketType type, std::string_view what) {
  if (answer.type != type)
    throw Error(ErrorKind::corrupt,
                fmt::format("the SFTP server answered with a packet of type {} instead of {}",
                            static_cast<unsigned>(answer.type), what));
  return Reader(answer.body, what);
}

}  // namespace

Request::Request(PacketType type) : bytes_(9, '\0') { bytes_[4] = static_cast<char>(type); }
PacketType Request::type() const { return static_cast<PacketType>(bytes_[4]); }
Request Request::extended(std::string_view name) {
  Request request(PacketType::extended);
  request.text(name);
  return request;
}
Request& Request::u32(std::uint32_t value) {
  Be32 be;
  be.set(value);
  bytes_.append(reinterpret_cast<const char*>(be.bytes), 4);
  return *this;
}
Request& Request::u64(std::uint64_t value) {
  return u32(static_cast<std::uint32_t>(value >> 32)).u32(static_cast<std::uint32_t>(value));
}
Request& Request::text(std::string_view value) {
  u32(static_cast<std::uint32_t>(value.size()));
  bytes_ += value;
  return *this;
}
Request& Request::permissions(std::uint32_t mode) { return u32(4).u32(mode); }

std::string_view Request::packet(std::uint32_t number) {
  Be32 be;
  be.set(static_cast<std::uint32_t>(bytes_.size() - 4));
  std::memcpy(bytes_.data(), be.bytes, 4);
  be.set(number);
  std::memcpy(bytes_.data() + 5, be.bytes, 4);
  return bytes_;
}

std::string Request::init() { return {0, 0, 0, 5, static_cast<char>(PacketType::init), 0, 0, 0, kVersion}; }

void Framer::feed(ByteView bytes) {
  if (at_ > 0 && at_ == buffer_.size()) buffer_.clear(), at_ = 0;
  buffer_ += as_text(bytes);
}

std::optional<Bytes> Framer::next() {
  const std::string_view left = unread();
  if (left.size() < 4) return std::nullopt;
  const std::uint32_t length = load_be32(left.data());
  if (length == 0 || length > kLongestPacket) malformed("a packet with a length");
  if (left.size() - 4 < length) {
    // The start goes before what comes, once, and not with each packet.
    buffer_.erase(0, at_);
    at_ = 0;
    return std::nullopt;
  }
  at_ += 4 + length;
  return Bytes::copy_of(as_bytes(left.substr(4, length)));
}

std::map<std::string, std::string> parse_version(ByteView packet) {
  if (packet.size() < 5 || packet[0] != static_cast<std::uint8_t>(PacketType::version))
    malformed("a greeting");
  Reader reader(packet.subspan(1), "a greeting");
  if (const std::uint32_t version = reader.u32(); version < kVersion)
    throw Error(ErrorKind::unsupported,
                fmt::format("the SFTP server speaks version {} of the protocol", version),
                "version 3 is needed: that of every OpenSSH");
  std::map<std::string, std::string> extensions;
  while (reader.left() > 0 && extensions.size() < kMostExtensions) {
    std::string name = reader.text();
    extensions[std::move(name)] = reader.text();
  }
  return extensions;
}

Answer parse_answer(Bytes packet) {
  if (packet.size() < 5) malformed("an answer");
  Answer answer;
  answer.type = static_cast<PacketType>(packet.data()[0]);
  answer.number = load_be32(packet.data() + 1);
  // In place: data is much, and comes often.
  std::memmove(packet.data(), packet.data() + 5, packet.size() - 5);
  packet.resize(packet.size() - 5);
  answer.body = std::move(packet);
  return answer;
}

StatusAnswer parse_status(const Answer& answer) {
  Reader reader = reader_of(answer, PacketType::status, "a status");
  StatusAnswer found;
  found.status = static_cast<Status>(reader.u32());
  // Some servers leave out text and language.
  if (reader.left() > 0) found.message = printable(as_text(reader.string()).substr(0, kLongestMessage));
  return found;
}

std::string parse_handle(const Answer& answer) {
  Reader reader = reader_of(answer, PacketType::handle, "a handle");
  std::string handle = reader.text();
  if (handle.empty() || handle.size() > kLongestHandle) malformed("a handle");
  return handle;
}

ByteView parse_data(const Answer& answer) { return reader_of(answer, PacketType::data, "data").string(); }

std::vector<Name> parse_names(const Answer& answer) {
  Reader reader = reader_of(answer, PacketType::name, "names");
  const std::uint32_t count = reader.u32();
  if (count > reader.left() / kSmallestName) malformed("names");
  std::vector<Name> names(count);
  for (Name& name : names) {
    name.name = reader.text();
    reader.string();  // as ls -l shows it
    name.attributes = reader.attributes();
  }
  return names;
}

Attributes parse_attributes(const Answer& answer) {
  return reader_of(answer, PacketType::attributes, "attributes").attributes();
}

Limits parse_limits(const Answer& answer) {
  Reader reader = reader_of(answer, PacketType::extended_reply, "limits");
  Limits limits;
  for (std::uint64_t* limit : {&limits.packet, &limits.read, &limits.write, &limits.handles})
    *limit = reader.u64();
  return limits;
}

std::uint64_t parse_free_space(const Answer& answer) {
  Reader reader = reader_of(answer, PacketType::extended_reply, "the space of a filesystem");
  reader.u64();  // block size
  const std::uint64_t unit = reader.u64();
  reader.u64(), reader.u64();  // all blocks, free ones
  const std::uint64_t available = reader.u64();
  std::uint64_t bytes = 0;
  return __builtin_mul_overflow(unit, available, &bytes) ? ~std::uint64_t{0} : bytes;
}

}  // namespace respaldo::store::sftp
