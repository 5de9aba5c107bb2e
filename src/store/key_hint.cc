#include "store/key_hint.h"

#include "base/error.h"
#include "base/hex.h"
#include "crypto/crypto.h"
#include "store/cache_folder.h"

namespace respaldo::store {

namespace {

bool is_name(std::string_view text) { return text.size() == 64 && is_hex(text); }

}  // namespace

KeyHint::KeyHint(const os::Path& cache_folder, std::string_view location)
    : path_(cache_folder / "keys" / to_hex(crypto::sha256(as_bytes(location)))) {}

std::string KeyHint::read() const {
  try {
    if (auto text = os::try_read_text(path_, 65); text && is_name(*text)) return std::move(*text);
  } catch (const Error&) {
  }
  return {};
}

void KeyHint::write(const std::string& key) const {
  try {
    if (!is_name(key) || read() == key) return;
    make_folders(path_.parent_path());
    os::AtomicFile file(path_, 0600);
    file.write(as_bytes(key));
    file.commit(os::AtomicFile::Durability::later);
  } catch (const std::exception&) {
  }
}

}  // namespace respaldo::store
