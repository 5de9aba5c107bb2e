// A metadata area of up to 64 KiB, whose header is made right afterwards: reading never throws, and a commit
// either refuses without a write, or is read back, and until its last step what was committed before can
// still be read.
#include "base/crc.h"
#include "base/endian.h"
#include "base/error.h"
#include "block/file_device.h"
#include "lvm/disk_format.h"
#include "lvm/pv_label.h"

using namespace respaldo;

namespace {
constexpr std::uint64_t kBefore = 4096, kMost = 64U << 10;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size > kMost) return 0;
  const std::uint64_t new_text = data[0] * 97U;
  const bool right_slot = data[1] % 2 == 0;
  const Extent area{kBefore, size - 2};
  block::MemoryDevice device(kBefore + area.length + 512);
  device.write_at(area.offset, {data + 2, size - 2});
  (void)lvm::read_metadata_area(device, area);
  if (area.length >= lvm::kMdaHeaderSize) {
    Bytes header = block::read(device, area.offset, lvm::kMdaHeaderSize);
    lvm::MdaHeaderDisk fields;
    std::memcpy(&fields, header.data(), sizeof fields);
    std::memcpy(fields.magic, lvm::kMdaMagic, sizeof fields.magic);
    fields.version.set(1);
    fields.start.set(area.offset);
    fields.size.set(area.length);
    lvm::RawLocationDisk& slot = fields.slots[0];
    if (right_slot && area.length > 1024) {
      const std::uint64_t ring = area.length - lvm::kMdaHeaderSize;
      slot.offset.set(lvm::kMdaHeaderSize + slot.offset.get() % ring);
      slot.size.set(slot.size.get() % ring + 1);
      slot.flags.set(0);
      Bytes text(slot.size.get());
      const std::uint64_t first = std::min(slot.size.get(), area.length - slot.offset.get());
      device.read_at(area.offset + slot.offset.get(), text.span().first(first));
      device.read_at(area.offset + lvm::kMdaHeaderSize, text.span().subspan(first));
      slot.crc.set(lvm_crc(text));
    }
    std::memcpy(header.data(), &fields, sizeof fields);
    store_le32(header.data(), lvm_crc(header.view(4, lvm::kMdaHeaderSize - 4)));
    device.write_at(area.offset, header);
  }
  const auto before = lvm::read_metadata_area(device, area);
  if (right_slot && area.length > 1024 && !before.current) __builtin_trap();
  (void)lvm::find_old_copies(device, area);
  const Bytes all = block::read(device, 0, device.size());
  const auto same = [&](Extent range) {
    return std::memcmp(block::read(device, range.offset, range.length).data(), all.data() + range.offset,
                       range.length) == 0;
  };
  const std::string text(new_text, 't');
  bool wrote = false;
  try {
    lvm::commit_metadata({{&device, area}}, text, [&](std::string_view) {
      wrote = true;
      const auto now = lvm::read_metadata_area(device, area);
      if (before.current && (!now.current || now.current->text != before.current->text)) __builtin_trap();
    });
    const auto after = lvm::read_metadata_area(device, area);
    if (!after.current || after.current->text != text) __builtin_trap();
  } catch (const Error&) {
    if (wrote || !same({0, device.size()})) __builtin_trap();
  }
  if (!same({0, kBefore}) || !same({kBefore + area.length, 512})) __builtin_trap();
  return 0;
}
