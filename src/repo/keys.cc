#include "repo/keys.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <system_error>

#include "base/hex.h"
#include "crypto/base64.h"
#include "repo/go_text.h"
#include "repo/host.h"
#include "repo/json_reader.h"

namespace respaldo::repo {

namespace {

constexpr std::size_t kSaltSize = 64;

std::string decoded(simdjson::dom::object object, std::string_view key) {
  auto value = crypto::from_base64(text_member(object, key).value_or(std::string_view()));
  if (!value) bad_field(key, "base64");
  return std::move(*value);
}

template <std::size_t N>
void take(simdjson::dom::object object, std::string_view key, crypto::SecretArray<N>& out) {
  std::string bytes = decoded(object, key);
  if (bytes.size() != N) bad_field(key, fmt::format("{} bytes", N));
  std::memcpy(out.data(), bytes.data(), N);
  crypto::wipe(bytes.data(), bytes.size());
}

}  // namespace

std::string this_host() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

std::string this_user() {
  std::array<char, 4096> buffer;
  passwd entry{}, *found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return found->pw_name;
  return std::to_string(::geteuid());
}

KeyFile parse_key_file(ByteView json) {
  const JsonDocument document(json, "key file");
  const simdjson::dom::object root = document.root();
  KeyFile file;
  if (text_member(root, "kdf") != "scrypt") bad_field("kdf", "scrypt");
  file.created = time_member(root, "created").value_or(Timestamp());
  file.username = text_member(root, "username").value_or("");
  file.hostname = text_member(root, "hostname").value_or("");
  file.scrypt.n = unsigned_member(root, "N").value_or(0);
  file.scrypt.r = static_cast<std::uint32_t>(unsigned_member(root, "r", UINT32_MAX).value_or(0));
  file.scrypt.p = static_cast<std::uint32_t>(unsigned_member(root, "p", UINT32_MAX).value_or(0));
  file.salt = decoded(root, "salt");
  file.data = decoded(root, "data");
  return file;
}

std::string make_key_file(const crypto::MasterKey& master, std::string_view password,
                          const crypto::ScryptParameters& scrypt) {
  Bytes salt(kSaltSize);
  crypto::random_bytes(salt);
  std::string secret =
      fmt::format(R"({{"mac":{{"k":"{}","r":"{}"}},"encrypt":"{}"}})", crypto::to_base64(master.mac_k.view()),
                  crypto::to_base64(master.mac_r.view()), crypto::to_base64(master.encrypt.view()));
  crypto::Cipher cipher(crypto::scrypt(password, salt, scrypt));
  const Bytes sealed = cipher.seal(as_bytes(secret));
  crypto::wipe(secret.data(), secret.size());
  std::string json = "{\"created\":";
  append_json_string(json, format_time(now()));
  json += ",\"username\":";
  append_json_string(json, this_user());
  json += ",\"hostname\":";
  append_json_string(json, this_host());
  json += fmt::format(R"(,"kdf":"scrypt","N":{},"r":{},"p":{},"salt":"{}","data":"{}"}})", scrypt.n, scrypt.r,
                      scrypt.p, crypto::to_base64(salt), crypto::to_base64(sealed));
  return json;
}

std::optional<crypto::MasterKey> open_key_file(const KeyFile& file, std::string_view password) {
  crypto::Cipher cipher(crypto::scrypt(password, as_bytes(file.salt), file.scrypt));
  const auto opened = cipher.open(as_bytes(file.data));
  if (!opened) return std::nullopt;
  const JsonDocument document(*opened, "master key");
  crypto::MasterKey master;
  simdjson::dom::object mac;
  const auto element = member(document.root(), "mac");
  if (!element || element->get(mac) != simdjson::SUCCESS) bad_field("mac", "there");
  take(mac, "k", master.mac_k);
  take(mac, "r", master.mac_r);
  take(document.root(), "encrypt", master.encrypt);
  return master;
}

std::string name_of_key(ByteView json) { return to_hex(crypto::sha256(json)); }

KnownKey derived_ahead(ByteView json, std::string_view password) {
  // Held by what copies it: where no thread can be had, the first copy is lost.
  const auto derive = [file = std::string(as_text(json)), secret = std::make_shared<crypto::SecretText>(password)] {
    return open_key_file(parse_key_file(as_bytes(file)), secret->view());
  };
  KnownKey known{name_of_key(json)};
  try {
    known.master = std::async(std::launch::async, derive);
  } catch (const std::system_error&) {
    known.master = std::async(std::launch::deferred, derive);  // no room for a thread
  }
  return known;
}

}  // namespace respaldo::repo
