#include "view/base_facts.h"

#include "base/bytes.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace respaldo;
  try {
    const auto record = view::BaseRecord::parse(as_text({data, size}));
    // What was understood is written and understood again.
    const std::string once = record.add_to("{}");
    if (view::BaseRecord::parse(once).add_to("{}") != once) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
