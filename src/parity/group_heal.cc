#include "parity/group_heal.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/hex.h"
#include "base/units.h"
#include "parity/group_builder.h"

namespace respaldo::parity {

namespace {

constexpr std::uint64_t kMostInWindows = 64 * kMiB, kMostAtOnce = 64 * kMiB;  // bytes: of all windows, of packs healed
constexpr std::uint64_t kLongestWindow = 256, kShortestWindow = 16;           // slices of a member read in one go

class GroupHealing {
 public:
  GroupHealing(store::Backend& backend, const Group& group, const std::set<std::string>& lost, const LoadLost& load,
               const TakeHealed& take)
      : backend_(backend),
        group_(group),
        head_(group.head()),
        load_(load),
        take_(take),
        code_(group_code(head_.rows)),
        zeros_(Bytes::zeroed(kGroupSlice)),
        window_(std::clamp(kMostInWindows / kGroupSlice / std::max<std::uint64_t>(head_.members.size(), 1),
                           kShortestWindow, kLongestWindow)) {
    for (const GroupMember& member : head_.members)
      members_.push_back({.member = &member, .lost = lost.contains(member.pack)});
  }

  void run() {
    for (Member& member : members_)
      if (member.lost) look_at(member, load_(member.member->pack), nullptr);
    std::set<const Member*> tried;
    for (;;) {
      find_solvable();
      std::vector<Target> targets;
      std::uint64_t bytes = 0;
      for (Member& member : members_) {
        if (tried.contains(&member) || !gains(member)) continue;
        if (!targets.empty() && bytes + member.member->size > kMostAtOnce) break;
        bytes += member.member->size;
        tried.insert(&member);
        targets.push_back(begin(member));
      }
      if (targets.empty() || !solve(targets)) return;
      for (Target& target : targets) end(target);
    }
  }

 private:
  struct Member {
    const GroupMember* member = nullptr;
    bool lost = false;
    std::vector<bool> known{};                // of a lost one, by slice: its sidecar vouches for it
    std::map<std::uint64_t, Bytes> healed{};  // known slices that are not stored
    Bytes window{};

    bool lacks(std::uint64_t slice) const { return slice < known.size() && !known[slice]; }
  };
  struct Target {
    Member* member;
    LostPack was;  // the sidecar alone
    Bytes bytes;   // whole slices
    std::vector<bool> known;
  };

  // Where the sidecar vouches for a slice, it need not come out of the group. `bytes`: such slices are copied there.
  static void look_at(Member& member, const LostPack& lost, Bytes* bytes) {
    const std::uint64_t slices = (member.member->size + kGroupSlice - 1) / kGroupSlice;
    member.known.assign(slices, false);
    member.healed.clear();
    if (!lost.reading || !lost.sidecar) return;
    const Geometry& geometry = lost.sidecar->geometry();
    if (geometry.slice_size != kGroupSlice || geometry.object_size != member.member->size) return;
    const Bytes& have = lost.reading->bytes;
    for (std::uint64_t i = 0; i < slices; ++i) {
      const Extent extent{i * kGroupSlice, geometry.length_of(i)};
      if (extent.end() > have.size() || lost.reading->unreadable.intersects(extent) ||
          !lost.sidecar->data_matches(i, have.view(extent.offset, extent.length)))
        continue;
      member.known[i] = true;
      const ByteView slice = have.view(extent.offset, extent.length);
      if (bytes != nullptr) std::memcpy(bytes->data() + extent.offset, slice.data(), slice.size());
      if (!lost.not_stored.intersects(extent)) continue;
      Bytes copy(slice.size());
      std::memcpy(copy.data(), slice.data(), slice.size());
      member.healed.emplace(i, std::move(copy));
    }
  }

  Target begin(Member& member) const {
    Target target{&member, load_(member.member->pack), {}, {}};
    target.bytes = Bytes::zeroed((member.member->size + kGroupSlice - 1) / kGroupSlice * kGroupSlice);
    look_at(member, target.was, &target.bytes);
    target.known = member.known;
    target.was.reading.reset();
    return target;
  }

  std::vector<unsigned> good_rows(std::uint64_t slice) const {
    std::vector<unsigned> rows;
    for (unsigned row = 0; row < head_.rows; ++row)
      if (group_.parity(row, slice)) rows.push_back(row);
    return rows;
  }

  // Out of what is known now: nothing is held of what too many members lack.
  void find_solvable() {
    solvable_.assign(head_.slices(), false);
    for (std::uint64_t i = 0; i < head_.slices(); ++i) {
      const auto missing = static_cast<std::size_t>(
          std::ranges::count_if(members_, [&](const Member& member) { return member.lacks(i); }));
      solvable_[i] = missing > 0 && missing <= head_.rows && good_rows(i).size() >= missing;
    }
  }
  bool gains(const Member& member) const {
    for (std::uint64_t i = 0; i < member.known.size(); ++i)
      if (!member.known[i] && solvable_[i]) return true;
    return false;
  }

