// A device-mapper in memory.
#pragma once

#include <map>
#include <mutex>

#include "base/error.h"
#include "engine/kernel/tools/dm_control.h"

namespace respaldo::engine {

class FakeDmControl final : public DmControl {
 public:
  struct Device {
    DmInfo info;
    std::vector<DmLine> table, status;
  };
  // Change under the lock while other threads look.
  std::mutex mutex;
  std::map<std::string, Device> devices;  // by name
  std::vector<std::string> messages;      // "NAME: TEXT"
  std::size_t questions = 0;

  std::optional<DmInfo> info(const DmRef& device) override {
    std::lock_guard lock(mutex);
    ++questions;
    const Device* found = find(device);
    return found == nullptr ? std::nullopt : std::optional(found->info);
  }
  std::optional<std::vector<DmLine>> table(const DmRef& device) override {
    std::lock_guard lock(mutex);
    const Device* found = find(device);
    return found == nullptr ? std::nullopt : std::optional(found->table);
  }
  std::optional<std::vector<DmLine>> status(const DmRef& device) override {
    std::lock_guard lock(mutex);
    ++questions;
    const Device* found = find(device);
    return found == nullptr ? std::nullopt : std::optional(found->status);
  }
  void message(const DmRef& device, std::string_view text) override {
    std::lock_guard lock(mutex);
    const Device* found = find(device);
    if (found == nullptr) throw Error(ErrorKind::not_found, "there is no device " + device.str());
    messages.push_back(found->info.name + ": " + std::string(text));
  }
  std::vector<std::string> names() override {
    std::lock_guard lock(mutex);
    std::vector<std::string> all;
    for (const auto& [name, device] : devices) all.push_back(name);
    return all;
  }

 private:
  const Device* find(const DmRef& ref) const {
    for (const auto& [name, device] : devices)
      if (ref.uuid.empty() ? name == ref.name : device.info.uuid == ref.uuid) return &device;
    return nullptr;
  }
};

}  // namespace respaldo::engine
