// The layout of a group: parity over several packs, so that one that is lost comes back.
// docs/formats/parity.md "groups". Shared by reader and writer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parity/sidecar_format.h"

namespace respaldo::parity {

inline constexpr std::uint32_t kGroupSlice = 4096;

struct DiskGroupHeader {
  std::uint8_t magic[8];
  Le32 members;
  Le32 rows;
  Le32 slice_size;
  Le32 zero;
  Le64 shard_size;   // bytes of a row: the longest member, up to a whole slice
  Le64 members_crc;  // of the member table
  std::uint8_t zeros[80];
  Le64 crc;  // of the 120 bytes before
};
struct DiskGroupMember {
  std::uint8_t pack[32];
  Le64 size;
  Le32 column;
  Le32 zero;
};
static_assert(sizeof(DiskGroupHeader) == 128 && alignof(DiskGroupHeader) == 1 &&
              std::is_trivially_copyable_v<DiskGroupHeader>);
static_assert(sizeof(DiskGroupMember) == 48 && alignof(DiskGroupMember) == 1 &&
              std::is_trivially_copyable_v<DiskGroupMember>);

struct GroupMember {
  std::string pack;  // 64 hex digits
  std::uint64_t size = 0;
  unsigned column = 0;
};

struct GroupHead {
  std::vector<GroupMember> members;
  std::uint32_t rows = 1;
  std::uint64_t shard_size = 0;

  std::uint64_t slices() const { return shard_size / kGroupSlice; }  // of one row
  // The file: header, members, table, rows, table, members, header. The table has 8 bytes for each slice,
  // row after row.
  std::uint64_t front_size() const {
    return sizeof(DiskGroupHeader) + members.size() * sizeof(DiskGroupMember);
  }
  std::uint64_t table_size() const { return 8 * rows * slices(); }
  std::uint64_t rows_offset() const { return front_size() + table_size(); }
  std::uint64_t second_table_offset() const { return rows_offset() + rows * shard_size; }
  std::uint64_t file_size() const { return second_table_offset() + table_size() + front_size(); }
  bool has(const std::string& pack) const;
  unsigned free_column() const;
};

// Two hex digits for the number of members, then 62 of the SHA-256 of header and member table.
std::string group_name(const GroupHead& head);
unsigned members_by_name(const std::string& name);

// A group's file, in the parts that save() takes; keeps what the parts point to.
struct GroupParts {
  Bytes front, table, back;
  std::vector<ByteView> parts;
};
GroupParts group_parts(const GroupHead& head, std::span<const Bytes> rows);

// Foreign bytes, perhaps damaged. Immutable.
class Group {
 public:
  static std::optional<Group> parse(Bytes file);
  const GroupHead& head() const { return head_; }
  bool intact() const { return intact_; }
  // Slice i of a row; absent when it is damaged.
  std::optional<ByteView> parity(unsigned row, std::uint64_t slice) const;

 private:
  Group() = default;
  Bytes file_;
  GroupHead head_;
  bool intact_ = false;
};

// The head alone, without its parity. Absent when both copies are damaged.
std::optional<GroupHead> load_group_head(store::Backend& backend, const store::FileInfo& file);
// Error(not_found) and the like pass; absent when it is damaged beyond use.
std::optional<Group> load_group(store::Backend& backend, const std::string& name);

}  // namespace respaldo::parity
