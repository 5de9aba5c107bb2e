// Would the next backup work? What the picture and lvm2's settings say about it. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "machine/findings.h"

namespace respaldo::machine {

// lvm2's settings, by name ("activation/snapshot_autoextend_threshold"), as `lvmconfig --type full` prints
// them.
using LvmSettings = std::map<std::string, std::string>;
// Lines "activation/monitoring=1"; what is no such line is passed over.
LvmSettings parse_lvm_settings(std::string_view text);
// The settings that the checks below look at: the words for `lvmconfig --type full`.
std::vector<std::string> wanted_lvm_settings();

struct DoctorFacts {
  bool root = false;
  std::string lvm_version{};  // empty: lvm2 did not answer
  LvmSettings settings{};
  std::string repository{};                    // as for repository_on_same_disk()
  std::map<std::string, std::uint64_t> cow{};  // "VG/LV" -> bytes of COW store that its last backup used
  std::vector<std::string> volumes{};          // "VG/LV" asked for; empty: every one that could be backed up
};

// Every check that was made has at least one row; those that found nothing say so with Severity::ok.
Findings examine_host(const Picture& picture, const DoctorFacts& facts);

// The volumes that a backup without names would be made of: no snapshots, no pools, no swap, no targets.
std::vector<const engine::LvRow*> volumes_to_save(const Picture& picture);

}  // namespace respaldo::machine
