#include "care/prune_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <limits>
#include <tuple>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "repo/index_numbers.h"

namespace respaldo::care {

namespace {

constexpr std::uint64_t kSmallestPackTarget = 4 * kMiB;
constexpr std::size_t kWorthMerging = 10;  // small packs

struct PackState {
  std::uint64_t used_size = 0, unused_size = 0;
  std::uint32_t used = 0, unused = 0, duplicates = 0, blobs = 0;
  bool has_data = false, has_trees = false, uncompressed = false;
  bool present = false, sound = false;  // sound: of the size that its blobs make
  std::uint64_t size() const { return used_size + unused_size; }
  bool data_only() const { return has_data && !has_trees; }
  bool must_compress(const PruneLimits& limits) const {
    return limits.may_compress && uncompressed && (!has_data || limits.uncompressed);
  }
};

class Planner {
 public:
  Planner(const repo::Index& index, const BlobBits& used, const StoredPacks& stored,
          const PruneLimits& limits, const BadCopies& bad)
      : index_(index),
        used_(used),
        limits_(limits),
        bad_(bad),
        plan_(index.blob_count()),
        stats_(plan_.stats),
        packs_(index.pack_count()) {
    count_blobs(stored);
    if (stats_.blobs.duplicate > 0) choose_duplicates();
    require_sound();
    find_unreferenced(stored);
  }

  PrunePlan plan() && {
    decide();
    if (std::ranges::find(plan_.fates, PackFate::repack) != plan_.fates.end()) collect_copies();
    sum_up();
    return std::move(plan_);
  }

 private:
  using Visit = std::function<void(PackState&, const repo::PackContents&)>;
  void for_each_pack(const Visit& visit) {
    std::size_t number = 0;
    index_.for_each_pack([&](const repo::PackContents& pack) { visit(packs_[number++], pack); });
  }
  repo::BlobNumber numbered(const repo::PackedBlob& blob) const {
    return *repo::blob_number(index_, blob.type, blob.id);
  }

  bool is_bad(const repo::PackContents& pack, const repo::PackedBlob& blob) const {
    return !bad_.empty() && bad_.contains({pack.pack, blob.offset});
  }

  void count_blobs(const StoredPacks& stored) {
    for_each_pack([&](PackState& state, const repo::PackContents& pack) {
      const std::uint64_t size = repo::Index::expected_pack_size(pack);
      if (const auto found = stored.find(pack.pack); found != stored.end()) {
        state.present = true;
        state.sound = found->second == size;
      }
      std::uint64_t containers = 0;
      state.blobs = static_cast<std::uint32_t>(pack.blobs.size());
      for (const repo::PackedBlob& blob : pack.blobs) {
        containers += blob.length;
        (blob.type == repo::BlobType::data ? state.has_data : state.has_trees) = true;
        state.uncompressed |= blob.uncompressed_length == 0;
        count_blob(state, blob);
      }
      state.used_size += size - containers;  // the header counts as used, as in restic
    });
  }

  void count_blob(PackState& state, const repo::PackedBlob& blob) {
    const auto [number, copies] = numbered(blob);
    if (used_.contains(number) && copies == 1) {
      ++state.used;
      state.used_size += blob.length;
      ++stats_.blobs.used;
      stats_.bytes.used += blob.length;
      return;
    }
    ++state.unused;
    state.unused_size += blob.length;
    const bool duplicate = used_.contains(number);
    if (duplicate) ++state.duplicates;
    ++(duplicate ? stats_.blobs.duplicate : stats_.blobs.unused);
    (duplicate ? stats_.bytes.duplicate : stats_.bytes.unused) += blob.length;
  }

  // Of several copies one counts as used: best in a pack that an interrupted prune wrote (nothing but
  // copies), then in one that is needed anyway.
  void choose_duplicates() {
    BlobBits chosen(index_.blob_count());
    const std::vector<std::function<bool(const PackState&)>> preferences = {
        [](const PackState& s) { return s.sound && s.duplicates == s.blobs; },
        [](const PackState& s) { return s.sound && s.used > 0; },
        [](const PackState& s) { return s.sound; },
        [](const PackState&) { return true; },
    };
    for (const auto& preferred : preferences)
      for_each_pack([&](PackState& state, const repo::PackContents& pack) {
        if (state.duplicates == 0 || !preferred(state)) return;
        for (const repo::PackedBlob& blob : pack.blobs) {
          const auto [number, copies] = numbered(blob);
          if (copies < 2 || !used_.contains(number) || is_bad(pack, blob) || !chosen.insert(number)) continue;
          ++state.used;
          --state.unused;
          state.used_size += blob.length;
          state.unused_size -= blob.length;
          ++stats_.blobs.used;
          --stats_.blobs.duplicate;
          stats_.bytes.used += blob.length;
          stats_.bytes.duplicate -= blob.length;
        }
      });
  }

