// XML of an S3 server from anywhere: read or refused; a page that goes on tells how.
#include "base/error.h"
#include "store/s3_xml.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto failure = store::parse_s3_failure({data, size});
  if (failure && failure->code.empty()) __builtin_trap();
  try {
    const store::S3Page page = store::parse_s3_page({data, size});
    if (failure) __builtin_trap();
    // Every key takes more than its own text.
    std::size_t text = 0;
    for (const auto& [key, bytes] : page.keys) text += key.size() + 1;
    if (text > size) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
