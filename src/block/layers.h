// Small layers over devices. Each owns a share of what lies below it and is thread-safe.
#pragma once

#include <functional>

#include "base/error.h"
#include "block/device.h"

namespace respaldo::block {

// [offset, offset + length) of a device. REQUIRES the range to lie within it (else Error(corrupt)).
DevicePtr slice(DevicePtr below, Extent range, std::string name);
WritableDevicePtr slice(WritableDevicePtr below, Extent range, std::string name);

// All zeros.
DevicePtr zero_device(std::uint64_t size, std::string name);

// Every access fails with `error`: stands for a missing PV.
DevicePtr error_device(std::uint64_t size, std::string name, Error error);

// Reads from a device, keeps what is written in memory: the device itself is never changed.
WritableDevicePtr overlay(DevicePtr below);

// For tests and bug hunts: `fault` is asked before every read, and throws to make it fail.
DevicePtr faulty(DevicePtr below, std::function<void(Extent)> fault);

}  // namespace respaldo::block
