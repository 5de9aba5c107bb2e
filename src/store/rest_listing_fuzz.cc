// Lists of a REST server from anywhere: only names of objects come out, and a list that is written again is
// read the same.
#include "base/error.h"
#include "base/hex.h"
#include "store/rest_listing.h"

using namespace respaldo;

namespace {

void require_name(const std::string& name) {
  if (name.size() != 64 || !is_hex(name)) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    for (const std::string& name : store::parse_rest_names(Bytes::copy_of({data, size}))) require_name(name);
  } catch (const Error&) {
  }
  std::vector<store::FileInfo> files;
  try {
    files = store::parse_rest_files(Bytes::copy_of({data, size}));
  } catch (const Error&) {
    return 0;
  }
  std::string text = "[";
  for (const store::FileInfo& file : files) {
    require_name(file.name);
    if (text.size() > 1) text += ',';
    text += "{\"size\":" + std::to_string(file.size) + ",\"name\":\"" + file.name + "\"}";
  }
  text += "]";
  const auto again = store::parse_rest_files(Bytes::copy_of(as_bytes(text)));
  if (again.size() != files.size()) __builtin_trap();
  for (std::size_t i = 0; i < files.size(); ++i)
    if (again[i].name != files[i].name || again[i].size != files[i].size) __builtin_trap();
  return 0;
}
