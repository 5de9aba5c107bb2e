#include "fs/probe/probe.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/error.h"
#include "base/units.h"
#include "os/file.h"

namespace respaldo::fs {

namespace {

// libblkid wants a descriptor. It gets a sparse file in memory with the places where superblocks live: the
// first MiBs (btrfs at 64 KiB, ZFS labels up to 512 KiB, reiserfs, UDF) and the last ones (RAID, ZFS, GPT).
constexpr std::uint64_t kHead = 4 * kMiB, kTail = 1 * kMiB;

os::UniqueFd excerpt(const block::Device& device) {
  os::UniqueFd fd(::memfd_create("probe", MFD_CLOEXEC));
  const std::uint64_t size = device.size();
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
    throw os::system_error(errno, "memfd_create", "probe");
  const auto copy = [&](Extent range) {
    for (const block::Run& run : device.runs(range)) {
      if (run.kind == block::RunKind::zero) continue;
      const Bytes bytes = block::read(device, run.extent.offset, run.extent.length);
      os::write_all_at(fd.get(), run.extent.offset, bytes, "probe");
    }
  };
  copy({0, std::min(kHead, size)});
  if (size > kHead) copy({std::max(kHead, size > kTail ? size - kTail : 0), std::min(kTail, size - kHead)});
  return fd;
}

struct FreeProbe {
  void operator()(blkid_probe p) const { blkid_free_probe(p); }
};
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe>;

std::string value(blkid_probe probe, const char* name) {
  const char* data = nullptr;
  std::size_t length = 0;
  if (blkid_probe_lookup_value(probe, name, &data, &length) != 0 || data == nullptr) return {};
  std::string text(data, length);
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

}  // namespace

std::optional<ProbeResult> probe(const block::Device& device, bool* ambivalent) {
  if (ambivalent != nullptr) *ambivalent = false;
  if (device.size() == 0) return std::nullopt;
  const os::UniqueFd fd = excerpt(device);
  const Probe probe(blkid_new_probe());
  if (!probe || blkid_probe_set_device(probe.get(), fd.get(), 0, 0) != 0)
    throw Error(ErrorKind::io, fmt::format("{}: libblkid cannot look at it", device.describe()));
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_TYPE |
                                                     BLKID_SUBLKS_USAGE | BLKID_SUBLKS_VERSION);
  const int found = blkid_do_safeprobe(probe.get());
  if (found == -2 && ambivalent != nullptr) *ambivalent = true;
  if (found != 0) return std::nullopt;
  ProbeResult result;
  result.type = value(probe.get(), "TYPE");
  result.usage = value(probe.get(), "USAGE");
  result.label = value(probe.get(), "LABEL");
  result.uuid = value(probe.get(), "UUID");
  result.version = value(probe.get(), "VERSION");
  if (result.type.empty()) return std::nullopt;
  return result;
}

}  // namespace respaldo::fs
