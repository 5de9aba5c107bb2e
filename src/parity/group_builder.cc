#include "parity/group_builder.h"

#include <algorithm>
#include <cstring>

#include "base/hex.h"
#include "parity/repair.h"

namespace respaldo::parity {

namespace {

std::uint64_t whole_slices(std::uint64_t size) {
  return (size + kGroupSlice - 1) / kGroupSlice * kGroupSlice;
}

// The pack's bytes when they are what its name says; absent when it is missing or damaged.
std::optional<Bytes> try_load_pack(store::Backend& backend, const std::string& pack) {
  try {
    Bytes bytes = backend.load_all({store::FileType::pack, pack}, kLongestObject);
    if (to_hex(crypto::sha256(bytes)) == pack) return bytes;
  } catch (const Error&) {
    // Damaged or gone: the same to the caller.
  }
  return std::nullopt;
}

}  // namespace

ErasureCode group_code(std::uint32_t rows) { return {kMostShards - rows, rows}; }

GroupBuilder::GroupBuilder(store::Backend& backend, const Settings& settings)
    : backend_(backend), settings_(settings), code_(group_code(settings.group_parity)) {
  head_.rows = settings.group_parity;
}

void GroupBuilder::add(const std::string& pack, ByteView bytes) {
  std::lock_guard lock(mutex_);
  if (head_.members.empty() && !looked_) adopt_unfinished();
  if (head_.has(pack)) return;
  make_room(bytes.size());
  const unsigned column = head_.free_column();
  const auto rows = row_pointers();
  code_.add(column, bytes, rows);
  head_.members.push_back({pack, bytes.size(), column});
  dirty_ = true;
  if (head_.members.size() < settings_.group_members) return;
  write();
  start_afresh();
}

void GroupBuilder::start_afresh() {
  head_.members.clear();
  head_.shard_size = 0;
  rows_.clear();
  written_as_.clear();
}

void GroupBuilder::flush() {
  std::lock_guard lock(mutex_);
  flush_locked();
}

void GroupBuilder::flush_locked() {
  if (!dirty_ && superseded_.empty()) return;
  if (dirty_) write();
  backend_.sync();
  for (const std::string& name : superseded_) backend_.remove({store::FileType::parity_group, name});
  superseded_.clear();
}

void GroupBuilder::leave(const std::vector<std::string>& groups) {
  std::lock_guard lock(mutex_);
  flush_locked();
  start_afresh();
  looked_ = false;
  left_.insert(groups.begin(), groups.end());
}

std::vector<std::string> GroupBuilder::give_up() {
  std::lock_guard lock(mutex_);
  std::vector<std::string> unwritten;
  if (dirty_)
    for (const GroupMember& member : head_.members) unwritten.push_back(member.pack);
  start_afresh();
  looked_ = dirty_ = false;
  superseded_.clear();
  return unwritten;
}

// The group in hand, under a new name; the old one goes when this one is durable.
void GroupBuilder::write() {
  const std::string name = group_name(head_);
  const GroupParts file = group_parts(head_, rows_);
  backend_.save({store::FileType::parity_group, name}, file.parts, store::Durability::at_sync);
  if (!written_as_.empty() && written_as_ != name) superseded_.insert(written_as_);
  superseded_.erase(name);
  written_as_ = name;
  wrote_.insert(name);
  dirty_ = false;
}

bool GroupBuilder::wrote(const std::string& group) {
  std::lock_guard lock(mutex_);
  return wrote_.contains(group);
}

void GroupBuilder::adopt_unfinished() {
  looked_ = true;
  for (const store::FileInfo& file : backend_.list(store::FileType::parity_group)) {
    if (members_by_name(file.name) >= settings_.group_members || left_.contains(file.name)) continue;
    try {
      if (adopt(file.name)) return;
    } catch (const Error& error) {
      // Unreadable, or replaced by another run in this moment: a new group does as well.
      if (error.kind() == ErrorKind::internal) throw;
    }
  }
}

bool GroupBuilder::adopt(const std::string& name) {
  const auto group = load_group(backend_, name);
  if (!group || !group->intact() || group->head().rows != settings_.group_parity ||
      group->head().members.size() >= settings_.group_members)
    return false;
  for (const GroupMember& member : group->head().members) {
    const auto info = backend_.stat({store::FileType::pack, member.pack});
    if (!info || info->size != member.size) return false;
  }
  head_ = group->head();
  rows_.clear();
  for (unsigned row = 0; row < head_.rows; ++row) {
    Bytes bytes(head_.shard_size);
    for (std::uint64_t slice = 0; slice < head_.slices(); ++slice)
      std::memcpy(bytes.data() + slice * kGroupSlice, group->parity(row, slice)->data(), kGroupSlice);
    rows_.push_back(std::move(bytes));
  }
  written_as_ = name;
  return true;
}

void GroupBuilder::make_room(std::uint64_t size) {
  const std::uint64_t before = head_.shard_size, after = std::max(before, whole_slices(size));
  rows_.resize(head_.rows);
  if (after == before) return;
  for (Bytes& row : rows_) {
    row.resize(after);
    std::memset(row.data() + before, 0, after - before);
  }
  head_.shard_size = after;
}

std::vector<std::uint8_t*> GroupBuilder::row_pointers() {
  std::vector<std::uint8_t*> pointers;
  for (Bytes& row : rows_) pointers.push_back(row.data());
  return pointers;
}

namespace {

// The group without those members, out of its parity and them; false when either is damaged.
bool subtract(store::Backend& backend, const std::string& name, const std::set<std::string>& packs) {
  const auto group = load_group(backend, name);
  if (!group || !group->intact()) return false;
  GroupHead head = group->head();
  const ErasureCode code = group_code(head.rows);
  std::vector<Bytes> rows;
  std::vector<std::uint8_t*> pointers;
  for (unsigned row = 0; row < head.rows; ++row) {
    rows.emplace_back(head.shard_size);
    for (std::uint64_t slice = 0; slice < head.slices(); ++slice)
      std::memcpy(rows.back().data() + slice * kGroupSlice, group->parity(row, slice)->data(), kGroupSlice);
  }
  for (Bytes& row : rows) pointers.push_back(row.data());
  for (const GroupMember& member : group->head().members) {
    if (!packs.contains(member.pack)) continue;
    const auto bytes = try_load_pack(backend, member.pack);
    if (!bytes || bytes->size() != member.size) return false;
    code.add(member.column, *bytes, pointers);
  }
  std::erase_if(head.members, [&](const GroupMember& member) { return packs.contains(member.pack); });
  const GroupParts file = group_parts(head, rows);
  backend.save({store::FileType::parity_group, group_name(head)}, file.parts, store::Durability::at_sync);
  return true;
}

// The answer, when somebody wants it: it costs reading all indexes.
class Asking {
 public:
  explicit Asking(const AskNamedPacks& ask) : ask_(ask) {}
  const NamedPacks& named() {
    if (!named_) named_ = ask_ ? ask_() : NamedPacks();
    return *named_;
  }

