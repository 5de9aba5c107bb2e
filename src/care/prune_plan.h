// Which packs stay, go, or are written anew without what nobody needs. Pure; the rules are restic's.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "care/blob_bits.h"
#include "repo/index.h"

namespace respaldo::care {

// How much unused data may stay in packs that are partly used.
struct UnusedLimit {
  enum class Kind { percent, bytes, unlimited };
  Kind kind = Kind::percent;
  double percent = 5;  // of the repository's size afterwards, below 100
  std::uint64_t bytes = 0;
  static UnusedLimit parse(std::string_view text);  // "5%", "2G", "unlimited"; Error(usage)
  std::uint64_t allowed(std::uint64_t used) const;
};

struct PruneLimits {
  UnusedLimit max_unused{};
  std::optional<std::uint64_t> max_repack_size{};  // bytes
  bool cacheable_only = false;                     // packs of data stay as they are
  bool uncompressed = false;                       // repack data that is not compressed
  bool may_compress = true;                        // the repository has version 2
  std::string heal_first{};                        // begins hints about damage
};

struct PruneStats {
  struct Blobs {
    std::uint64_t used = 0, unused = 0, duplicate = 0, total = 0;
    std::uint64_t repack = 0, repack_remove = 0, remove = 0, remove_total = 0, remaining = 0;
  } blobs;
  struct Bytes {
    std::uint64_t used = 0, unused = 0, duplicate = 0, unreferenced = 0, total = 0;
    std::uint64_t repack = 0, repack_remove = 0, remove = 0, remove_total = 0, remaining = 0,
                  remaining_unused = 0;
  } bytes;
  struct Packs {
    std::uint64_t used = 0, partly_used = 0, unused = 0, unreferenced = 0, total = 0;
    std::uint64_t keep = 0, repack = 0, remove = 0, remove_total = 0;
  } packs;
};

enum class PackFate : std::uint8_t { keep, repack, remove };

struct PrunePlan {
  explicit PrunePlan(std::uint64_t blobs) : to_copy(blobs) {}
  std::vector<PackFate> fates;             // in the order of index.packs()
  std::vector<bool> present;               // likewise: the pack's file is there
  std::vector<repo::PackId> unreferenced;  // in no index
  BlobBits to_copy;                        // blobs that are needed and only in packs of fate `repack`
  PruneStats stats;
};

// Sizes of the packs that the repository holds.
using StoredPacks = std::unordered_map<repo::PackId, std::uint64_t>;

// Copies of blobs that are stored more than once, by pack and offset.
using BadCopies = std::set<std::pair<repo::PackId, std::uint32_t>>;

// `used`: what backups need. Of the copies of a blob one that is in `bad` counts for nothing. Error(corrupt) when a pack
// that holds some of it is missing or of the wrong size, and no other pack holds the same.
PrunePlan plan_prune(const repo::Index& index, const BlobBits& used, const StoredPacks& stored,
                     const PruneLimits& limits, const BadCopies& bad = {});

}  // namespace respaldo::care
