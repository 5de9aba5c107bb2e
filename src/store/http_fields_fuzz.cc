// The first byte says which: a Content-Range from anywhere is consistent, an address from anywhere never
// shows its password.
#include "base/error.h"
#include "store/http.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = as_text({data + 1, size - 1});
  if (data[0] == 'r') {
    const auto range = store::parse_content_range(text);
    if (range && range->span && range->span->first > range->span->second) __builtin_trap();
    if (range && range->span && range->size && range->span->second >= *range->size) __builtin_trap();
    return 0;
  }
  try {
    const store::HttpUrl url = store::parse_http_url(text);
    if (!url.path.starts_with('/') || !url.path.ends_with('/')) __builtin_trap();
    if (url.base().find('@') < url.base().size() - url.path.size()) __builtin_trap();
    const std::string shown = url.shown();
    if (url.password && shown.find(":***@") == std::string::npos) __builtin_trap();
  } catch (const Error& error) {
    // No message of ours has this sign.
    if (std::string_view(error.what()).find('@') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
