#include "lvm/pv_label.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc.h"
#include "base/error.h"
#include "base/units.h"
#include "lvm/disk_format.h"

namespace respaldo::lvm {

namespace {

constexpr std::size_t kContentsOffset = 32;

template <class T>
T take(ByteView bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// A list of areas, ended by an entry with offset 0. False when it runs past the sector.
bool read_areas(ByteView sector, std::size_t& at, std::vector<Extent>& areas) {
  for (;;) {
    if (at + sizeof(DiskArea) > sector.size()) return false;
    const auto area = take<DiskArea>(sector, at);
    at += sizeof(DiskArea);
    if (area.offset.get() == 0) return true;
    areas.push_back({area.offset.get(), area.size.get()});
  }
}

std::optional<PvLabel> parse_label(ByteView sector, std::uint64_t number, std::uint64_t device_size,
                                   std::string& problem) {
  const auto header = take<LabelHeaderDisk>(sector, 0);
  if (std::memcmp(header.id, "LABELONE", 8) != 0) return std::nullopt;
  if (header.crc.get() != lvm_crc(sector.subspan(20))) {
    problem = "its checksum is wrong";
    return std::nullopt;
  }
  if (header.sector.get() != number) {
    problem = fmt::format("it says that it lives in sector {}", header.sector.get());
    return std::nullopt;
  }
  if (std::memcmp(header.type, "LVM2 001", 8) != 0 || header.contents_offset.get() != kContentsOffset) {
    problem = "it is of a type other than LVM2 001";
    return std::nullopt;
  }
  const auto pv = take<PvHeaderDisk>(sector, kContentsOffset);
  const auto id = Uuid::parse(as_text({pv.id, sizeof pv.id}));
  if (!id) {
    problem = "its UUID is not one";
    return std::nullopt;
  }
  PvLabel label;
  label.id = *id;
  label.label_sector = number;
  label.device_size = pv.device_size.get();
  label.extension_version = 0;
  std::vector<Extent> data;
  std::size_t at = kContentsOffset + sizeof(PvHeaderDisk);
  if (!read_areas(sector, at, data) || !read_areas(sector, at, label.metadata_areas)) {
    problem = "its lists of areas do not end";
    return std::nullopt;
  }
  if (!data.empty()) label.data_offset = data.front().offset;
  for (const Extent& area : label.metadata_areas) {
    if (area.length >= 1024 && area.offset >= kLabelSize && area.offset <= device_size &&
        area.length <= device_size - area.offset)
      continue;
    problem = fmt::format("a metadata area of {} bytes at byte {} does not lie on the device of {} bytes",
                          area.length, area.offset, device_size);
    // The label itself is sound: the area is left out by who reads it.
  }
  if (at + sizeof(PvExtensionDisk) <= sector.size()) {
    const auto extension = take<PvExtensionDisk>(sector, at);
    label.extension_version = extension.version.get();
    if (label.extension_version >= 2) label.in_use = (extension.flags.get() & 1) != 0;
    at += sizeof(PvExtensionDisk);
    std::vector<Extent> boot;
    if (label.extension_version >= 1 && read_areas(sector, at, boot) && !boot.empty())
      label.bootloader_area = boot.front();
  }
  return label;
}

}  // namespace

std::optional<PvLabel> read_label(const block::Device& device, std::vector<std::string>* problems) {
  const std::uint64_t most =
      std::min<std::uint64_t>(kLabelSectors * kLabelSize, device.size() / kLabelSize * kLabelSize);
  const Bytes sectors = block::read(device, 0, most);
  for (std::uint64_t number = 0; number * kLabelSize < most; ++number) {
    std::string problem;
    auto label = parse_label(sectors.view(number * kLabelSize, kLabelSize), number, device.size(), problem);
    if (!problem.empty() && problems != nullptr)
      problems->push_back(
          fmt::format("{}: the LVM label in sector {} is damaged: {}", device.describe(), number, problem));
    if (label) return label;
  }
  return std::nullopt;
}

void write_label(block::WritableDevice& device, const PvLabel& label) {
  Bytes sector = Bytes::zeroed(kLabelSize);
  LabelHeaderDisk header{};
  std::memcpy(header.id, "LABELONE", 8);
  header.sector.set(label.label_sector);
  header.contents_offset.set(kContentsOffset);
  std::memcpy(header.type, "LVM2 001", 8);
  std::size_t at = kContentsOffset;
  const auto put = [&](const auto& value) {
    if (at + sizeof value > kLabelSize)
      throw Error(ErrorKind::internal, "a PV label does not fit its sector");
    std::memcpy(sector.data() + at, &value, sizeof value);
    at += sizeof value;
  };
  const auto put_area = [&](std::uint64_t offset, std::uint64_t size) {
    DiskArea area;
    area.offset.set(offset);
    area.size.set(size);
    put(area);
  };
  PvHeaderDisk pv{};
  std::memcpy(pv.id, label.id.plain().data(), sizeof pv.id);
  pv.device_size.set(label.device_size);
  put(pv);
  // Size 0: to the end of the device, as lvm2 writes it. An offset of 0 would end the list.
  if (label.data_offset != 0) put_area(label.data_offset, 0);
  put_area(0, 0);
  for (const Extent& area : label.metadata_areas) put_area(area.offset, area.length);
  put_area(0, 0);
  PvExtensionDisk extension{};
  extension.version.set(2);
  extension.flags.set(label.in_use ? 1 : 0);
  put(extension);
  if (label.bootloader_area) put_area(label.bootloader_area->offset, label.bootloader_area->length);
  put_area(0, 0);
  std::memcpy(sector.data(), &header, sizeof header);
  header.crc.set(lvm_crc(sector.view().subspan(20)));
  std::memcpy(sector.data(), &header, sizeof header);
  device.write_at(label.label_sector * kLabelSize, sector);
}

}  // namespace respaldo::lvm
