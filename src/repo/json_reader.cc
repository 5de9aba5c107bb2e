#include "repo/json_reader.h"

#include <fmt/format.h>

#include <cstring>

#include "base/printable.h"

namespace respaldo::repo {

JsonDocument::JsonDocument(ByteView text, std::string_view what) { parse(text, false, what, own_); }

JsonDocument::JsonDocument(Bytes text, std::string_view what, simdjson::dom::parser* parser) {
  const bool has_room = text.capacity() - text.size() >= simdjson::SIMDJSON_PADDING;
  if (has_room) std::memset(text.data() + text.size(), 0, simdjson::SIMDJSON_PADDING);
  parse(text, has_room, what, parser != nullptr ? *parser : own_);  // which keeps nothing of the text
}

void JsonDocument::parse(ByteView text, bool is_padded, std::string_view what, simdjson::dom::parser& parser) {
  // simdjson would copy from where nothing is.
  if (text.empty()) throw Error(ErrorKind::corrupt, fmt::format("a {} is empty", what));
  simdjson::dom::element element;
  // simdjson takes at most 4 GiB, and refuses deep nesting by itself.
  const auto failure = parser.parse(text.data(), text.size(), !is_padded).get(element);
  if (failure != simdjson::SUCCESS)
    throw Error(ErrorKind::corrupt,
                fmt::format("a {} is not valid JSON: {}", what, simdjson::error_message(failure)));
  if (element.get(root_) != simdjson::SUCCESS)
    throw Error(ErrorKind::corrupt, fmt::format("a {} is not a JSON object", what));
}

void bad_field(std::string_view key, std::string_view expected) {
  throw Error(ErrorKind::corrupt, fmt::format("the field '{}' is not {}", printable(key), expected));
}

std::optional<simdjson::dom::element> member(simdjson::dom::object object, std::string_view key) {
  simdjson::dom::element element;
  if (object.at_key(key).get(element) != simdjson::SUCCESS || element.is_null()) return std::nullopt;
  return element;
}

std::optional<std::string_view> text_member(simdjson::dom::object object, std::string_view key) {
  const auto element = member(object, key);
  if (!element) return std::nullopt;
  std::string_view text;
  if (element->get(text) != simdjson::SUCCESS) bad_field(key, "text");
  return text;
}

std::optional<std::uint64_t> unsigned_member(simdjson::dom::object object, std::string_view key,
                                             std::uint64_t most) {
  const auto element = member(object, key);
  if (!element) return std::nullopt;
  std::uint64_t value = 0;
  if (element->get(value) != simdjson::SUCCESS || value > most) bad_field(key, "a number in range");
  return value;
}

std::optional<bool> bool_member(simdjson::dom::object object, std::string_view key) {
  const auto element = member(object, key);
  if (!element) return std::nullopt;
  bool value = false;
  if (element->get(value) != simdjson::SUCCESS) bad_field(key, "true or false");
  return value;
}

std::optional<simdjson::dom::array> array_member(simdjson::dom::object object, std::string_view key) {
  const auto element = member(object, key);
  if (!element) return std::nullopt;
  simdjson::dom::array array;
  if (element->get(array) != simdjson::SUCCESS) bad_field(key, "a list");
  return array;
}

std::optional<Timestamp> time_member(simdjson::dom::object object, std::string_view key) {
  const auto text = text_member(object, key);
  if (!text) return std::nullopt;
  const auto time = parse_time(*text);
  if (!time) bad_field(key, "a time");
  return time;
}

}  // namespace respaldo::repo
