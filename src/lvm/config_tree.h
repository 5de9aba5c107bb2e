// LVM2's text language: sections, values, arrays. Lossless in content and order.
// Grammar: docs/formats/lvm2-text.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace respaldo::lvm {

struct ConfigNode;

// A scalar: integer, float (kept as its text) or string.
struct ConfigFloat {
  std::string text;
  friend bool operator==(const ConfigFloat&, const ConfigFloat&) = default;
};
using ConfigScalar = std::variant<std::int64_t, ConfigFloat, std::string>;
using ConfigArray = std::vector<ConfigScalar>;
using ConfigSection = std::vector<ConfigNode>;  // in text order; keys may repeat in hostile input

struct ConfigNode {
  std::string key;
  std::variant<ConfigScalar, ConfigArray, ConfigSection> value;

  const ConfigSection* section() const { return std::get_if<ConfigSection>(&value); }
  ConfigSection* section() { return std::get_if<ConfigSection>(&value); }
  friend bool operator==(const ConfigNode&, const ConfigNode&) = default;
};

// First node of that key, or null.
const ConfigNode* find(const ConfigSection& section, std::string_view key);
ConfigNode* find(ConfigSection& section, std::string_view key);
// Typed access; absent when the key is missing, Error(corrupt) naming the key when it has another type.
std::optional<std::int64_t> get_integer(const ConfigSection& section, std::string_view key);
std::optional<std::string> get_string(const ConfigSection& section, std::string_view key);
std::vector<std::string> get_string_array(const ConfigSection& section,
                                          std::string_view key);  // missing: empty
// Adds or replaces.
void set(ConfigSection& section, std::string_view key,
         std::variant<ConfigScalar, ConfigArray, ConfigSection> value);
void erase(ConfigSection& section, std::string_view key);

inline constexpr std::size_t kLongestText = std::size_t{64} << 20;
// A group of ten thousand volumes has some 200,000 values; more than this many would be an attack on our
// memory.
inline constexpr std::size_t kMostValues = std::size_t{4} << 20;
// Error(corrupt) names the line. Bounds: kLongestText bytes of text, kMostValues nodes and items of arrays,
// depth 32.
ConfigSection parse_config(std::string_view text);

enum class TextStyle {
  on_disk,  // no indentation, no comments, as in a metadata area
  file,     // tab-indented with size comments, as vgcfgbackup writes (respaldo's /VG/vg.conf)
};
std::string print_config(const ConfigSection& tree, TextStyle style = TextStyle::on_disk);

}  // namespace respaldo::lvm
