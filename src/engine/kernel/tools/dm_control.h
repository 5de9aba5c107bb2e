// The kernel's device-mapper, asked through libdevmapper: no lvm2 lock, no scan of devices, a few
// microseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace respaldo::engine {

// Which device: by name ("vg0-root"), or by UUID ("LVM-..."), which no other device can take over.
struct DmRef {
  static DmRef by_name(std::string name) { return {std::move(name), {}}; }
  static DmRef by_uuid(std::string uuid) { return {{}, std::move(uuid)}; }
  std::string name, uuid;  // one of them is empty
  const std::string& str() const { return uuid.empty() ? name : uuid; }
};

// The UUID that lvm2 gives to the device of a volume; `layer` is "" for what the user sees, or "real", "cow",
// "tpool". UUIDs of group and volume with or without dashes.
std::string dm_uuid(std::string_view vg_uuid, std::string_view lv_uuid, std::string_view layer = "");

struct DmInfo {
  std::string name, uuid;
  std::uint32_t major = 0, minor = 0;
  std::uint32_t open_count = 0, event = 0;
  bool suspended = false, live_table = false, read_only = false;
};

// One line of a table or of a status. Sectors of 512 bytes.
struct DmLine {
  std::uint64_t start = 0, length = 0;
  std::string type, words;  // "snapshot", "16/2048 16"
};

// Thread-safe. Absent: there is no such device. Error(refused) when not root, Error(unsupported) when the
// kernel has no device-mapper, else Error(io).
class DmControl {
 public:
  virtual ~DmControl() = default;
  virtual std::optional<DmInfo> info(const DmRef& device) = 0;
  virtual std::optional<std::vector<DmLine>> table(const DmRef& device) = 0;
  // Never waits for the device to flush.
  virtual std::optional<std::vector<DmLine>> status(const DmRef& device) = 0;
  // "reserve_metadata_snap" to a pool, and the like. Error(not_found) without the device.
  virtual void message(const DmRef& device, std::string_view text) = 0;
  // Names of all devices.
  virtual std::vector<std::string> names() = 0;
};

std::unique_ptr<DmControl> kernel_device_mapper();

}  // namespace respaldo::engine
