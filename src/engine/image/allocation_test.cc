#include "engine/image/allocation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"

namespace respaldo::engine {
namespace {

PvSpace space(std::string pv, std::initializer_list<Extent> free) { return {std::move(pv), ExtentSet(free)}; }

// "0+10@pv0:5 10+4@pv1:0" : start+count@pv:extent, legs joined by a comma.
std::string text(const std::vector<lvm::Segment>& segments) {
  std::string result;
  for (const lvm::Segment& segment : segments) {
    result += (result.empty() ? "" : " ") + std::to_string(segment.start) + "+" +
              std::to_string(segment.count) + "@";
    const auto& areas = std::get<lvm::StripedSegment>(segment.body).areas;
    for (std::size_t leg = 0; leg < areas.size(); ++leg)
      result += (leg == 0 ? "" : ",") + areas[leg].name + ":" + std::to_string(areas[leg].extent);
  }
  return result;
}

lvm::Segment linear(std::string pv, std::uint64_t extent, std::uint64_t count, std::uint64_t start = 0) {
  lvm::Segment segment;
  segment.start = start;
  segment.count = count;
  segment.type = "striped";
  segment.body = lvm::StripedSegment{0, {{std::move(pv), extent}}};
  return segment;
}

TEST(Allocation, takes_the_smallest_hole_that_fits_on_the_first_pv_that_has_one) {
  AllocationRequest request;
  request.space = {space("pv0", {{0, 10}, {20, 10}, {40, 28}}), space("pv1", {{0, 100}})};
  request.extents = 4;
  EXPECT_EQ(text(allocate(request)), "0+4@pv0:0");
  request.extents = 12;
  EXPECT_EQ(text(allocate(request)), "0+12@pv0:40");
  request.extents = 29;
  EXPECT_EQ(text(allocate(request)), "0+29@pv1:0");
}

TEST(Allocation, pieces_come_largest_first_and_stay_on_used_pvs) {
  AllocationRequest request;
  request.space = {space("pva", {{0, 10}}), space("pvb", {{0, 20}, {30, 8}}), space("pvc", {{5, 3}})};
  request.extents = 41;
  EXPECT_EQ(text(allocate(request)), "0+20@pvb:0 20+8@pvb:30 28+10@pva:0 38+3@pvc:5");
}

TEST(Allocation, growth_continues_after_the_last_extent) {
  const lvm::Segment last = linear("pv1", 10, 5);
  AllocationRequest request;
  request.space = {space("pv0", {{0, 100}}), space("pv1", {{0, 10}, {15, 6}, {30, 50}})};
  request.after = &last;
  request.start = 5;
  request.extents = 6;
  EXPECT_EQ(text(allocate(request)), "5+6@pv1:15");
  request.extents = 20;
  EXPECT_EQ(text(allocate(request)), "5+6@pv1:15 11+14@pv1:30");
}

TEST(Allocation, growth_stays_on_its_pv_before_it_goes_elsewhere) {
  const lvm::Segment last = linear("pv1", 10, 5);
  AllocationRequest request;
  request.space = {space("pv0", {{0, 100}}), space("pv1", {{20, 7}})};
  request.after = &last;
  request.start = 5;
  request.extents = 10;
  EXPECT_EQ(text(allocate(request)), "5+7@pv1:20 12+3@pv0:0");
  request.policy = AllocationPolicy::cling;
  EXPECT_THROW(allocate(request), Error);
}

TEST(Allocation, contiguous_means_one_piece) {
  AllocationRequest request;
  request.lv = "big";
  request.policy = AllocationPolicy::contiguous;
  request.space = {space("pv0", {{0, 10}, {20, 10}})};
  request.extents = 10;
  EXPECT_EQ(text(allocate(request)), "0+10@pv0:0");
  request.extents = 11;
  try {
    allocate(request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::no_space);
    EXPECT_STREQ(error.what(),
                 "Insufficient suitable allocatable extents for logical volume big: 11 more required");
  }
}

TEST(Allocation, stripes_lie_on_distinct_pvs_and_cut_to_the_shortest_leg) {
  AllocationRequest request;
  request.stripes = 2;
  request.stripe_sectors = 128;
  request.space = {space("pv0", {{0, 5}}), space("pv1", {{3, 50}}), space("pv2", {{0, 8}})};
  request.extents = 10;
  EXPECT_EQ(text(allocate(request)), "0+10@pv0:0,pv1:3");
  request.extents = 16;
  EXPECT_EQ(text(allocate(request)), "0+16@pv1:3,pv2:0");
  request.extents = 20;
  const auto segments = allocate(request);
  EXPECT_EQ(text(segments), "0+16@pv1:3,pv2:0 16+4@pv1:11,pv0:0");
  EXPECT_EQ(std::get<lvm::StripedSegment>(segments[0].body).stripe_sectors, 128U);
}

TEST(Allocation, anywhere_puts_legs_on_one_pv) {
  AllocationRequest request;
  request.stripes = 2;
  request.space = {space("pv0", {{0, 20}})};
  request.extents = 10;
  EXPECT_THROW(allocate(request), Error);
  request.policy = AllocationPolicy::anywhere;
  EXPECT_EQ(text(allocate(request)), "0+10@pv0:0,pv0:5");
}

TEST(Allocation, too_little_says_how_much_there_is) {
  AllocationRequest request;
  request.space = {space("pv0", {{0, 3}})};
  request.extents = 4;
  try {
    allocate(request);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "Insufficient free space: 4 extents needed, but only 3 available");
  }
  EXPECT_EQ(text(allocate_at_most(request)), "0+3@pv0:0");
}

// Whatever is asked: pieces are free, disjoint, tile the LV, and cost nothing when it fails.
TEST(Allocation, random_requests_give_disjoint_free_pieces) {
  std::mt19937 random(7);
  const auto below = [&](std::uint64_t n) {
    return std::uniform_int_distribution<std::uint64_t>(0, n - 1)(random);
  };
  for (int round = 0; round < 3000; ++round) {
    AllocationRequest request;
    std::uint64_t total = 0;
    for (std::uint64_t pv = 0; pv < 1 + below(4); ++pv) {
      PvSpace each{"pv" + std::to_string(pv), {}};
      for (std::uint64_t area = 0; area < below(5); ++area) each.free.add({below(60), 1 + below(15)});
      total += each.free.total();
      request.space.push_back(std::move(each));
    }
    request.stripes = static_cast<unsigned>(1 + below(3));
    request.extents = (1 + below(40)) * request.stripes;
    request.policy = static_cast<AllocationPolicy>(below(4));
    std::vector<lvm::Segment> segments;
    try {
      segments = allocate(request);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::no_space);
      // One leg under a liberal policy only fails when there is not enough.
      if (request.stripes == 1 && request.policy >= AllocationPolicy::normal) {
        EXPECT_LT(total, request.extents);
      }
      continue;
    }
    std::map<std::string, ExtentSet> left;
    for (const PvSpace& each : request.space) left[each.pv] = each.free;
    std::uint64_t at = 0;
    for (const lvm::Segment& segment : segments) {
      EXPECT_EQ(segment.start, at);
      at += segment.count;
      const auto& areas = std::get<lvm::StripedSegment>(segment.body).areas;
      ASSERT_EQ(areas.size(), request.stripes);
      std::set<std::string> pvs;
      for (const auto& area : areas) {
        const Extent piece{area.extent, segment.count / request.stripes};
        EXPECT_TRUE(left[area.name].contains(piece));
        left[area.name].remove(piece);
        pvs.insert(area.name);
      }
      if (request.policy != AllocationPolicy::anywhere) {
        EXPECT_EQ(pvs.size(), areas.size());
      }
    }
    EXPECT_EQ(at, request.extents);
    if (request.policy == AllocationPolicy::contiguous) {
      EXPECT_EQ(segments.size(), 1U);
    }
  }
}

