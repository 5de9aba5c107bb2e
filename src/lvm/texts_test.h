// Metadata texts for the tests of this room.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include "lvm/volume_group.h"
#include "testing/errors.h"

namespace respaldo::lvm {

// A text that lvm2 wrote (vdo.vg: as lvm2 writes it).
inline std::string real_text(const std::string& name) {
  std::ifstream file(std::string(RESPALDO_TEST_DATA) + "/lvm/data/" + name);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}
inline constexpr const char* kRealTexts[] = {"vg0.vg", "six.vg", "parts.vg", "mixed.vg", "vdo.vg"};

using testing::error_of;

// An LVM UUID made of a number.
inline std::string uuid(unsigned number) { return Uuid::parse(fmt::format("{:0>32}", number))->dashed(); }

// A group of two PVs with 100 extents each and the given logical volumes.
inline std::string group_with(const std::string& lvs, unsigned seqno = 1) {
  return fmt::format(
      "vg {{\nid = \"{}\"\nseqno = {}\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\n"
      "flags = []\nextent_size = 8192\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\nphysical_volumes {{\n"
      "pv0 {{\nid = \"{}\"\nstatus = [\"ALLOCATABLE\"]\nflags = []\npe_start = 2048\npe_count = 100\n}}\n"
      "pv1 {{\nid = \"{}\"\nstatus = [\"ALLOCATABLE\"]\nflags = []\npe_start = 4096\npe_count = 100\n}}\n}}\n"
      "logical_volumes {{\n{}}}\n}}\ncontents = \"Text Format Volume Group\"\nversion = 1\n",
      uuid(1000), seqno, uuid(2000), uuid(2001), lvs);
}

// A logical volume with one segment of `count` extents, whose other keys are given.
inline std::string lv_text(const std::string& name, unsigned number, unsigned count, const std::string& keys,
                           const std::string& status = "\"READ\", \"WRITE\", \"VISIBLE\"") {
  return fmt::format(
      "{} {{\nid = \"{}\"\nstatus = [{}]\nflags = []\nsegment_count = 1\nsegment1 {{\nstart_extent = 0\n"
      "extent_count = {}\n{}\n}}\n}}\n",
      name, uuid(number), status, count, keys);
}
inline std::string linear_keys(const std::string& on, unsigned extent) {
  return fmt::format("type = \"striped\"\nstripe_count = 1\nstripes = [\"{}\", {}]", on, extent);
}
inline std::string linear(const std::string& name, unsigned number, unsigned count, const std::string& on,
                          unsigned extent) {
  return lv_text(name, number, count, linear_keys(on, extent));
}

}  // namespace respaldo::lvm
