#include "lvm/config_tree.h"

#include <gmock/gmock.h>

#include "lvm/texts_test.h"

namespace respaldo::lvm {
namespace {

TEST(ConfigTree, scalars_keep_their_kinds) {
  const ConfigSection tree = parse_config(
      "a = 1\nb=-17 c = 0x10 d = 1.50\ne = \"text # no comment\" # comment\nf = 'single \\ quotes'\n"
      "g = bare\nh = 9223372036854775807");
  EXPECT_EQ(get_integer(tree, "a"), 1);
  EXPECT_EQ(get_integer(tree, "b"), -17);
  EXPECT_EQ(get_integer(tree, "c"), 16);
  EXPECT_EQ(std::get<ConfigFloat>(std::get<ConfigScalar>(find(tree, "d")->value)).text, "1.50");
  EXPECT_EQ(get_string(tree, "e"), "text # no comment");
  EXPECT_EQ(get_string(tree, "f"), "single \\ quotes");
  EXPECT_EQ(get_string(tree, "g"), "bare");
  EXPECT_EQ(get_integer(tree, "h"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(get_integer(tree, "absent"), std::nullopt);
}

TEST(ConfigTree, quotes_and_backslashes_come_back) {
  const std::string nasty = "a\"b\\c\nd#e{}\\";
  ConfigSection tree;
  set(tree, "key", ConfigScalar(nasty));
  set(tree, "a key with = and # and \"", ConfigScalar(std::int64_t{1}));
  for (const TextStyle style : {TextStyle::on_disk, TextStyle::file})
    EXPECT_EQ(parse_config(print_config(tree, style)), tree);
}

TEST(ConfigTree, arrays_may_be_empty_mixed_and_end_with_a_comma) {
  const ConfigSection tree = parse_config("a = []\nb = [\"x\", 1, 2.5,]\nc = [\n\"pv0\", 0 # first\n]");
  EXPECT_TRUE(std::get<ConfigArray>(find(tree, "a")->value).empty());
  EXPECT_EQ(std::get<ConfigArray>(find(tree, "b")->value).size(), 3U);
  EXPECT_EQ(std::get<ConfigArray>(find(tree, "c")->value),
            (ConfigArray{std::string("pv0"), std::int64_t{0}}));
  EXPECT_TRUE(get_string_array(tree, "a").empty());
  EXPECT_EQ(error_of([&] { get_string_array(tree, "c"); }).kind(), ErrorKind::corrupt);
}

TEST(ConfigTree, sections_nest_and_keep_their_order) {
  const ConfigSection tree = parse_config("z { y { x = 1 } }\na { }\nz2=3");
  ASSERT_EQ(tree.size(), 3U);
  EXPECT_EQ(tree[0].key, "z");
  EXPECT_EQ(tree[1].key, "a");
  EXPECT_EQ(get_integer(*find(*tree[0].section(), "y")->section(), "x"), 1);
  EXPECT_EQ(print_config(tree), "z {\ny {\nx = 1\n}\n}\n\na {\n}\nz2 = 3\n");
}

TEST(ConfigTree, a_wrong_type_is_told_with_the_key) {
  const ConfigSection tree = parse_config("a = \"x\" b = 1");
  EXPECT_NE(std::string(error_of([&] { get_integer(tree, "a"); }).what()).find("'a'"), std::string::npos);
  EXPECT_NE(std::string(error_of([&] { get_string(tree, "b"); }).what()).find("'b'"), std::string::npos);
}

TEST(ConfigTree, set_replaces_and_erase_takes_all) {
  ConfigSection tree = parse_config("a = 1 b = 2 a = 3");
  set(tree, "b", ConfigScalar(std::int64_t{5}));
  set(tree, "c", ConfigScalar(std::int64_t{6}));
  lvm::erase(tree, "a");
  EXPECT_EQ(print_config(tree), "b = 5\nc = 6\n");
}

TEST(ConfigTree, damage_is_told_with_its_line) {
  const auto told = [](const std::string& text) {
    const Error error = error_of([&] { parse_config(text); });
    EXPECT_EQ(error.kind(), ErrorKind::corrupt) << text;
    return std::string(error.what());
  };
  EXPECT_NE(told("a = 1\nb { c = 2\n").find("line 3"), std::string::npos);
  EXPECT_NE(told("a = 1\n}\n").find("line 2"), std::string::npos);
  EXPECT_NE(told("a = \"open").find("does not end"), std::string::npos);
  EXPECT_NE(told("a = [1, 2").find("line 1"), std::string::npos);
  EXPECT_NE(told("a 1").find("'a'"), std::string::npos);
  EXPECT_NE(told("= 1").find("a name is missing"), std::string::npos);
  EXPECT_NE(told("a = ").find("a value is missing"), std::string::npos);
  EXPECT_NE(told("a = 99999999999999999999").find("too large"), std::string::npos);
  EXPECT_NE(told(std::string("a = 1\0b", 7)).find("NUL"), std::string::npos);
}

TEST(ConfigTree, depth_is_bounded) {
  const auto nested = [](int depth) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += "a{";
    return text + std::string(static_cast<std::size_t>(depth), '}');
  };
  EXPECT_NO_THROW(parse_config(nested(32)));
  EXPECT_EQ(error_of([&] { parse_config(nested(33)); }).kind(), ErrorKind::corrupt);
  EXPECT_EQ(error_of([&] { parse_config(nested(1000000)); }).kind(), ErrorKind::corrupt);
}

TEST(ConfigTree, the_number_of_values_is_bounded) {
  std::string nodes, items = "a=[";
  for (std::size_t i = 0; i < kMostValues; ++i) {
    nodes += "a=1 ";
    items += "1,";
  }
  EXPECT_EQ(parse_config(nodes).size(), kMostValues);
  EXPECT_THAT(error_of([&] { parse_config(nodes + "a=1"); }).what(), ::testing::HasSubstr("too many values"));
  EXPECT_THAT(error_of([&] { parse_config(items + "]"); }).what(), ::testing::HasSubstr("too many values"));
}

TEST(ConfigTree, real_texts_come_back) {
  for (const char* name : kRealTexts) {
    const ConfigSection tree = parse_config(real_text(name));
    EXPECT_EQ(parse_config(print_config(tree)), tree) << name;
    EXPECT_EQ(parse_config(print_config(tree, TextStyle::file)), tree) << name;
  }
}

TEST(ConfigTree, sizes_get_comments_in_files_only) {
  const ConfigSection tree = parse_config("vg { extent_size = 8192 dev_size = 3 }");
  EXPECT_EQ(print_config(tree), "vg {\nextent_size = 8192\ndev_size = 3\n}\n");
  EXPECT_EQ(print_config(tree, TextStyle::file),
            "vg {\n\textent_size = 8192\t# 4 Megabytes\n\tdev_size = 3\t# 1.5 Kilobytes\n}\n");
}

}  // namespace
}  // namespace respaldo::lvm
