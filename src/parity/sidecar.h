// A sidecar in memory: made for an object, read back as far as it is whole, and used to heal the object.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/extent.h"
#include "parity/sidecar_format.h"

namespace respaldo::parity {

// The sidecar's bytes for an object, whose name is taken for the SHA-256 of its contents where it is one.
// REQUIRES a protected type, 1 byte up to kLongestObject.
Bytes make_sidecar(const store::Handle& object, ByteView contents, const Settings& settings);

// Foreign bytes, perhaps damaged. Every slice has its checksum twice, header and table lie at both ends, so
// damage costs only what it hits. Immutable.
class Sidecar {
 public:
  // Absent when neither header is whole: nothing can be had from it then.
  static std::optional<Sidecar> parse(Bytes file);
  // The header alone, out of the file's first bytes (at least 128).
  static std::optional<SidecarHeader> parse_header(ByteView start);

  const SidecarHeader& header() const { return header_; }
  const Geometry& geometry() const { return header_.geometry; }
  // Nothing in it is damaged.
  bool intact() const { return intact_; }
  // `slice` is data slice i, as long as the object has it. (False, too, when both checksums of a whole slice
  // are damaged: it counts as lost then.)
  bool data_matches(std::uint64_t slice_number, ByteView slice) const;
  // A slice of parity; absent when it is damaged.
  std::optional<ByteView> parity(std::uint64_t slice_number) const;
  // All data slices of `object` match, and the SHA-256 given is the header's.
  bool describes(ByteView object, const crypto::Digest& sha256) const;

 private:
  Sidecar() = default;
  bool crc_matches(std::uint64_t slice_number, std::uint64_t crc) const;
  std::optional<std::uint64_t> crc_at(std::uint64_t table_offset, std::uint64_t slice_number) const;
  bool check_all() const;

  Bytes file_;
  SidecarHeader header_;
  bool intact_ = false;
};

// An object as it could be read: what could not be read is zeros and told.
struct Reading {
  Bytes bytes;                     // all that is there; may be shorter or longer than it should
  ExtentSet unreadable;            // I/O errors
  std::string first_problem = {};  // the first such error's words
  bool only_damage = true;         // the medium failed every time, not the way to it
};

struct HealResult {
  std::optional<Bytes> healed;  // proven: its SHA-256 is the sidecar's
  ExtentSet damaged;            // bytes of the object that were not right
  std::string why_not;          // empty when healed
};
// Never makes anything up: what does not end in the right SHA-256 is not healed.
HealResult heal(const Sidecar& sidecar, const Reading& object);

}  // namespace respaldo::parity
