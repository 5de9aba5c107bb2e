#include "engine/kernel/live_copies.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/printable.h"
#include "block/write_count.h"
#include "engine/kernel/lv_device.h"
#include "journal/names.h"
#include "os/crash_point.h"
#include "os/file.h"

namespace respaldo::engine {

namespace {

constexpr std::chrono::milliseconds kPatience = std::chrono::seconds(15);

std::string copy_tag(const std::string& source_uuid) {
  return std::string(journal::kCopyOfTagPrefix) + source_uuid;
}
bool is_tag_of_copy(const std::string& tag) {
  return tag.starts_with(journal::kCopyOfTagPrefix) || tag.starts_with(journal::kCopyBaseTagPrefix);
}
bool is_tag_of_maker(const std::string& tag) {
  return tag == journal::kTag || journal::Owner::from_tag(tag).has_value();
}
bool is_moved_tag(const std::string& tag) { return tag.starts_with(journal::kMovedTagPrefix); }

// lvm2 adds tags before it takes others off: what shall stay is not named.
template <class Which>
void remove_tags(const LvRow& row, Which which, std::vector<std::string>& words) {
  for (const std::string& tag : row.tags)
    if (which(tag)) words.insert(words.end(), {"--deltag", tag});
}

class HeldLive final : public HeldVolume {
 public:
  explicit HeldLive(os::UniqueFd fd) : fd_(std::move(fd)), begun_(fd_.get()) {}
  ~HeldLive() override { set_read_only(false); }
  bool untouched() const override { return block::WriteCount(fd_.get()).same_as(begun_); }
  // Those who open it from now on cannot write. What they left in the page cache goes before: its last close would
  // bring it to the disk unseen, and some kernels write nothing to what is read-only.
  void forbid_writes() {
    ::fdatasync(fd_.get());
    set_read_only(true);
  }
  // It stays read-only: its device is about to go.
  void let_go() {
    fd_.reset();
    read_only_ = false;
  }

