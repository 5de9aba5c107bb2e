// Long foreign JSON, read from front to back without a tree of it in memory: index files, and what trees
// refer to.
#pragma once

#include <simdjson.h>

#include <functional>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "repo/json_reader.h"

namespace respaldo::repo {

// One reading of one document. Failures are Error(corrupt). simdjson checks the encoding and the ends of all
// texts at once, and the form of what is visited; of values that are passed over only that their brackets
// end.
class JsonStream {
 public:
  using Object = simdjson::ondemand::object;
  using Value = simdjson::ondemand::value;

  // Takes the text over: it is padded, as simdjson needs it. `what` for messages: "index file"; it outlives
  // this.
  JsonStream(Bytes text, std::string_view what);

  // Visits the members of the root; each value must be visited in the call, or is passed over. The whole
  // document must be used up by this.
  void for_each_member(const std::function<void(std::string_view key, Value value)>& visit);
  void for_each_member(Value object, std::string_view name,
                       const std::function<void(std::string_view key, Value value)>& visit);
  // Nothing when it is null.
  void for_each_element(Value array, std::string_view name, const std::function<void(Value value)>& visit);

  // Absent when it is null; Error naming the field when it is something else.
  template <class T>
  std::optional<T> id(Value value, std::string_view name) {
    const auto hex = plain_text(value, name, 64);
    if (!hex) return std::nullopt;
    const auto id = T::parse(*hex);
    if (!id) bad_field(name, "an ID");
    return id;
  }
  std::optional<std::string_view> text(Value value, std::string_view name) {
    return plain_text(value, name, 0);
  }
  std::optional<std::uint64_t> number(Value value, std::string_view name, std::uint64_t most = UINT64_MAX);

 private:
  [[noreturn]] void invalid(simdjson::error_code failure) const;
  bool is_null(Value& value) const;
  // A text of that length that has no escapes is not copied.
  std::optional<std::string_view> plain_text(Value& value, std::string_view name, std::size_t expected);
  void members(simdjson::simdjson_result<Object> object, std::string_view name,
               const std::function<void(std::string_view key, Value value)>& visit);

  std::string_view what_;
  Bytes text_;
  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
};

}  // namespace respaldo::repo
