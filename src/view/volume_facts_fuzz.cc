#include "base/error.h"
#include "view/volume_view.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace respaldo;
  try {
    const auto facts = view::VolumeFacts::parse(as_text({data, size}));
    // What was understood is written and understood again.
    const std::string once = facts.to_json();
    if (view::VolumeFacts::parse(once).to_json() != once) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