 private:
  void set_read_only(bool on) {
    if (!fd_ || read_only_ == on) return;
    int value = on ? 1 : 0;
    if (::ioctl(fd_.get(), BLKROSET, &value) == 0) read_only_ = on;
  }
  os::UniqueFd fd_;
  const block::WriteCount begun_;
  bool read_only_ = false;
};

void activate_again(World& world, const LvRow& source) noexcept {
  try {
    world.lvm().change({"lvchange", "-ay", "-K", "-y", source.str()});
  } catch (...) {
    world.warn(fmt::format("{0} is not active: lvchange -ay -K {0}", printable(source.str())));
  }
}

// What was let go read-only can be written again.
void allow_writes(World& world, const LvRow& source) noexcept {
  try {
    const os::UniqueFd fd = open_lv_node(world, dm_uuid(source.vg_uuid, source.uuid), O_RDONLY);
    int off = 0;
    ::ioctl(fd.get(), BLKROSET, &off);
  } catch (...) {
    world.warn(fmt::format("{0} may be read-only now: blockdev --setrw /dev/{0}", printable(source.str())));
  }
}

}  // namespace

std::shared_ptr<void> lock_live_move(const World& world, const std::string& source_uuid) {
  std::error_code failed;
  std::filesystem::create_directories(world.state(), failed);  // what failed is told by the next line
  auto lock = os::FileLock::try_lock(world.state() / ("move-" + source_uuid + ".lock"),
                                     os::FileLock::Mode::exclusive, O_RDWR | O_CREAT | O_CLOEXEC);
  if (!lock)
    throw Error(ErrorKind::busy, "another `respaldo migrate` of this volume runs", "wait until it has ended");
  world.lvm().forget();  // whoever had the lock may have changed all
  return std::make_shared<os::FileLock>(std::move(*lock));
}

std::vector<CopyInfo> live_copies_of(const std::vector<LvRow>& rows, const std::string& source_uuid) {
  std::vector<CopyInfo> copies;
  for (const LvRow& row : rows) {
    if (!row.has_tag(copy_tag(source_uuid))) continue;
    CopyInfo copy{{row.vg, row.name}, row.uuid, {}};
    for (const std::string& tag : row.tags)
      if (tag.starts_with(journal::kCopyBaseTagPrefix))
        copy.base_token = tag.substr(journal::kCopyBaseTagPrefix.size());
    copies.push_back(std::move(copy));
  }
  return copies;
}

void mark_live_copy(World& world, const LvRow& copy, const std::string& source_uuid,
                    const std::string& base_token) {
  const std::string base_tag =
      base_token.empty() ? std::string() : std::string(journal::kCopyBaseTagPrefix) + base_token;
  std::vector<std::string> words = {"lvchange", "-ky"};
  remove_tags(
      copy,
      [&](const std::string& tag) {
        return is_tag_of_maker(tag) || (is_tag_of_copy(tag) && tag != copy_tag(source_uuid) && tag != base_tag);
      },
      words);
  words.insert(words.end(), {"--addtag", copy_tag(source_uuid)});
  if (!base_tag.empty()) words.insert(words.end(), {"--addtag", base_tag});
  words.push_back(copy.str());
  world.lvm().change(words);
}

void activate_live_copy(World& world, const LvRow& copy, bool active) {
  if (active)
    world.lvm().change({"lvchange", "-ay", "-K", "-y", copy.str()});
  else
    world.lvm().change({"lvchange", "-an", "-y", copy.str()});
}

void remove_live_copy(World& world, const LvRow& copy, const std::string& source_uuid) {
  if (!copy.has_tag(copy_tag(source_uuid)))
    throw Error(ErrorKind::refused, fmt::format("{} is not the copy that was begun", printable(copy.str())));
  world.remove_volume(copy.vg, copy.vg_uuid, copy.uuid, kPatience);
}

std::unique_ptr<HeldVolume> hold_live_volume(os::UniqueFd fd) { return std::make_unique<HeldLive>(std::move(fd)); }

void retire_live_volume(World& world, const LvRow& source, std::unique_ptr<HeldVolume> held,
                        const std::string& copy_uuid) {
  auto& live = dynamic_cast<HeldLive&>(*held);
  live.forbid_writes();
  if (!live.untouched())
    throw Error(ErrorKind::busy,
                fmt::format("{} was written to while it was compared, by a program that does not mount it",
                            printable(source.str())),
                "end that program, and run this command again");
  live.let_go();
  try {
    world.lvm().change({"lvchange", "-an", "-y", source.str()});
  } catch (...) {
    allow_writes(world, source);
    throw;
  }
  os::crash_point("volume not active");
  // Only what is out of use is called so: a crash before this leaves a volume that is merely not active.
  try {
    world.lvm().change(
        {"lvchange", "-ky", "--addtag", std::string(journal::kMovedTagPrefix) + copy_uuid, source.str()});
  } catch (...) {
    activate_again(world, source);
    throw;
  }
}

std::optional<VolumeCopies::Retired> retired_as(const LvRow& source, const std::vector<LvRow>& rows) {
  if (source.is_active()) return std::nullopt;
  for (const std::string& tag : source.tags) {
    if (!is_moved_tag(tag)) continue;
    VolumeCopies::Retired retired{tag.substr(journal::kMovedTagPrefix.size()), {}};
    for (const LvRow& row : rows)
      if (row.uuid == retired.copy_uuid) retired.copy = row.str();
    return retired;
  }
  return std::nullopt;
}

void reinstate_live_volume(World& world, const LvRow& source) {
  // Whoever does not carry the tag may have been skipped at boot for reasons of his own.
  if (std::ranges::any_of(source.tags, is_moved_tag)) {
    std::vector<std::string> words = {"lvchange", "-kn"};
    remove_tags(source, is_moved_tag, words);
    words.push_back(source.str());
    world.lvm().change(words);
  }
  world.lvm().change({"lvchange", "-ay", "-K", "-y", source.str()});
}

void take_over_live(World& world, const LvRow& copy) {
  // First the last thing that can fail: the record of the copy stays until it can be used.
  activate_live_copy(world, copy, true);
  std::vector<std::string> words = {"lvchange", "-kn"};
  remove_tags(copy, [](const std::string& tag) { return is_tag_of_copy(tag) || is_tag_of_maker(tag); }, words);
  words.push_back(copy.str());
  world.lvm().change(words);
}

bool is_set_aside(const LvRow& row) {
  const bool retired = !row.is_active() && std::ranges::any_of(row.tags, is_moved_tag);
  const bool copy = std::ranges::any_of(row.tags, [](const std::string& tag) {
    return tag.starts_with(journal::kCopyOfTagPrefix);
  });
  const bool made = !row.is_snapshot() && row.has_tag(journal::kTag) &&
                    std::ranges::any_of(row.tags, [](const std::string& tag) {
                      return journal::Owner::from_tag(tag).has_value();
                    });
  return retired || copy || made;
}

}  // namespace respaldo::engine