  void require_sound() const {
    std::vector<std::string> missing, wrong;
    std::uint64_t blobs = 0;
    const auto ids = index_.packs();
    for (std::size_t i = 0; i < packs_.size(); ++i) {
      if (packs_[i].used == 0 || packs_[i].sound) continue;
      blobs += packs_[i].used;
      (packs_[i].present ? wrong : missing).push_back(ids[i].short_hex());
    }
    if (blobs == 0) return;
    const auto told = [](std::vector<std::string> list) {
      const std::size_t more = list.size() > 8 ? list.size() - 8 : 0;
      list.resize(list.size() - more);
      return fmt::format("{}{}", fmt::join(list, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
    };
    std::string message;
    if (!missing.empty())
      message =
          fmt::format("{} pack{} that backups need {} missing: {}", missing.size(),
                      missing.size() == 1 ? "" : "s", missing.size() == 1 ? "is" : "are", told(missing));
    if (!wrong.empty())
      message +=
          fmt::format("{}{} pack{} not of the size that the index tells: {}", message.empty() ? "" : "; ",
                      wrong.size(), wrong.size() == 1 ? " is" : "s are", told(wrong));
    throw Error(ErrorKind::corrupt,
                fmt::format("{} ({} blobs are needed); nothing was removed", message, blobs),
                limits_.heal_first +
                    "`respaldo check` tells which volumes and files need them. Bring the packs back from a "
                    "copy of the "
                    "repository, or give them up: `respaldo repair snapshots --forget`, then `respaldo "
                    "repair index`");
  }

  void find_unreferenced(const StoredPacks& stored) {
    std::vector<repo::PackId> known = index_.packs();
    std::ranges::sort(known);
    for (const auto& [id, size] : stored) {
      if (std::ranges::binary_search(known, id)) continue;
      plan_.unreferenced.push_back(id);
      stats_.bytes.unreferenced += size;
    }
    std::ranges::sort(plan_.unreferenced);
  }

  // Packs below this are worth joining: 4/5 of what the smallest of a healthy repository have.
  std::uint64_t small_pack() const {
    std::vector<std::uint64_t> sizes;
    for (const PackState& state : packs_)
      if (state.present) sizes.push_back(state.size());
    if (sizes.empty()) return 0;
    const auto third = sizes.begin() + static_cast<std::ptrdiff_t>(sizes.size() * 3 / 100);
    std::ranges::nth_element(sizes, third);
    return std::max(kSmallestPackTarget, *third) * 4 / 5;
  }

  void decide() {
    plan_.fates.assign(packs_.size(), PackFate::keep);
    plan_.present.resize(packs_.size());
    const std::uint64_t small = small_pack();
    std::vector<std::uint32_t> candidates, small_ones;
    for (std::uint32_t i = 0; i < packs_.size(); ++i) {
      const PackState& state = packs_[i];
      plan_.present[i] = state.present;
      if (state.present)
        ++(state.used == 0     ? stats_.packs.unused
           : state.unused == 0 ? stats_.packs.used
                               : stats_.packs.partly_used);
      if (state.used == 0) {
        plan_.fates[i] = PackFate::remove;
        stats_.blobs.remove += state.unused;
        stats_.bytes.remove += state.unused_size;
        if (state.present) ++stats_.packs.remove;
      } else if (limits_.cacheable_only && state.data_only()) {
        // stays
      } else if (state.unused == 0 && !(state.has_data && state.has_trees) && !state.must_compress(limits_)) {
        if (state.size() < small) small_ones.push_back(i);
      } else {
        candidates.push_back(i);
      }
    }
    if (small_ones.size() >= kWorthMerging)
      candidates.insert(candidates.end(), small_ones.begin(), small_ones.end());
    order(candidates, small);
    repack(candidates, small);
  }

  // Trees and small packs first, then those with the largest part unused.
  void order(std::vector<std::uint32_t>& candidates, std::uint64_t small) const {
    const auto key = [&](std::uint32_t i) {
      const PackState& s = packs_[i];
      const double unused = static_cast<double>(s.unused_size) / static_cast<double>(s.size());
      return std::tuple(s.data_only(), s.size() >= small, -unused, i);
    };
    std::ranges::sort(candidates, {}, key);
  }

  void repack(const std::vector<std::uint32_t>& candidates, std::uint64_t small) {
    const std::uint64_t allowed = limits_.max_unused.allowed(stats_.bytes.used);
    const std::uint64_t most = limits_.max_repack_size.value_or(std::numeric_limits<std::uint64_t>::max());
    for (const std::uint32_t i : candidates) {
      const PackState& state = packs_[i];
      const std::uint64_t unused_left =
          stats_.bytes.duplicate + stats_.bytes.unused - stats_.bytes.remove - stats_.bytes.repack_remove;
      if (stats_.bytes.repack + state.size() >= most) continue;
      if (state.data_only() && !state.must_compress(limits_) && unused_left < allowed &&
          state.size() >= small)
        continue;
      plan_.fates[i] = PackFate::repack;
      ++stats_.packs.repack;
      stats_.blobs.repack += state.blobs;
      stats_.bytes.repack += state.size();
      stats_.blobs.repack_remove += state.unused;
      stats_.bytes.repack_remove += state.unused_size;
    }
  }

  void collect_copies() {
    std::size_t number = 0;
    for_each_pack([&](PackState&, const repo::PackContents& pack) {
      if (plan_.fates[number++] != PackFate::repack) return;
      for (const repo::PackedBlob& blob : pack.blobs)
        if (const auto found = numbered(blob); used_.contains(found.number))
          plan_.to_copy.insert(found.number);
    });
    number = 0;
    for_each_pack([&](PackState& state, const repo::PackContents& pack) {
      if (plan_.fates[number++] != PackFate::keep || !state.sound) return;
      for (const repo::PackedBlob& blob : pack.blobs)
        if (!is_bad(pack, blob)) plan_.to_copy.erase(numbered(blob).number);
    });
  }

  void sum_up() {
    auto& [blobs, bytes, packs] = stats_;
    packs.unreferenced = plan_.unreferenced.size();
    packs.total = packs.used + packs.partly_used + packs.unused + packs.unreferenced;
    packs.keep = packs.used + packs.partly_used - packs.repack;
    packs.remove_total = packs.unreferenced + packs.remove + packs.repack;
    blobs.total = blobs.used + blobs.unused + blobs.duplicate;
    blobs.remove_total = blobs.remove + blobs.repack_remove;
    blobs.remaining = blobs.total - blobs.remove_total;
    bytes.total = bytes.used + bytes.unused + bytes.duplicate + bytes.unreferenced;
    bytes.remove_total = bytes.remove + bytes.repack_remove + bytes.unreferenced;
    bytes.remaining = bytes.total - bytes.remove_total;
    bytes.remaining_unused = bytes.duplicate + bytes.unused - bytes.remove - bytes.repack_remove;
  }

  const repo::Index& index_;
  const BlobBits& used_;
  const PruneLimits& limits_;
  const BadCopies& bad_;
  PrunePlan plan_;
  PruneStats& stats_;
  std::vector<PackState> packs_;
};

}  // namespace

UnusedLimit UnusedLimit::parse(std::string_view text) {
  UnusedLimit limit;
  if (text == "unlimited") {
    limit.kind = Kind::unlimited;
  } else if (text.ends_with('%')) {
    const std::string_view digits = text.substr(0, text.size() - 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), limit.percent);
    if (error != std::errc() || end != digits.data() + digits.size() ||
        !(limit.percent >= 0 && limit.percent < 100))
      throw Error(ErrorKind::usage, fmt::format("{} is not a share of unused data", printable(text)),
                  "write a share below 100%, a size, or `unlimited`");
  } else {
    limit.kind = Kind::bytes;
    limit.bytes = parse_size(text, "--max-unused", kMiB);
  }
  return limit;
}

std::uint64_t UnusedLimit::allowed(std::uint64_t used) const {
  if (kind == Kind::unlimited) return std::numeric_limits<std::uint64_t>::max();
  if (kind == Kind::bytes) return bytes;
  return static_cast<std::uint64_t>(percent / (100 - percent) * static_cast<double>(used));
}

PrunePlan plan_prune(const repo::Index& index, const BlobBits& used, const StoredPacks& stored,
                     const PruneLimits& limits, const BadCopies& bad) {
  return Planner(index, used, stored, limits, bad).plan();
}

}  // namespace respaldo::care
