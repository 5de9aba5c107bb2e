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
    problem = fmt::format("the area at byte {} does not lie on the device", area.offset);
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
  // A copy begins at a multiple of 512, ends at its NUL, and parses; it may wrap.
  std::vector<std::pair<std::uint64_t, MetadataCopy>> found;
  if (area.length < 2 * kMdaHeaderSize || area.length > (std::uint64_t{1} << 30) ||
      area.offset > device.size() || area.length > device.size() - area.offset)
    return {};
  const Bytes ring = block::read(device, area.offset + kMdaHeaderSize, area.length - kMdaHeaderSize);
  for (std::uint64_t at = 0; at < ring.size(); at += kTextAlignment) {
    if (ring.data()[at] == 0 || (at > 0 && ring.data()[at - 1] != 0)) continue;
    std::string text;
    for (std::uint64_t i = 0; i < ring.size(); ++i) {
      const char c = static_cast<char>(ring.data()[(at + i) % ring.size()]);
      if (c == '\0') break;
      text += c;
    }
    try {
      const VolumeGroup vg = VolumeGroup::parse(text);
      Bytes with_nul = Bytes::zeroed(text.size() + 1);
      std::memcpy(with_nul.data(), text.data(), text.size());
      found.emplace_back(vg.seqno, MetadataCopy{text, lvm_crc(with_nul), at + kMdaHeaderSize});
    } catch (const Error&) {
      // Not a whole copy.
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
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
    // Two copies must fit, so that the committed one is never overwritten.
    const std::uint64_t most = (target.area.length - kMdaHeaderSize) / 2 - kTextAlignment;
    if (with_nul.size() > most)
      throw Error(ErrorKind::no_space,
                  fmt::format("{}: the metadata of {} bytes does not fit its area, which takes {} at most",
                              target.device->describe(), with_nul.size(), most),
                  "use PVs with larger metadata areas (pvcreate --metadatasize)");
    std::string problem;
    auto header = read_header(*target.device, target.area, problem);
    if (!header)
      throw Error(ErrorKind::corrupt, fmt::format("{}: the metadata area at byte {} cannot be written: {}",
                                                  target.device->describe(), target.area.offset, problem));
    RawLocationDisk location{};
    const RawLocationDisk& current = header->slots[0];
    location.offset.set(sound(current, target.area.length) ? next_offset(current, target.area.length)
                                                           : kMdaHeaderSize);
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
