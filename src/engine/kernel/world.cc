#include "engine/kernel/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "os/crash_point.h"

namespace respaldo::engine {

namespace {

KernelEngineOptions with_defaults(KernelEngineOptions options) {
  if (!options.commands) options.commands = os::system_commands();
  if (!options.device_mapper) options.device_mapper = kernel_device_mapper();
  if (options.state.empty()) options.state = journal::default_state_folder();
  return options;
}

VgRow group_among(const std::string& vg, std::vector<VgRow> rows) {
  std::optional<VgRow> found;
  for (VgRow& row : rows) {
    if (row.name != vg) continue;
    if (found)
      throw Error(ErrorKind::refused, fmt::format("two volume groups have the name {}", printable(vg)),
                  fmt::format("rename one: vgrename {} NEWNAME", row.uuid));
    found = std::move(row);
  }
  if (!found)
    throw Error(ErrorKind::not_found, fmt::format("there is no volume group {}", printable(vg)),
                "`vgs` lists them");
  return *found;
}

}  // namespace

World::World(KernelEngineOptions options)
    : options_(with_defaults(std::move(options))), lvm_(*options_.commands) {}

std::uint64_t World::begin(const std::string& kind, const journal::Facts& facts) {
  std::unique_lock lock(mutex_);
  if (journal_failed_) return 0;
  try {
    if (!journal_) journal_ = std::make_unique<journal::Journal>(options_.state);
    return journal_->begin(kind, facts);
  } catch (const Error& error) {
    journal_failed_ = true;
    lock.unlock();
    warn(fmt::format(
        "no journal can be kept in {} ({}): after a crash, leftovers are known by their tags alone",
        options_.state.native(), error.what()));
    return 0;
  }
}

void World::add(std::uint64_t id, const journal::Facts& facts) {
  if (id != 0) journal_->add(id, facts);
}

void World::end(std::uint64_t id) {
  if (id == 0) return;
  try {
    journal_->end(id);
  } catch (const Error& error) {
    warn(fmt::format("the journal cannot be written: {}", error.what()));
  }
}

void World::warn(std::string text) {
  std::lock_guard lock(mutex_);
  warnings_.push_back(std::move(text));
}

std::vector<std::string> World::take_warnings() {
  std::lock_guard lock(mutex_);
  return std::exchange(warnings_, {});
}

VgRow World::group(const std::string& vg) const { return group_among(vg, lvm_.vgs_lately(stop()).rows); }

VgRow World::group_anew(const std::string& vg, const std::stop_token& stop) const {
  return group_among(vg, lvm_.vgs({}, stop).rows);
}

bool World::remove_volume(const std::string& vg, const std::string& vg_uuid, const std::string& lv_uuid,
                          std::chrono::milliseconds patience, const std::string& only_with) {
  std::string which = fmt::format("lv_uuid={}", lv_uuid);
  if (!only_with.empty()) which += fmt::format(" && lv_tags={{{}}}", only_with);
  const auto lost_its_tag = [&] {
    if (only_with.empty()) return false;
    const auto rows = lvm_.lvs({"-S", fmt::format("lv_uuid={}", lv_uuid)}).rows;
    return std::ranges::any_of(rows, [&](const LvRow& row) { return row.uuid == lv_uuid && !row.has_tag(only_with); });
  };
  const auto has_device = [&] { return dm().info(DmRef::by_uuid(dm_uuid(vg_uuid, lv_uuid))).has_value(); };
  const auto started = std::chrono::steady_clock::now();
  for (std::chrono::milliseconds pause{50};; pause = std::min(pause * 2, std::chrono::milliseconds(1000))) {
    try {
      lvm_.change({"lvremove", "-y", "-f", "-S", which, vg});
      if (lost_its_tag()) return false;
      if (!has_device()) return true;
      throw Error(ErrorKind::busy, "its device is still there");
    } catch (const Error& error) {
      // The group itself has gone; or lvm2 does not see it, and the volume lives.
      if (error.kind() == ErrorKind::not_found && !has_device()) return true;
      if (std::chrono::steady_clock::now() - started + pause > patience) throw;
    }
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace respaldo::engine
