#include "cli/overwrite.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/printable.h"
#include "base/units.h"
#include "fs/probe/probe.h"

namespace respaldo::cli {

namespace {

// One that was just unmounted still flushes; who works on it for longer is not waited for.
constexpr int kPatienceMs = 1000;

bool is_same(const struct stat& a, const struct stat& b) {
  if (S_ISBLK(a.st_mode) && S_ISBLK(b.st_mode)) return a.st_rdev == b.st_rdev;
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

void require_no_disk(const app::Context& context, const std::string& path, const struct stat& st) {
  for (const std::string& disk : context.options().disks) {
    struct stat other {};
    if (::stat(disk.c_str(), &other) == 0 && is_same(st, other))
      throw Error(ErrorKind::usage, fmt::format("{} is one of the disks (--disk)", printable(path)),
                  "writing it would destroy its volumes: name another file");
  }
}

// "a physical volume of vg0", "ext4 \"photos\""; empty when nothing is known in it.
std::string content_of(const engine::DiskSet& disk) {
  std::string words;
  const auto add = [&](const std::string& what) {
    if (words.find(what) == std::string::npos) words += (words.empty() ? "" : ", ") + what;
  };
  for (const engine::FoundPv& pv : disk.pvs())
    add(pv.vg.empty() ? std::string("a physical volume of no group") : "a physical volume of " + printable(pv.vg));
  if (!words.empty()) return words;
  bool ambivalent = false;
  const auto found = fs::probe(*disk.disk_device(0), &ambivalent);
  if (found) add(found->type + (found->label.empty() ? "" : fmt::format(" \"{}\"", printable(found->label))));
  if (ambivalent) add("several signatures that contradict each other");
  if (words.empty() && disk.disks()[0].partitions) add("a partition table");
  return words;
}

}  // namespace

std::unique_ptr<engine::DiskSet> claim_to_overwrite(app::Context& context, const std::string& path, bool yes,
                                                    const std::string& with) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))) return nullptr;
  require_no_disk(context, path, st);
  std::unique_ptr<engine::DiskSet> disk;
  try {
    disk = engine::DiskSet::open({path}, engine::LockMode::exclusive, kPatienceMs);
  } catch (const engine::HeldByActivation& held) {
    const std::string point = printable(held.address().mount_point.native());
    throw Error(ErrorKind::busy,
                fmt::format("{} is served at {} by process {}", printable(path), point, held.address().pid),
                fmt::format("end that activation first (fusermount3 -u {}), or name another file", point));
  }
  std::string content;
  try {
    content = content_of(*disk);
  } catch (const Error& error) {
    content = fmt::format("what is in it cannot be read: {}", error.what());
  }
  if (!context.confirm(fmt::format("overwrite {} ({}{}){}?", printable(path), format_size(disk->disks()[0].size),
                                   content.empty() ? "" : ": " + content, with.empty() ? "" : " with " + with),
                       yes))
    throw Error(ErrorKind::refused, "nothing was written");
  return disk;
}

void warn_of_other_names(app::Context& context, const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink < 2) return;
  context.warn(fmt::format("{} had {} other name{} (hard links), under which the old file stays", printable(path), st.st_nlink - 1,
                           st.st_nlink == 2 ? "" : "s"));
}

}  // namespace respaldo::cli
