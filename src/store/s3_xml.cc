#include "store/s3_xml.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <pugixml.hpp>

#include "base/error.h"

namespace respaldo::store {

namespace {

// pugixml knows the five entities of XML itself, and no others: a document type is passed over.
constexpr unsigned kHow =
    pugi::parse_minimal | pugi::parse_escapes | pugi::parse_cdata | pugi::parse_ws_pcdata_single;

bool read(pugi::xml_document& document, ByteView text) {
  return static_cast<bool>(document.load_buffer(text.data(), text.size(), kHow, pugi::encoding_utf8));
}

[[noreturn]] void invalid(std::string_view why) {
  throw Error(ErrorKind::corrupt, fmt::format("the server's list of objects is not valid: {}", why));
}

// The text of the only child of that name; null without one.
const char* text_of(pugi::xml_node node, const char* name) {
  const pugi::xml_node child = node.child(name);
  return child ? child.text().get() : nullptr;
}

}  // namespace

S3Page parse_s3_page(ByteView text) {
  pugi::xml_document document;
  if (text.empty() || !read(document, text)) invalid("it is not XML");
  const pugi::xml_node root = document.document_element();
  if (std::string_view(root.name()) != "ListBucketResult") invalid("it is something else");
  S3Page page;
  for (const pugi::xml_node object : root.children("Contents")) {
    const char *key = text_of(object, "Key"), *size = text_of(object, "Size");
    if (key == nullptr || size == nullptr) invalid("an object has no key or no size");
    std::uint64_t bytes = 0;
    const char* const end = size + std::strlen(size);
    const auto [at, error] = std::from_chars(size, end, bytes);
    if (at != end || error != std::errc{}) invalid("a size is no number");
    page.keys.emplace_back(key, bytes);
  }
  const char* const truncated = text_of(root, "IsTruncated");
  if (truncated == nullptr) invalid("it does not tell whether it is whole");
  if (std::string_view(truncated) == "true") {
    const char* const next = text_of(root, "NextContinuationToken");
    if (next == nullptr || *next == 0) invalid("it is not whole, and does not tell how to go on");
    page.next = next;
  } else if (std::string_view(truncated) != "false") {
    invalid("it does not tell whether it is whole");
  }
  return page;
}

std::optional<S3Failure> parse_s3_failure(ByteView text) {
  pugi::xml_document document;
  if (text.empty() || !read(document, text)) return std::nullopt;
  const pugi::xml_node root = document.document_element();
  if (std::string_view(root.name()) != "Error") return std::nullopt;
  const char* const code = text_of(root, "Code");
  if (code == nullptr || *code == 0) return std::nullopt;
  S3Failure failure{code, "", ""};
  if (const char* message = text_of(root, "Message")) failure.message = message;
  if (const char* region = text_of(root, "Region")) failure.region = region;
  return failure;
}

}  // namespace respaldo::store
