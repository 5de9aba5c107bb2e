#include "crypto/crypto.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "base/error.h"
#include "base/hex.h"
#include "testing/temp.h"

namespace respaldo::crypto {
namespace {

MasterKey key_of(std::uint8_t encrypt, std::uint8_t k, std::uint8_t r) {
  MasterKey key;
  std::memset(key.encrypt.data(), encrypt, 32);
  std::memset(key.mac_k.data(), k, 16);
  std::memset(key.mac_r.data(), r, 16);
  return key;
}

TEST(Sha256, agrees_with_the_standard) {
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 piecewise;
  piecewise.update(as_bytes("a"));
  piecewise.update(as_bytes("bc"));
  EXPECT_EQ(piecewise.finish(), sha256(as_bytes("abc")));
}

TEST(Sha256, of_many_messages_is_that_of_each) {
  std::mt19937 random(7);
  Bytes noise(300'000);
  for (std::uint8_t& byte : noise.span()) byte = static_cast<std::uint8_t>(random());
  for (int round = 0; round < 400; ++round) {
    std::vector<ByteView> messages(random() % 40);  // fewer than any lanes, and more
    for (ByteView& message : messages) {
      // Around the lengths at which padding takes a block more, and long ones.
      const std::size_t length = round % 3 == 0 ? random() % 200'000 : random() % 200;
      message = noise.view(random() % 1000, length);
    }
    std::vector<Digest> digests(messages.size());
    sha256_many(messages, digests);
    for (std::size_t i = 0; i < messages.size(); ++i)
      ASSERT_EQ(digests[i], sha256(messages[i]))
          << "message " << i << " of " << messages[i].size() << " bytes";
  }
}

TEST(Sha256, of_every_short_length) {
  Bytes bytes(300);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes.data()[i] = static_cast<std::uint8_t>(i * 7);
  std::vector<ByteView> messages;
  for (std::size_t length = 0; length <= bytes.size(); ++length) messages.push_back(bytes.view(0, length));
  std::vector<Digest> digests(messages.size());
  sha256_many(messages, digests);
  for (std::size_t i = 0; i < messages.size(); ++i)
    ASSERT_EQ(digests[i], sha256(messages[i])) << i << " bytes";
}

TEST(Cipher, opens_what_it_sealed) {
  Cipher cipher(key_of(1, 2, 3));
  Bytes plain(1U << 20);
  std::memset(plain.data(), 7, plain.size());
  Bytes sealed = cipher.seal(plain);
  EXPECT_EQ(sealed.size(), plain.size() + kOverhead);
  auto opened = cipher.open(sealed);
  ASSERT_TRUE(opened);
  EXPECT_EQ(std::memcmp(opened->data(), plain.data(), plain.size()), 0);
}

TEST(Cipher, a_flip_of_any_kind_is_noticed) {
  Cipher cipher(key_of(1, 2, 3));
  const Bytes plain = testing::random_bytes(1000, 1);
  const Bytes sealed = cipher.seal(plain);
  for (std::size_t at : {std::size_t{0}, std::size_t{15}, std::size_t{16}, std::size_t{500},
                         sealed.size() - 16, sealed.size() - 1}) {
    Bytes damaged = sealed.clone();
    damaged.data()[at] ^= 1;
    EXPECT_FALSE(cipher.open(damaged)) << at;
  }
  EXPECT_FALSE(cipher.open(sealed.view(0, 31)));
  Cipher other(key_of(1, 2, 4));
  EXPECT_FALSE(other.open(sealed));
}

TEST(Cipher, works_in_place_and_on_nothing) {
  Cipher cipher(MasterKey::random());
  Bytes buffer = testing::random_bytes(4096 + 32, 2);
  const Bytes plain = Bytes::copy_of(buffer.view(16, 4096));
  cipher.seal(buffer.view(16, 4096), buffer);
  ASSERT_TRUE(cipher.open(buffer, buffer.span().subspan(16, 4096)));
  EXPECT_EQ(std::memcmp(buffer.data() + 16, plain.data(), 4096), 0);
  auto empty = cipher.open(cipher.seal(ByteView()));
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->empty());
}

TEST(Cipher, never_uses_an_iv_twice) {
  Cipher cipher(MasterKey::random());
  const Bytes a = cipher.seal(as_bytes("x")), b = cipher.seal(as_bytes("x"));
  EXPECT_NE(to_hex(a.view(0, 16)), to_hex(b.view(0, 16)));
}

// The user key of the golden repository (docs/formats/restic.md).
TEST(Scrypt, derives_the_known_key) {
  Bytes salt(64);
  for (std::size_t i = 0; i < 64; ++i) salt.data()[i] = static_cast<std::uint8_t>(i);
  const MasterKey key = scrypt("respaldo", salt, {1024, 8, 1});
  EXPECT_EQ(to_hex(key.encrypt.view()) + to_hex(key.mac_k.view()) + to_hex(key.mac_r.view()),
            "2b803328f2e09a921e32dbcc36c63a0abf567bbb5f47ffeed2f2c5c8a91453e4"
            "aeccb289835744e78b52ea9197b84e9ddcaf40387563745b81dedad21cd8da40");
}

std::string text_of(const MasterKey& key) {
  return to_hex(key.encrypt.view()) + to_hex(key.mac_k.view()) + to_hex(key.mac_r.view());
}

// RFC 7914, section 12.
TEST(Scrypt, agrees_with_the_standard) {
  EXPECT_EQ(text_of(scrypt("", ByteView(), {16, 1, 1})),
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
            "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906");
  EXPECT_EQ(text_of(scrypt("password", as_bytes("NaCl"), {1024, 8, 16})),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
            "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640");
  EXPECT_EQ(text_of(scrypt("pleaseletmein", as_bytes("SodiumChloride"), {16384, 8, 1})),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
            "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887");
}

// Blocks three, two and one at a time, tables that fit and that do not, and lines of every count.
TEST(Scrypt, agrees_with_openssl) {
  std::mt19937 random(7914);
  const auto agrees = [&](const ScryptParameters& cost) {
    const Bytes salt = testing::random_bytes(random() % 80, random());
    std::string password(random() % 100, 'x');
    for (char& letter : password) letter = static_cast<char>(random());
    std::array<std::uint8_t, 64> expected;
    ASSERT_EQ(EVP_PBE_scrypt(password.data(), password.size(), salt.data(), salt.size(), cost.n, cost.r,
                             cost.p, 1U << 30, expected.data(), expected.size()),
              1);
    EXPECT_EQ(text_of(scrypt(password, salt, cost)), to_hex(expected))
        << cost.n << ' ' << cost.r << ' ' << cost.p;
  };
  for (int round = 0; round < 100; ++round) {
    const std::uint64_t n = std::uint64_t{2} << random() % 9;
    agrees({n, static_cast<std::uint32_t>(1 + random() % 12), static_cast<std::uint32_t>(1 + random() % 9)});
  }
  agrees({32768, 8, 3});     // ours
  agrees({1U << 16, 8, 5});  // two at a time, for their memory
  agrees({1U << 17, 8, 2});  // one
  agrees({2, 1U << 16, 5});  // long lines, few of them
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they need the address space themselves
// As below `ulimit -v`: with less memory it takes fewer blocks at a time, and says when there is none.
TEST(Scrypt, lives_with_less_memory) {
  const Bytes salt = Bytes::zeroed(64);
  const ScryptParameters cost{32768, 8, 3};
  const std::string expected = text_of(scrypt("x", salt, cost));
  std::ifstream statm("/proc/self/statm");
  std::uint64_t pages = 0;
  ASSERT_TRUE(statm >> pages);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  const auto with = [&](std::uint64_t mebibytes, const auto& act) {
    const rlimit limit{pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) + (mebibytes << 20), before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &limit), 0);
    act();
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &before), 0);
  };
  std::string in_80, in_48;
  with(80, [&] { in_80 = text_of(scrypt("x", salt, cost)); });
  with(48, [&] { in_48 = text_of(scrypt("x", salt, cost)); });
  EXPECT_EQ(in_80, expected);
  EXPECT_EQ(in_48, expected);
  with(16, [&] { EXPECT_THROW(scrypt("x", salt, cost), Error); });
}
#endif

TEST(Scrypt, refuses_absurd_parameters) {
  const Bytes salt = Bytes::zeroed(64);
  for (const ScryptParameters& bad :
       {ScryptParameters{0, 8, 1}, ScryptParameters{1000, 8, 1}, ScryptParameters{1024, 0, 1},
        ScryptParameters{std::uint64_t{1} << 40, 8, 1}, ScryptParameters{1024, 1U << 30, 1},
        ScryptParameters{1024, 8, 1U << 30}})
    EXPECT_THROW(scrypt("x", salt, bad), Error);
}

TEST(Scrypt, is_calibrated_within_bounds) {
  const ScryptParameters parameters = calibrate_scrypt(1);
  EXPECT_GE(parameters.p, 3U);
  EXPECT_EQ(parameters.n, 32768U);
}

TEST(SecretText, moves_and_leaves_nothing) {
  SecretText a("password");
  SecretText b(std::move(a));
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(b.view(), "password");
}

}  // namespace
}  // namespace respaldo::crypto
