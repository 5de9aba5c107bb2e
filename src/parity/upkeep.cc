#include "parity/upkeep.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/hex.h"
#include "os/thread_group.h"
#include "parity/group_builder.h"
#include "parity/object_reading.h"
#include "parity/parity_backend.h"

namespace respaldo::parity {

namespace {

using store::FileType;
using store::Handle;

constexpr FileType kProtected[] = {FileType::config, FileType::key, FileType::snapshot, FileType::index,
                                   FileType::pack};

// They wait for a far store, not for a processor.
constexpr std::size_t kHeaderReaders = 8;

using Sized = std::pair<Handle, std::uint64_t>;

std::vector<Sized> all_objects(store::Backend& backend) {
  std::vector<Sized> objects;
  for (const FileType type : kProtected)
    for (const store::FileInfo& file : backend.list(type))
      objects.emplace_back(Handle{type, type == FileType::config ? std::string() : file.name}, file.size);
  return objects;
}

// Of others no parity can be made. (That of an object that was cut off to nothing still has it.)
bool can_be_protected(std::uint64_t size) { return size > 0 && size <= kLongestObject; }

// The groups of a repository against its packs.
struct Groups {
  std::map<std::string, GroupHead> whole;                 // by name: all members are there
  std::map<std::string, std::vector<GroupMember>> stale;  // without members: unreadable
  std::set<std::string> covered;                          // packs in whole groups
};

Groups look_at_groups(store::Backend& backend, const std::map<std::string, std::uint64_t>& packs,
                      const std::set<std::string>& broken = {}) {
  Groups groups;
  for (const store::FileInfo& file : backend.list(FileType::parity_group)) {
    std::optional<GroupHead> head;
    try {
      head = load_group_head(backend, file);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) continue;
      if (!broken.contains(file.name)) throw;
    }
    const bool whole = head && !broken.contains(file.name) && head->file_size() == file.size &&
                       std::ranges::all_of(head->members, [&](const GroupMember& member) {
                         const auto found = packs.find(member.pack);
                         return found != packs.end() && found->second == member.size;
                       });
    if (!whole) {
      groups.stale.emplace(file.name, head ? std::move(head->members) : std::vector<GroupMember>());
      continue;
    }
    for (const GroupMember& member : head->members) groups.covered.insert(member.pack);
    groups.whole.emplace(file.name, std::move(*head));
  }
  return groups;
}

std::map<std::string, std::uint64_t> packs_of(store::Backend& backend) {
  std::map<std::string, std::uint64_t> packs;
  for (const store::FileInfo& file : backend.list(FileType::pack)) packs.emplace(file.name, file.size);
  return packs;
}

// What the sidecar was made for; absent when it is of no use.
std::optional<FileType> type_of_sidecar(store::Backend& backend, const std::string& name) {
  const Handle sidecar{FileType::parity, name};
  try {
    if (const auto header = Sidecar::parse_header(backend.load(sidecar, 0, sizeof(DiskSidecarHeader))))
      return file_type_of(header->type);
    if (const auto whole = Sidecar::parse(backend.load_all(sidecar)))  // its other header
      return file_type_of(whole->header().type);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) throw;
  }
  return std::nullopt;
}

// What these sidecars were made for, of one type or of all. The type is told by the sidecar alone, and after
// another program pruned there are thousands of them, perhaps on a far store.
std::vector<Handle> objects_of_sidecars(store::Backend& backend, const std::vector<std::string>& names,
                                        std::optional<FileType> of, Progress& progress,
                                        const std::stop_token& stop,
                                        const std::function<bool(const Handle&)>& takes = {}) {
  std::vector<Handle> objects;
  if (names.empty()) return objects;
  const ProgressPhase phase(progress, "look for what was lost", names.size() * sizeof(DiskSidecarHeader));
  std::mutex mutex;
  std::atomic<std::size_t> next{0};
  os::ThreadGroup readers(stop);
  for (std::size_t i = 0; i < std::min(kHeaderReaders, names.size()); ++i)
    readers.spawn([&](const std::stop_token& token) {
      for (std::size_t n = next++; n < names.size(); n = next++) {
        os::throw_if_stopped(token);
        const auto type = type_of_sidecar(backend, names[n]);
        progress.advance(sizeof(DiskSidecarHeader));
        if (!type || (of && *type != *of)) continue;
        const Handle object{*type, *type == FileType::config ? std::string() : names[n]};
        if (sidecar_of(object).name != names[n] || (takes && !takes(object))) continue;
        std::lock_guard lock(mutex);
        objects.push_back(object);
      }
    });
  readers.join();
  std::ranges::sort(objects, {}, [](const Handle& object) { return sidecar_of(object).name; });
  return objects;
}

}  // namespace

