#include "repo/tree.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/printable.h"
#include "base/utf8.h"
#include "crypto/base64.h"
#include "repo/go_text.h"
#include "repo/json_reader.h"

namespace respaldo::repo {

namespace {

struct TypeName {
  NodeType type;
  std::string_view name;
  std::uint32_t st_type;  // S_IFMT bits
  std::uint32_t go_bits;
};
constexpr std::array<TypeName, 7> kTypes = {{{NodeType::file, "file", S_IFREG, 0},
                                             {NodeType::dir, "dir", S_IFDIR, 1U << 31},
                                             {NodeType::symlink, "symlink", S_IFLNK, 1U << 27},
                                             {NodeType::dev, "dev", S_IFBLK, 1U << 26},
                                             {NodeType::chardev, "chardev", S_IFCHR, 1U << 26 | 1U << 21},
                                             {NodeType::fifo, "fifo", S_IFIFO, 1U << 25},
                                             {NodeType::socket, "socket", S_IFSOCK, 1U << 24}}};

const TypeName* type_of(NodeType type) {
  const auto* it =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& t) { return t.type == type; });
  return it == kTypes.end() ? nullptr : it;
}

// Go's FileMode keeps type, setuid, setgid and sticky in bits of its own.
std::uint32_t go_mode(const Node& node, const TypeName& type) {
  return (node.mode & 0777) | type.go_bits | ((node.mode & S_ISUID) != 0 ? 1U << 23 : 0) |
         ((node.mode & S_ISGID) != 0 ? 1U << 22 : 0) | ((node.mode & S_ISVTX) != 0 ? 1U << 20 : 0);
}

std::uint32_t st_mode(std::uint32_t go, const TypeName* type) {
  return (go & 0777) | (type != nullptr ? type->st_type : 0U) | ((go & 1U << 23) != 0 ? S_ISUID : 0U) |
         ((go & 1U << 22) != 0 ? S_ISGID : 0U) | ((go & 1U << 20) != 0 ? S_ISVTX : 0U);
}

class NodeWriter {
 public:
  explicit NodeWriter(std::string& json) : json_(json) {}

  void write(const Node& node) {
    const TypeName* type = type_of(node.type);
    if (type == nullptr) throw Error(ErrorKind::internal, "a node of unknown type cannot be stored");
    json_ += '{';
    text("name", quote_name(node.name), false);
    text("type", type->name, false);
    number("mode", go_mode(node, *type), true);
    time("mtime", node.mtime);
    time("atime", node.atime);
    time("ctime", node.ctime);
    number("uid", node.uid, false);
    number("gid", node.gid, false);
    text("user", node.user, true);
    text("group", node.group, true);
    number("inode", node.inode, true);
    number("device_id", node.device_id, true);
    number("size", node.size, true);
    number("links", node.links, true);
    text("linktarget", node.link_target, true);
    if (!is_utf8(node.link_target))
      text("linktarget_raw", crypto::to_base64(as_bytes(node.link_target)), true);
    attributes(node.xattrs);
    number("device", node.device, true);
    content(node);
    if (node.subtree) text("subtree", node.subtree->hex(), false);
    json_ += '}';
  }

 private:
  void key(std::string_view name) {
    if (json_.back() != '{') json_ += ',';
    fmt::format_to(std::back_inserter(json_), "\"{}\":", name);
  }
  void text(std::string_view name, std::string_view value, bool omit_empty) {
    if (omit_empty && value.empty()) return;
    key(name);
    append_json_string(json_, value);
  }
  void number(std::string_view name, std::uint64_t value, bool omit_zero) {
    if (omit_zero && value == 0) return;
    key(name);
    fmt::format_to(std::back_inserter(json_), "{}", value);
  }
  void time(std::string_view name, const Timestamp& value) {
    key(name);
    append_json_string(json_, format_time(value));
  }
  void attributes(const std::vector<ExtendedAttribute>& attributes) {
    if (attributes.empty()) return;
    key("extended_attributes");
    json_ += '[';
    for (std::size_t i = 0; i < attributes.size(); ++i) {
      json_ += i == 0 ? "{" : ",{";
      text("name", attributes[i].name, false);
      text("value", crypto::to_base64(as_bytes(attributes[i].value)), false);
      json_ += '}';
    }
    json_ += ']';
  }
  void content(const Node& node) {
    key("content");
    if (node.type != NodeType::file) {
      json_ += "null";
      return;
    }
    json_ += '[';
    json_.reserve(json_.size() + node.content.size() * 67 + 256);
    for (std::size_t i = 0; i < node.content.size(); ++i) {
      json_ += i == 0 ? "\"" : ",\"";
      json_ += node.content[i].hex();
      json_ += '"';
    }
    json_ += ']';
  }
  std::string& json_;
};

std::uint32_t small(simdjson::dom::object object, std::string_view key) {
  return static_cast<std::uint32_t>(unsigned_member(object, key, UINT32_MAX).value_or(0));
}

std::string copy_text(simdjson::dom::object object, std::string_view key) {
  return std::string(text_member(object, key).value_or(std::string_view()));
}

