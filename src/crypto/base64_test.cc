#include "crypto/base64.h"

#include <gtest/gtest.h>

namespace respaldo::crypto {
namespace {

TEST(Base64, goes_there_and_back) {
  for (const std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"})
    EXPECT_EQ(from_base64(to_base64(as_bytes(text))), text);
  EXPECT_EQ(to_base64(as_bytes("fooba")), "Zm9vYmE=");
  EXPECT_EQ(to_base64(ByteView()), "");
}

TEST(Base64, takes_nothing_else) {
  for (const char* bad : {"Zm9", "Zm9v YmE=", "Zm=v", "Zm9vYmE", "====", "\nZm9", "Zm9vY===", "_w=="})
    EXPECT_FALSE(from_base64(bad)) << bad;
}

}  // namespace
}  // namespace respaldo::crypto
