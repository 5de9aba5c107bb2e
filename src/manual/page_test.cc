#include "manual/page.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "manual/completion.h"

namespace respaldo::manual {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(ManualPage, lines_that_begin_like_roff_are_text) {
  EXPECT_EQ(escaped(".TH\n'x' a-b \\"), "\\&.TH\n\\&\\(aqx\\(aq a\\-b \\e");
}

TEST(ManualPage, tables_become_lists_and_sections_rise) {
  EXPECT_EQ(manual_text("# Title\n\nText.\n\n## Keys\n\n| key | meaning |\n| --- | --- |\n| `a` | the first "
                        "|\n| `b` | more |\n\nEnd.\n"),
            "\nText.\n\n# Keys\n\n- `a`: the first\n- `b`: more\n\nEnd.\n");
}

TEST(ManualPage, joins_text_options_and_examples) {
  CommandRow command{"backup", "Save volumes.", "Back up", "respaldo backup vg0/root", {}, {}, {}};
  command.options.push_back({{"-n", "--dry-run"}, "", {}, "save nothing", "", "Options", false, false});
  command.options.push_back(
      {{"--mode"}, "fast|slow", {"fast", "slow"}, "how", "fast", "Options", false, false});
  command.arguments.push_back({{"volumes"}, "VG/LV", {}, "what", "", "", true, true});
  const std::string page = command_page(command, "It saves `all`.\n\n# NOTES\n\nOne.\n");
  EXPECT_THAT(page, StartsWith(".TH RESPALDO\\-BACKUP 8"));
  EXPECT_THAT(page, HasSubstr("respaldo\\-backup \\- save volumes\n"));
  EXPECT_THAT(page, HasSubstr("\\fIVG/LV\\fR..."));
  EXPECT_THAT(page, HasSubstr("\\fB\\-n\\fR, \\fB\\-\\-dry\\-run\\fR\nsave nothing\n"));
  EXPECT_THAT(page, HasSubstr("\\fBfast|slow\\fR\nhow (default: fast)\n"));
  const auto at = [&](const char* what) { return page.find(what); };
  EXPECT_LT(at(".SH DESCRIPTION"), at("It saves"));
  EXPECT_LT(at("It saves"), at(".SH OPTIONS"));
  EXPECT_LT(at(".SH OPTIONS"), at(".SH\nNOTES"));
  EXPECT_LT(at(".SH\nNOTES"), at(".SH EXAMPLES"));
}

TEST(OptionTable, has_what_the_program_has) {
  const CommandRow program = program_table();
  const auto backup = std::find_if(program.commands.begin(), program.commands.end(),
                                   [](const CommandRow& row) { return row.name == "backup"; });
  ASSERT_NE(backup, program.commands.end());
  const auto option = std::find_if(backup->options.begin(), backup->options.end(), [](const OptionRow& row) {
    return row.names.back() == "--on-read-error";
  });
  ASSERT_NE(option, backup->options.end());
  EXPECT_THAT(option->choices, ::testing::ElementsAre("fail", "skip"));
  EXPECT_THAT(bash_completion(program), HasSubstr("'backup:--on-read-error') echo 'words fail skip' ;;"));
}

}  // namespace
}  // namespace respaldo::manual
