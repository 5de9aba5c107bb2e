#include "repo/go_text.h"

#include <fmt/format.h>

#include <iterator>

#include "base/printable.h"

namespace respaldo::repo {

namespace {

char32_t decode(std::string_view sequence) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(sequence[i]));
  };
  switch (sequence.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3:
      return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

constexpr std::string_view kShort = "\a\b\f\n\r\t\v", kShortLetters = "abfnrtv";

// Reads `digits` hexadecimal digits of text at `at`.
std::optional<char32_t> hex_digits(std::string_view text, std::size_t at, std::size_t digits) {
  if (at > text.size() || digits > text.size() - at) return std::nullopt;
  char32_t value = 0;
  for (const char c : text.substr(at, digits)) {
    value <<= 4;
    if (c >= '0' && c <= '9')
      value |= static_cast<char32_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      value |= static_cast<char32_t>(c - 'a' + 10);
    else if (c >= 'A' && c <= 'F')
      value |= static_cast<char32_t>(c - 'A' + 10);
    else
      return std::nullopt;
  }
  return value;
}

}  // namespace

std::string quote_name(std::string_view raw) {
  std::string out;
  out.reserve(raw.size());
  while (!raw.empty()) {
    const auto length = static_cast<std::size_t>(utf8_length(raw));
    if (length == 0) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(raw.front()));
      raw.remove_prefix(1);
      continue;
    }
    const std::string_view sequence = raw.substr(0, length);
    const char32_t c = decode(sequence);
    raw.remove_prefix(length);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (is_printable(c)) {
      out += sequence;
    } else if (c < 0x80) {
      const std::size_t at = kShort.find(static_cast<char>(c));
      if (c != 0 && at != std::string_view::npos) {
        out += '\\';
        out += kShortLetters[at];
      } else {
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<std::uint32_t>(c));
      }
    } else if (c < 0x10000) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(c));
    } else {
      fmt::format_to(std::back_inserter(out), "\\U{:08x}", static_cast<std::uint32_t>(c));
    }
  }
  return out;
}

std::optional<std::string> unquote_name(std::string_view quoted) {
  std::string out;
  out.reserve(quoted.size());
  for (std::size_t i = 0; i < quoted.size(); ++i) {
    if (quoted[i] == '"' || quoted[i] == '\n') return std::nullopt;
    if (quoted[i] != '\\') {
      out += quoted[i];
      continue;
    }
    if (++i == quoted.size()) return std::nullopt;
    const char kind = quoted[i];
    if (kind == '"' || kind == '\\') {
      out += kind;
    } else if (const std::size_t at = kShortLetters.find(kind); at != std::string_view::npos) {
      out += kShort[at];
    } else if (kind == 'x') {
      const auto value = hex_digits(quoted, i + 1, 2);
      if (!value) return std::nullopt;
      out += static_cast<char>(static_cast<unsigned char>(*value));
      i += 2;
    } else if (kind == 'u' || kind == 'U') {
      const std::size_t digits = kind == 'u' ? 4 : 8;
      const auto value = hex_digits(quoted, i + 1, digits);
      if (!value || *value > 0x10ffff || (*value >= 0xd800 && *value < 0xe000)) return std::nullopt;
      append_utf8(out, *value);
      i += digits;
    } else if (kind >= '0' && kind <= '7') {
      // Three octal digits; Go writes none, but reads them.
      char32_t value = 0;
      for (std::size_t d = 0; d < 3; ++d) {
        if (i + d >= quoted.size() || quoted[i + d] < '0' || quoted[i + d] > '7') return std::nullopt;
        value = value * 8 + static_cast<char32_t>(quoted[i + d] - '0');
      }
      if (value > 255) return std::nullopt;
      out += static_cast<char>(static_cast<unsigned char>(value));
      i += 2;
    } else {
      return std::nullopt;
    }
  }
  return out;
}

void append_json_string(std::string& json, std::string_view text) {
  json += '"';
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text.front());
    if (c < 0x80) {
      text.remove_prefix(1);
      if (c == '"' || c == '\\') {
        json += '\\';
        json += static_cast<char>(c);
      } else if (c == '\n') {
        json += "\\n";
      } else if (c == '\r') {
        json += "\\r";
      } else if (c == '\t') {
        json += "\\t";
      } else if (c < 0x20 || c == '<' || c == '>' || c == '&') {
        fmt::format_to(std::back_inserter(json), "\\u{:04x}", c);
      } else {
        json += static_cast<char>(c);
      }
      continue;
    }
    const auto length = static_cast<std::size_t>(utf8_length(text));
    if (length == 0) {
      json += "\\ufffd";
      text.remove_prefix(1);
      continue;
    }
    const std::string_view sequence = text.substr(0, length);
    if (sequence == "\xe2\x80\xa8")
      json += "\\u2028";
    else if (sequence == "\xe2\x80\xa9")
      json += "\\u2029";
    else
      json += sequence;
    text.remove_prefix(length);
  }
  json += '"';
}

}  // namespace respaldo::repo
