#include "base/words.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace respaldo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(SplitWords, quotes_and_backslashes_hold_words_together) {
  EXPECT_THAT(split_words("mail -s 'it is done'  \"to root\" a\\ b ''", "the command"),
              ElementsAre("mail", "-s", "it is done", "to root", "a b", ""));
  EXPECT_THAT(split_words("  \t\n", "the command"), IsEmpty());
}

TEST(SplitWords, nothing_of_a_shell_is_obeyed) {
  EXPECT_THAT(split_words("echo $HOME; rm -rf * | cat >x", "the command"),
              ElementsAre("echo", "$HOME;", "rm", "-rf", "*", "|", "cat", ">x"));
}

TEST(SplitWords, an_open_quotation_mark_is_an_error) {
  EXPECT_THROW(split_words("echo 'a", "the command"), Error);
}

TEST(Closest, finds_what_was_meant) {
  const std::vector<std::string> names = {"volumes", "repository", "exclude"};
  EXPECT_EQ(closest("volume", names), "volumes");
  EXPECT_EQ(closest("repositroy", names), "repository");
  EXPECT_EQ(closest("colour", names), "");
}

}  // namespace
}  // namespace respaldo
