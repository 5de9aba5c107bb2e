#include "restore/pax_header.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace respaldo::restore {
namespace {

// A pax header with these records, and a block after it.
std::string head_of(const std::string& body) {
  std::string block(512, '\0');
  block.replace(124, 12, fmt::format("{:011o} ", body.size()));
  block[156] = 'x';
  block.replace(148, 8, 8, ' ');
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  block.replace(148, 7, fmt::format("{:06o}", sum) + '\0');
  std::string padded = body;
  padded.resize((body.size() + 511) / 512 * 512);
  return block + padded + std::string(512, 'e');
}

std::string record(const std::string& text) {
  for (std::size_t length = text.size() + 3;; ++length)
    if (std::to_string(length).size() + text.size() + 2 == length)
      return fmt::format("{} {}\n", length, text);
}

TEST(PaxHeader, NamesOfAttributesAreUnquoted) {
  EXPECT_EQ(plain_pax_header(head_of(record("SCHILY.xattr.user.a%20b%FF=v"))),
            head_of(record("SCHILY.xattr.user.a b\xff=v")));
  // GNU tar unquotes these.
  const std::string kept = head_of(record("SCHILY.xattr.user.%25%3D=v"));
  EXPECT_EQ(plain_pax_header(kept), kept);
  // Values are bytes, and may look like anything.
  const std::string value = "=%20\n9 a=b\n";
  EXPECT_EQ(plain_pax_header(head_of(record("SCHILY.xattr.a%20b=" + value) + record("x=y"))),
            head_of(record("SCHILY.xattr.a b=" + value) + record("x=y")));
}

TEST(PaxHeader, TextsOfAccessControlListsHaveTheirOwnRecords) {
  const std::string text = "=user::rw-,user:4000000000:r-x,mask::r-x";
  EXPECT_EQ(plain_pax_header(head_of(record("SCHILY.xattr.system.posix_acl_access" + text))), head_of(record("SCHILY.acl.access" + text)));
  EXPECT_EQ(plain_pax_header(head_of(record("SCHILY.xattr.system.posix_acl_default" + text))), head_of(record("SCHILY.acl.default" + text)));
}

TEST(PaxHeader, OnlyBinaryNamesAreMarked) {
  const std::string mark = record("hdrcharset=BINARY");
  EXPECT_EQ(plain_pax_header(head_of(mark + record("path=\xc3\xa4"))), head_of(record("path=\xc3\xa4")));
  for (const char* key : {"path", "linkpath", "GNU.sparse.name", "uname"}) {
    const std::string kept = head_of(mark + record(std::string(key) + "=\xff"));
    EXPECT_EQ(plain_pax_header(kept), kept);
  }
  EXPECT_EQ(plain_pax_header(head_of(mark + record("SCHILY.xattr.user.a=\xff"))),
            head_of(record("SCHILY.xattr.user.a=\xff")));
}

TEST(PaxHeader, TimesBefore1970) {
  const auto time = [](const std::string& text) { return head_of(record("mtime=" + text)); };
  EXPECT_EQ(plain_pax_header(time("-5.75")), time("-4.250000000"));
  EXPECT_EQ(plain_pax_header(time("-1.000000001")), time("-0.999999999"));
  EXPECT_EQ(plain_pax_header(time("-86401.999999999")), time("-86400.000000001"));
  for (const char* kept : {"-5", "5.75", "0.5", "0"}) EXPECT_EQ(plain_pax_header(time(kept)), time(kept));
}

TEST(PaxHeader, LengthsCountThemselvesAndBlocksAreFull) {
  for (std::size_t length = 60; length < 1100; ++length) {
    const std::string value(length, 'v');
    EXPECT_EQ(plain_pax_header(head_of(record("SCHILY.xattr.a%20b=" + value))),
              head_of(record("SCHILY.xattr.a b=" + value)));
  }
}

TEST(PaxHeader, OtherHeadsAreLeft) {
  const std::string plain(512, 'a');
  EXPECT_EQ(plain_pax_header(plain), plain);
  EXPECT_EQ(plain_pax_header(""), "");
}

}  // namespace
}  // namespace respaldo::restore
