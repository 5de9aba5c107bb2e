#include <gtest/gtest.h>

#include "base/error.h"
#include "repo/go_text.h"
#include "repo/snapshot.h"
#include "repo/tree.h"

namespace respaldo::repo {
namespace {

TEST(GoText, names_are_quoted_as_go_quotes_them) {
  EXPECT_EQ(quote_name("plain name"), "plain name");
  EXPECT_EQ(quote_name("a\"b\\c"), "a\\\"b\\\\c");
  EXPECT_EQ(quote_name(std::string("\a\b\f\n\r\t\v\0\x1f\x7f", 10)), "\\a\\b\\f\\n\\r\\t\\v\\x00\\x1f\\x7f");
  EXPECT_EQ(quote_name("\xff\xc3\x28"), "\\xff\\xc3(");
  EXPECT_EQ(quote_name("m\xc3\xa9"
                       "d \xe6\xbc\xa2"),
            "m\xc3\xa9"
            "d \xe6\xbc\xa2");
  EXPECT_EQ(quote_name("\xc2\xa0\xe2\x80\xa8\xf3\xb0\x80\x80"), "\\u00a0\\u2028\\U000f0000");
  EXPECT_EQ(quote_name("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate is not UTF-8
  EXPECT_EQ(quote_name("\xef\xbf\xbd"), "\xef\xbf\xbd");
}

TEST(GoText, every_name_comes_back) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(unquote_name(quote_name(all)), all);
  EXPECT_EQ(unquote_name("\\xE9\\u00A0\\101"),
            "\xe9\xc2\xa0"
            "A");
}

TEST(GoText, what_is_not_a_quoted_name_is_refused) {
  for (const char* bad : {"\\", "\\x1", "\\q", "\\ud800", "\\U00110000", "a\"b", "\\9", "\\400"})
    EXPECT_FALSE(unquote_name(bad)) << bad;
}

TEST(GoText, json_strings_are_escaped_as_go_does) {
  std::string json;
  append_json_string(json,
                     "<a & \"b\">\n\x01\xff\xe2\x80\xa8"
                     "e\xc3\xa9");
  EXPECT_EQ(json, "\"\\u003ca \\u0026 \\\"b\\\"\\u003e\\n\\u0001\\ufffd\\u2028e\xc3\xa9\"");
}

TEST(Time, is_printed_as_rfc_3339) {
  EXPECT_EQ(format_time({0, 0, 0}), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_time({1767323045, 678000000, 0}), "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(format_time({-315604555, 500000000, 3600}), "1960-01-01T05:04:05.5+01:00");
  EXPECT_EQ(format_time({253402300800, 0, 0}), "9999-12-31T23:59:59.999999999Z");
}

TEST(Time, comes_back) {
  for (const char* text : {"2026-01-02T03:04:05.678Z", "1960-01-02T04:04:05.5+01:00",
                           "2400-02-29T00:00:00-09:30", "0001-01-01T00:00:00Z"}) {
    const auto time = parse_time(text);
    ASSERT_TRUE(time) << text;
    EXPECT_EQ(format_time(*time), text);
  }
  for (const char* bad : {"", "2026-01-02", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05",
                          "2026-01-02T03:04:05.Z", "2026-02-30T03:04:05Z", "2026-01-02T03:04:05+1:00"})
    EXPECT_FALSE(parse_time(bad)) << bad;
}

Node file(std::string name) {
  Node node;
  node.name = std::move(name);
  node.mode = 0100644;
  return node;
}

TEST(Tree, an_empty_one_has_the_known_text) { EXPECT_EQ(to_json(Tree()), "{\"nodes\":[]}\n"); }

TEST(Tree, nodes_are_sorted_by_raw_name_and_canonical) {
  Tree tree;
  tree.nodes.push_back(file("b"));
  Node dir = file("a\xff");
  dir.type = NodeType::dir;
  dir.mode = 041777;
  dir.subtree = BlobId();
  tree.nodes.push_back(dir);
  EXPECT_EQ(to_json(tree),
            "{\"nodes\":[{\"name\":\"a\\\\xff\",\"type\":\"dir\",\"mode\":2148532735,\"mtime\":\"1970-01-"
            "01T00:00:00Z\","
            "\"atime\":\"1970-01-01T00:00:00Z\",\"ctime\":\"1970-01-01T00:00:00Z\",\"uid\":0,\"gid\":0,"
            "\"content\":null,"
            "\"subtree\":\"0000000000000000000000000000000000000000000000000000000000000000\"},"
            "{\"name\":\"b\",\"type\":\"file\",\"mode\":420,\"mtime\":\"1970-01-01T00:00:00Z\","
            "\"atime\":\"1970-01-01T00:00:00Z\",\"ctime\":\"1970-01-01T00:00:00Z\",\"uid\":0,\"gid\":0,"
            "\"content\":[]}]}\n");
}

TEST(Tree, modes_are_go_modes) {
  const auto mode_of = [](NodeType type, std::uint32_t mode) {
    Tree tree;
    tree.nodes.push_back(file("x"));
    tree.nodes[0].type = type;
    tree.nodes[0].mode = mode;
    const std::string json = to_json(tree);
    const Tree back = parse_tree(as_bytes(json));
    EXPECT_EQ(back.nodes[0].mode, mode);
    EXPECT_EQ(back.nodes[0].type, type);
    const std::size_t at = json.find("\"mode\":") + 7;
    return std::stoull(json.substr(at));
  };
  EXPECT_EQ(mode_of(NodeType::file, 0104755), 8389101U);
  EXPECT_EQ(mode_of(NodeType::file, 0102750), 4194792U);
  EXPECT_EQ(mode_of(NodeType::symlink, 0120777), 134218239U);
  EXPECT_EQ(mode_of(NodeType::fifo, 0010644), 33554852U);
  EXPECT_EQ(mode_of(NodeType::chardev, 0020644), 69206436U);
  EXPECT_EQ(mode_of(NodeType::dev, 0060644), 67109284U);
}

TEST(Tree, every_field_comes_back) {
  Node node = file("\xe9t\xe9 <&>");
  node.mtime = node.ctime = {4000000000, 123456789, 0};
  node.atime = {-1, 0, 0};
  node.uid = 4294967295U;
  node.gid = 7;
  node.user = "root";
  node.group = "wheel";
  node.inode = UINT64_MAX;
  node.device_id = 3;
  node.size = 5;
  node.links = 2;
  node.xattrs = {{"user.a", std::string("\0\xff", 2)}, {"user.empty", ""}};
  node.content = {BlobId{{1}}, BlobId{{2}}, BlobId{{1}}};
  Node link = file("link");
  link.type = NodeType::symlink;
  link.mode = 0120777;
  link.link_target = "to \xff bytes";
  const std::string json = to_json(Tree{{node, link}});
  EXPECT_NE(json.find("linktarget_raw"), std::string::npos);
  const Tree back = parse_tree(as_bytes(json));
  ASSERT_EQ(back.nodes.size(), 2U);
  EXPECT_EQ(back.nodes[0].link_target, link.link_target);
  const Node& n = back.nodes[1];
  EXPECT_EQ(n.name, node.name);
  EXPECT_EQ(n.mtime, node.mtime);
  EXPECT_EQ(n.atime, node.atime);
  EXPECT_EQ(n.uid, node.uid);
  EXPECT_EQ(n.inode, node.inode);
  EXPECT_EQ(n.xattrs, node.xattrs);
  EXPECT_EQ(n.content, node.content);
  EXPECT_EQ(to_json(back), json);
}

TEST(Tree, two_entries_of_one_name_are_a_bug) { EXPECT_THROW(to_json(Tree{{file("a"), file("a")}}), Error); }

TEST(Tree, what_is_not_a_tree_is_refused) {
  for (const char* bad :
       {"", "[]", "{}", "{\"nodes\":3}", "{\"nodes\":[1]}", "{\"nodes\":[{}]}",
        "{\"nodes\":[{\"name\":\"a\",\"content\":[\"12\"]}]}", "{\"nodes\":[{\"name\":\"\\\\q\"}]}",
        "{\"nodes\":[{\"name\":\"a\",\"size\":-1}]}", "{\"nodes\":["})
    EXPECT_THROW(parse_tree(as_bytes(bad)), Error) << bad;
}

TEST(Snapshot, every_field_comes_back) {
  Snapshot snapshot;
  snapshot.time = {1767323045, 1, 0};
  snapshot.parent = SnapshotId{{1}};
  snapshot.tree = BlobId{{2}};
  snapshot.paths = {"/vg0/root"};
  snapshot.hostname = "h";
  snapshot.username = "u";
  snapshot.uid = 1;
  snapshot.gid = 2;
  snapshot.excludes = {"x"};
  snapshot.tags = {"respaldo", "a\"b"};
  snapshot.original = SnapshotId{{3}};
  snapshot.program_version = "respaldo 0.1.0";
  snapshot.summary.emplace().total_bytes_processed = 9;
  const std::string json = to_json(snapshot);
  const Snapshot back = parse_snapshot(as_bytes(json));
  EXPECT_EQ(to_json(back), json);
  EXPECT_EQ(back.summary->total_bytes_processed, 9U);
  EXPECT_EQ(back.tags, snapshot.tags);
  EXPECT_THROW(parse_snapshot(as_bytes("{}")), Error);
}

}  // namespace
}  // namespace respaldo::repo
