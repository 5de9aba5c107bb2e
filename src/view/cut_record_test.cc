#include "view/cut_record.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "testing/memory_repository.h"

namespace respaldo::view {
namespace {

CutRecord sample() {
  CutRecord record;
  record.cutter = "1 abc";
  record.complete_to = 1000000;
  record.free_dropped = true;
  record.zeros = {{0, 4096}, {8192, 100}};
  record.content = {{5, 600000}, {600005, 700000}, {2000000, 1}};
  return record;
}

TEST(CutRecord, comes_back_as_it_was) {
  const CutRecord record = CutRecord::parse(sample().to_json());
  EXPECT_EQ(record.cutter, "1 abc");
  EXPECT_EQ(record.complete_to, 1000000U);
  EXPECT_TRUE(record.free_dropped);
  EXPECT_EQ(record.zeros, sample().zeros);
  EXPECT_EQ(record.content, sample().content) << "spans that touch stay apart";
}

TEST(CutRecord, what_is_not_one_is_refused) {
  for (
      const char* text :
      {"", "[]", "{}",
       R"({"format":2,"cutter":"","complete_to":0,"free_dropped":false,"zeros":[],"content":[]})",
       R"({"format":1,"cutter":"","complete_to":0,"free_dropped":false,"zeros":[1],"content":[]})",
       R"({"format":1,"cutter":"","complete_to":0,"free_dropped":false,"zeros":[1,0],"content":[]})",
       R"({"format":1,"cutter":"","complete_to":-1,"free_dropped":false,"zeros":[],"content":[]})",
       R"({"format":1,"cutter":"","complete_to":0,"free_dropped":1,"zeros":[],"content":[]})",
       R"({"format":1,"cutter":"","complete_to":0,"free_dropped":true,"zeros":[],"content":[9223372036854775807,1]})"})
    EXPECT_THROW(CutRecord::parse(text), Error) << text;
}

}  // namespace
}  // namespace respaldo::view
