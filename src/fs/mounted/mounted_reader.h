// Filesystems that the kernel knows, seen as files through a private mount.
//
// What a mount would show is what is read: the kernel recovers the journal, into memory (see PrivateDisk);
// the device is never written, nobody else sees the mount, nothing is left of it when the process dies.
// Parsing a hostile disk is left to the kernel here: that is a risk that who calls this has accepted.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>

#include "block/device.h"
#include "fs/file_reader.h"
#include "fs/probe/probe.h"

namespace respaldo::fs {

struct MountedOptions {
  std::size_t finding_limit = 1000;  // more are counted, not kept
  std::chrono::seconds mount_limit{300};
  std::stop_token stop;  // a stop throws Cancelled
};

// A filesystem of a kind to be mounted: not ext, which is walked, and nothing that is no filesystem at all.
bool is_mountable(const ProbeResult& found);

// Mounts what `found` says lies on the device and walks all of it. Content is read later, when it is asked
// for; until the reader goes, the mount stays. Memory: about 170 bytes for each file, 32 for each of its
// pieces, and what the journal's recovery writes.
//
// Error: unsupported (this kernel cannot), refused (not root), busy (no node is left), io (the kernel
// refuses: damaged, or it has more devices).
std::unique_ptr<FileReader> open_mounted(block::DevicePtr device, const ProbeResult& found,
                                         const MountedOptions& options = {});

}  // namespace respaldo::fs
