#include "parity/group_heal.h"

#include <algorithm>
#include <cstring>

#include "base/hex.h"
#include "parity/group_builder.h"

namespace respaldo::parity {

namespace {

constexpr std::uint64_t kWindow = 256;  // slices of a member read in one go

class GroupHealing {
 public:
  GroupHealing(store::Backend& backend, const Group& group, const std::map<std::string, LostPack>& lost)
      : backend_(backend),
        group_(group),
        head_(group.head()),
        lost_(lost),
        code_(group_code(head_.rows)),
        zeros_(Bytes::zeroed(kGroupSlice)) {}

  std::map<std::string, Bytes> run() {
    for (const GroupMember& member : head_.members) {
      const auto found = lost_.find(member.pack);
      if (found == lost_.end()) {
        whole_.push_back({&member, Bytes(kWindow * kGroupSlice)});
        continue;
      }
      wanted_.push_back(begin(member, found->second));
    }
    if (wanted_.empty()) return {};
    for (std::uint64_t first = 0; first < head_.slices(); first += kWindow)
      if (!solve_window(first, std::min(kWindow, head_.slices() - first))) return {};
    return collect();
  }

 private:
  struct Whole {
    const GroupMember* member;
    Bytes window;
  };
  struct Wanted {
    const GroupMember* member;
    const LostPack* lost;
    Bytes bytes;              // whole slices
    std::vector<bool> known;  // by slice
    bool touched = false;     // at least one slice was brought back
  };

  Wanted begin(const GroupMember& member, const LostPack& lost) const {
    const std::uint64_t slices = (member.size + kGroupSlice - 1) / kGroupSlice;
    Wanted wanted{&member, &lost, Bytes::zeroed(slices * kGroupSlice), std::vector<bool>(slices)};
    // Where the sidecar vouches for a slice, it need not come out of the group.
    if (!lost.reading || !lost.sidecar) return wanted;
    const Geometry& geometry = lost.sidecar->geometry();
    if (geometry.slice_size != kGroupSlice || geometry.object_size != member.size) return wanted;
    const Bytes& have = lost.reading->bytes;
    for (std::uint64_t i = 0; i < slices; ++i) {
      const Extent extent{i * kGroupSlice, geometry.length_of(i)};
      if (extent.end() > have.size() || lost.reading->unreadable.intersects(extent) ||
          !lost.sidecar->data_matches(i, have.view(extent.offset, extent.length)))
        continue;
      std::memcpy(wanted.bytes.data() + extent.offset, have.data() + extent.offset, extent.length);
      wanted.known[i] = true;
    }
    return wanted;
  }

  // False when a member that was taken for whole cannot be read.
  bool solve_window(std::uint64_t first, std::uint64_t count) {
    for (Whole& whole : whole_) {
      const std::uint64_t offset = first * kGroupSlice, length = count * kGroupSlice;
      const std::uint64_t there =
          offset < whole.member->size ? std::min(length, whole.member->size - offset) : 0;
      std::memset(whole.window.data(), 0, length);
      if (there == 0) continue;
      try {
        const Bytes bytes = backend_.load({store::FileType::pack, whole.member->pack}, offset, there);
        std::memcpy(whole.window.data(), bytes.data(), there);
      } catch (const Error&) {
        return false;
      }
    }
    for (std::uint64_t i = 0; i < count; ++i) solve_slice(first + i, i);
    return true;
  }

  void solve_slice(std::uint64_t slice, std::uint64_t in_window) {
    std::vector<std::uint8_t*> columns(code_.columns(), zeros_.data());
    std::vector<unsigned> missing, rows;
    for (Whole& whole : whole_) columns[whole.member->column] = whole.window.data() + in_window * kGroupSlice;
    for (Wanted& wanted : wanted_) {
      if (slice >= wanted.known.size()) continue;
      columns[wanted.member->column] = wanted.bytes.data() + slice * kGroupSlice;
      if (!wanted.known[slice]) missing.push_back(wanted.member->column);
    }
    if (missing.empty() || missing.size() > head_.rows) return;
    std::vector<const std::uint8_t*> parity(head_.rows, nullptr);
    for (unsigned row = 0; row < head_.rows; ++row)
      if (const auto bytes = group_.parity(row, slice)) {
        parity[row] = bytes->data();
        rows.push_back(row);
      }
    rows.resize(std::min(rows.size(), missing.size()));
    if (!rebuild_ || rebuild_for_ != std::pair(missing, rows)) {
      rebuild_ = Rebuild::plan(code_, missing, rows);
      rebuild_for_ = {missing, rows};
    }
    if (!rebuild_) return;
    rebuild_->run(columns, parity, kGroupSlice);
    for (Wanted& wanted : wanted_)
      if (slice < wanted.known.size() && !wanted.known[slice]) wanted.known[slice] = wanted.touched = true;
  }

  std::map<std::string, Bytes> collect() {
    std::map<std::string, Bytes> healed;
    for (Wanted& wanted : wanted_) {
      if (!wanted.touched) continue;
      wanted.bytes.resize(wanted.member->size);
      if (to_hex(crypto::sha256(wanted.bytes)) == wanted.member->pack) {
        healed.emplace(wanted.member->pack, std::move(wanted.bytes));
      } else if (wanted.lost->sidecar) {
        // What the group could not give, the sidecar may.
        Reading reading;
        for (std::uint64_t i = 0; i < wanted.known.size(); ++i)
          if (!wanted.known[i]) reading.unreadable.add({i * kGroupSlice, kGroupSlice});
        reading.bytes = std::move(wanted.bytes);
        HealResult result = heal(*wanted.lost->sidecar, reading);
        if (result.healed) healed.emplace(wanted.member->pack, std::move(*result.healed));
      }
    }
    return healed;
  }

  store::Backend& backend_;
  const Group& group_;
  const GroupHead& head_;
  const std::map<std::string, LostPack>& lost_;
  const ErasureCode code_;
  Bytes zeros_;
  std::vector<Whole> whole_;
  std::vector<Wanted> wanted_;
  std::optional<Rebuild> rebuild_;
  std::pair<std::vector<unsigned>, std::vector<unsigned>> rebuild_for_;
};

}  // namespace

std::map<std::string, Bytes> heal_in_group(store::Backend& backend, const Group& group,
                                           const std::map<std::string, LostPack>& lost) {
  return GroupHealing(backend, group, lost).run();
}

}  // namespace respaldo::parity
