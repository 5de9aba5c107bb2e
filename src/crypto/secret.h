// Memory that is wiped when released.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace respaldo::crypto {

void wipe(void* memory, std::size_t size);

// Fixed-size key bytes; copies are counted as copies of a secret, so it only moves or is clone()d.
template <std::size_t N>
class SecretArray {
 public:
  SecretArray() { bytes_.fill(0); }
  SecretArray(SecretArray&& other) noexcept : bytes_(other.bytes_) { other.clear(); }
  SecretArray& operator=(SecretArray&& other) noexcept {
    bytes_ = other.bytes_;
    if (this != &other) other.clear();
    return *this;
  }
  ~SecretArray() { clear(); }
  SecretArray clone() const {
    SecretArray copy;
    copy.bytes_ = bytes_;
    return copy;
  }
  std::uint8_t* data() { return bytes_.data(); }
  const std::uint8_t* data() const { return bytes_.data(); }
  static constexpr std::size_t size() { return N; }
  ByteView view() const { return {bytes_.data(), N}; }

 private:
  void clear() { wipe(bytes_.data(), N); }
  std::array<std::uint8_t, N> bytes_;
};

// Secret text (a password).
class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(std::string_view text);
  SecretText(SecretText&& other) noexcept;
  SecretText& operator=(SecretText&& other) noexcept;
  ~SecretText();
  std::string_view view() const { return text_; }
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

}  // namespace respaldo::crypto
