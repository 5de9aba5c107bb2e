#include "dm/cow_store.h"

#include <gtest/gtest.h>

#include "dm/devices_test.h"
#include "dm/table.h"

namespace respaldo::dm {
namespace {

constexpr std::uint64_t kChunk = 4096;

CowStatus status_of(std::uint64_t exceptions, std::uint64_t size = 12 << 20) {
  CowStoreBuilder builder(size, kChunk);
  std::uint64_t next = 2;
  for (std::uint64_t i = 0; i < exceptions; ++i, ++next) {
    if (next % 257 == 1) ++next;
    builder.entry(5000 - i, next);
  }
  return CowStore::load(*memory(builder.bytes), 8192).status();
}

TEST(CowStore, status_counts_as_the_kernel_does) {
  EXPECT_EQ(status_of(0).used, 16 * 512U);  // "16/24576 16"
  EXPECT_EQ(status_of(0).metadata, 16 * 512U);
  EXPECT_EQ(status_of(0).total, 24576 * 512U);
  EXPECT_EQ(status_of(0).percent_x100(), 0U);
  EXPECT_EQ(status_of(256).used, 2072 * 512U);  // "2072/24576 24": the area chunk is skipped at once
  EXPECT_EQ(status_of(256).metadata, 24 * 512U);
  EXPECT_EQ(status_of(255).used, 257 * kChunk);
  EXPECT_EQ(status_of(255).metadata, 2 * kChunk);
  EXPECT_EQ(status_of(256, 259 * kChunk).percent_x100(), 10000U);  // "2072/2072 24" is full, and fine
  EXPECT_TRUE(status_of(256, 259 * kChunk).valid);
}

TEST(CowStore, percent_is_rounded_and_clamped_as_lvs_does) {
  const auto percent = [](std::uint64_t used, std::uint64_t total) {
    CowStatus status;
    status.used = used * 512;
    status.total = total * 512;
    status.metadata = 16 * 512;
    return status.percent_x100();
  };
  EXPECT_EQ(percent(20864, 24576), 8490U);
  EXPECT_EQ(percent(7192, 24576), 2926U);
  EXPECT_EQ(percent(16, 24576), 0U);
  EXPECT_EQ(percent(24576, 24576), 10000U);
  EXPECT_EQ(percent(24, 24576ULL << 20), 1U);
  EXPECT_EQ(percent((24576ULL << 20) - 8, 24576ULL << 20), 9999U);
}

TEST(CowStore, the_size_that_cannot_overflow) {
  const auto chunks = [](std::uint64_t extents, std::uint64_t chunk) {
    return cow_store_maximum(extents * 4096, chunk) / chunk;
  };
  EXPECT_EQ(chunks(255, 4096), 257U);
  EXPECT_EQ(chunks(256, 4096), 259U);
  EXPECT_EQ(chunks(257, 4096), 260U);
  EXPECT_EQ(chunks(512, 4096), 516U);
  EXPECT_EQ(chunks(513, 4096), 517U);
  EXPECT_EQ(chunks(255, 16384), 66U);
  EXPECT_EQ(chunks(257, 16384), 67U);
  EXPECT_EQ(chunks(512, 16384), 130U);
  EXPECT_EQ(chunks(513, 16384), 131U);
}

TEST(CowStore, a_full_area_continues_in_the_next) {
  CowStoreBuilder builder(600 * kChunk, kChunk);
  for (std::uint64_t i = 0; i < 300; ++i) builder.entry(i * 2, i < 256 ? i + 2 : i + 3);
  const CowStore store = CowStore::load(*memory(builder.bytes), 8192);
  EXPECT_EQ(store.exceptions().size(), 300U);
  EXPECT_EQ(store.lookup(2 * 255), 257U);
  EXPECT_EQ(store.lookup(2 * 256), 259U);
  EXPECT_EQ(store.lookup(1), std::nullopt);
  EXPECT_EQ(store.status().metadata, 3 * kChunk);
}

TEST(CowStore, a_store_of_zeros_is_a_fresh_one) {
  const CowStore store = CowStore::load(block::MemoryDevice(1 << 20), 16384);
  EXPECT_TRUE(store.fresh());
  EXPECT_EQ(store.status().chunk, 16384U);
  EXPECT_EQ(store.status().used, 2 * 16384U);
  EXPECT_EQ(store.status().percent_x100(), 0U);
}

TEST(CowStore, an_invalid_store_loads_without_exceptions) {
  CowStoreBuilder builder(1 << 20, kChunk);
  builder.entry(0, 2);
  store_le32(builder.bytes.data() + 4, 0);
  const CowStore store = CowStore::load(*memory(builder.bytes), kChunk);
  EXPECT_FALSE(store.status().valid);
  EXPECT_EQ(store.status().percent_x100(), 10000U);
  EXPECT_TRUE(store.exceptions().empty());
}

TEST(CowStore, damage_is_found) {
  const auto kind = [](auto change) {
    CowStoreBuilder builder(300 * kChunk, kChunk);
    builder.entry(7, 2).entry(8, 3);
    change(builder);
    return error_kind([&] { CowStore::load(*memory(builder.bytes), kChunk); });
  };
  EXPECT_EQ(kind([](auto&) {}), std::nullopt);
  EXPECT_EQ(kind([](auto& b) { store_le32(b.bytes.data(), 0x12345678); }), ErrorKind::corrupt);
  EXPECT_EQ(kind([](auto& b) { store_le32(b.bytes.data() + 8, 2); }), ErrorKind::unsupported);
  EXPECT_EQ(kind([](auto& b) { store_le32(b.bytes.data() + 12, 0); }), ErrorKind::corrupt);
  EXPECT_EQ(kind([](auto& b) { store_le32(b.bytes.data() + 12, 9); }), ErrorKind::corrupt);
  EXPECT_EQ(kind([](auto& b) { store_le32(b.bytes.data() + 12, 1U << 31); }), ErrorKind::corrupt);
  EXPECT_EQ(kind([](auto& b) { b.entry(9, 300); }), ErrorKind::corrupt);         // outside
  EXPECT_EQ(kind([](auto& b) { b.entry(9, 258); }), ErrorKind::corrupt);         // an area
  EXPECT_EQ(kind([](auto& b) { b.entry(9, 1); }), ErrorKind::corrupt);           // an area
  EXPECT_EQ(kind([](auto& b) { b.entry(8, 4); }), ErrorKind::corrupt);           // old chunk twice
  EXPECT_EQ(kind([](auto& b) { b.entry(9, 3); }), ErrorKind::corrupt);           // store chunk twice
  EXPECT_EQ(kind([](auto& b) { b.entry(1ULL << 60, 4); }), ErrorKind::corrupt);  // no such origin
  CowStoreBuilder full(258 * kChunk, kChunk);  // an area that is full has a successor
  for (std::uint64_t i = 0; i < 256; ++i) full.entry(i, i + 2);
  EXPECT_EQ(error_kind([&] { CowStore::load(*memory(full.bytes), kChunk); }), ErrorKind::corrupt);
}

TEST(CowStore, formatting_makes_an_empty_store) {
  auto device = random_memory(1 << 20, 1);
  format_cow_store(*device, kChunk);
  const CowStore store = CowStore::load(*device, 512);
  EXPECT_FALSE(store.fresh());
  EXPECT_EQ(store.status().chunk, kChunk);
  EXPECT_EQ(store.status().exceptions, 0U);
  EXPECT_EQ(to_string(*error_kind([&] { format_cow_store(*random_memory(8192, 1), kChunk); })), "usage");
}

TEST(SnapshotTarget, reads_the_store_over_the_origin) {
  const Bytes origin = testing::random_bytes(64 * kChunk, 1), saved = testing::random_bytes(3 * kChunk, 2);
  CowStoreBuilder builder(40 * kChunk, kChunk);
  builder.entry(10, 2).entry(11, 3).entry(63, 4).data(2, saved);
  MapResolver resolver;
  resolver.devices = {{"o", memory(origin)}, {"c", memory(builder.bytes)}};
  const auto snapshot = assemble({{0, 64 * 8, SnapshotTarget{"o", "c", 128}}}, resolver, "vg/snap");
  Bytes expected = origin.clone();
  std::memcpy(expected.data() + 10 * kChunk, saved.data(), 2 * kChunk);
  std::memcpy(expected.data() + 63 * kChunk, saved.data() + 2 * kChunk, kChunk);
  EXPECT_TRUE(equal(whole(*snapshot), expected));
  EXPECT_TRUE(
      equal(block::read(*snapshot, 9 * kChunk + 5, 3 * kChunk), expected.view(9 * kChunk + 5, 3 * kChunk)));
  EXPECT_TRUE(runs_are_true(*snapshot));
}

TEST(SnapshotTarget, an_invalid_store_is_an_overflow) {
  CowStoreBuilder builder(40 * kChunk, kChunk);
  store_le32(builder.bytes.data() + 4, 0);
  MapResolver resolver;
  resolver.devices = {{"o", random_memory(64 * kChunk, 1)}, {"c", memory(builder.bytes)}};
  EXPECT_EQ(error_kind([&] {
              assemble({{0, 8, SnapshotTarget{"o", "c", 8}}}, resolver, "vg/snap");
            }),
            ErrorKind::overflow);
  EXPECT_TRUE(equal(whole(*assemble({{0, 512, SnapshotMergeTarget{"o", "c", 8}}}, resolver, "vg/o")),
                    whole(*resolver.devices["o"])));
}

}  // namespace
}  // namespace respaldo::dm
