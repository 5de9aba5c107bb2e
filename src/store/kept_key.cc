#include "store/kept_key.h"

#include "base/error.h"
#include "base/hex.h"
#include "crypto/crypto.h"
#include "store/cache_folder.h"

namespace respaldo::store {

namespace {

constexpr std::uint64_t kLongest = 64U << 10;

}  // namespace

KeptKey::KeptKey(const os::Path& cache_folder, std::string_view location)
    : path_(cache_folder / "keys" / to_hex(crypto::sha256(as_bytes(location)))) {}

std::string KeptKey::read() const {
  try {
    if (auto text = os::try_read_text(path_, kLongest)) return std::move(*text);
  } catch (const Error&) {
  }
  return {};
}

void KeptKey::write(ByteView file_bytes) const {
  try {
    if (file_bytes.empty() || file_bytes.size() > kLongest || read() == as_text(file_bytes)) return;
    make_folders(path_.parent_path());
    os::AtomicFile file(path_, 0600);
    file.write(file_bytes);
    file.commit(os::AtomicFile::Durability::later);
  } catch (const std::exception&) {
  }
}

}  // namespace respaldo::store
