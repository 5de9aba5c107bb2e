// Anything addressable as a disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/extent.h"

namespace respaldo::block {

enum class RunKind { data, zero };

// A stretch of a device that may hold data, or that is known to read as zeros without reading it.
struct Run {
  Extent extent;
  RunKind kind = RunKind::data;
  friend bool operator==(const Run&, const Run&) = default;
};

// A readable disk. All methods are thread-safe. Offsets are bytes, not necessarily aligned.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::uint64_t size() const = 0;
  // Fills out. REQUIRES offset + out.size() <= size(), else Error(internal). Unreadable: Error(io or missing)
  // whose context names the device and the offset.
  virtual void read_at(std::uint64_t offset, MutableBytes out) const = 0;
  // The runs that tile `range` (cut at size()), in order. The default is one data run.
  virtual std::vector<Run> runs(Extent range) const;
  // For messages: "vg0/root", "disk.img".
  virtual std::string describe() const = 0;
  // What is read next shall come from the medium, where there is a way. Only what is clean is dropped: flush first.
  virtual void drop_cache() const {}
};

// A disk that can be written. Writes are durable after flush().
class WritableDevice : public Device {
 public:
  virtual void write_at(std::uint64_t offset, ByteView bytes) = 0;
  // Makes the range read as zeros, by a hole where that is possible.
  virtual void zero(Extent range);
  virtual void flush() = 0;
};

using DevicePtr = std::shared_ptr<Device>;
using WritableDevicePtr = std::shared_ptr<WritableDevice>;

// Throws Error(internal) unless [offset, offset + length) lies within the device.
void require_within(const Device& device, std::uint64_t offset, std::uint64_t length);
// Adds a run, joining it to the last one when both touch and are of one kind.
void append_run(std::vector<Run>& runs, Run run);
// read_at into a new buffer.
Bytes read(const Device& device, std::uint64_t offset, std::size_t length);

}  // namespace respaldo::block
