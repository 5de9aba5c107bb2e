#include "store/open.h"

#include <gtest/gtest.h>

namespace respaldo::store {
namespace {

ErrorKind kind_of(const std::string& location) {
  try {
    parse_location(location);
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << location << " was taken";
  return ErrorKind::internal;
}

TEST(Location, schemes_are_restics) {
  EXPECT_EQ(parse_location("/srv/backups").scheme, Scheme::local);
  EXPECT_EQ(parse_location("/srv/backups").rest, "/srv/backups");
  EXPECT_EQ(parse_location("local:relative/folder").rest, "relative/folder");
  EXPECT_EQ(parse_location("./sftp:odd").rest, "./sftp:odd");
  EXPECT_EQ(parse_location("local:sftp:odd").rest, "sftp:odd");
  EXPECT_EQ(parse_location("sftp:me@host:/srv").scheme, Scheme::sftp);
  EXPECT_EQ(parse_location("sftp:me@host:/srv").rest, "me@host:/srv");
  EXPECT_EQ(parse_location("rest:https://host/repo/").scheme, Scheme::rest);
  EXPECT_EQ(parse_location("s3:http://host:9000/bucket/prefix").scheme, Scheme::s3);
  EXPECT_EQ(parse_location("s3:host/bucket").rest, "host/bucket");
}

TEST(Location, nothing_is_usage) {
  EXPECT_EQ(kind_of(""), ErrorKind::usage);
  EXPECT_EQ(kind_of("sftp:"), ErrorKind::usage);
  EXPECT_EQ(kind_of("local:"), ErrorKind::usage);
}

// A folder would be made of it, and its name, with a password perhaps, told.
TEST(Location, addresses_without_a_scheme_are_no_folders) {
  for (const std::string location : {"https://me:secret@host/", "HTTP://me:secret@host/", "REST:http://me:secret@host/",
                                     "Sftp://me:secret@host//srv"}) {
    EXPECT_EQ(kind_of(location), ErrorKind::usage) << location;
    try {
      parse_location(location);
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos) << error.what();
      EXPECT_FALSE(error.hint().empty());
    }
  }
  EXPECT_EQ(parse_location("./https:/x").scheme, Scheme::local);
  EXPECT_EQ(parse_location("local:REST:x").scheme, Scheme::local);
  EXPECT_EQ(parse_location("https").scheme, Scheme::local);
}

TEST(Location, other_schemes_of_restic_are_refused_by_name) {
  for (const char* location :
       {"b2:bucket:path", "azure:c:/", "gs:bucket:/", "swift:c:/", "rclone:remote:path"})
    EXPECT_EQ(kind_of(location), ErrorKind::unsupported) << location;
}

TEST(Location, options_that_nobody_knows_are_usage) {
  StoreOptions options;
  options.extended["sftp.comand"] = "x";
  try {
    open_location("/srv", options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(error.hint().find("sftp.command"), std::string::npos);
  }
}

TEST(Location, no_password_is_shown) {
  EXPECT_EQ(display_location("rest:https://me:secret@host:8000/repo/"),
            "rest:https://me:***@host:8000/repo/");
  EXPECT_EQ(display_location("rest:https://me:s:e@c/r@et@host/"), "rest:https://me:***@host/");
  EXPECT_EQ(display_location("rest:https://me@host/"), "rest:https://me@host/");
  EXPECT_EQ(display_location("sftp://me:secret@host//srv"), "sftp://me:***@host//srv");
  EXPECT_EQ(display_location("rest:http://host:8000/a:b@c"), "rest:http://host:8000/a:b@c");
  EXPECT_EQ(display_location("/srv//a:b@c"), "/srv//a:b@c");
  EXPECT_EQ(display_location("s3:host/bucket"), "s3:host/bucket");
  EXPECT_EQ(display_location("/tmp/\x1b[2J").find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace respaldo::store
