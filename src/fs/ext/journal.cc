#include "fs/ext/journal.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/endian.h"
#include "base/error.h"
#include "base/units.h"

namespace respaldo::fs::ext {

namespace {

// jbd2's structures are big-endian.
constexpr std::uint32_t kMagic = 0xC03B3998;
constexpr std::uint64_t kMostJournalBlocks = std::uint64_t{1} << 31;
enum BlockType : std::uint32_t { kDescriptor = 1, kCommit = 2, kSuperV1 = 3, kSuperV2 = 4, kRevoke = 5 };
enum Compat : std::uint32_t { kCompatChecksum = 1 };
enum Incompat : std::uint32_t {
  kRevokeFeature = 1,
  k64Bit = 2,
  kAsyncCommit = 4,
  kChecksumV2 = 8,
  kChecksumV3 = 16,
  kFastCommit = 32,
};
constexpr std::uint32_t kKnownIncompat = 63;
enum TagFlag : std::uint32_t { kEscape = 1, kSameUuid = 2, kDeleted = 4, kLastTag = 8 };

struct Header {
  Be32 magic, type, sequence;
};
struct SuperBlock {
  Header header;
  Be32 block_size, length, first;
  Be32 sequence, start, error;
  Be32 compat, incompat, ro_compat;
  std::uint8_t uuid[16];
  Be32 users, dynamic_super, max_transaction, max_transaction_data;
  std::uint8_t checksum_type, padding2[3];
  Be32 fast_commit_blocks, head;
  std::uint8_t padding[40 * 4];
  Be32 checksum;
  std::uint8_t user_uuids[16 * 48];
};
static_assert(sizeof(SuperBlock) == 1024);
constexpr std::size_t kSuperChecksumAt = 0xFC, kCommitChecksumAt = 16;
constexpr std::size_t kTailSize = 4;
constexpr std::uint32_t kDefaultFastCommitBlocks = 256, kLeastLogBlocks = 1024;

std::uint32_t be32(const std::uint8_t* p) {
  Be32 value;
  std::memcpy(&value, p, sizeof value);
  return value.get();
}

std::uint32_t sum(std::uint32_t start, ByteView bytes) {
  return ext2fs_crc32c_le(start, bytes.data(), bytes.size());
}

// The checksum over a block whose own field, at `at`, counts as zero.
std::uint32_t sum_without(std::uint32_t start, ByteView bytes, std::size_t at) {
  const std::uint8_t none[4] = {};
  return sum(sum(sum(start, bytes.first(at)), none), bytes.subspan(at + 4));
}

// Sequence numbers wrap around.
bool is_after(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) > 0; }

// What lies over a device: blocks whose content is elsewhere on it.
struct Moved {
  std::uint64_t block = 0, source = 0;
  bool escaped = false;  // its first four bytes are the magic number, which was taken out
};

class RecoveredDevice final : public block::Device {
 public:
  RecoveredDevice(block::DevicePtr below, std::uint32_t unit, std::vector<Moved> moved)
      : below_(std::move(below)), unit_(unit), moved_(std::move(moved)) {}
  std::uint64_t size() const override { return below_->size(); }
  std::string describe() const override { return below_->describe(); }

  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    if (out.empty()) return;
    const std::uint64_t end = offset + out.size();
    std::uint64_t done = offset;
    const auto below_until = [&](std::uint64_t stop) {
      if (stop > done) below_->read_at(done, out.subspan(done - offset, stop - done));
      done = std::max(done, stop);
    };
    for (auto at = first_at(offset / unit_); at != moved_.end() && at->block * unit_ < end; ++at) {
      const Extent both = intersect({at->block * unit_, unit_}, {offset, out.size()});
      below_until(both.offset);
      const std::uint64_t within = both.offset - at->block * unit_;
      const MutableBytes part = out.subspan(both.offset - offset, both.length);
      below_->read_at(at->source * unit_ + within, part);
      if (at->escaped && within < 4) {
        Be32 magic;
        magic.set(kMagic);
        std::memcpy(part.data(), magic.bytes + within, std::min<std::size_t>(4 - within, part.size()));
      }
      done = both.end();
    }
    below_until(end);
  }