bool Coverage::complete(const Settings& settings) const {
  return without_parity.empty() && stale.empty() && stale_groups.empty() && lost_packs.empty() &&
         (settings.has_groups() ? without_group.empty() : groups == 0);
}

Coverage look_at_coverage(store::Backend& outer, const NamedPacks& named) {
  store::Backend& backend = plain(outer);
  Coverage coverage;
  std::set<std::string> sidecars;
  for (const store::FileInfo& file : backend.list(FileType::parity)) {
    sidecars.insert(file.name);
    coverage.parity_bytes += file.size;
  }
  sidecars.erase(sidecar_of({FileType::parity_settings, ""}).name);
  std::map<std::string, std::uint64_t> packs;
  std::set<std::string> there;  // of whatever size
  for (const auto& [object, size] : all_objects(backend)) {
    if (object.type == FileType::pack) there.insert(object.name);
    const bool has = sidecars.erase(sidecar_of(object).name) != 0;
    if (!can_be_protected(size)) continue;
    ++coverage.objects;
    coverage.object_bytes += size;
    if (object.type == FileType::pack) packs.emplace(object.name, size);
    if (!has) coverage.without_parity.push_back(object);
  }
  if (named.known)
    for (const std::string& pack : named.packs)
      if (!there.contains(pack)) {
        coverage.lost_packs.push_back(pack);
        sidecars.erase(pack);
      }
  for (const std::string& name : sidecars) coverage.stale.push_back({FileType::parity, name});
  for (const store::FileInfo& file : backend.list(FileType::parity_group)) {
    ++coverage.groups;
    coverage.parity_bytes += file.size;
  }
  Groups groups = look_at_groups(backend, packs);
  for (const auto& [name, members] : groups.stale) {
    const auto is_lost = [&](const GroupMember& member) {
      return !there.contains(member.pack) && named.surely(member.pack);
    };
    const auto is_whole = [&](const GroupMember& member) {
      const auto found = packs.find(member.pack);
      return found != packs.end() && found->second == member.size;
    };
    if (std::ranges::any_of(members, is_lost) && std::ranges::all_of(members, [&](const GroupMember& member) {
          return is_lost(member) || is_whole(member);
        }))
      for (const GroupMember& member : members) groups.covered.insert(member.pack);
    else
      coverage.stale_groups.push_back(name);
  }
  for (const auto& [pack, size] : packs)
    if (!groups.covered.contains(pack)) coverage.without_group.push_back(pack);
  return coverage;
}

bool is_sound(const store::Handle& file, Bytes bytes) {
  if (file.type == FileType::parity_settings) return from_text(as_text(bytes)).has_value();
  if (file.type == FileType::parity_group) {
    const auto group = Group::parse(std::move(bytes));
    return group && group->intact() && group_name(group->head()) == file.name;
  }
  const auto sidecar = Sidecar::parse(std::move(bytes));
  if (!sidecar || !sidecar->intact()) return false;
  const auto type = file_type_of(sidecar->header().type);
  return type && sidecar_of({*type, is_named_by_hash(*type) ? to_hex(sidecar->header().sha256) : ""}) == file;
}

bool is_sound(store::Backend& outer, const store::Handle& file) {
  try {
    return is_sound(file, plain(outer).load_all(file));
  } catch (const Error& error) {
    return error.kind() == ErrorKind::not_found;
  }
}

namespace {

class Updating {
 public:
  Updating(store::Backend& backend, const Settings& settings, const UpdateOptions& options,
           Progress& progress, std::stop_token stop)
      : backend_(backend),
        settings_(settings),
        options_(options),
        progress_(progress),
        stop_(std::move(stop)) {}

  UpdateReport run() {
    const auto objects = all_objects(backend_);
    plan_sidecars(objects);
    plan_groups();
    find_lost(objects);
    std::uint64_t total = 0;
    std::vector<Handle> work;
    for (const auto& [object, size] : objects)
      if (wants_sidecar_.contains(object) || wants_group_.contains(object.name) ||
          wants_look_.contains(object.name)) {
        work.push_back(object);
        total += size;
      }
    {
      const ProgressPhase phase(progress_, "make parity", total);
      make(work);
    }
    if (builder_) builder_->flush();
    backend_.sync();
    // What was replaced goes when its replacement is durable; what was made anew has its old name.
    if (builder_) std::erase_if(dissolved_, [&](const std::string& name) { return builder_->wrote(name); });
    keep_what_may_heal();
    if (options_.before_removing) options_.before_removing();
    for (const std::string& name : dissolved_) backend_.remove({FileType::parity_group, name});
    report_.groups_removed = dissolved_.size();
    if (!options_.keep_stale) remove_stale(objects);
    std::ranges::sort(report_.damaged);
    for (const std::string& pack : lost_) report_.lost.push_back({FileType::pack, pack});
    return std::move(report_);
  }

