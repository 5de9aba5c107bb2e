// Whatever a program says in place of a report: rows, or Error.
#include "base/error.h"
#include "engine/kernel/tools/lvm_rows.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto quietly = [](auto&& body) {
    try {
      body();
    } catch (const Error&) {
    }
  };
  quietly([&] { (void)engine::parse_lvs(text); });
  quietly([&] { (void)engine::parse_vgs(text); });
  quietly([&] { (void)engine::parse_pvs(text); });
  return 0;
}
