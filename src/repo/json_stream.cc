#include "repo/json_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace respaldo::repo {

namespace {

Bytes padded(Bytes text) {
  const std::size_t size = text.size();
  text.resize(size + simdjson::SIMDJSON_PADDING);
  std::memset(text.data() + size, 0, simdjson::SIMDJSON_PADDING);
  return text;
}

}  // namespace

JsonStream::JsonStream(Bytes text, std::string_view what) : what_(what) {
  const std::size_t size = text.size();
  if (size == 0) throw Error(ErrorKind::corrupt, fmt::format("a {} is empty", what));
  text_ = padded(std::move(text));
  const simdjson::padded_string_view view(text_.data(), size, text_.size());
  if (const auto failure = parser_.iterate(view).get(document_); failure != simdjson::SUCCESS)
    invalid(failure);
}

void JsonStream::invalid(simdjson::error_code failure) const {
  throw Error(ErrorKind::corrupt,
              fmt::format("a {} is not valid JSON: {}", what_, simdjson::error_message(failure)));
}

void JsonStream::members(simdjson::simdjson_result<Object> result, std::string_view name,
                         const std::function<void(std::string_view key, Value value)>& visit) {
  Object object;
  if (const auto failure = std::move(result).get(object); failure == simdjson::INCORRECT_TYPE)
    bad_field(name, "an object");
  else if (failure != simdjson::SUCCESS)
    invalid(failure);
  for (auto field : object) {
    // A key without escapes is not copied. It ends before the padding: simdjson has looked for its closing quote.
    simdjson::ondemand::raw_json_string raw;
    if (const auto failure = field.key().get(raw); failure != simdjson::SUCCESS) invalid(failure);
    std::string_view key(raw.raw(), std::strcspn(raw.raw(), "\"\\"));
    if (raw.raw()[key.size()] != '"')
      if (const auto failure = field.unescaped_key().get(key); failure != simdjson::SUCCESS) invalid(failure);
    Value value;
    if (const auto failure = field.value().get(value); failure != simdjson::SUCCESS) invalid(failure);
    visit(key, value);
  }
}

void JsonStream::for_each_member(const std::function<void(std::string_view key, Value value)>& visit) {
  members(document_.get_object(), what_, visit);
  const char* more = nullptr;
  if (document_.current_location().get(more) == simdjson::SUCCESS)
    throw Error(ErrorKind::corrupt, fmt::format("a {} is not valid JSON: something follows its end", what_));
}

void JsonStream::for_each_member(Value object, std::string_view name,
                                 const std::function<void(std::string_view key, Value value)>& visit) {
  members(object.get_object(), name, visit);
}

void JsonStream::for_each_element(Value value, std::string_view name,
                                  const std::function<void(Value value)>& visit) {
  if (is_null(value)) return;
  simdjson::ondemand::array array;
  if (const auto failure = value.get_array().get(array); failure == simdjson::INCORRECT_TYPE)
    bad_field(name, "a list");
  else if (failure != simdjson::SUCCESS)
    invalid(failure);
  for (auto element : array) {
    Value one;
    if (const auto failure = std::move(element).get(one); failure != simdjson::SUCCESS) invalid(failure);
    visit(one);
  }
}

bool JsonStream::is_null(Value& value) const {
  simdjson::ondemand::json_type type{};
  if (const auto failure = value.type().get(type); failure != simdjson::SUCCESS) invalid(failure);
  if (type != simdjson::ondemand::json_type::null) return false;
  if (value.raw_json_token().substr(0, 4) != "null") invalid(simdjson::N_ATOM_ERROR);
  return true;
}

std::optional<std::string_view> JsonStream::plain_text(Value& value, std::string_view name,
                                                       std::size_t expected) {
  if (is_null(value)) return std::nullopt;
  const std::string_view token = value.raw_json_token();
  // Texts end before the padding: simdjson has looked for the closing quotes.
  if (expected != 0 && token.size() >= expected + 2 && token[0] == '"' && token[expected + 1] == '"' &&
      std::ranges::none_of(token.substr(1, expected), [](char c) { return c == '"' || c == '\\'; })) {
    // The iterator goes on behind it.
    simdjson::ondemand::raw_json_string raw;
    if (value.get_raw_json_string().get(raw) != simdjson::SUCCESS) bad_field(name, "text");
    return token.substr(1, expected);
  }
  std::string_view text;
  if (const auto failure = value.get_string().get(text); failure == simdjson::INCORRECT_TYPE)
    bad_field(name, "text");
  else if (failure != simdjson::SUCCESS)
    invalid(failure);
  return text;
}

std::optional<std::uint64_t> JsonStream::number(Value value, std::string_view name, std::uint64_t most) {
  if (is_null(value)) return std::nullopt;
  std::uint64_t number = 0;
  if (value.get_uint64().get(number) != simdjson::SUCCESS || number > most)
    bad_field(name, "a number in range");
  return number;
}

}  // namespace respaldo::repo
