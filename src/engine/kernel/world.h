// What the parts of the kernel engine share.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/kernel/kernel_engine.h"
#include "engine/kernel/tools/lvm_command.h"
#include "journal/journal.h"

namespace respaldo::engine {

// Thread-safe.
class World {
 public:
  explicit World(KernelEngineOptions options);

  const LvmCommand& lvm() const { return lvm_; }
  DmControl& dm() { return *options_.device_mapper; }
  const os::Path& state() const { return options_.state; }
  const std::stop_token& stop() const { return options_.stop; }
  os::Path node(const std::string& dm_name) const { return options_.dev / "mapper" / dm_name; }

  // Notes an intent, where a journal can be kept; without one (a read-only /var) the tags have to do, and a
  // warning says so. 0: not noted.
  std::uint64_t begin(const std::string& kind, const journal::Facts& facts);
  void add(std::uint64_t id, const journal::Facts& facts);
  void end(std::uint64_t id);

  void warn(std::string text);
  std::vector<std::string> take_warnings();

  // The group of that name, as it was lately, or asked for anew. Error(not_found); Error(refused) when several have it.
  VgRow group(const std::string& vg) const;
  VgRow group_anew(const std::string& vg, const std::stop_token& stop) const;
  // Removes a volume, whatever its name is by now, and waits until its device is gone. One that is not there
  // is fine: lvm2 does not find it, and it has no device. lvremove is known to race with udev and others who
  // look at a volume: it is tried until `patience` is over. `only_with`: as long as it carries this tag, which lvm2
  // looks at under the group's lock; false when it does not any more.
  bool remove_volume(const std::string& vg, const std::string& vg_uuid, const std::string& lv_uuid,
                     std::chrono::milliseconds patience, const std::string& only_with = {});

 private:
  KernelEngineOptions options_;
  LvmCommand lvm_;
  std::mutex mutex_;
  std::unique_ptr<journal::Journal> journal_;
  bool journal_failed_ = false;
  std::vector<std::string> warnings_;
};

}  // namespace respaldo::engine
