// UUIDs and names of LVM objects.
#include <fmt/format.h>
#include <sys/random.h>

#include <array>

#include "base/error.h"
#include "lvm/volume_group.h"

namespace respaldo::lvm {

namespace {
constexpr std::string_view kUuidAlphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::array<std::size_t, 6> kUuidDashes = {6, 10, 14, 18, 22, 26};

bool name_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
         c == '-' || c == '+';
}

std::optional<std::string> common_problem(std::string_view name) {
  if (name.empty()) return "a name is empty";
  if (name.size() > 127) return "the name is longer than 127 characters";
  if (name == "." || name == "..") return "'.' and '..' are not names";
  if (name[0] == '-') return "the name begins with a hyphen";
  for (char c : name)
    if (!name_character(c)) return "the name has a character other than letters, digits and . _ - +";
  return std::nullopt;
}
}  // namespace

std::optional<Uuid> Uuid::parse(std::string_view text) {
  Uuid uuid;
  for (char c : text) {
    if (c == '-') continue;
    if (kUuidAlphabet.find(c) == std::string_view::npos && c != '!' && c != '#') return std::nullopt;
    if (uuid.text_.size() == 32) return std::nullopt;
    uuid.text_ += c;
  }
  if (uuid.text_.size() != 32) return std::nullopt;
  return uuid;
}

Uuid Uuid::random() {
  Uuid uuid;
  while (uuid.text_.size() < 32) {
    std::uint8_t byte = 0;
    if (::getrandom(&byte, 1, 0) != 1) throw Error(ErrorKind::io, "the system gives no random bytes");
    if (byte < 4 * kUuidAlphabet.size()) uuid.text_ += kUuidAlphabet[byte % kUuidAlphabet.size()];
  }
  return uuid;
}

std::string Uuid::dashed() const {
  std::string result = text_;
  if (result.size() != 32) return result;
  for (std::size_t i = kUuidDashes.size(); i-- > 0;) result.insert(kUuidDashes[i], "-");
  return result;
}

std::string dm_name(std::string_view vg, std::string_view lv, std::string_view layer) {
  std::string result;
  const auto add = [&](std::string_view part) {
    for (char c : part) result.append(c == '-' ? 2 : 1, c);
  };
  add(vg);
  result += '-';
  add(lv);
  if (!layer.empty()) {
    result += '-';
    add(layer);
  }
  return result;
}

std::optional<DmName> parse_dm_name(std::string_view name) {
  std::array<std::string, 3> parts;
  std::size_t part = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '-') {
      parts[part] += name[i];
    } else if (i + 1 < name.size() && name[i + 1] == '-') {
      parts[part] += '-';
      ++i;
    } else if (++part == parts.size()) {
      return std::nullopt;
    }
  }
  if (parts[0].empty() || parts[1].empty() || (part == 2 && parts[2].empty())) return std::nullopt;
  return DmName{parts[0], parts[1], parts[2]};
}

std::optional<std::string> vg_name_problem(std::string_view vg) { return common_problem(vg); }

std::optional<std::string> lv_name_problem(std::string_view vg, std::string_view lv) {
  if (auto problem = common_problem(lv)) return problem;
  if (vg.size() + lv.size() + 3 >= 128) return "the names of group and volume are together too long";
  for (std::string_view prefix : {"snapshot", "pvmove"})
    if (lv.starts_with(prefix)) return fmt::format("names that begin with \"{}\" are reserved", prefix);
  for (std::string_view part :
       {"_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_rimage", "_rmeta",
        "_tdata", "_tmeta", "_vdata", "_imeta", "_iorig", "_pmspare", "_vorigin"})
    if (lv.find(part) != std::string_view::npos)
      return fmt::format("names that contain \"{}\" are reserved", part);
  return std::nullopt;
}

}  // namespace respaldo::lvm