TEST(Allocation, legs_that_share_a_pv_do_not_get_the_same_extents) {
  lvm::Segment last = linear("pv0", 0, 4);
  last.body = lvm::StripedSegment{128, {{"pv0", 0}, {"pv0", 2}}};
  AllocationRequest request;
  request.space = {space("pv0", {{10, 10}})};
  request.extents = 10;
  request.stripes = 2;
  request.stripe_sectors = 128;
  request.after = &last;
  request.start = 4;
  request.policy = AllocationPolicy::anywhere;
  EXPECT_EQ(text(allocate(request)), "4+10@pv0:10,pv0:15");
  request.policy = AllocationPolicy::normal;
  EXPECT_THROW(allocate(request), Error);
}

TEST(Allocation, segments_join_only_when_every_leg_continues) {
  lvm::Segment first = linear("pv0", 4, 6, 0);
  EXPECT_FALSE(join_segments(first, linear("pv0", 11, 2, 6)));
  EXPECT_FALSE(join_segments(first, linear("pv1", 10, 2, 6)));
  EXPECT_TRUE(join_segments(first, linear("pv0", 10, 2, 6)));
  EXPECT_EQ(first.count, 8U);
}

TEST(Allocation, policies_have_lvm2s_names) {
  EXPECT_EQ(parse_allocation_policy("cling"), AllocationPolicy::cling);
  EXPECT_EQ(to_string(AllocationPolicy::anywhere), "anywhere");
  EXPECT_FALSE(parse_allocation_policy("bogus").has_value());
}

}  // namespace
}  // namespace respaldo::engine
