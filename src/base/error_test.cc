#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace respaldo {
namespace {

TEST(Error, context_reads_from_the_outside_in) {
  try {
    in_context([] { return "backing up vg0/root"; },
               [] {
                 in_context([] { return "reading disk.img"; },
                            [] { throw Error(ErrorKind::io, "bad sector", "copy the disk"); });
               });
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "backing up vg0/root: reading disk.img: bad sector");
    EXPECT_EQ(error.message(), "bad sector");
    EXPECT_EQ(error.hint(), "copy the disk");
    EXPECT_EQ(error.context(), (std::vector<std::string>{"reading disk.img", "backing up vg0/root"}));
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_NE(std::string_view(error.where().file_name()).find("error_test"), std::string_view::npos);
  }
}

TEST(Error, context_costs_nothing_and_changes_nothing_without_one) {
  int described = 0;
  const auto describe = [&] {
    ++described;
    return std::string("never");
  };
  int value = 5;
  int& same = in_context(describe, [&]() -> int& { return value; });
  EXPECT_EQ(&same, &value);
  EXPECT_THROW(in_context(describe, [] { throw Cancelled(); }), Cancelled);
  EXPECT_EQ(described, 0);
}

TEST(Error, a_copy_is_whole) {
  Error error(ErrorKind::no_space, "full");
  error.add_context("writing pack").set_hint("free some").set_error_number(ENOSPC);
  const Error copy = error;
  error.add_context("more");
  EXPECT_STREQ(copy.what(), "writing pack: full");
  EXPECT_EQ(copy.hint(), "free some");
  EXPECT_EQ(copy.error_number(), ENOSPC);
}

TEST(Error, every_kind_has_a_name_of_its_own) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(ErrorKind::internal); ++i)
    names.insert(to_string(static_cast<ErrorKind>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(ErrorKind::internal) + 1);
}

}  // namespace
}  // namespace respaldo
