#include "parity/group_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/hex.h"

namespace respaldo::parity {

namespace {

constexpr std::size_t kHeader = sizeof(DiskGroupHeader), kMember = sizeof(DiskGroupMember);
constexpr std::size_t kChecked = kHeader - sizeof(Le64);
constexpr std::size_t kLongestFront = kHeader + kMostShards * kMember;

// Header and member table, as at the file's beginning.
Bytes front_of(const GroupHead& head) {
  Bytes front(head.front_size());
  for (std::size_t i = 0; i < head.members.size(); ++i) {
    DiskGroupMember disk{};
    from_hex(head.members[i].pack, disk.pack);
    disk.size.set(head.members[i].size);
    disk.column.set(head.members[i].column);
    std::memcpy(front.data() + kHeader + i * kMember, &disk, kMember);
  }
  DiskGroupHeader disk{};
  std::memcpy(disk.magic, kGroupMagic.data(), sizeof disk.magic);
  disk.members.set(static_cast<std::uint32_t>(head.members.size()));
  disk.rows.set(head.rows);
  disk.slice_size.set(kGroupSlice);
  disk.shard_size.set(head.shard_size);
  disk.members_crc.set(crc64(front.view().subspan(kHeader)));
  disk.crc.set(crc64({reinterpret_cast<const std::uint8_t*>(&disk), kChecked}));
  std::memcpy(front.data(), &disk, kHeader);
  return front;
}

// The numbers of a header; absent when they cannot be right.
std::optional<DiskGroupHeader> header_at(ByteView file, std::uint64_t offset) {
  if (offset > file.size() || file.size() - offset < kHeader) return std::nullopt;
  DiskGroupHeader disk;
  std::memcpy(&disk, file.data() + offset, kHeader);
  const std::uint32_t members = disk.members.get(), rows = disk.rows.get();
  if (std::memcmp(disk.magic, kGroupMagic.data(), sizeof disk.magic) != 0 ||
      disk.crc.get() != crc64({file.data() + offset, kChecked}) || members == 0 || rows == 0 ||
      members >= kMostShards || rows > kMostShards - members || disk.slice_size.get() != kGroupSlice ||
      disk.shard_size.get() == 0 || disk.shard_size.get() > kLongestObject ||
      disk.shard_size.get() % kGroupSlice != 0)
    return std::nullopt;
  return disk;
}

std::optional<GroupHead> head_of(const DiskGroupHeader& disk, ByteView table) {
  if (crc64(table) != disk.members_crc.get()) return std::nullopt;
  GroupHead head;
  head.rows = disk.rows.get();
  head.shard_size = disk.shard_size.get();
  std::set<unsigned> columns;
  for (std::size_t at = 0; at < table.size(); at += kMember) {
    DiskGroupMember member;
    std::memcpy(&member, table.data() + at, kMember);
    head.members.push_back({to_hex(member.pack), member.size.get(), member.column.get()});
    if (member.size.get() > head.shard_size || member.column.get() >= kMostShards - head.rows ||
        !columns.insert(member.column.get()).second)
      return std::nullopt;
  }
  return head;
}

// `front` begins with the file's beginning, `back` ends with its end: each holds a copy, perhaps damaged, of
// header and members. Copies are mixed where each has lost another part.
std::optional<GroupHead> head_out_of(ByteView front, ByteView back) {
  auto disk = header_at(front, 0);
  if (!disk && back.size() >= kHeader) disk = header_at(back, back.size() - kHeader);
  if (!disk) return std::nullopt;
  const std::size_t length = disk->members.get() * kMember;
  if (front.size() >= kHeader + length)
    if (auto head = head_of(*disk, front.subspan(kHeader, length))) return head;
  if (back.size() >= kHeader + length)
    return head_of(*disk, back.subspan(back.size() - kHeader - length, length));
  return std::nullopt;
}

}  // namespace

bool GroupHead::has(const std::string& pack) const {
  return std::ranges::any_of(members, [&](const GroupMember& member) { return member.pack == pack; });
}

unsigned GroupHead::free_column() const {
  for (unsigned column = 0;; ++column)
    if (std::ranges::none_of(members, [&](const GroupMember& member) { return member.column == column; }))
      return column;
}

std::string group_name(const GroupHead& head) {
  return fmt::format("{:02x}{}", head.members.size(), to_hex(crypto::sha256(front_of(head))).substr(0, 62));
}

unsigned members_by_name(const std::string& name) {
  std::uint8_t count = 0;
  return from_hex(name.substr(0, 2), {&count, 1}) ? count : 0;
}

GroupParts group_parts(const GroupHead& head, std::span<const Bytes> rows) {
  GroupParts result{front_of(head), Bytes(head.table_size()), Bytes(head.front_size()), {}};
  std::uint8_t* entry = result.table.data();
  for (const Bytes& row : rows)
    for (std::uint64_t slice = 0; slice < head.slices(); ++slice, entry += 8)
      store_le64(entry, crc64(row.view(slice * kGroupSlice, kGroupSlice)));
  const ByteView front = result.front;
  std::memcpy(result.back.data(), front.data() + kHeader, front.size() - kHeader);
  std::memcpy(result.back.data() + front.size() - kHeader, front.data(), kHeader);
  result.parts = {result.front, result.table};
  for (const Bytes& row : rows) result.parts.push_back(row.view(0, head.shard_size));
  result.parts.insert(result.parts.end(), {result.table, result.back});
  return result;
}

std::optional<Group> Group::parse(Bytes file) {
  auto head = head_out_of(file, file);
  // Nobody is given memory for more than is there.
  if (!head || head->shard_size > file.size()) return std::nullopt;
  Group group;
  group.head_ = std::move(*head);
  group.file_ = std::move(file);
  const GroupHead& h = group.head_;
  const ByteView whole = group.file_;
  group.intact_ = whole.size() == h.file_size();
  if (group.intact_) {
    const std::uint64_t front = h.front_size(), end = whole.size();
    group.intact_ = std::ranges::equal(whole.first(kHeader), whole.subspan(end - kHeader)) &&
                    std::ranges::equal(whole.subspan(kHeader, front - kHeader),
                                       whole.subspan(end - front, front - kHeader)) &&
                    std::ranges::equal(whole.subspan(front, h.table_size()),
                                       whole.subspan(h.second_table_offset(), h.table_size()));
  }
  for (unsigned row = 0; row < h.rows && group.intact_; ++row)
    for (std::uint64_t slice = 0; slice < h.slices() && group.intact_; ++slice)
      group.intact_ = group.parity(row, slice).has_value();
  return group;
}

std::optional<ByteView> Group::parity(unsigned row, std::uint64_t slice) const {
  const std::uint64_t number = row * head_.slices() + slice;
  const std::uint64_t at = head_.rows_offset() + number * kGroupSlice;
  if (at > file_.size() || file_.size() - at < kGroupSlice) return std::nullopt;
  const ByteView bytes = file_.view(at, kGroupSlice);
  const std::uint64_t crc = crc64(bytes);
  for (const std::uint64_t table : {head_.front_size(), head_.second_table_offset()}) {
    const std::uint64_t entry = table + 8 * number;
    if (entry <= file_.size() && file_.size() - entry >= 8 && load_le64(file_.data() + entry) == crc)
      return bytes;
  }
  return std::nullopt;
}

std::optional<GroupHead> load_group_head(store::Backend& backend, const store::FileInfo& file) {
  const store::Handle handle{store::FileType::parity_group, file.name};
  const std::uint64_t length = std::min<std::uint64_t>(file.size, kLongestFront);
  const auto piece = [&](std::uint64_t offset) {
    try {
      return backend.load(handle, offset, length);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) throw;
      return Bytes();  // unreadable is damaged
    }
  };
  const Bytes front = piece(0);
  if (auto head = head_out_of(front, {})) return head;
  return head_out_of(front, piece(file.size - length));
}

std::optional<Group> load_group(store::Backend& backend, const std::string& name) {
  return Group::parse(backend.load_all({store::FileType::parity_group, name}, kLongestObject));
}

}  // namespace respaldo::parity
