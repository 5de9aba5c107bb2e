// LVM's verbs on disk images, as one function.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "engine/image/image_engine.h"

namespace respaldo::cli {

// What a verb runs with. Callbacks outlive the call.
struct LvmWorld {
  std::function<void(std::string_view)> print;    // a line for standard output, without its newline
  std::function<void(std::string_view)> warn;     // a line for standard error
  std::function<bool(std::string_view)> confirm;  // a question
  // The images are served by this process: what somebody uses may not be removed or shrunk, and a snapshot that died
  // is shown so.
  bool active = false;
  std::function<bool(const engine::VolumeName&)> is_open{}, has_died{};
  Progress* progress = nullptr;
  std::stop_token stop{};
};

// argv[0] is the verb. Prints its failures itself; returns lvm2's exit code (0, 3 for a bad command line, 5).
int run_lvm_verb(const std::vector<std::string>& argv, engine::DiskSet& disks, const LvmWorld& world);
bool is_lvm_verb(std::string_view name);
// True when the verb may change the images: they must be open exclusively.
bool lvm_verb_writes(const std::vector<std::string>& argv);
// Help that needs no images: absent when argv asks for none.
std::optional<std::string> lvm_help(const std::vector<std::string>& argv);

}  // namespace respaldo::cli
