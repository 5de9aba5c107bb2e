#include "crypto/crypto.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <chrono>
#include <climits>

#include "base/error.h"
#include "crypto/scrypt_mix.h"
#include "crypto/sha256_lanes.h"

namespace respaldo::crypto {

namespace {

template <auto Release>
struct Releaser {
  template <class T>
  void operator()(T* object) const {
    Release(object);
  }
};
using DigestContext = std::unique_ptr<EVP_MD_CTX, Releaser<EVP_MD_CTX_free>>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Releaser<EVP_CIPHER_CTX_free>>;
using Mac = std::unique_ptr<EVP_MAC, Releaser<EVP_MAC_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, Releaser<EVP_MAC_CTX_free>>;

void require(bool success, const char* what) {
  if (!success) throw Error(ErrorKind::internal, fmt::format("OpenSSL: {} failed", what));
}

constexpr std::size_t kIvSize = 16, kTagSize = 16;

}  // namespace

Digest sha256(ByteView bytes) {
  Digest digest;
  require(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1,
          "SHA-256");
  return digest;
}

void sha256_many(std::span<const ByteView> messages, std::span<Digest> digests) {
  if (messages.size() != digests.size())
    throw Error(ErrorKind::internal, "as many digests as messages are wanted");
  if (messages.size() > 1 && have_sha_lanes()) return sha256_in_lanes(messages, digests);
  for (std::size_t i = 0; i < messages.size(); ++i) digests[i] = sha256(messages[i]);
}

struct Sha256::Impl {
  DigestContext context{EVP_MD_CTX_new()};
};
Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  require(EVP_DigestInit_ex2(impl_->context.get(), EVP_sha256(), nullptr) == 1, "SHA-256");
}
Sha256::~Sha256() = default;
void Sha256::update(ByteView bytes) {
  require(EVP_DigestUpdate(impl_->context.get(), bytes.data(), bytes.size()) == 1, "SHA-256");
}
Digest Sha256::finish() {
  Digest digest;
  require(EVP_DigestFinal_ex(impl_->context.get(), digest.data(), nullptr) == 1, "SHA-256");
  return digest;
}

void random_bytes(MutableBytes out) {
  if (RAND_bytes(out.data(), static_cast<int>(out.size())) != 1)
    throw Error(ErrorKind::io, "the system gives no random numbers");
}

MasterKey MasterKey::random() {
  MasterKey key;
  random_bytes({key.encrypt.data(), key.encrypt.size()});
  random_bytes({key.mac_k.data(), key.mac_k.size()});
  random_bytes({key.mac_r.data(), key.mac_r.size()});
  return key;
}

MasterKey MasterKey::clone() const {
  MasterKey copy;
  copy.encrypt = encrypt.clone();
  copy.mac_k = mac_k.clone();
  copy.mac_r = mac_r.clone();
  return copy;
}

namespace {

// OpenSSL's Poly1305 for AVX can return with the upper halves of the vector registers in use, and until they are
// cleared, code for SSE (the SHA extensions, zstd) runs at a third of its speed on some processors
// (docs/decisions/0012-vector-state.md).
#if defined(__x86_64__)
[[gnu::target("avx")]] void clear_upper_halves() { __builtin_ia32_vzeroupper(); }
void end_vector_code() {
  static const bool has_avx = __builtin_cpu_supports("avx") != 0;
  if (has_avx) clear_upper_halves();
}
#else
void end_vector_code() {}
#endif

}  // namespace

struct Cipher::Impl {
  CipherContext stream{EVP_CIPHER_CTX_new()}, block{EVP_CIPHER_CTX_new()};
  Mac mac{EVP_MAC_fetch(nullptr, "POLY1305", nullptr)};
  MacContext mac_context{mac ? EVP_MAC_CTX_new(mac.get()) : nullptr};
  SecretArray<32> one_time;  // mac_r, then the encrypted IV
  // Nonces come from the generator in batches: a call for each is measurable.
  std::array<std::uint8_t, 256 * kIvSize> nonces;
  std::size_t next_nonce = nonces.size();

  void next_iv(std::uint8_t* out) {
    if (next_nonce == nonces.size()) {
      random_bytes(nonces);
      next_nonce = 0;
    }
    std::memcpy(out, nonces.data() + next_nonce, kIvSize);
    next_nonce += kIvSize;
  }

  void tag(const std::uint8_t* iv, ByteView ciphertext, std::uint8_t* out) {
    int length = 0;
    require(EVP_EncryptUpdate(block.get(), one_time.data() + 16, &length, iv, kIvSize) == 1, "AES-128");
    std::size_t size = 0;
    require(EVP_MAC_init(mac_context.get(), one_time.data(), one_time.size(), nullptr) == 1 &&
                EVP_MAC_update(mac_context.get(), ciphertext.data(), ciphertext.size()) == 1 &&
                EVP_MAC_final(mac_context.get(), out, &size, kTagSize) == 1 && size == kTagSize,
            "Poly1305");
    end_vector_code();
  }

