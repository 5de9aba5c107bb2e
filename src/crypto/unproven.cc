#include "crypto/unproven.h"

#include <openssl/evp.h>

#include <memory>

#include "base/error.h"

namespace respaldo::crypto {

Bytes open_unproven(const MasterKey& key, ByteView sealed) {
  constexpr std::size_t kIvSize = 16;
  if (sealed.size() < kOverhead) throw Error(ErrorKind::internal, "opening what is too short to be sealed");
  Bytes plain(sealed.size() - kOverhead);
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> stream(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int length = 0;
  if (!stream ||
      EVP_EncryptInit_ex2(stream.get(), EVP_aes_256_ctr(), key.encrypt.data(), sealed.data(), nullptr) != 1 ||
      EVP_EncryptUpdate(stream.get(), plain.data(), &length, sealed.data() + kIvSize, static_cast<int>(plain.size())) != 1)
    throw Error(ErrorKind::internal, "OpenSSL failed: AES-256-CTR");
  return plain;
}

}  // namespace respaldo::crypto
