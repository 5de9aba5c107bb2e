#include "store/rest_listing.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <cstring>
#include <functional>

#include "store/layout.h"

namespace respaldo::store {

namespace {

namespace ondemand = simdjson::ondemand;

[[noreturn]] void invalid(std::string_view why) {
  throw Error(ErrorKind::corrupt, fmt::format("the server's list of files is not valid: {}", why));
}
void require(simdjson::error_code failure) {
  if (failure != simdjson::SUCCESS) invalid(simdjson::error_message(failure));
}

// Front to back, so that a million of files cost no tree in memory.
void for_each_element(Bytes text, const std::function<void(ondemand::value)>& visit) {
  const std::size_t size = text.size();
  if (size == 0) invalid("it is empty");
  text.resize(size + simdjson::SIMDJSON_PADDING);
  std::memset(text.data() + size, 0, simdjson::SIMDJSON_PADDING);
  ondemand::parser parser;
  ondemand::document document;
  require(parser.iterate(simdjson::padded_string_view(text.data(), size, text.size())).get(document));
  // Go's encoder writes an empty list as null.
  bool is_null = false;
  ondemand::json_type type{};
  require(document.type().get(type));
  if (type == ondemand::json_type::null) is_null = document.is_null();
  if (is_null) return;
  ondemand::array array;
  require(document.get_array().get(array));
  for (auto element : array) {
    ondemand::value value;
    require(std::move(element).get(value));
    visit(value);
  }
  const char* more = nullptr;
  if (document.current_location().get(more) == simdjson::SUCCESS) invalid("something follows its end");
}

}  // namespace

std::vector<std::string> parse_rest_names(Bytes text) {
  std::vector<std::string> names;
  for_each_element(std::move(text), [&](ondemand::value value) {
    std::string_view name;
    require(value.get_string().get(name));
    if (is_object_name(name)) names.emplace_back(name);
  });
  return names;
}

std::vector<FileInfo> parse_rest_files(Bytes text) {
  std::vector<FileInfo> files;
  for_each_element(std::move(text), [&](ondemand::value value) {
    ondemand::object object;
    require(value.get_object().get(object));
    FileInfo file;
    bool has_name = false, has_size = false;
    for (auto field : object) {
      std::string_view key;
      require(field.unescaped_key().get(key));
      ondemand::value member;
      require(field.value().get(member));
      if (key == "name") {
        std::string_view name;
        require(member.get_string().get(name));
        file.name = name;
        has_name = true;
      } else if (key == "size") {
        require(member.get_uint64().get(file.size));
        has_size = true;
      }
    }
    if (!has_name || !has_size) invalid("a file has no name or no size");
    if (is_object_name(file.name)) files.push_back(std::move(file));
  });
  return files;
}

}  // namespace respaldo::store
