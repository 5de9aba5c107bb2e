// Reading foreign JSON: simdjson behind typed look-ups whose failures are Error(corrupt) naming the field.
#pragma once

#include <simdjson.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "repo/tree.h"

namespace respaldo::repo {

// A parsed document and its root object. Views point into it.
class JsonDocument {
 public:
  // `what` for messages: "index file". The root must be an object.
  JsonDocument(ByteView text, std::string_view what);
  // With a parser that has read others and will read more (its memory is there already), or null. A text with room for
  // simdjson's padding behind it is not copied.
  JsonDocument(Bytes text, std::string_view what, simdjson::dom::parser* parser);
  simdjson::dom::object root() const { return root_; }

 private:
  void parse(ByteView text, bool is_padded, std::string_view what, simdjson::dom::parser& parser);
  simdjson::dom::parser own_;  // of who is given none
  simdjson::dom::object root_;
};

[[noreturn]] void bad_field(std::string_view key, std::string_view expected);

// Absent when the key is missing or null.
std::optional<simdjson::dom::element> member(simdjson::dom::object object, std::string_view key);
std::optional<std::string_view> text_member(simdjson::dom::object object, std::string_view key);
std::optional<std::uint64_t> unsigned_member(simdjson::dom::object object, std::string_view key,
                                             std::uint64_t most = UINT64_MAX);
std::optional<bool> bool_member(simdjson::dom::object object, std::string_view key);
std::optional<simdjson::dom::array> array_member(simdjson::dom::object object, std::string_view key);
std::optional<Timestamp> time_member(simdjson::dom::object object, std::string_view key);

template <class T>
T id_of(simdjson::dom::element element, std::string_view key) {
  std::string_view text;
  if (element.get(text) != simdjson::SUCCESS) bad_field(key, "an ID");
  const auto id = T::parse(text);
  if (!id) bad_field(key, "an ID");
  return *id;
}
template <class T>
std::optional<T> id_member(simdjson::dom::object object, std::string_view key) {
  const auto element = member(object, key);
  if (!element) return std::nullopt;
  return id_of<T>(*element, key);
}

}  // namespace respaldo::repo