 private:
  const AskNamedPacks& ask_;
  std::optional<NamedPacks> named_;
};

// One group that packs leave.
class Leaving {
 public:
  Leaving(store::Backend& backend, GroupBuilder& builder, const std::set<std::string>& packs, Asking& asking,
          std::string group, GroupHead head)
      : backend_(backend),
        builder_(builder),
        packs_(packs),
        asking_(asking),
        group_(std::move(group)),
        members_(std::move(head.members)) {
    for (const GroupMember& member : members_)
      (packs.contains(member.pack) ? leaving_ : staying_).push_back(member.pack);
  }

  bool any() const { return !leaving_.empty(); }

  void run(LeftGroups& left) {
    const bool few = staying_.size() <= 2 * leaving_.size();
    // Reading the fewer; small remains join other groups.
    if ((!few && subtract(backend_, group_, packs_)) || join_others() || (heal_all() && join_others()) ||
        (few && subtract(backend_, group_, packs_))) {
      left.emptied.push_back(group_);
      return;
    }
    keep(left);
  }

  // The same without writing anything.
  void run_bare(LeftGroups& left) {
    std::vector<std::string> whole;
    staying_.clear();
    for (const GroupMember& member : members_) {
      if (packs_.contains(member.pack)) continue;
      if (try_load_pack(backend_, member.pack))
        whole.push_back(member.pack);
      else if (is_there(member.pack) || asking_.named().perhaps(member.pack))
        staying_.push_back(member.pack);
    }
    if (!staying_.empty()) {
      keep(left);
      return;
    }
    left.emptied.push_back(group_);
    left.bare.insert(left.bare.end(), whole.begin(), whole.end());
  }

