// The first byte chooses what the rest is taken for: a stream in pieces, or the body of one answer.
#include "store/sftp_packet.h"

using namespace respaldo;
using namespace respaldo::store::sftp;

namespace {

void understand(Bytes packet) {
  try {
    parse_version(packet);
  } catch (const Error&) {
  }
  Answer answer;
  try {
    answer = parse_answer(std::move(packet));
  } catch (const Error&) {
    return;
  }
  const auto try_all = [&](PacketType type) {
    answer.type = type;
    const auto attempt = [&](auto parse) {
      try {
        parse(answer);
      } catch (const Error&) {
      }
    };
    attempt([](const Answer& a) { parse_status(a); });
    attempt([](const Answer& a) { parse_handle(a); });
    attempt([](const Answer& a) {
      if (parse_data(a).size() > a.body.size()) __builtin_trap();
    });
    attempt([](const Answer& a) {
      if (parse_names(a).size() > a.body.size()) __builtin_trap();
    });
    attempt([](const Answer& a) { parse_attributes(a); });
    attempt([](const Answer& a) { parse_limits(a); });
    attempt([](const Answer& a) { parse_free_space(a); });
  };
  const PacketType own = answer.type;
  try_all(own);
  for (const PacketType type : {PacketType::status, PacketType::handle, PacketType::data, PacketType::name,
                                PacketType::attributes, PacketType::extended_reply})
    try_all(type);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView all{data + 1, size - 1};
  const std::size_t piece = data[0] == 0 ? std::max<std::size_t>(all.size(), 1) : data[0];
  Framer framer;
  std::size_t told = 0;
  try {
    for (std::size_t at = 0; at < all.size(); at += piece) {
      framer.feed(all.subspan(at, std::min(piece, all.size() - at)));
      while (auto packet = framer.next()) {
        told += 4 + packet->size();
        understand(std::move(*packet));
      }
    }
    if (told + framer.unread().size() != all.size()) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
