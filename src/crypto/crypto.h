// restic's cryptography: AES-256-CTR with Poly1305-AES, scrypt, SHA-256. docs/formats/restic.md.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "crypto/secret.h"

namespace respaldo::crypto {

using Digest = std::array<std::uint8_t, 32>;

// OpenSSL's SHA-256. Thread-safe.
Digest sha256(ByteView bytes);
// The digests of several messages, in their order: faster than one after the other where the processor can.
// REQUIRES as many digests as messages. Thread-safe.
void sha256_many(std::span<const ByteView> messages, std::span<Digest> digests);
// Piecewise.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(ByteView bytes);
  Digest finish();  // once

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

void random_bytes(MutableBytes out);  // Error(io) when the system has none

struct MasterKey {
  SecretArray<32> encrypt;
  SecretArray<16> mac_k;
  SecretArray<16> mac_r;
  static MasterKey random();
  MasterKey clone() const;
};

inline constexpr std::size_t kOverhead = 32;  // IV and tag around every sealed item

// Seals and opens with one key; keeps cipher contexts, so one object per thread. IV || ciphertext || tag.
class Cipher {
 public:
  explicit Cipher(const MasterKey& key);
  ~Cipher();
  Cipher(Cipher&&) noexcept;

  // out.size() == plain.size() + kOverhead; out may be the same memory only when plain begins at out + 16.
  void seal(ByteView plain, MutableBytes out);
  Bytes seal(ByteView plain);
  // out.size() == sealed.size() - kOverhead. False when the tag does not match (out is then untouched) or the
  // input is too short. In place is allowed when out begins at sealed + 16.
  bool open(ByteView sealed, MutableBytes out);
  std::optional<Bytes> open(ByteView sealed);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct ScryptParameters {
  std::uint64_t n = 32768;
  std::uint32_t r = 8, p = 1;
};
// Key derived from a password (restic's user key). Error(corrupt) for parameters that are absurd: n not a power
// of two, or tables of more than 1 GiB; Error(io) when their memory cannot be had.
MasterKey scrypt(std::string_view password, ByteView salt, const ScryptParameters& parameters);
// Parameters that cost about `milliseconds` here when block is mixed after block in 32 MiB (scrypt() is up to three times
// as fast, in 96 MiB); never less than OWASP's Password Storage Cheat Sheet wants (N = 2^15, r = 8: p = 3). Every command
// that opens a repository pays this once.
ScryptParameters calibrate_scrypt(int milliseconds = 250);

}  // namespace respaldo::crypto
