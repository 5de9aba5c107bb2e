// restic's REST protocol, versions 1 and 2: the client.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "store/backend.h"
#include "store/http.h"

namespace respaldo::store {

struct RestPlace {
  HttpUrl url;
};

// What stands behind "rest:". Without credentials in the address, those of $RESTIC_REST_USERNAME and
// $RESTIC_REST_PASSWORD. Error(usage).
RestPlace parse_rest_place(std::string_view text,
                           const std::function<std::optional<std::string>(const char*)>& environment);

// The server acknowledges what it has stored: Durability now and at_sync are one, proven reads back.
// respaldo's own types have no place in the protocol: they are never there, and saving one is
// Error(unsupported).
std::unique_ptr<Backend> open_rest(const RestPlace& place, const HttpOptions& options);

}  // namespace respaldo::store
