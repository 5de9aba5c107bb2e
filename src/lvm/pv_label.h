// PV labels and metadata areas: reading, and committing as lvm2 commits. Format: docs/formats/lvm2-disk.md.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "block/device.h"
#include "lvm/volume_group.h"

namespace respaldo::lvm {

struct PvLabel {
  Uuid id;
  std::uint64_t label_sector = 1;
  std::uint64_t device_size = 0;  // bytes, as written
  std::uint64_t data_offset = 0;  // bytes; first byte of PE 0
  std::vector<Extent> metadata_areas;
  std::optional<Extent> bootloader_area;
  std::uint32_t extension_version = 2;
  bool in_use = false;  // extension flag bit 0
};

// The first good label of sectors 0..3; absent when there is none. Damaged candidates are told in problems.
std::optional<PvLabel> read_label(const block::Device& device, std::vector<std::string>* problems = nullptr);
// Writes the label sector (not flushed).
void write_label(block::WritableDevice& device, const PvLabel& label);

struct MetadataCopy {
  std::string text;  // without the NUL
  std::uint32_t crc = 0;
  std::uint64_t offset = 0;  // of the text, relative to the area
};
struct MetadataAreaState {
  Extent area;
  bool header_valid = false;
  bool ignored = false;
  bool precommitted = false;            // slot 1 set: a writer died between precommit and commit
  std::optional<MetadataCopy> current;  // the committed copy, when its checksum is right
  std::string problem;  // why current is absent although the header is valid and not empty; or header damage
};
// Reads one area: header, slot 0, circular text. Never throws for damage: it is told in `problem`.
MetadataAreaState read_metadata_area(const block::Device& device, Extent area);
// Every whole copy that is still in the buffer, the committed one too, newest seqno first (for rescue).
std::vector<MetadataCopy> find_old_copies(const block::Device& device, Extent area);

// Empty header (orphan PV), flushed by the caller.
void format_metadata_area(block::WritableDevice& device, Extent area);

// One area that takes part in a commit.
struct CommitTarget {
  block::WritableDevice* device = nullptr;
  Extent area;
};
// Writes `text` (a NUL is added) to all areas in lvm2's order: text everywhere, flush; precommit headers,
// flush; committed headers, flush. `before_step` is called before each of these writes (tests kill there).
// Error(no_space) when the text does not fit, Error(corrupt) for an area that is damaged or marked as
// ignored; nothing has been written then.
void commit_metadata(const std::vector<CommitTarget>& targets, std::string_view text,
                     const std::function<void(std::string_view step)>& before_step = {});
// Zeroes both slots (vgremove, vgreduce).
void clear_metadata_area(block::WritableDevice& device, Extent area);

}  // namespace respaldo::lvm
