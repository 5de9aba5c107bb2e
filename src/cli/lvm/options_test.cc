#include "cli/lvm/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace respaldo::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

LvmArguments parse(std::vector<std::string> words) {
  const LvmVerb* verb = find_lvm_verb(words.front());
  EXPECT_NE(verb, nullptr) << words.front();
  words.erase(words.begin());
  return LvmArguments::parse(*verb, words);
}
std::string complaint(std::vector<std::string> words) {
  try {
    parse(std::move(words));
  } catch (const SyntaxError& error) {
    return error.what();
  }
  return "";
}

TEST(LvmOptions, values_stand_apart_or_joined) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"lvcreate", "-L", "10G", "-n", "root", "vg0"},
           {"lvcreate", "-L10G", "-nroot", "vg0"},
           {"lvcreate", "vg0", "--size", "10G", "--name=root"},
           {"lvcreate", "--size=10G", "vg0", "-n", "root"},
       }) {
    const LvmArguments a = parse(words);
    EXPECT_EQ(a.value("size"), "10G");
    EXPECT_EQ(a.value("name"), "root");
    EXPECT_THAT(a.positional(), ElementsAre("vg0"));
  }
}

TEST(LvmOptions, letters_cluster_and_the_last_takes_the_rest) {
  const LvmArguments a = parse({"lvcreate", "-syL1G", "-n", "s", "vg0/root"});
  EXPECT_TRUE(a.has("snapshot"));
  EXPECT_TRUE(a.has("yes"));
  EXPECT_EQ(a.value("size"), "1G");
  EXPECT_EQ(parse({"pvcreate", "-ff", "a.img"}).count("force"), 2U);
  EXPECT_EQ(parse({"pvcreate", "-f", "-f", "a.img"}).count("force"), 2U);
}

TEST(LvmOptions, long_names_may_be_cut_as_long_as_they_are_clear) {
  EXPECT_TRUE(parse({"lvs", "--nohead"}).has("noheadings"));
  EXPECT_TRUE(parse({"lvcreate", "--snap", "-l", "1", "a/b"}).has("snapshot"));
  EXPECT_THAT(complaint({"lvs", "--no"}), HasSubstr("option '--no' is ambiguous"));
  // An exact name is never ambiguous.
  EXPECT_TRUE(parse({"lvs", "--units", "b"}).has("units"));
}

TEST(LvmOptions, negative_sizes_are_values) {
  EXPECT_EQ(parse({"lvreduce", "-L-5G", "a/b"}).value("size"), "-5G");
  EXPECT_EQ(parse({"lvreduce", "-L", "-5G", "a/b"}).value("size"), "-5G");
  EXPECT_EQ(parse({"lvreduce", "--size", "-5G", "a/b"}).value("size"), "-5G");
}

TEST(LvmOptions, two_dashes_end_the_options) {
  EXPECT_THAT(parse({"lvremove", "--", "-f"}).positional(), ElementsAre("-f"));
}

TEST(LvmOptions, values_of_repeated_options_keep_their_order) {
  EXPECT_THAT(parse({"lvcreate", "--addtag", "b", "--addtag", "a", "-l1", "vg0"}).values("addtag"),
              ElementsAre("b", "a"));
}

TEST(LvmOptions, wrong_words_are_named) {
  EXPECT_EQ(complaint({"lvs", "--frobnicate"}),
            "lvs: unrecognized option '--frobnicate'\n  Error during parsing of command line.");
  EXPECT_THAT(complaint({"lvs", "-Q"}), HasSubstr("invalid option -- 'Q'"));
  EXPECT_THAT(complaint({"lvcreate", "-L"}), HasSubstr("option requires an argument -- 'L'"));
  EXPECT_THAT(complaint({"lvcreate", "--size"}), HasSubstr("option '--size' requires an argument"));
  EXPECT_THAT(complaint({"lvs", "--segments=3"}), HasSubstr("option '--segments' doesn't allow an argument"));
}

TEST(LvmVerbs, the_table_is_sound) {
  EXPECT_TRUE(std::is_sorted(lvm_verbs().begin(), lvm_verbs().end(),
                             [](const LvmVerb& a, const LvmVerb& b) { return a.name < b.name; }));
  for (const LvmVerb& verb : lvm_verbs()) {
    EXPECT_NE(verb.run, nullptr) << verb.name;
    std::set<std::string_view> names;
    std::set<char> letters;
    for (const auto* list : {&verb.options, &common_lvm_options()})
      for (const LvmOption& option : *list) {
        EXPECT_TRUE(names.insert(option.long_name).second) << verb.name << " --" << option.long_name;
        EXPECT_TRUE(option.short_name == 0 || letters.insert(option.short_name).second)
            << verb.name << " -" << option.short_name;
      }
  }
  EXPECT_FALSE(find_lvm_verb("lvs")->writes);
  EXPECT_FALSE(find_lvm_verb("vgcfgbackup")->writes);
  EXPECT_TRUE(find_lvm_verb("vgck")->writes);
  EXPECT_EQ(find_lvm_verb("mkfs"), nullptr);
}

}  // namespace
}  // namespace respaldo::cli
