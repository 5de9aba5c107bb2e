// Key files: the master key, sealed with a key that is made of a password. docs/formats/restic.md "keys".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "crypto/crypto.h"
#include "repo/repository.h"

namespace respaldo::repo {

struct KeyFile {
  Timestamp created;
  std::string username, hostname;
  crypto::ScryptParameters scrypt;
  std::string salt, data;  // raw bytes
};

KeyFile parse_key_file(ByteView json);  // Error(corrupt)
// A new key file for `master`, as its JSON text.
std::string make_key_file(const crypto::MasterKey& master, std::string_view password,
                          const crypto::ScryptParameters& scrypt);
// Absent when the password is another one. Error(corrupt) when what it opens is not a key.
std::optional<crypto::MasterKey> open_key_file(const KeyFile& file, std::string_view password);
std::string name_of_key(ByteView json);
// The same in a thread of its own, begun at once. `json` is the whole file.
KnownKey derived_ahead(ByteView json, std::string_view password);

}  // namespace respaldo::repo
