#include "engine/image/hand_volumes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <functional>
#include <sstream>
#include <utility>

#include "base/printable.h"
#include "base/units.h"
#include "engine/image/hand_work.h"
#include "journal/names.h"
#include "os/crash_point.h"

namespace respaldo::engine {

namespace {

std::vector<std::string> our_tags() { return {std::string(journal::kTag), journal::Owner::self().tag()}; }

void remove_quietly(DiskSet& disks, const VolumeName& name) {
  OpContext context = quiet_context(disks, "lvremove " + name.str());
  remove_lv(context, name);
}

std::string title(const VolumeName& name) { return fmt::format("volume {}", printable(name.str())); }

void untag_quietly(DiskSet& disks, const VolumeName& name, std::vector<std::string> tags) {
  OpContext context = quiet_context(disks, "respaldo restore " + name.str());
  LvChange untag;
  untag.tags.remove = std::move(tags);
  change_lv(context, name, untag);
}

struct Leftover {
  VolumeName name;
  bool named = false;  // by a user: of a restore, and not of a backup
};
void add_leftover(VolumeName name, const std::vector<std::string>& tags, std::vector<Leftover>& found) {
  if (!is_leftover(tags)) return;
  const bool of_run = std::ranges::any_of(
      tags, [](const std::string& tag) { return tag.starts_with(journal::kRunTagPrefix); });
  const bool named = !of_run && !journal::is_volume_name(name.lv);
  found.push_back({std::move(name), named});
}

std::vector<Leftover> leftovers(const DiskSet& disks) {
  std::vector<Leftover> found;
  for (const DiskSet::Group& group : disks.groups())
    for (const lvm::LogicalVolume& lv : group.vg.lvs) add_leftover({group.vg.name, lv.name}, lv.tags, found);
  return found;
}

class ImageVolume final : public NewVolume {
 public:
  ImageVolume(std::vector<os::Path> images, VolumeName name, std::uint64_t size)
      : images_(std::move(images)), name_(std::move(name)), size_(size) {}
  ~ImageVolume() override {
    if (kept_) return;
    try {
      change([&](DiskSet& disks) { remove_quietly(disks, name_); }, {"lvremove", "-y", name_.str()});
    } catch (...) {
      // Whatever went wrong is being told; `clean` knows the volume.
    }
  }
  std::uint64_t size() const override { return size_; }
  void keep() override {
    os::crash_point("volume written");
    kept_ = true;  // it is whole: whatever comes now, it is not thrown away
    try {
      change([&](DiskSet& disks) { untag_quietly(disks, name_, our_tags()); }, untag_words(name_.str(), our_tags()));
    } catch (const Error& error) {
      throw Error(error.kind(),
                  fmt::format("{} is whole and stays, but the tags of its restore could not be taken off: {}",
                              printable(name_.str()), error.what()),
                  fmt::format("take them off: respaldo lvm {}; before that `respaldo clean` would take it for a "
                              "leftover, and remove it",
                              fmt::join(untag_words(name_.str(), our_tags()), " ")));
    }
  }

