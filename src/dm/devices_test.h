// What the tests of this room stand on.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>

#include "base/error.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "dm/cow_format.h"
#include "dm/table.h"
#include "testing/temp.h"

namespace respaldo::dm {

class MapResolver final : public Resolver {
 public:
  std::map<std::string, block::DevicePtr> devices;
  std::map<std::string, Table> tables;
  block::DevicePtr device(const std::string& name) override {
    if (const auto it = devices.find(name); it != devices.end()) return it->second;
    if (const auto it = tables.find(name); it != tables.end()) return assemble(it->second, *this, name);
    throw Error(ErrorKind::corrupt, fmt::format("nobody knows {}", name));
  }
  const Table* table(const std::string& name) override {
    const auto it = tables.find(name);
    return it == tables.end() ? nullptr : &it->second;
  }
};

inline std::shared_ptr<block::MemoryDevice> memory(ByteView bytes, std::string name = "memory") {
  return std::make_shared<block::MemoryDevice>(bytes, std::move(name));
}
inline std::shared_ptr<block::MemoryDevice> random_memory(std::uint64_t size, std::uint64_t seed,
                                                          std::string name = "memory") {
  return memory(testing::random_bytes(size, seed), std::move(name));
}
inline block::DevicePtr missing(std::uint64_t size, std::string name) {
  return block::error_device(size, name, Error(ErrorKind::missing, name + " is missing"));
}

inline bool equal(ByteView a, ByteView b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}
inline Bytes whole(const block::Device& device) { return block::read(device, 0, device.size()); }

// The kind of the Error that f throws; absent when it throws none.
template <class F>
std::optional<ErrorKind> error_kind(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.kind();
  }
  return std::nullopt;
}

// Every run that claims zeros reads as zeros, and runs tile the device.
inline bool runs_are_true(const block::Device& device) {
  std::uint64_t at = 0;
  for (const block::Run& run : device.runs({0, device.size()})) {
    if (run.extent.offset != at || run.extent.empty()) return false;
    at = run.extent.end();
    if (run.kind == block::RunKind::zero &&
        !is_zero(block::read(device, run.extent.offset, run.extent.length)))
      return false;
  }
  return at == device.size();
}

// Writes a store by hand, entry by entry, independent of the code under test.
class CowStoreBuilder {
 public:
  CowStoreBuilder(std::uint64_t size, std::uint64_t chunk) : bytes(Bytes::zeroed(size)), chunk_(chunk) {
    store_le32(bytes.data(), 0x70416e53);
    store_le32(bytes.data() + 4, 1);
    store_le32(bytes.data() + 8, 1);
    store_le32(bytes.data() + 12, static_cast<std::uint32_t>(chunk / 512));
  }
  // Entry number `count` of the list.
  CowStoreBuilder& entry(std::uint64_t old_chunk, std::uint64_t new_chunk) {
    const std::uint64_t entries = chunk_ / 16, area = count_ / entries, index = count_ % entries;
    std::uint8_t* place = bytes.data() + (1 + area * (entries + 1)) * chunk_ + index * 16;
    store_le64(place, old_chunk);
    store_le64(place + 8, new_chunk);
    ++count_;
    return *this;
  }
  CowStoreBuilder& data(std::uint64_t new_chunk, ByteView contents) {
    std::memcpy(bytes.data() + new_chunk * chunk_, contents.data(), contents.size());
    return *this;
  }
  Bytes bytes;

 private:
  std::uint64_t chunk_, count_ = 0;
};

}  // namespace respaldo::dm