  std::vector<block::Run> runs(Extent range) const override {
    std::vector<block::Run> result;
    const Extent inside = intersect(range, {0, size()});
    auto at = first_at(inside.offset / unit_);
    for (const block::Run& run : below_->runs(inside)) {
      std::uint64_t done = run.extent.offset;
      for (; at != moved_.end() && at->block * unit_ < run.extent.end(); ++at) {
        const Extent both = intersect({at->block * unit_, unit_}, {done, run.extent.end() - done});
        if (both.empty()) continue;
        if (both.offset > done) block::append_run(result, {{done, both.offset - done}, run.kind});
        block::append_run(result, {both, block::RunKind::data});
        done = both.end();
        if ((at->block + 1) * unit_ > run.extent.end()) break;  // the next run has the rest of it
      }
      if (done < run.extent.end()) block::append_run(result, {{done, run.extent.end() - done}, run.kind});
    }
    return result;
  }

 private:
  std::vector<Moved>::const_iterator first_at(std::uint64_t block) const {
    return std::ranges::lower_bound(moved_, block, {}, &Moved::block);
  }
  const block::DevicePtr below_;
  const std::uint64_t unit_;
  const std::vector<Moved> moved_;  // ascending by block
};

// The log, block by block.
class Journal {
 public:
  Journal(const block::Device& device, const JournalPlace& place) : device_(device), place_(place) {
    if (place.block_size < 1024 || place.block_size > 65536 ||
        (place.block_size & (place.block_size - 1)) != 0)
      throw Error(ErrorKind::internal, "a journal of impossible block size");
    std::uint64_t logical = 0;
    for (const BlockRun& run : place.blocks) {
      starts_.push_back(logical);
      logical += run.count;
    }
    blocks_ = std::min(logical, kMostJournalBlocks);
    open();
  }

  bool is_empty() const { return start_ == 0; }

  Replay replay(block::DevicePtr device) {
    Replay result;
    result.device = std::move(device);
    if (is_empty()) return result;
    walk(Pass::scan, result);
    walk(Pass::revoke, result);
    walk(Pass::replay, result);
    result.transactions = end_sequence_ - first_sequence_;
    if (!result.problem && has_fast_commits())
      result.problem =
          "it ends with fast commits, which are not replayed: the newest changes are in the image view only";
    if (moved_.empty()) return result;
    std::vector<Moved> moved;
    moved.reserve(moved_.size());
    for (const auto& [block, source] : moved_) moved.push_back({block, source.block, source.escaped});
    std::ranges::sort(moved, {}, &Moved::block);
    for (const Moved& one : moved) result.written.add({one.block * place_.block_size, place_.block_size});
    result.device = std::make_shared<RecoveredDevice>(result.device, place_.block_size, std::move(moved));
    return result;
  }

 private:
  enum class Pass { scan, revoke, replay };
  struct Tag {
    std::uint64_t block = 0;
    std::uint32_t flags = 0, checksum = 0;
  };

  Error bad(std::string_view why) const {
    return Error(ErrorKind::corrupt, fmt::format("{}: the journal's superblock {}", device_.describe(), why));
  }

