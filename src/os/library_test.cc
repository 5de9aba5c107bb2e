#include "os/library.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace respaldo::os {
namespace {

using testing::HasSubstr;

std::string why_not(const auto& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    return error.what();
  }
  return "";
}

TEST(Library, calls_what_it_found) {
  const Library maths("libm.so.6", "libc6");
  EXPECT_EQ(maths.function<double (*)(double)>("floor")(2.5), 2);
}

TEST(Library, names_what_is_missing) {
  EXPECT_THAT(why_not([] { Library("libnobody.so.7", "libnobody7"); }), HasSubstr("libnobody.so.7 cannot be loaded"));
  EXPECT_THAT(why_not([] { (void)Library("libm.so.6", "libc6").function<void (*)()>("nobody"); }),
              HasSubstr("libm.so.6 has no nobody"));
}

}  // namespace
}  // namespace respaldo::os
