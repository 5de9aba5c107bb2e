// A key file from anywhere is read, and opening it with a password costs bounded work.
#include "base/error.h"
#include "repo/keys.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const repo::KeyFile file = repo::parse_key_file({data, size});
    // scrypt's cost is the file's to say, up to a limit that a unit test holds; here it would only be slow.
    const auto& cost = file.scrypt;
    if (cost.n <= 1024 && cost.r <= 8 && cost.p <= 4) (void)repo::open_key_file(file, "secret");
  } catch (const Error&) {
  }
  return 0;
}
