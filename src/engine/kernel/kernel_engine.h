// The kernel engine: the volumes of the running system, through lvm2's commands and device-mapper.
#pragma once

#include <memory>

#include "engine/kernel/tools/dm_control.h"
#include "engine/volume_engine.h"
#include "os/command_runner.h"
#include "os/file.h"

namespace respaldo::engine {

struct KernelEngineOptions {
  std::shared_ptr<os::CommandRunner> commands;  // null: the machine's
  std::shared_ptr<DmControl> device_mapper;     // null: the kernel's
  os::Path state;                               // of journals; empty: journal::default_state_folder()
  os::Path dev = "/dev";                        // where device nodes are
  std::stop_token stop;                         // ends waiting for lvm2's locks
};

// Nothing is asked before the first call. Needs root; Error(refused) without. Leases may outlive the engine.
// Thread-safe as far as lvm2 is: calls that change a group wait for each other.
std::unique_ptr<VolumeEngine> make_kernel_engine(KernelEngineOptions options = {});

}  // namespace respaldo::engine