 private:
  // For the sake of those that stay and are not whole.
  void keep(LeftGroups& left) {
    for (const std::string& pack : staying_) (is_there(pack) ? left.damaged : left.lost).insert(pack);
    // A damaged one is of no more use to the group than a missing one.
    for (const std::string& pack : leaving_)
      if (try_load_pack(backend_, pack)) left.needed.insert(pack);
  }

  bool is_there(const std::string& pack) { return backend_.stat({store::FileType::pack, pack}).has_value(); }

  // False when damaged or lost ones are left. What is not there, nor named, was removed by another program.
  bool join_others() {
    std::erase_if(staying_, [&](const std::string& pack) {
      const auto bytes = try_load_pack(backend_, pack);
      if (bytes) builder_.add(pack, *bytes);
      return bytes || (!is_there(pack) && !asking_.named().perhaps(pack));
    });
    return staying_.empty();
  }

  bool heal_all() {
    RepairOptions options;
    for (const GroupMember& member : members_)
      if (is_there(member.pack) || asking_.named().surely(member.pack))
        options.only.push_back({store::FileType::pack, member.pack});
    SilentProgress silent;
    return repair(backend_, options, silent, {}).count(Outcome::healed) > 0;
  }

  store::Backend& backend_;
  GroupBuilder& builder_;
  const std::set<std::string>& packs_;
  Asking& asking_;
  const std::string group_;
  const std::vector<GroupMember> members_;
  std::vector<std::string> leaving_, staying_;
};

}  // namespace

namespace {

// False when the store is full.
bool fits(const std::function<void()>& body) {
  try {
    body();
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::no_space) throw;
    return false;
  }
}

}  // namespace

LeftGroups leave_groups(store::Backend& backend, GroupBuilder& builder, const std::set<std::string>& packs,
                        const AskNamedPacks& ask) {
  std::vector<std::string> in_hand;
  if (!fits([&] { builder.leave({}); })) in_hand = builder.give_up();
  Asking asking(ask);
  std::vector<std::string> names;
  std::set<std::string> before;
  std::vector<Leaving> groups;
  for (const store::FileInfo& file : backend.list(store::FileType::parity_group)) {
    before.insert(file.name);
    auto head = load_group_head(backend, file);
    if (!head) continue;
    Leaving group(backend, builder, packs, asking, file.name, std::move(*head));
    if (!group.any()) continue;
    names.push_back(file.name);
    groups.push_back(std::move(group));
  }
  builder.leave(names);
  LeftGroups left;
  if (!fits([&] {
        for (Leaving& group : groups) group.run(left);
        backend.sync();
        builder.flush();
      })) {
    builder.give_up();
    for (const store::FileInfo& file : backend.list(store::FileType::parity_group))
      if (!before.contains(file.name)) backend.remove({store::FileType::parity_group, file.name});
    left = {};
    for (Leaving& group : groups) group.run_bare(left);
  }
  for (const std::string& pack : in_hand)
    if (!packs.contains(pack)) left.bare.push_back(pack);
  return left;
}

std::vector<std::string> cover(store::Backend& backend, GroupBuilder& builder, std::vector<std::string> bare) {
  if (bare.empty()) return bare;
  if (fits([&] {
        backend.sync();
        for (const std::string& pack : bare)
          if (const auto bytes = try_load_pack(backend, pack)) builder.add(pack, *bytes);
        builder.flush();
      }))
    return {};
  builder.give_up();
  return bare;
}

}  // namespace respaldo::parity
