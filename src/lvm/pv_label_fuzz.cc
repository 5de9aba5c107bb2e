// The first sectors of a disk, as they are and with their checksums made right: what is found is written
// again and found the same.
#include "lvm/pv_label.h"

#include "base/crc.h"
#include "base/endian.h"
#include "base/error.h"
#include "block/file_device.h"

using namespace respaldo;

namespace {

constexpr std::uint64_t kSize = 64U << 10;

void look(const block::MemoryDevice& device) {
  std::vector<std::string> problems;
  const auto label = lvm::read_label(device, &problems);
  if (!label) return;
  for (const Extent& area : label->metadata_areas) {
    (void)lvm::read_metadata_area(device, area);
    (void)lvm::find_old_copies(device, area);
  }
  block::MemoryDevice copy(kSize);
  try {
    lvm::write_label(copy, *label);
  } catch (const Error&) {
    return;  // the extension's lists may fill the sector
  }
  const auto again = lvm::read_label(copy);
  if (!again || again->id != label->id || again->metadata_areas != label->metadata_areas ||
      again->data_offset != label->data_offset || again->device_size != label->device_size ||
      again->bootloader_area != label->bootloader_area || again->label_sector != label->label_sector)
    __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > kSize) return 0;
  block::MemoryDevice device(kSize);
  device.write_at(0, {data, size});
  look(device);
  for (std::uint64_t sector = 0; sector < 4; ++sector) {
    Bytes label = block::read(device, sector * 512, 512);
    store_le64(label.data() + 8, sector);
    store_le32(label.data() + 16, lvm_crc(label.view(20, 492)));
    device.write_at(sector * 512, label);
  }
  look(device);
  return 0;
}
