// Metadata areas: the header, the circular text, and the commit in three phases.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/crc.h"
#include "base/error.h"
#include "lvm/disk_format.h"
#include "lvm/pv_label.h"

namespace respaldo::lvm {

namespace {

constexpr std::uint64_t kTextAlignment = 512;
constexpr std::uint64_t kLargestRescue = std::uint64_t{1} << 28;  // areas larger than this are not searched

Bytes header_sector(MdaHeaderDisk header) {
  Bytes sector = Bytes::zeroed(kMdaHeaderSize);
  std::memcpy(sector.data(), &header, sizeof header);
  header.crc.set(lvm_crc(sector.view().subspan(4)));
  std::memcpy(sector.data(), &header, sizeof header);
  return sector;
}

MdaHeaderDisk empty_header(Extent area) {
  MdaHeaderDisk header{};
  std::memcpy(header.magic, kMdaMagic, sizeof kMdaMagic);
  header.version.set(1);
  header.start.set(area.offset);
  header.size.set(area.length);
  return header;
}

std::optional<MdaHeaderDisk> read_header(const block::Device& device, Extent area, std::string& problem) {
  if (area.length < 2 * kMdaHeaderSize || area.offset > device.size() ||
      area.length > device.size() - area.offset) {
    problem = fmt::format("an area of {} bytes at byte {} is too small or does not lie on the device",
                          area.length, area.offset);
    return std::nullopt;
  }
  Bytes sector(kMdaHeaderSize);
  try {
    device.read_at(area.offset, sector);
  } catch (const Error& error) {
    problem = error.what();
    return std::nullopt;
  }
  MdaHeaderDisk header;
  std::memcpy(&header, sector.data(), sizeof header);
  if (std::memcmp(header.magic, kMdaMagic, sizeof kMdaMagic) != 0) {
    problem = "its header's magic number is wrong";
  } else if (header.crc.get() != lvm_crc(sector.view().subspan(4))) {
    problem = "its header's checksum is wrong";
  } else if (header.version.get() != 1) {
    problem = fmt::format("its header has version {}", header.version.get());
  } else if (header.start.get() != area.offset || header.size.get() != area.length) {
    problem = "its header describes another place";
  } else {
    return header;
  }
  return std::nullopt;
}

bool is_empty(const RawLocationDisk& slot) { return slot.offset.get() == 0 && slot.size.get() == 0; }

// `size` bytes of the circular buffer from `offset` on; the caller checked the bounds.
Bytes read_circular(const block::Device& device, Extent area, std::uint64_t offset, std::uint64_t size) {
  Bytes text(size);
  const std::uint64_t first = std::min(size, area.length - offset);
  device.read_at(area.offset + offset, text.span().first(first));
  if (first < size) device.read_at(area.offset + kMdaHeaderSize, text.span().subspan(first));
  return text;
}

void write_circular(block::WritableDevice& device, Extent area, std::uint64_t offset, ByteView text) {
  // Zeros after the text, up to the next multiple of 512, as lvm2 leaves it.
  const std::uint64_t first = std::min<std::uint64_t>(text.size(), area.length - offset);
  const auto put = [&](std::uint64_t at, ByteView part) {
    const std::uint64_t padded =
        std::min((part.size() + kTextAlignment - 1) / kTextAlignment * kTextAlignment, area.length - at);
    Bytes block = Bytes::zeroed(padded);
    std::memcpy(block.data(), part.data(), part.size());
    device.write_at(area.offset + at, block);
  };
  put(offset, text.first(first));
  if (first < text.size()) put(kMdaHeaderSize, text.subspan(first));
}

// Where the next copy begins.
std::uint64_t next_offset(const RawLocationDisk& current, std::uint64_t area_size) {
  if (is_empty(current) || (current.flags.get() & kSlotIgnored) != 0) return kMdaHeaderSize;
  const std::uint64_t end = current.offset.get() + current.size.get();
  const std::uint64_t last = end > area_size ? kMdaHeaderSize + (end - area_size) - 1 : end - 1;
  if (area_size - last < kTextAlignment) return kMdaHeaderSize;
  const std::uint64_t next = (last + kTextAlignment) / kTextAlignment * kTextAlignment;
  return next > area_size - kTextAlignment ? kMdaHeaderSize : next;
}

// Bytes of the buffer from `from` on, in whole sectors, that are not the current copy's.
std::uint64_t free_from(std::uint64_t from, const RawLocationDisk& current, std::uint64_t area_size) {
  const std::uint64_t ring = area_size - kMdaHeaderSize, begin = current.offset.get();
  const std::uint64_t beyond = from >= begin ? from - begin : ring - (begin - from);
  if (beyond < current.size.get()) return 0;
  const std::uint64_t end = begin / kTextAlignment * kTextAlignment;
  if (from > begin) return ring - (from - end);
  return end > from ? end - from : 0;
}

bool sound(const RawLocationDisk& slot, std::uint64_t area_size) {
  return slot.offset.get() >= kMdaHeaderSize && slot.offset.get() < area_size && slot.size.get() > 0 &&
         slot.size.get() <= area_size - kMdaHeaderSize;
}

}  // namespace

MetadataAreaState read_metadata_area(const block::Device& device, Extent area) {
  MetadataAreaState state;
  state.area = area;
  const auto header = read_header(device, area, state.problem);
  if (!header) return state;
  state.header_valid = true;
  const RawLocationDisk& slot = header->slots[0];
  state.precommitted = !is_empty(header->slots[1]);
  state.ignored = (slot.flags.get() & kSlotIgnored) != 0;
  if (state.ignored || is_empty(slot)) return state;
  if (!sound(slot, area.length)) {
    state.problem = fmt::format("it points at {} bytes at byte {}, outside its buffer", slot.size.get(),
                                slot.offset.get());
    return state;
  }
  if (slot.size.get() > kLongestText + 1) {
    state.problem = fmt::format("its text of {} bytes is longer than any group's", slot.size.get());
    return state;
  }
  try {
    const Bytes text = read_circular(device, area, slot.offset.get(), slot.size.get());
    if (lvm_crc(text) != slot.crc.get()) {
      state.problem = "the checksum of its text is wrong";
      return state;
    }
    std::string_view view = as_text(text);
    while (view.ends_with('\0')) view.remove_suffix(1);
    state.current = MetadataCopy{std::string(view), slot.crc.get(), slot.offset.get()};
  } catch (const Error& error) {
    state.problem = error.what();
  }
  return state;
}

std::vector<MetadataCopy> find_old_copies(const block::Device& device, Extent area) {
  // A copy begins at a multiple of 512 behind a NUL, ends at its NUL, and parses; it may wrap. So every byte
  // belongs to one candidate at most, the ones of the wrap to two.
  std::vector<std::pair<std::uint64_t, MetadataCopy>> found;
  if (area.length < 2 * kMdaHeaderSize || area.length > kLargestRescue || area.offset > device.size() ||
      area.length > device.size() - area.offset)
    return {};
  const Bytes ring = block::read(device, area.offset + kMdaHeaderSize, area.length - kMdaHeaderSize);
  const std::string_view all = as_text(ring);
  for (std::uint64_t at = 0; at < all.size(); at += kTextAlignment) {
    if (all[at] == '\0' || (at > 0 && all[at - 1] != '\0')) continue;
    std::string text(all.substr(at, all.find('\0', at) - at));
    if (at + text.size() == all.size()) text += all.substr(0, std::min(at, all.find('\0')));
    if (text.size() > kLongestText) continue;
    try {
      const VolumeGroup vg = VolumeGroup::parse(text);
      const std::uint32_t crc =
          lvm_crc({reinterpret_cast<const std::uint8_t*>(text.c_str()), text.size() + 1});
      found.emplace_back(vg.seqno, MetadataCopy{std::move(text), crc, at + kMdaHeaderSize});
    } catch (const Error&) {
      // Not a whole copy.
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<MetadataCopy> copies;
  for (auto& [seqno, copy] : found) copies.push_back(std::move(copy));
  return copies;
}

void format_metadata_area(block::WritableDevice& device, Extent area) {
  // Old text in the buffer could be taken for ours by a rescue tool.
  const Bytes zeros = Bytes::zeroed(std::min<std::uint64_t>(area.length, 4096));
  device.write_at(area.offset, zeros);
  device.write_at(area.offset, header_sector(empty_header(area)));
}

void clear_metadata_area(block::WritableDevice& device, Extent area) {
  device.write_at(area.offset, header_sector(empty_header(area)));
}

void commit_metadata(const std::vector<CommitTarget>& targets, std::string_view text,
                     const std::function<void(std::string_view step)>& before_step) {
  Bytes with_nul = Bytes::zeroed(text.size() + 1);
  std::memcpy(with_nul.data(), text.data(), text.size());
  const auto step = [&](std::string_view what) {
    if (before_step) before_step(what);
  };
  struct Work {
    CommitTarget target;
    MdaHeaderDisk header;
    RawLocationDisk location;
  };
  std::vector<Work> work;
  for (const CommitTarget& target : targets) {
    const auto refuse = [&](std::string_view why) {
      throw Error(ErrorKind::corrupt, fmt::format("{}: the metadata area at byte {} cannot be written: {}",
                                                  target.device->describe(), target.area.offset, why));
    };
    std::string problem;
    auto header = read_header(*target.device, target.area, problem);
    if (!header) refuse(problem);
    const RawLocationDisk& current = header->slots[0];
    if ((current.flags.get() & kSlotIgnored) != 0) refuse("it is marked as not to be used");
    // Two copies must fit, so that the committed one is never overwritten.
    const std::uint64_t half = (target.area.length - kMdaHeaderSize) / 2;
    const std::uint64_t most = half - std::min(half, kTextAlignment);
    std::uint64_t room = most, offset = kMdaHeaderSize;
    if (sound(current, target.area.length)) {
      offset = next_offset(current, target.area.length);
      room = std::min(room, free_from(offset, current, target.area.length));
    }
    if (with_nul.size() > room)
      throw Error(ErrorKind::no_space,
                  fmt::format("{}: the metadata of {} bytes does not fit its area, which takes {} at most",
                              target.device->describe(), with_nul.size(), room),
                  "use PVs with larger metadata areas (pvcreate --metadatasize)");
    RawLocationDisk location{};
    location.offset.set(offset);
    location.size.set(with_nul.size());
    location.crc.set(lvm_crc(with_nul));
    work.push_back({target, *header, location});
  }
  const auto flush_all = [&] {
    for (const Work& w : work) w.target.device->flush();
  };
  for (const Work& w : work) {
    step("text");
    write_circular(*w.target.device, w.target.area, w.location.offset.get(), with_nul);
  }
  flush_all();
  for (Work& w : work) {
    step("precommit");
    w.header.slots[1] = w.location;
    w.target.device->write_at(w.target.area.offset, header_sector(w.header));
  }
  flush_all();
  for (Work& w : work) {
    step("commit");
    w.header.slots[0] = w.location;
    w.header.slots[1] = RawLocationDisk{};
    w.target.device->write_at(w.target.area.offset, header_sector(w.header));
  }
  flush_all();
}

}  // namespace respaldo::lvm
