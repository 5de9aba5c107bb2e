#include "cli/long_output.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
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
      if (closed_) {
        ++refused_;
        throw OutputClosed(Error(ErrorKind::io, "nobody reads"));
      }
      took(text);
    };
    world.err = [this](std::string_view text) { took("err: " + std::string(text)); };
    world.out_is_terminal = terminal;
    context_ = std::make_unique<app::Context>(std::move(world), app::CommonOptions());
    return *context_;
  }
  void took(std::string_view text) {
    std::lock_guard lock(mutex_);
    writes_.emplace_back(text);
  }
  // All of it. How much is written at once depends on the clock, where not told otherwise.
  std::string written() {
    std::lock_guard lock(mutex_);
    std::string all;
    for (const std::string& text : writes_) all += text;
    return all;
  }
  std::unique_ptr<app::Context> context_;
  std::mutex mutex_;
  std::vector<std::string> writes_;
  std::atomic<bool> closed_ = false;
  std::atomic<int> refused_ = 0;
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
  EXPECT_EQ(written(), all + "end");
  EXPECT_LT(writes_.size(), 2000U);
}

TEST_F(Outputs, NothingWaitsForLong) {
  LongOutput out(context());
  out.line("while the command does something else");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (written().empty() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(written(), "while the command does something else\n");
}

TEST_F(Outputs, WhatTheThreadCouldNotWriteIsToldToWhoWritesNext) {
  LongOutput out(context());
  closed_ = true;
  out.line("to nobody");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (refused_ == 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  closed_ = false;
  EXPECT_THROW(out.flush(), OutputClosed);
  out.line("on");
  out.flush();
  EXPECT_EQ(written(), "on\n");
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
  EXPECT_EQ(written(), "before\nerr: warning: of something\nbehind\n");
  closed_ = true;
  out.line("to nobody");
  EXPECT_THROW(out.warn("of something else"), OutputClosed);
  EXPECT_EQ(written(), "before\nerr: warning: of something\nbehind\nerr: warning: of something else\n");
}

TEST_F(Outputs, WhatWasSaidBeforeAnErrorIsWritten) {
  EXPECT_THROW(
      {
        LongOutput out(context());
        out.line("said");
        throw Error(ErrorKind::io, "something else");
      },
      Error);
  EXPECT_EQ(written(), "said\n");
}

TEST_F(Outputs, ThatNobodyReadsIsToldOnce) {
  LongOutput out(context());
  closed_ = true;
  out.line("said");
  EXPECT_THROW(out.flush(), OutputClosed);
  closed_ = false;
  out.flush();
  EXPECT_EQ(written(), "");
}

}  // namespace
}  // namespace respaldo::cli
