#include "cli/path_fields.h"

#include "base/utf8.h"
#include "crypto/base64.h"

namespace respaldo::cli {

Json path_fields(const std::string& path) {
  Json json = {{"path", path}};
  if (!is_utf8(path)) json["path_raw"] = crypto::to_base64(as_bytes(path));
  return json;
}

Json path_fields(const std::string& path, const Json& further) {
  Json json = path_fields(path);
  json.update(further);
  return json;
}

}  // namespace respaldo::cli