 private:
  void plan_sidecars(const std::vector<Sized>& objects) {
    std::map<std::string, std::uint64_t> sidecars;
    for (const store::FileInfo& file : backend_.list(FileType::parity))
      sidecars.emplace(file.name, file.size);
    for (const auto& [object, size] : objects) {
      os::throw_if_stopped(stop_);
      if (!can_be_protected(size)) {
        report_.damaged.push_back(object);
        continue;
      }
      const Handle sidecar = sidecar_of(object);
      const auto found = sidecars.find(sidecar.name);
      const Geometry wanted = choose_geometry(object.type, size, settings_);
      if (found == sidecars.end() || found->second != wanted.sidecar_size() ||
          (options_.check_sidecars && !header_is(object, sidecar, wanted)))
        wants_sidecar_.insert(object);
    }
  }

  bool header_is(const Handle& object, const Handle& sidecar, const Geometry& wanted) {
    try {
      const auto header = Sidecar::parse_header(backend_.load(sidecar, 0, sizeof(DiskSidecarHeader)));
      if (!header || header->geometry != wanted || file_type_of(header->type) != object.type) return false;
      // The configuration can be replaced (restic migrate): it is small, so its contents are compared.
      if (object.type == FileType::config)
        return header->sha256 == crypto::sha256(backend_.load_all(object, kLongestObject));
      return to_hex(header->sha256) == object.name;
    } catch (const Error&) {
      return false;
    }
  }

  // Packs that no whole group has, and those of groups that are far from full, make new groups.
  void plan_groups() {
    const auto packs = packs_of(backend_);
    Groups groups =
        look_at_groups(backend_, packs, {options_.broken_groups.begin(), options_.broken_groups.end()});
    for (const auto& [name, members] : groups.stale) {
      dissolved_.push_back(name);
      for (const GroupMember& member : members) members_[name].insert(member.pack);
    }
    for (const auto& [name, head] : groups.whole)
      for (const GroupMember& member : head.members) members_[name].insert(member.pack);
    if (!settings_.has_groups()) {
      for (const auto& [name, head] : groups.whole) dissolved_.push_back(name);
      // Nothing else may read them, and then it would not be known that a group is still needed.
      for (const auto& [name, members] : members_) wants_look_.insert(members.begin(), members.end());
      return;
    }
    builder_ = std::make_unique<GroupBuilder>(backend_, settings_);
    std::vector<std::string> small;
    std::set<std::string> covered;
    const auto cover = [&](const GroupHead& head) {
      bool adds = false;
      for (const GroupMember& member : head.members) adds |= covered.insert(member.pack).second;
      return adds;
    };
    for (const auto& [name, head] : groups.whole) {
      if (head.rows != settings_.group_parity || head.members.size() > settings_.group_members)
        dissolved_.push_back(name);
      else if (head.members.size() < settings_.group_members)
        small.push_back(name);
      else if (!cover(head))
        dissolved_.push_back(name);
    }
    // One unfinished group is as it should be: the next backup goes on with it.
    if (small.size() > 1 || (small.size() == 1 && !cover(groups.whole.at(small.front()))))
      dissolved_.insert(dissolved_.end(), small.begin(), small.end());
    builder_->leave(dissolved_);
    for (const auto& [pack, size] : packs)
      if (!covered.contains(pack) && can_be_protected(size)) wants_group_.insert(pack);
  }

  // Packs that are named and not there. What is not named was removed by another program.
  void find_lost(const std::vector<Sized>& objects) {
    std::set<std::string> packs, sidecars;
    for (const auto& [object, size] : objects) {
      if (object.type == FileType::pack) packs.insert(object.name);
      sidecars.insert(sidecar_of(object).name);
    }
    if (options_.named.known) {
      std::ranges::set_difference(options_.named.packs, packs, std::inserter(lost_, lost_.end()));
      return;
    }
    for (const auto& [group, members] : members_)
      std::ranges::set_difference(members, packs, std::inserter(lost_, lost_.end()));
    std::vector<std::string> unknown;
    for (const store::FileInfo& file : backend_.list(FileType::parity))
      if (!sidecars.contains(file.name) && !lost_.contains(file.name)) unknown.push_back(file.name);
    for (const Handle& pack : objects_of_sidecars(backend_, unknown, FileType::pack, progress_, stop_))
      lost_.insert(pack.name);
  }