  void crypt(const std::uint8_t* iv, ByteView in, std::uint8_t* out) {
    require(EVP_EncryptInit_ex2(stream.get(), nullptr, nullptr, iv, nullptr) == 1, "AES-256-CTR");
    for (std::size_t at = 0; at < in.size();) {
      const auto part = static_cast<int>(std::min<std::size_t>(in.size() - at, 1U << 30));
      int length = 0;
      require(EVP_EncryptUpdate(stream.get(), out + at, &length, in.data() + at, part) == 1, "AES-256-CTR");
      at += static_cast<std::size_t>(part);
    }
  }
};

Cipher::Cipher(const MasterKey& key) : impl_(std::make_unique<Impl>()) {
  require(impl_->stream && impl_->block && impl_->mac_context, "making a cipher");
  require(
      EVP_EncryptInit_ex2(impl_->stream.get(), EVP_aes_256_ctr(), key.encrypt.data(), nullptr, nullptr) == 1,
      "AES-256-CTR");
  require(
      EVP_EncryptInit_ex2(impl_->block.get(), EVP_aes_128_ecb(), key.mac_k.data(), nullptr, nullptr) == 1 &&
          EVP_CIPHER_CTX_set_padding(impl_->block.get(), 0) == 1,
      "AES-128");
  std::memcpy(impl_->one_time.data(), key.mac_r.data(), 16);
}
Cipher::~Cipher() = default;
Cipher::Cipher(Cipher&&) noexcept = default;

void Cipher::seal(ByteView plain, MutableBytes out) {
  if (out.size() != plain.size() + kOverhead)
    throw Error(ErrorKind::internal, "sealing into a buffer of the wrong size");
  impl_->next_iv(out.data());
  impl_->crypt(out.data(), plain, out.data() + kIvSize);
  impl_->tag(out.data(), {out.data() + kIvSize, plain.size()}, out.data() + kIvSize + plain.size());
}

Bytes Cipher::seal(ByteView plain) {
  Bytes out(plain.size() + kOverhead);
  seal(plain, out);
  return out;
}

bool Cipher::open(ByteView sealed, MutableBytes out) {
  if (sealed.size() < kOverhead || out.size() != sealed.size() - kOverhead) return false;
  const std::uint8_t* iv = sealed.data();
  const ByteView ciphertext = sealed.subspan(kIvSize, out.size());
  std::array<std::uint8_t, kTagSize> tag;
  impl_->tag(iv, ciphertext, tag.data());
  if (CRYPTO_memcmp(tag.data(), sealed.data() + kIvSize + out.size(), kTagSize) != 0) return false;
  impl_->crypt(iv, ciphertext, out.data());
  return true;
}

std::optional<Bytes> Cipher::open(ByteView sealed) {
  if (sealed.size() < kOverhead) return std::nullopt;
  Bytes out(sealed.size() - kOverhead);
  if (!open(sealed, out)) return std::nullopt;
  return out;
}

MasterKey scrypt(std::string_view password, ByteView salt, const ScryptParameters& parameters) {
  constexpr std::uint64_t kMostMemory = std::uint64_t{1} << 30;
  const auto [n, r, p] = parameters;
  // Bounded factors first, so that the product cannot overflow.
  if (n < 2 || (n & (n - 1)) != 0 || n > kMostMemory || r == 0 || r > (1U << 20) || p == 0 ||
      p > (1U << 20) || 128 * n * r > kMostMemory || std::uint64_t{128} * r * p > kMostMemory)
    throw Error(ErrorKind::corrupt, fmt::format("scrypt parameters N={} r={} p={} are absurd", n, r, p));
  constexpr std::size_t kLongest = INT_MAX;  // what OpenSSL counts with
  if (password.size() > kLongest || salt.size() > kLongest)
    throw Error(ErrorKind::usage, "a password or its salt is longer than 2 GiB");
  const auto pbkdf2 = [&](ByteView with, MutableBytes out) {
    require(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), with.data(),
                              static_cast<int>(with.size()), 1, EVP_sha256(), static_cast<int>(out.size()),
                              out.data()) == 1,
            "PBKDF2");
  };
  struct Wiped : Bytes {
    using Bytes::Bytes;
    ~Wiped() { wipe(data(), size()); }
  } blocks(std::size_t{128} * r * p);
  pbkdf2(salt, blocks.span());
  scrypt_mix(blocks.span(), n, r);
  SecretArray<64> derived;
  pbkdf2(blocks, {derived.data(), derived.size()});
  MasterKey key;
  std::memcpy(key.encrypt.data(), derived.data(), 32);
  std::memcpy(key.mac_k.data(), derived.data() + 32, 16);
  std::memcpy(key.mac_r.data(), derived.data() + 48, 16);
  return key;
}

ScryptParameters calibrate_scrypt(int milliseconds) {
  // Measured with one block: several cost less than their number, here and where passwords are guessed.
  ScryptParameters parameters;
  const std::array<std::uint8_t, 64> salt{};
  const auto start = std::chrono::steady_clock::now();
  scrypt("calibration", salt, parameters);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  const double times = milliseconds / std::max(took.count(), 1.0);
  parameters.p = static_cast<std::uint32_t>(std::clamp(times, 3.0, 64.0));
  return parameters;
}

}  // namespace respaldo::crypto
