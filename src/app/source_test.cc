#include "app/source.h"

#include <gtest/gtest.h>

#include <map>

namespace respaldo::app {
namespace {

class SourceEnvironment : public ::testing::Test {
 protected:
  std::string of(const char* name) const {
    const auto environment = source_environment([this](const char* asked) {
      const auto it = variables_.find(asked);
      return it == variables_.end() ? std::nullopt : std::optional(it->second);
    });
    return environment(name).value_or("(none)");
  }
  std::map<std::string, std::string, std::less<>> variables_;
};

TEST_F(SourceEnvironment, one_account_is_never_made_of_two) {
  variables_ = {{"AWS_ACCESS_KEY_ID", "target key"},
                {"AWS_SECRET_ACCESS_KEY", "target secret"},
                {"AWS_SESSION_TOKEN", "target token"},
                {"AWS_PROFILE", "target profile"},
                {"AWS_SHARED_CREDENTIALS_FILE", "a file"}};
  // With none of its own, the source has the target's account.
  EXPECT_EQ(of("AWS_ACCESS_KEY_ID"), "target key");
  EXPECT_EQ(of("AWS_SESSION_TOKEN"), "target token");
  for (const char* own : {"AWS_FROM_ACCESS_KEY_ID", "AWS_FROM_SECRET_ACCESS_KEY", "AWS_FROM_SESSION_TOKEN",
                          "AWS_FROM_PROFILE", "AWS_FROM_SHARED_CREDENTIALS_FILE"}) {
    const auto before = variables_;
    variables_[own] = "own";
    for (const char* name :
         {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"})
      EXPECT_TRUE(of(name) == "own" || of(name) == "(none)") << own << ": " << name << " is " << of(name);
    EXPECT_NE(of("AWS_SHARED_CREDENTIALS_FILE"), "(none)");
    variables_ = before;
  }
  // One that is empty is none.
  variables_["AWS_FROM_PROFILE"] = "";
  EXPECT_EQ(of("AWS_ACCESS_KEY_ID"), "target key");
}

TEST_F(SourceEnvironment, a_region_of_its_own_hides_the_targets) {
  variables_ = {{"AWS_DEFAULT_REGION", "target"}, {"AWS_FROM_REGION", "own"}};
  EXPECT_EQ(of("AWS_DEFAULT_REGION"), "(none)");
  EXPECT_EQ(of("AWS_REGION"), "own");
  variables_.erase("AWS_FROM_REGION");
  EXPECT_EQ(of("AWS_DEFAULT_REGION"), "target");
}

TEST_F(SourceEnvironment, passwords_of_the_target_are_not_for_the_source) {
  variables_ = {{"RESTIC_REST_USERNAME", "target"},      {"RESTIC_REST_PASSWORD", "target"},
                {"RESTIC_FROM_REST_USERNAME", "own"},    {"RESPALDO_PASSWORD", "target"},
                {"RESPALDO_FROM_PASSWORD_FILE", "file"}, {"RESPALDO_CACHE_DIR", "cache"},
                {"HOME", "home"}};
  EXPECT_EQ(of("RESTIC_REST_USERNAME"), "own");
  EXPECT_EQ(of("RESTIC_REST_PASSWORD"), "(none)");
  EXPECT_EQ(of("RESPALDO_PASSWORD"), "(none)");
  EXPECT_EQ(of("RESPALDO_PASSWORD_FILE"), "file");
  EXPECT_EQ(of("RESPALDO_CACHE_DIR"), "cache");
  EXPECT_EQ(of("HOME"), "home");
}

}  // namespace
}  // namespace respaldo::app
