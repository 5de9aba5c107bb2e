// Whatever a disk left of a journal.
#include "journal/journal.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)journal::parse_journal({reinterpret_cast<const char*>(data), size});
  return 0;
}
