#include "cli/long_output.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cli/output_closed.h"

namespace respaldo::cli {
namespace {

class Outputs : public ::testing::Test {
 protected:
  app::Context& context(bool terminal = false) {
    app::World world;
    world.environment = [](const char*) { return std::optional<std::string>(); };
    world.out = [this](std::string_view text) {
      if (closed_) throw OutputClosed(Error(ErrorKind::io, "nobody reads"));
      writes_.emplace_back(text);
    };
    world.err = [this](std::string_view text) { writes_.emplace_back("err: " + std::string(text)); };
    world.out_is_terminal = terminal;
    context_ = std::make_unique<app::Context>(std::move(world), app::CommonOptions());
    return *context_;
  }
  std::unique_ptr<app::Context> context_;
  std::vector<std::string> writes_;
  bool closed_ = false;
};

TEST_F(Outputs, ManyLinesAreFewWrites) {
  std::string all;
  {
    LongOutput out(context());
    for (int i = 0; i < 20000; ++i) {
      out.line(fmt::format("line {}", i));
      all += fmt::format("line {}\n", i);
    }
    out.write("end");
    out.flush();
  }
  std::string got;
  for (const std::string& text : writes_) got += text;
  EXPECT_EQ(got, all + "end");
  EXPECT_LT(writes_.size(), 100U);
}

TEST_F(Outputs, NothingWaitsForLong) {
  LongOutput out(context());
  out.line("early");
  EXPECT_TRUE(writes_.empty());
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  out.line("late");
  EXPECT_EQ(writes_, std::vector<std::string>{"early\nlate\n"});
}

TEST_F(Outputs, ATerminalHasEachLineAtOnce) {
  LongOutput out(context(true));
  out.line("one");
  out.line("two");
  EXPECT_EQ(writes_, (std::vector<std::string>{"one\n", "two\n"}));
}

TEST_F(Outputs, WarningsKeepTheirPlace) {
  LongOutput out(context());
  out.line("before");
  out.warn("of something");
  out.line("behind");
  out.flush();
  EXPECT_EQ(writes_, (std::vector<std::string>{"before\n", "err: warning: of something\n", "behind\n"}));
}

TEST_F(Outputs, WhatWasSaidBeforeAnErrorIsWritten) {
  EXPECT_THROW(
      {
        LongOutput out(context());
        out.line("said");
        throw Error(ErrorKind::io, "something else");
      },
      Error);
  EXPECT_EQ(writes_, std::vector<std::string>{"said\n"});
}

TEST_F(Outputs, ThatNobodyReadsIsToldOnce) {
  LongOutput out(context());
  out.line("said");
  closed_ = true;
  EXPECT_THROW(out.flush(), OutputClosed);
  closed_ = false;
  out.flush();
  EXPECT_TRUE(writes_.empty());
}

}  // namespace
}  // namespace respaldo::cli
