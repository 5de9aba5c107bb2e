// Where the pieces of a group's volumes lie, and what lvm2 moves at the moment: its own metadata is the
// record.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/kernel/world.h"

namespace respaldo::engine {

struct Segment {
  std::string vg_uuid, lv_uuid, lv, type, move_pv;  // lv without the brackets of hidden volumes
  std::uint64_t size = 0;                           // bytes
  std::vector<std::string> devices;                 // without "(extent)": "/dev/sda1", "pvmove0"
};

// Of `lvs -a --segments --reportformat json`. Error(corrupt) when the text is no such report.
std::vector<Segment> parse_segments(std::string_view json);

struct Share {
  std::string pv;
  std::uint64_t bytes = 0;
};
struct Pvmove {
  std::string lv;    // "pvmove0"
  std::string from;  // a physical volume
  std::vector<std::string> to;
};
struct Whereabouts {
  std::vector<Share> shares;     // of the physical volumes that hold it; without what is on the move
  std::optional<Pvmove> moving;  // this volume
  std::vector<Pvmove> others;    // moves of other volumes of the group
  std::string strange;           // the type of a segment that is not linear; else empty
};
// Pure: of the segments of all volumes of the machine or the group.
Whereabouts whereabouts_of(const std::vector<Segment>& segments, const LvRow& volume);
// Asks lvm2.
Whereabouts whereabouts_of(World& world, const LvRow& volume);

}  // namespace respaldo::engine