std::vector<ExtendedAttribute> parse_attributes(simdjson::dom::object object) {
  std::vector<ExtendedAttribute> attributes;
  const auto list = array_member(object, "extended_attributes");
  if (!list) return attributes;
  for (const simdjson::dom::element element : *list) {
    simdjson::dom::object item;
    if (element.get(item) != simdjson::SUCCESS) bad_field("extended_attributes", "a list of objects");
    auto value = crypto::from_base64(text_member(item, "value").value_or(std::string_view()));
    if (!value) bad_field("value", "base64");
    attributes.push_back({copy_text(item, "name"), std::move(*value)});
  }
  return attributes;
}

Node parse_node(simdjson::dom::object object) {
  Node node;
  const auto name = text_member(object, "name");
  if (!name) bad_field("name", "there");
  auto raw = unquote_name(*name);
  if (!raw) bad_field("name", "a quoted name");
  node.name = std::move(*raw);
  const auto type_name = text_member(object, "type").value_or(std::string_view());
  const auto* type =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& t) { return t.name == type_name; });
  node.type = type == kTypes.end() ? NodeType::unknown : type->type;
  node.mode = st_mode(small(object, "mode"), type == kTypes.end() ? nullptr : type);
  node.mtime = time_member(object, "mtime").value_or(Timestamp());
  node.atime = time_member(object, "atime").value_or(Timestamp());
  node.ctime = time_member(object, "ctime").value_or(Timestamp());
  node.uid = small(object, "uid");
  node.gid = small(object, "gid");
  node.user = copy_text(object, "user");
  node.group = copy_text(object, "group");
  node.inode = unsigned_member(object, "inode").value_or(0);
  node.device_id = unsigned_member(object, "device_id").value_or(0);
  node.size = unsigned_member(object, "size").value_or(0);
  node.links = unsigned_member(object, "links").value_or(0);
  node.link_target = copy_text(object, "linktarget");
  if (const auto target = text_member(object, "linktarget_raw")) {
    auto decoded = crypto::from_base64(*target);
    if (!decoded) bad_field("linktarget_raw", "base64");
    node.link_target = std::move(*decoded);
  }
  node.xattrs = parse_attributes(object);
  node.device = unsigned_member(object, "device").value_or(0);
  if (const auto content = array_member(object, "content")) {
    node.content.reserve(content->size());
    for (const simdjson::dom::element element : *content)
      node.content.push_back(id_of<BlobId>(element, "content"));
  }
  node.subtree = id_member<BlobId>(object, "subtree");
  return node;
}

}  // namespace

std::string to_json(Tree tree) {
  std::vector<std::string> left_out;
  return to_json(tree, SIZE_MAX, left_out);
}

std::string to_json(Tree& tree, std::size_t longest, std::vector<std::string>& left_out) {
  constexpr std::string_view kBegin = "{\"nodes\":[", kEnd = "]}\n";
  std::sort(tree.nodes.begin(), tree.nodes.end(),
            [](const Node& a, const Node& b) { return a.name < b.name; });
  std::string json(kBegin);
  for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
    if (i > 0 && tree.nodes[i].name == tree.nodes[i - 1].name)
      throw Error(ErrorKind::internal,
                  fmt::format("two entries are named {}", printable(tree.nodes[i].name)));
    const std::size_t before = json.size();
    if (before > kBegin.size()) json += ',';
    NodeWriter(json).write(tree.nodes[i]);
    if (json.size() + kEnd.size() <= longest) continue;
    json.resize(before);
    left_out.push_back(tree.nodes[i].name);
  }
  if (!left_out.empty())
    std::erase_if(tree.nodes,
                  [&](const Node& node) { return std::ranges::binary_search(left_out, node.name); });
  return json.append(kEnd);
}

namespace {

Tree tree_of(const JsonDocument& document) {
  Tree tree;
  const auto nodes = array_member(document.root(), "nodes");
  if (!nodes) {
    // Go reads a missing list as an empty one, but no writer leaves it out.
    if (!member(document.root(), "nodes") && document.root().size() == 0) bad_field("nodes", "there");
    return tree;
  }
  tree.nodes.reserve(std::min<std::size_t>(nodes->size(), 256));  // nodes are much longer than their shortest JSON
  for (const simdjson::dom::element element : *nodes) {
    simdjson::dom::object object;
    if (element.get(object) != simdjson::SUCCESS) bad_field("nodes", "a list of objects");
    tree.nodes.push_back(parse_node(object));
  }
  return tree;
}

}  // namespace

Tree parse_tree(ByteView json) { return tree_of(JsonDocument(json, "tree")); }

Tree parse_next_tree(Bytes json) {
  // Most trees are short: a parser's memory is then dearer than its work. One that read a long tree would keep much.
  constexpr std::size_t kShort = 64U << 10;
  static thread_local simdjson::dom::parser kept;
  const bool is_short = json.size() <= kShort;
  return tree_of(JsonDocument(std::move(json), "tree", is_short ? &kept : nullptr));
}

}  // namespace respaldo::repo