 private:
  template <class OnDisks>
  void change(OnDisks on_disks, const std::vector<std::string>& words) const {
    try {
      const auto disks = DiskSet::open(images_, LockMode::exclusive);
      on_disks(*disks);
    } catch (const HeldByActivation& held) {
      must(ActivationClient(held.address()).lvm(words), words.front());
    }
  }
  const std::vector<os::Path> images_;
  const VolumeName name_;
  const std::uint64_t size_;
  bool kept_ = false;
};

// The volumes of an activation, with their tags.
std::vector<std::pair<VolumeName, std::vector<std::string>>> served_volumes(const ActivationClient& client) {
  const auto reply = client.lvm({"lvs", "--noheadings", "--separator", " ", "-o", "vg_name,lv_name,lv_tags"});
  must(reply, "lvs");
  std::vector<std::pair<VolumeName, std::vector<std::string>>> found;
  std::istringstream lines(reply.out);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    VolumeName name;
    std::string tag;
    words >> name.vg >> name.lv;
    std::vector<std::string> tags;
    while (std::getline(words >> std::ws, tag, ',')) tags.push_back(tag);
    found.emplace_back(std::move(name), std::move(tags));
  }
  return found;
}

std::vector<Leftover> served_leftovers(const ActivationClient& client) {
  std::vector<Leftover> found;
  for (auto& [name, tags] : served_volumes(client)) add_leftover(std::move(name), tags, found);
  return found;
}

Error already_there(const VolumeName& name) {
  return Error(ErrorKind::refused, fmt::format("there is a volume {} already", printable(name.str())));
}

std::uint64_t extents_for(std::uint64_t size, std::uint64_t extent) {
  if (extent == 0) throw Error(ErrorKind::corrupt, "the group has no extent size");
  return std::max<std::uint64_t>(1, size / extent + (size % extent != 0 ? 1 : 0));
}

std::uint64_t make_quietly(DiskSet& disks, const NewVolumeRequest& request) {
  const VolumeName& name = request.name;
  if (const lvm::LogicalVolume* old = disks.group(name.vg).vg.find_lv(name.lv)) {
    if (!is_leftover(old->tags)) throw already_there(name);
    remove_quietly(disks, name);
  }
  const std::uint64_t extent = disks.group(name.vg).vg.extent_bytes();
  LvRequest lv;
  lv.vg = name.vg;
  lv.name = name.lv;
  lv.size = {SizeSign::none, SizeBase::extents, extents_for(request.size, extent)};
  lv.tags = our_tags();
  if (!request.pv.empty()) lv.pvs = {request.pv};
  OpContext context = quiet_context(disks, "respaldo restore --create " + name.str());
  create_lv(context, lv);
  return lv.size.value * extent;
}

std::uint64_t make_served(const ActivationClient& client, const NewVolumeRequest& request) {
  const VolumeName& name = request.name;
  if (is_served_leftover(client, name)) client.remove(name);
  for (const VolumeInfo& info : client.list())
    if (info.name == name) throw already_there(name);
  const auto reply =
      client.lvm({"vgs", "--noheadings", "--nosuffix", "--units", "b", "-o", "vg_extent_size", name.vg});
  must(reply, "vgs");
  std::uint64_t extent = 0;
  if (std::sscanf(reply.out.c_str(), "%" SCNu64, &extent) != 1)
    throw Error(ErrorKind::io, "the activation does not tell the size of an extent");
  const std::uint64_t extents = extents_for(request.size, extent);
  std::vector<std::string> words = {"lvcreate", "-y", "-n", name.lv, "-l", std::to_string(extents)};
  for (const std::string& tag : our_tags()) words.insert(words.end(), {"--addtag", tag});
  words.push_back(name.vg);
  if (!request.pv.empty()) words.push_back(request.pv);
  must(client.lvm(words), "lvcreate");
  return extents * extent;
}

}  // namespace

bool is_served_leftover(const ActivationClient& client, const VolumeName& name) {
  const auto all = served_leftovers(client);
  return std::ranges::find(all, name, &Leftover::name) != all.end();
}

std::unique_ptr<NewVolume> make_image_volume(const std::vector<os::Path>& images, const NewVolumeRequest& request) {
  std::uint64_t size = 0;
  try {
    const auto disks = DiskSet::open(images, LockMode::exclusive);
    size = make_quietly(*disks, request);
  } catch (const HeldByActivation& held) {
    size = make_served(ActivationClient(held.address()), request);
  }
  os::crash_point("volume made");
  return std::make_unique<ImageVolume>(images, request.name, size);
}

void adopt_image_volume(const std::vector<os::Path>& images, const VolumeName& name, const std::string& uuid) {
  try {
    const auto disks = DiskSet::open(images, LockMode::exclusive);
    if (const lvm::LogicalVolume* lv = disks->group(name.vg).vg.find_lv(name.lv)) {
      require_same(name, uuid, lv->id.dashed());
      untag_quietly(*disks, name, tags_of_maker(lv->tags));
    }
  } catch (const HeldByActivation& held) {
    const ActivationClient client(held.address());
    for (const VolumeInfo& info : client.list())
      if (info.name == name) require_same(name, uuid, info.uuid);
    must(client.lvm(untag_words(name.str(), tags_of_maker(served_tags(client, name)))), "lvchange");
  }
}

