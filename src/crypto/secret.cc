#include "crypto/secret.h"

#include <openssl/crypto.h>

namespace respaldo::crypto {

void wipe(void* memory, std::size_t size) { OPENSSL_cleanse(memory, size); }

SecretText::SecretText(std::string_view text) : text_(text) {}

// A short std::string lives inside the object: it is copied and wiped by hand, not moved.
SecretText::SecretText(SecretText&& other) noexcept : text_(other.text_) { other = SecretText(); }

SecretText& SecretText::operator=(SecretText&& other) noexcept {
  if (this == &other) return *this;
  wipe(text_.data(), text_.size());
  text_ = other.text_;
  wipe(other.text_.data(), other.text_.size());
  other.text_.clear();
  return *this;
}

SecretText::~SecretText() { wipe(text_.data(), text_.size()); }

}  // namespace respaldo::crypto
