#include "cli/lvm/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/units.h"

namespace respaldo::cli {
namespace {

using ::testing::HasSubstr;

std::optional<FieldKind> kind_of(std::string_view name) {
  if (name == "name" || name == "origin") return FieldKind::string;
  if (name == "size") return FieldKind::size;
  if (name == "count") return FieldKind::number;
  if (name == "full") return FieldKind::percent;
  if (name == "tags") return FieldKind::list;
  return std::nullopt;
}

// "root" of 2 GiB, 3 segments, 12.5 % full, tags daily and keep, no origin.
FieldValue value_of(std::string_view name) {
  if (name == "name") return "root";
  if (name == "size") return {"2.00g", 2.0 * static_cast<double>(kGiB)};
  if (name == "count") return FieldValue::count(3);
  if (name == "full") return {"12.50", 12.5};
  if (name == "tags") return FieldValue::list({"daily", "keep"});
  return {};
}

bool matches(std::string_view text) { return Selection::parse(text, kind_of).matches(value_of); }
std::string complaint(std::string_view text) {
  try {
    Selection::parse(text, kind_of);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

TEST(Selection, strings_are_equal_or_not) {
  EXPECT_TRUE(matches("name=root"));
  EXPECT_TRUE(matches(" name = \"root\" "));
  EXPECT_TRUE(matches("name='root'"));
  EXPECT_FALSE(matches("name=roo"));
  EXPECT_TRUE(matches("name!=boot"));
  EXPECT_TRUE(matches("origin=\"\""));
  EXPECT_THAT(complaint("name>root"), HasSubstr("syntax error"));
}

TEST(Selection, sizes_compare_with_units_and_in_mebibytes_without) {
  EXPECT_TRUE(matches("size>1g"));
  EXPECT_TRUE(matches("size=2g"));
  EXPECT_TRUE(matches("size=2048"));
  EXPECT_TRUE(matches("size>=2g && size<=2g"));
  EXPECT_FALSE(matches("size<2g"));
  EXPECT_THAT(complaint("size>large"), HasSubstr("syntax error"));
}

TEST(Selection, numbers_and_percents_compare) {
  EXPECT_TRUE(matches("count=3"));
  EXPECT_TRUE(matches("count!=4"));
  EXPECT_TRUE(matches("full>12"));
  EXPECT_TRUE(matches("full<12.6%"));
  EXPECT_FALSE(matches("full>=13"));
}

TEST(Selection, regular_expressions_find_a_part) {
  EXPECT_TRUE(matches("name=~^ro"));
  EXPECT_TRUE(matches("name=~'o{2}'"));
  EXPECT_TRUE(matches("name!~x"));
  EXPECT_TRUE(matches("(name=~^r) && count=3"));
  EXPECT_TRUE(matches("tags=~^ke"));
  EXPECT_THAT(complaint("name=~'['"), HasSubstr("Invalid regular expression"));
}

TEST(Selection, lists_match_one_all_or_exactly) {
  EXPECT_TRUE(matches("tags=daily"));
  EXPECT_FALSE(matches("tags=weekly"));
  EXPECT_TRUE(matches("tags={daily}"));
  EXPECT_FALSE(matches("tags=[daily]"));
  EXPECT_TRUE(matches("tags=[keep && daily]"));
  EXPECT_TRUE(matches("tags=[keep,daily]"));
  EXPECT_TRUE(matches("tags={weekly || keep}"));
  EXPECT_FALSE(matches("tags={weekly && keep}"));
  EXPECT_FALSE(matches("tags=\"\""));
  EXPECT_TRUE(matches("tags!=weekly"));
}

TEST(Selection, and_binds_closer_than_or) {
  EXPECT_TRUE(matches("name=root || name=x && name=y"));
  EXPECT_FALSE(matches("(name=root || name=x) && name=y"));
  EXPECT_TRUE(matches("name=x # count=3"));
  EXPECT_TRUE(matches("name=root,count=3"));
  EXPECT_TRUE(matches("!name=x"));
  EXPECT_TRUE(matches("!(name=root && count=4)"));
}

TEST(Selection, what_makes_no_sense_is_told) {
  for (const char* text : {"", "(", "name", "name=a b", "(name=a", "name=a)", "&& name=a", "=a", "!",
                           "name=~\"a", "tags=[a", "tags={", "tags=[a &"})
    EXPECT_NE(complaint(text), "") << text;
  EXPECT_THAT(complaint("nonsense=3"), HasSubstr("Unrecognised selection field: nonsense"));
}

TEST(Selection, depth_and_length_are_bounded) {
  EXPECT_NE(complaint(std::string(100000, '(') + "name=a"), "");
  EXPECT_NE(complaint(std::string(10000, '!') + "name=a"), "");
  std::string chain = "name=root";
  for (int i = 0; i < 1000; ++i) chain += " && count=3";
  EXPECT_TRUE(matches(chain));
}

}  // namespace
}  // namespace respaldo::cli