std::vector<std::string> served_tags(const ActivationClient& client, const VolumeName& name) {
  for (auto& [volume, tags] : served_volumes(client))
    if (volume == name) return std::move(tags);
  throw Error(ErrorKind::not_found, fmt::format("there is no volume {}", printable(name.str())));
}

MergePlan plan_image_merge(const std::vector<os::Path>& images, const VolumeInfo& info) {
  const std::string title = printable(info.name.str());
  if (!info.origin)
    throw Error(ErrorKind::refused, fmt::format("{} is not a snapshot", title), "`respaldo snapshot list` shows them");
  if (!info.cow)
    throw Error(ErrorKind::unsupported, fmt::format("{} is a thin snapshot", title),
                "on images only lvm2 itself changes thin pools");
  if (!info.cow->valid)
    throw Error(ErrorKind::overflow, fmt::format("snapshot {} is invalid: its COW store overflowed", title),
                "there is nothing to go back to any more; remove it: respaldo snapshot remove " + title);
  MergePlan plan;
  plan.snapshot = info.name;
  plan.uuid = info.uuid;
  plan.origin = {info.name.vg, *info.origin};
  plan.changed = info.cow->used;
  try {
    const auto disks = DiskSet::open(images, LockMode::shared);
    const DiskSet::Group& group = disks->group(info.name.vg);
    if (const lvm::LogicalVolume* lv = group.vg.find_lv(info.name.lv)) {
      plan.made = lv->creation_time;
      if (const auto binding = group.vg.snapshot_binding(*lv)) plan.begun = binding->merging;
    }
  } catch (const HeldByActivation&) {
    // The activation tells neither; when a volume is open, it refuses.
  }
  return plan;
}

MergeOutcome merge_image_snapshot(const std::vector<os::Path>& images, const MergePlan& plan, Progress& progress,
                                  const std::stop_token& stop) {
  try {
    const auto disks = DiskSet::open(images, LockMode::exclusive);
    if (const lvm::LogicalVolume* lv = disks->group(plan.snapshot.vg).vg.find_lv(plan.snapshot.lv))
      require_same(plan.snapshot, plan.uuid, lv->id.dashed());
    OpContext context = quiet_context(*disks, "respaldo snapshot merge " + plan.snapshot.str());
    context.progress = &progress;
    context.stop = stop;
    merge_snapshot(context, plan.snapshot);
  } catch (const HeldByActivation& held) {
    const ActivationClient client(held.address());
    for (const VolumeInfo& info : client.list())
      if (info.name == plan.snapshot) require_same(plan.snapshot, plan.uuid, info.uuid);
    must(client.lvm({"lvconvert", "--merge", plan.snapshot.str()}), "lvconvert --merge");
  }
  return MergeOutcome::done;
}

namespace {

// `remove` is false for what is no leftover any more.
CleanReport clean_each(const std::vector<Leftover>& found, const CleanOptions& options,
                       const std::function<bool(const VolumeName&)>& remove) {
  CleanReport report;
  for (const auto& [name, named] : found) {
    if (!options.named && named) {
      report.left.push_back(title(name));
      continue;
    }
    CleanReport::Item item{title(name), ""};
    try {
      if (!options.dry_run && !remove(name)) continue;
    } catch (const Error& error) {
      item.problem = error.what();
    }
    report.items.push_back(std::move(item));
  }
  return report;
}

}  // namespace

CleanReport clean_images(const std::vector<os::Path>& images, const CleanOptions& options) {
  try {
    auto disks = DiskSet::open(images, LockMode::shared);
    std::vector<Leftover> found = leftovers(*disks);
    if (found.empty()) return {};
    if (!options.dry_run) {
      disks.reset();
      os::crash_point("leftovers found");
      disks = DiskSet::open(images, LockMode::exclusive);
      found = leftovers(*disks);  // another may have such a name by now
    }
    return clean_each(found, options, [&](const VolumeName& name) {
      remove_quietly(*disks, name);
      return true;
    });
  } catch (const HeldByActivation& held) {
    const ActivationClient client(held.address());
    return clean_each(served_leftovers(client), options, [&](const VolumeName& name) {
      if (!is_served_leftover(client, name)) return false;  // somebody took it over
      client.remove(name);
      return true;
    });
  }
}

}  // namespace respaldo::engine