  // False when a member that was taken for whole cannot be read.
  bool solve(std::vector<Target>& targets) {
    for (std::uint64_t first = 0; first < head_.slices(); first += window_) {
      const std::uint64_t end = std::min(first + window_, head_.slices());
      std::vector<std::uint64_t> wanted;
      for (std::uint64_t i = first; i < end; ++i)
        if (solvable_[i] &&
            std::ranges::any_of(targets, [&](const Target& target) { return target.member->lacks(i); }))
          wanted.push_back(i);
      if (wanted.empty()) continue;
      for (Member& member : members_)
        if (!is_target(member, targets) && !fill(member, first, end - first)) return false;
      for (const std::uint64_t slice : wanted) solve_slice(slice, slice - first, targets);
    }
    return true;
  }

  static bool is_target(const Member& member, const std::vector<Target>& targets) {
    return std::ranges::find(targets, &member, &Target::member) != targets.end();
  }

  bool fill(Member& member, std::uint64_t first, std::uint64_t count) {
    const std::uint64_t offset = first * kGroupSlice, length = count * kGroupSlice;
    if (member.window.size() == 0) member.window = Bytes(window_ * kGroupSlice);
    std::memset(member.window.data(), 0, length);
    const std::uint64_t size = member.member->size;
    const auto load = [&](std::uint64_t at, std::uint64_t bytes) {
      if (at >= size) return true;
      try {
        const Bytes loaded = backend_.load({store::FileType::pack, member.member->pack}, at, std::min(bytes, size - at));
        std::memcpy(member.window.data() + (at - offset), loaded.data(), loaded.size());
        return true;
      } catch (const Error&) {
        return false;
      }
    };
    if (!member.lost) return load(offset, length);
    const bool all = load(offset, length);
    for (std::uint64_t i = first; i < std::min<std::uint64_t>(first + count, member.known.size()); ++i) {
      if (!member.known[i]) continue;
      if (const auto healed = member.healed.find(i); healed != member.healed.end())
        std::memcpy(member.window.data() + (i - first) * kGroupSlice, healed->second.data(), healed->second.size());
      else if (!all && !load(i * kGroupSlice, kGroupSlice))
        member.known[i] = false;
    }
    return true;
  }

  void solve_slice(std::uint64_t slice, std::uint64_t in_window, std::vector<Target>& targets) {
    std::vector<std::uint8_t*> columns(code_.columns(), zeros_.data());
    std::vector<unsigned> missing;
    for (Member& member : members_) {
      if (!is_target(member, targets)) columns[member.member->column] = member.window.data() + in_window * kGroupSlice;
      if (member.lacks(slice)) missing.push_back(member.member->column);
    }
    for (Target& target : targets)
      if (slice < target.known.size())
        columns[target.member->member->column] = target.bytes.data() + slice * kGroupSlice;
    std::vector<unsigned> rows = good_rows(slice);
    if (missing.size() > rows.size()) return;
    rows.resize(missing.size());
    std::vector<const std::uint8_t*> parity(head_.rows, nullptr);
    for (const unsigned row : rows) parity[row] = group_.parity(row, slice)->data();
    if (!rebuild_ || rebuild_for_ != std::pair(missing, rows)) {
      rebuild_ = Rebuild::plan(code_, missing, rows);
      rebuild_for_ = {missing, rows};
    }
    if (!rebuild_) return;
    rebuild_->run(columns, parity, kGroupSlice);
    for (Target& target : targets)
      if (slice < target.known.size()) target.known[slice] = true;
  }

  void end(Target& target) {
    const GroupMember& member = *target.member->member;
    target.bytes.resize(member.size);
    std::optional<Bytes> whole;
    if (to_hex(crypto::sha256(target.bytes)) == member.pack) {
      whole = std::move(target.bytes);
    } else if (target.was.sidecar) {
      // What the group could not give, the sidecar may.
      Reading reading;
      for (std::uint64_t i = 0; i < target.known.size(); ++i)
        if (!target.known[i]) reading.unreadable.add({i * kGroupSlice, kGroupSlice});
      reading.bytes = std::move(target.bytes);
      whole = heal(*target.was.sidecar, reading).healed;
    }
    if (whole && take_(member.pack, *whole, target.was)) {
      target.member->known.assign(target.member->known.size(), true);
      target.member->healed.clear();
    }
  }

  store::Backend& backend_;
  const Group& group_;
  const GroupHead& head_;
  const LoadLost& load_;
  const TakeHealed& take_;
  const ErasureCode code_;
  Bytes zeros_;
  const std::uint64_t window_;
  std::vector<Member> members_;
  std::vector<bool> solvable_;
  std::optional<Rebuild> rebuild_;
  std::pair<std::vector<unsigned>, std::vector<unsigned>> rebuild_for_;
};

}  // namespace

void heal_in_group(store::Backend& backend, const Group& group, const std::set<std::string>& lost, const LoadLost& load,
                   const TakeHealed& take) {
  GroupHealing(backend, group, lost, load, take).run();
}

}  // namespace respaldo::parity
