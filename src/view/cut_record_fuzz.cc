#include "base/error.h"
#include "view/cut_record.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace respaldo;
  try {
    const auto record = view::CutRecord::parse(as_text({data, size}));
    const std::string once = record.to_json();
    if (view::CutRecord::parse(once).to_json() != once) __builtin_trap();
    std::uint64_t done = 0;
    for (const Extent& extent : record.content) {
      if (extent.offset < done || extent.empty()) __builtin_trap();
      done = extent.end();
    }
  } catch (const Error&) {
  }
  return 0;
}