  void keep_what_may_heal() {
    std::set<std::string> damaged = lost_;
    for (const Handle& object : report_.damaged)
      if (object.type == FileType::pack) damaged.insert(object.name);
    report_.groups_kept = std::erase_if(dissolved_, [&](const std::string& name) {
      return std::ranges::any_of(members_[name],
                                 [&](const std::string& pack) { return damaged.contains(pack); });
    });
  }

  void make(const std::vector<Handle>& work) {
    const unsigned threads =
        options_.threads != 0 ? options_.threads : std::max(1U, std::thread::hardware_concurrency());
    std::atomic<std::size_t> next{0};
    os::ThreadGroup workers(stop_);
    for (unsigned i = 0; i < threads; ++i)
      workers.spawn([&](const std::stop_token& token) {
        for (std::size_t n = next++; n < work.size(); n = next++) {
          os::throw_if_stopped(token);
          make(work[n]);
        }
      });
    workers.join();
  }

  void make(const Handle& object) {
    const auto reading = read_tolerantly(backend_, object);
    if (!reading) return;
    progress_.advance(reading->bytes.size());
    if (!reading->unreadable.empty() ||
        (is_named_by_hash(object.type) && to_hex(crypto::sha256(reading->bytes)) != object.name)) {
      std::lock_guard lock(mutex_);
      report_.damaged.push_back(object);
      return;
    }
    if (wants_sidecar_.contains(object)) {
      const Bytes sidecar = make_sidecar(object, reading->bytes, settings_);
      const ByteView view = sidecar;
      backend_.save(sidecar_of(object), {&view, 1}, store::Durability::at_sync);
      std::lock_guard lock(mutex_);
      ++report_.made;
    }
    if (object.type == FileType::pack && wants_group_.contains(object.name))
      builder_->add(object.name, reading->bytes);
  }

  void remove_stale(const std::vector<Sized>& objects) {
    std::set<std::string> known;
    for (const auto& [object, size] : objects) known.insert(sidecar_of(object).name);
    known.insert(sidecar_of({FileType::parity_settings, ""}).name);
    known.insert(lost_.begin(), lost_.end());
    std::vector<Handle> stale;
    for (const store::FileInfo& file : backend_.list(FileType::parity))
      if (!known.contains(file.name)) stale.push_back({FileType::parity, file.name});
    backend_.remove_many(stale);
    report_.removed = stale.size();
  }

  store::Backend& backend_;
  const Settings settings_;
  const UpdateOptions& options_;
  Progress& progress_;
  const std::stop_token stop_;
  std::mutex mutex_;
  std::set<Handle> wants_sidecar_;
  std::set<std::string> wants_group_, wants_look_, lost_;
  std::map<std::string, std::set<std::string>> members_;  // of each group that was there
  std::vector<std::string> dissolved_;
  std::unique_ptr<GroupBuilder> builder_;
  UpdateReport report_;
};

}  // namespace

UpdateReport update(store::Backend& outer, const UpdateOptions& options, Progress& progress,
                    std::stop_token stop) {
  store::Backend& backend = plain(outer);
  const auto found = load_settings(backend);
  if (!found)
    throw Error(ErrorKind::refused, "this repository has no parity", "`respaldo parity enable 5%` makes it");
  const std::size_t before = backend.list(FileType::parity_group).size();
  UpdateReport report = Updating(backend, found->settings, options, progress, std::move(stop)).run();
  report.groups_made = backend.list(FileType::parity_group).size() + report.groups_removed - before;
  return report;
}

std::vector<store::Handle> lost_objects(store::Backend& outer, std::optional<FileType> of, Progress& progress,
                                        const std::stop_token& stop) {
  store::Backend& backend = plain(outer);
  std::set<std::string> names;
  for (const store::FileInfo& file : backend.list(FileType::parity)) names.insert(file.name);
  names.erase(sidecar_of({FileType::parity_settings, ""}).name);
  for (const auto& [object, size] : all_objects(backend)) names.erase(sidecar_of(object).name);
  // A damaged sidecar is of no use here.
  return objects_of_sidecars(
      backend, {names.begin(), names.end()}, of, progress, stop,
      [&](const Handle& object) { return find_sidecar(backend, object).sidecar.has_value(); });
}

bool is_left_behind(store::Backend& outer) {
  store::Backend& backend = plain(outer);
  if (load_settings(backend)) return false;
  return !backend.list(FileType::parity_group).empty() || !backend.list(FileType::parity).empty();
}

void disable(store::Backend& outer) {
  store::Backend& backend = plain(outer);
  remove_settings(backend);
  for (const FileType type : {FileType::parity_group, FileType::parity}) {
    std::vector<Handle> all;
    for (const store::FileInfo& file : backend.list(type)) all.push_back({type, file.name});
    backend.remove_many(all);
  }
}

}  // namespace respaldo::parity