  void open() {
    if (blocks_ < 2) throw bad("lies in a journal that is too short");
    const Bytes bytes = read(0);
    SuperBlock super;
    std::memcpy(&super, bytes.data(), sizeof super);
    const std::uint32_t type = super.header.type.get();
    if (super.header.magic.get() != kMagic || (type != kSuperV1 && type != kSuperV2)) throw bad("is none");
    if (super.block_size.get() != place_.block_size)
      throw bad(fmt::format("claims blocks of {} bytes, the filesystem's have {}", super.block_size.get(),
                            place_.block_size));
    if (type == kSuperV2) {
      compat_ = super.compat.get();
      incompat_ = super.incompat.get();
    }
    if ((incompat_ & ~kKnownIncompat) != 0)
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: the journal has features 0x{:x} that are not known", device_.describe(),
                              incompat_ & ~kKnownIncompat));
    if ((incompat_ & kChecksumV2) != 0 && (incompat_ & kChecksumV3) != 0)
      throw bad("claims checksums of two versions");
    if (has_checksums()) {
      if (super.checksum_type != 4)
        throw bad(fmt::format("claims checksums of the unknown kind {}", super.checksum_type));
      if (sum_without(~0U, bytes.view(0, sizeof super), kSuperChecksumAt) != super.checksum.get())
        throw bad("has a wrong checksum");
    }
    seed_ = sum(~0U, super.uuid);
    if (super.length.get() < 2 || super.length.get() > blocks_)
      throw bad(fmt::format("claims {} blocks, the journal has {}", super.length.get(), blocks_));
    first_ = super.first.get();
    last_ = super.length.get();
    end_of_file_ = last_;
    if ((incompat_ & kFastCommit) != 0) {
      const std::uint32_t own =
          super.fast_commit_blocks.get() != 0 ? super.fast_commit_blocks.get() : kDefaultFastCommitBlocks;
      // A journal that would be left with too few blocks has no place for them (jbd2_journal_load).
      if (own < last_ && last_ - own >= kLeastLogBlocks) last_ -= own;
    }
    if (first_ == 0 || first_ >= last_) throw bad(fmt::format("claims block {} to be the first", first_));
    start_ = super.start.get();
    if (start_ != 0 && (start_ < first_ || start_ >= last_))
      throw bad(fmt::format("claims the log to begin at block {}", start_));
    first_sequence_ = super.sequence.get();
  }

  bool has_checksums() const { return (incompat_ & (kChecksumV2 | kChecksumV3)) != 0; }

  std::uint64_t physical(std::uint64_t logical) const {
    const auto run =
        static_cast<std::size_t>(std::ranges::upper_bound(starts_, logical) - starts_.begin()) - 1;
    return place_.blocks[run].first + (logical - starts_[run]);
  }
  Bytes read(std::uint64_t logical) const {
    Bytes bytes(place_.block_size);
    device_.read_at(physical(logical) * place_.block_size, bytes);
    return bytes;
  }
  std::uint32_t after(std::uint32_t logical, std::uint32_t count = 1) const {
    const std::uint64_t next = std::uint64_t{logical} + count;
    return static_cast<std::uint32_t>(next < last_ ? next : first_ + (next - last_) % (last_ - first_));
  }

  // One of jbd2's three passes. The first finds where the log ends, the others stop there.
  void walk(Pass pass, Replay& result) {
    std::uint32_t sequence = first_sequence_, at = start_;
    // The log holds no more blocks than the journal: a damaged one that goes in circles ends there.
    for (std::uint64_t seen = 0; seen < last_ - first_;) {
      if (pass != Pass::scan && sequence == end_sequence_) return;
      const Bytes bytes = read(at);
      Header header;
      std::memcpy(&header, bytes.data(), sizeof header);
      if (header.magic.get() != kMagic || header.sequence.get() != sequence) break;
      const std::uint32_t type = header.type.get();
      if (type == kDescriptor) {
        if (!tail_is_right(bytes)) {
          // The kernel takes a descriptor that is torn for the end of the log; if a commit follows, it is
          // damage.
          if (pass == Pass::scan && commit_follows(after(at), sequence))
            tell(result, at, "a descriptor block has a wrong checksum");
          break;
        }
        const std::vector<Tag> tags = parse_tags(bytes);
        if (pass == Pass::replay) take_tags(tags, after(at), sequence, result);
        const auto count = static_cast<std::uint32_t>(tags.size());
        if (pass == Pass::scan && (compat_ & kCompatChecksum) != 0) old_checksum(bytes, after(at), count);
        seen += 1 + count;
        at = after(at, 1 + count);
      } else if (type == kCommit) {
        if (pass == Pass::scan && !commit_is_right(bytes)) {
          // A torn last transaction is no damage: it never happened.
          if (next_transaction_follows(after(at), sequence + 1))
            tell(result, at, "a commit block has a wrong checksum");
          break;
        }
        old_sum_ = ~0U;
        ++sequence;
        ++seen;
        at = after(at);
      } else if (type == kRevoke) {
        if (pass == Pass::revoke) {
          if (!tail_is_right(bytes)) {
            tell(result, at, "a revoke block has a wrong checksum");
          } else {
            take_revokes(bytes, sequence);
          }
        }
        ++seen;
        at = after(at);
      } else {
        break;
      }
    }
    if (pass == Pass::scan) {
      end_sequence_ = sequence;
      return;
    }
    if (sequence != end_sequence_) tell(result, at, "the log ends too early");
  }

  void tell(Replay& result, std::uint32_t at, std::string_view what) const {
    if (!result.problem) result.problem = fmt::format("{} (block {} of the journal)", what, at);
  }

  bool commit_follows(std::uint32_t at, std::uint32_t sequence) const {
    for (std::uint32_t i = 0; i < 4096 && i < last_ - first_; ++i, at = after(at)) {
      const Bytes bytes = read(at);
      if (be32(bytes.data()) == kMagic && be32(bytes.data() + 4) == kCommit &&
          be32(bytes.data() + 8) == sequence)
        return true;
    }
    return false;
  }
  bool next_transaction_follows(std::uint32_t at, std::uint32_t sequence) const {
    const Bytes bytes = read(at);
    return be32(bytes.data()) == kMagic && be32(bytes.data() + 8) == sequence;
  }

  bool tail_is_right(ByteView bytes) const {
    if (!has_checksums()) return true;
    const std::size_t at = bytes.size() - kTailSize;
    return sum_without(seed_, bytes, at) == be32(bytes.data() + at);
  }
  bool commit_is_right(ByteView bytes) const {
    if (has_checksums())
      return sum_without(seed_, bytes, kCommitChecksumAt) == be32(bytes.data() + kCommitChecksumAt);
    // Version 1: a CRC32 over the descriptors and their data, when the commit block says that there is one.
    const std::uint8_t type = bytes[12], size = bytes[13];
    if ((compat_ & kCompatChecksum) == 0 || type == 0) return true;
    return type == 1 && size == 4 && be32(bytes.data() + kCommitChecksumAt) == old_sum_;
  }

  void old_checksum(ByteView descriptor, std::uint32_t at, std::uint32_t count) {
    old_sum_ = ext2fs_crc32_be(old_sum_, descriptor.data(), descriptor.size());
    for (; count > 0; --count, at = after(at)) {
      const Bytes bytes = read(at);
      old_sum_ = ext2fs_crc32_be(old_sum_, bytes.data(), bytes.size());
    }
  }

  std::vector<Tag> parse_tags(ByteView bytes) const {
    const bool v3 = (incompat_ & kChecksumV3) != 0, wide = (incompat_ & k64Bit) != 0;
    // Version 2 counts the checksum twice, which version 3 was made to mend (jbd2's journal_tag_bytes).
    const std::size_t size = v3 ? 16 : (wide ? 12 : 8) + ((incompat_ & kChecksumV2) != 0 ? 2 : 0);
    const std::size_t end = bytes.size() - (has_checksums() ? kTailSize : 0);
    std::vector<Tag> tags;
    for (std::size_t at = sizeof(Header); at + size <= end;) {
      const std::uint8_t* p = bytes.data() + at;
      Tag tag;
      tag.block = be32(p);
      if (v3) {
        tag.flags = be32(p + 4);
        tag.checksum = be32(p + 12);
      } else {
        tag.checksum = be32(p + 4) >> 16;
        tag.flags = be32(p + 4) & 0xffff;
      }
      if (wide) tag.block |= std::uint64_t{be32(p + 8)} << 32;
      tags.push_back(tag);
      at += size + ((tag.flags & kSameUuid) != 0 ? 0 : 16);
      if ((tag.flags & kLastTag) != 0) break;
    }
    return tags;
  }

  void take_tags(const std::vector<Tag>& tags, std::uint32_t at, std::uint32_t sequence, Replay& result) {
    for (const Tag& tag : tags) {
      const std::uint32_t source = at;
      at = after(at);
      if (tag.block >= place_.filesystem_blocks) {
        tell(result, source,
             fmt::format("a transaction writes block {}, past the filesystem's end", tag.block));
        continue;
      }
      const auto revoked = revoked_.find(tag.block);
      if (revoked != revoked_.end() && !is_after(sequence, revoked->second)) continue;
      if (has_checksums() && !data_is_right(tag, source, sequence)) {
        tell(result, source, fmt::format("the copy of block {} has a wrong checksum", tag.block));
        continue;
      }
      moved_[tag.block] = {physical(source), (tag.flags & kEscape) != 0};
    }
  }

  bool data_is_right(const Tag& tag, std::uint32_t source, std::uint32_t sequence) const {
    Be32 number;
    number.set(sequence);
    const std::uint32_t found = sum(sum(seed_, number.bytes), read(source));
    return (incompat_ & kChecksumV3) != 0 ? found == tag.checksum : (found & 0xffff) == tag.checksum;
  }

  void take_revokes(ByteView bytes, std::uint32_t sequence) {
    const std::size_t size = (incompat_ & k64Bit) != 0 ? 8 : 4;
    const std::size_t limit = bytes.size() - (has_checksums() ? kTailSize : 0);
    const std::size_t end = std::min<std::size_t>(be32(bytes.data() + sizeof(Header)), limit);
    for (std::size_t at = sizeof(Header) + 4; at + size <= end; at += size) {
      std::uint64_t block = be32(bytes.data() + at);
      if (size == 8) block = block << 32 | be32(bytes.data() + at + 4);
      auto& last = revoked_.try_emplace(block, sequence).first->second;
      if (is_after(sequence, last)) last = sequence;
    }
  }

  // The first fast commit of the transaction that would come next begins with a head that names it.
  bool has_fast_commits() const {
    // Their area begins one block after the log's end (jbd2's j_fc_first).
    if ((incompat_ & kFastCommit) == 0 || last_ + 1 >= end_of_file_) return false;
    constexpr std::uint16_t kHead = 0x0009;
    const Bytes bytes = read(last_ + 1);
    const auto le16 = [&](std::size_t at) { return bytes.data()[at] | bytes.data()[at + 1] << 8; };
    // tag, length, features, transaction: little-endian, unlike all the rest
    return le16(0) == kHead && load_le32(bytes.data() + 8) == end_sequence_;
  }

  const block::Device& device_;
  const JournalPlace& place_;
  std::vector<std::uint64_t> starts_;  // of each run, in the journal's own numbers
  std::uint64_t blocks_ = 0;
  std::uint32_t compat_ = 0, incompat_ = 0, seed_ = 0;
  std::uint32_t first_ = 0, last_ = 0, end_of_file_ = 0;  // [first_, last_): the log's circle
  std::uint32_t start_ = 0, first_sequence_ = 0, end_sequence_ = 0;
  std::uint32_t old_sum_ = ~0U;
  struct Source {
    std::uint64_t block = 0;
    bool escaped = false;
  };
  std::unordered_map<std::uint64_t, Source> moved_;
  std::unordered_map<std::uint64_t, std::uint32_t> revoked_;
};

}  // namespace

Replay replay_journal(block::DevicePtr device, const JournalPlace& place) {
  Journal journal(*device, place);
  return journal.replay(std::move(device));
}

}  // namespace respaldo::fs::ext
