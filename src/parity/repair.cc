#include "parity/repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/hex.h"
#include "base/units.h"
#include "os/thread_group.h"
#include "parity/group_heal.h"
#include "parity/parity_backend.h"
#include "parity/upkeep.h"

namespace respaldo::parity {

namespace {

using store::FileType;
using store::Handle;

constexpr std::size_t kMostRanges = 3;  // of damage that are told

std::string ranges(const ExtentSet& damaged) {
  std::string text;
  const auto& extents = damaged.extents();
  for (std::size_t i = 0; i < std::min(extents.size(), kMostRanges); ++i)
    text += fmt::format("{}{} to {}", i == 0 ? "bytes " : ", ", extents[i].offset, extents[i].end() - 1);
  if (extents.size() > kMostRanges) text += fmt::format(" and {} more ranges", extents.size() - kMostRanges);
  return text;
}

class Repairing {
 public:
  Repairing(store::Backend& backend, const RepairOptions& options, Progress& progress, std::stop_token stop)
      : backend_(plain(backend)),
        options_(options),
        settings_(load_settings(backend_)),
        progress_(progress),
        stop_(std::move(stop)) {}

  RepairReport run() {
    const std::vector<Sized> objects = list_objects();
    std::uint64_t total = 0;
    for (const auto& [object, size] : objects) total += size;
    const ProgressPhase phase(progress_, options_.dry_run ? "look for what parity can heal" : "repair",
                              total);
    look_at(objects);
    heal_lost();
    if (options_.only.empty()) {
      look_at_settings();
      look_at_groups();
      look_for_stale_sidecars();
    }
    std::ranges::stable_sort(report_.items, {}, &RepairItem::object);
    report_.objects = objects.size();
    report_.bytes_read = bytes_read_;
    return std::move(report_);
  }

 private:
  // An object that is not what it should be, and why it is not healed yet. Its bytes are read again when a
  // group needs them: memory does not grow with the damage.
  struct Lost {
    bool present = false;
    ExtentSet damaged;
    std::string why_not, first_problem;
    bool unwritable = false;
  };
  using Sized = std::pair<Handle, std::uint64_t>;

  std::vector<Sized> list_objects() {
    std::vector<Sized> objects;
    std::set<Handle> present;
    const auto require = [&](const Handle& object) {
      if (!present.contains(object)) lost_.emplace(object, Lost{});
    };
    if (!options_.only.empty()) {
      for (const Handle& object : options_.only)
        if (const auto info = backend_.stat(object)) {
          objects.emplace_back(object, info->size);
          present.insert(object);
        }
      for (const Handle& object : options_.only) require(object);
      return objects;
    }
    for (const FileType type :
         {FileType::config, FileType::key, FileType::snapshot, FileType::index, FileType::pack})
      for (const store::FileInfo& file : backend_.list(type)) {
        const Handle object{type, type == FileType::config ? std::string() : file.name};
        objects.emplace_back(object, file.size);
        present.insert(object);
      }
    if (options_.is_config) require({FileType::config, ""});
    for (const Handle& object : options_.required) require(object);
    return objects;
  }

  void look_at(const std::vector<Sized>& objects) {
    const unsigned threads =
        options_.threads != 0 ? options_.threads : std::max(1U, std::thread::hardware_concurrency());
    std::atomic<std::size_t> next{0};
    os::ThreadGroup workers(stop_);
    for (unsigned i = 0; i < threads; ++i)
      workers.spawn([&](const std::stop_token& token) {
        for (std::size_t n = next++; n < objects.size(); n = next++) {
          os::throw_if_stopped(token);
          look_at(objects[n].first);
          progress_.advance(objects[n].second);
        }
      });
    workers.join();
  }

  void look_at(const Handle& object) {
    if (object.type == FileType::config && !options_.is_config) return;
    const auto reading = read_tolerantly(backend_, object);
    if (!reading) return;  // gone since it was listed
    bytes_read_ += reading->bytes.size();
    const crypto::Digest digest = crypto::sha256(reading->bytes);
    FoundSidecar found;
    if (settings_) found = find_sidecar(backend_, object);
    if (!is_whole(object, *reading, digest)) {
      heal_by_sidecar(object, &*reading, found);
      return;
    }
    if (!settings_ || reading->bytes.empty()) return;
    if (found.sidecar && found.sidecar->intact() && found.sidecar->describes(reading->bytes, digest)) return;
    rebuild_sidecar(object, reading->bytes, found.present ? "its parity was damaged" : "it had no parity");
  }

  bool is_whole(const Handle& object, const Reading& reading, const crypto::Digest& digest) const {
    if (!reading.unreadable.empty()) return false;
    return object.type == FileType::config ? options_.is_config(reading.bytes)
                                           : to_hex(digest) == object.name;
  }

  void rebuild_sidecar(const Handle& object, ByteView bytes, std::string_view why) {
    if (!options_.dry_run)
      save_proven(backend_, sidecar_of(object), make_sidecar(object, bytes, settings_->settings));
    add({Outcome::parity_rebuilt,
         object,
         {},
         fmt::format("{}: {}; it {} made anew", object.str(), why, options_.dry_run ? "can be" : "was")});
  }

  void add(RepairItem item) {
    std::lock_guard lock(mutex_);
    report_.items.push_back(std::move(item));
  }

  // `reading` is null when the object is missing. What stays lost is noted.
  void heal_by_sidecar(const Handle& object, const Reading* reading, const FoundSidecar& found) {
    Lost lost;
    lost.present = reading != nullptr;
    if (reading != nullptr) lost.first_problem = reading->first_problem;
    if (found.sidecar) {
      const Reading nothing;
      HealResult result = heal(*found.sidecar, reading != nullptr ? *reading : nothing);
      if (reading != nullptr) lost.damaged = std::move(result.damaged);
      lost.why_not = std::move(result.why_not);
      if (result.healed && object.type == FileType::config && !options_.is_config(*result.healed)) {
        lost.why_not = "its parity is that of another configuration";
        result.healed.reset();
      }
      if (result.healed) {
        if (put_back(object, *result.healed, lost, found.sidecar->intact(), "its own parity")) return;
      }
    } else {
      lost.why_not = !settings_      ? "the repository has no parity"
                     : found.present ? "its parity is damaged beyond use"
                                     : "it has no parity of its own";
    }
    std::lock_guard lock(mutex_);
    lost_.insert_or_assign(object, std::move(lost));
  }

  // First each by its own sidecar (those that are there were tried when they were read), then the rest by
  // their groups, as long as that gets further.
  void heal_lost() {
    std::vector<Handle> missing;
    for (const auto& [object, lost] : lost_)
      if (!lost.present) missing.push_back(object);
    for (const Handle& object : missing) {
      os::throw_if_stopped(stop_);
      lost_.erase(object);
      heal_by_sidecar(object, nullptr, settings_ ? find_sidecar(backend_, object) : FoundSidecar{});
    }
    if (settings_)
      while (!lost_.empty() && heal_by_groups()) os::throw_if_stopped(stop_);
    for (const auto& [object, lost] : lost_) add(beyond(object, lost));
  }

  bool heal_by_groups() {
    bool further = false;
    for (const store::FileInfo& file : backend_.list(FileType::parity_group)) {
      os::throw_if_stopped(stop_);
      try {
        const auto head = load_group_head(backend_, file);
        if (head && std::ranges::any_of(head->members, [&](const GroupMember& member) {
              return lost_.contains({FileType::pack, member.pack});
            }))
          heal_by_group(file.name, further);
      } catch (const Error& error) {
        // A group that cannot be read helps nobody. But our lock may be gone.
        if (error.kind() == ErrorKind::busy) throw;
      }
    }
    return further;
  }

  // `further` becomes true for each that is healed, whatever fails behind it.
  void heal_by_group(const std::string& name, bool& further) {
    const auto group = load_group(backend_, name);
    if (!group) return;
    std::set<std::string> wanted;
    for (const GroupMember& member : group->head().members) {
      const Handle object{FileType::pack, member.pack};
      // What another program removed is not asked for, but the others cannot do without it.
      const auto info = backend_.stat(object);
      if (lost_.contains(object) || would_heal_.contains(object) || !info || info->size != member.size)
        wanted.insert(member.pack);
    }
    const auto load = [&](const std::string& pack) {
      const Handle object{FileType::pack, pack};
      LostPack lost{read_tolerantly(backend_, object), find_sidecar(backend_, object).sidecar};
      // A dry run has not written what it could heal.
      if (would_heal_.contains(object) && lost.sidecar) {
        const Reading nothing;
        HealResult result = heal(*lost.sidecar, lost.reading ? *lost.reading : nothing);
        if (result.healed) {
          lost.not_stored = lost.reading ? std::move(result.damaged) : ExtentSet({{0, result.healed->size()}});
          lost.reading = Reading{std::move(*result.healed), {}, {}};
        }
      }
      return lost;
    };
    const auto take = [&](const std::string& pack, ByteView bytes, const LostPack& was) {
      const auto found = lost_.find({FileType::pack, pack});
      if (found == lost_.end() || !put_back(found->first, bytes, found->second, was.sidecar && was.sidecar->intact(),
                                            "the parity of its group"))
        return false;
      lost_.erase(found);
      further = true;
      return !options_.dry_run;
    };
    heal_in_group(backend_, *group, wanted, load, take);
  }

  // False when it cannot be written: it stays as it was, the rest goes on.
  bool put_back(const Handle& object, ByteView bytes, Lost& lost, bool sidecar_intact, std::string_view by) {
    std::string afterwards;
    if (!options_.dry_run) {
      if (options_.before_replacing) options_.before_replacing();
      try {
        save_proven(backend_, object, bytes);
      } catch (const Error& error) {
        lost.unwritable = true;
        lost.why_not = fmt::format("{} has it, but it could not be written: {}", by, error.what());
        return false;
      }
      try {
        if (!sidecar_intact)
          save_proven(backend_, sidecar_of(object), make_sidecar(object, bytes, settings_->settings));
      } catch (const Error& error) {
        afterwards = fmt::format("; its parity could not be made anew: {}", error.what());
      }
    } else {
      std::lock_guard lock(mutex_);
      would_heal_.insert(object);
    }
    const char* done = options_.dry_run ? "can be" : "was";
    std::string message;
    if (!lost.present)
      message = fmt::format("{} was lost; it {} brought back by {}", object.str(), done, by);
    else if (lost.damaged.empty())
      message = fmt::format("{} was damaged; it {} healed by {}", object.str(), done, by);
    else
      message = fmt::format("{} was damaged in {} ({}); it {} healed by {}", object.str(),
                            ranges(lost.damaged), format_size(lost.damaged.total()), done, by);
    add({Outcome::healed, object, lost.damaged, message + afterwards});
    return true;
  }

  RepairItem beyond(const Handle& object, const Lost& lost) const {
    std::string why = lost.why_not;
    if (settings_ && object.type == FileType::pack && !lost.unwritable)
      why += settings_->settings.has_groups() ? ", and its group cannot bring it back"
                                              : "; there is no parity over groups of packs";
    std::string message = fmt::format("{} {}", object.str(), lost.present ? "is damaged" : "is lost");
    if (!lost.damaged.empty())
      message += fmt::format(" in {} ({})", ranges(lost.damaged), format_size(lost.damaged.total()));
    if (!lost.first_problem.empty()) message += fmt::format(" ({})", lost.first_problem);
    message += fmt::format(" and cannot be healed: {}; nothing was changed", why);
    return {Outcome::beyond, object, lost.damaged, std::move(message)};
  }

  void look_at_settings() {
    if (!settings_) return;
    const Handle object{FileType::parity_settings, ""};
    const std::string text = to_text(settings_->settings);
    if (settings_->damaged) {
      if (!options_.dry_run) save_settings(backend_, settings_->settings);
      add({Outcome::healed,
           object,
           {},
           fmt::format("the settings of parity were lost or damaged; they {} written anew: {}",
                       options_.dry_run ? "can be" : "were", describe(settings_->settings))});
      return;
    }
    const FoundSidecar found = find_sidecar(backend_, object);
    if (found.sidecar && found.sidecar->intact() &&
        found.sidecar->describes(as_bytes(text), crypto::sha256(as_bytes(text))))
      return;
    rebuild_sidecar(object, as_bytes(text), "the parity of its settings was missing or damaged");
  }

  void look_at_groups() {
    if (!settings_) return;
    for (const store::FileInfo& file : backend_.list(FileType::parity_group)) {
      os::throw_if_stopped(stop_);
      const Handle object{FileType::parity_group, file.name};
      std::string problem;
      try {
        bytes_read_ += file.size;
        const auto group = load_group(backend_, file.name);
        if (!group || !group->intact()) problem = "its parity is damaged";
      } catch (const Error& error) {
        problem = error.what();
      }
      if (!problem.empty())
        add({Outcome::group_damaged, object, {}, fmt::format("{}: {}", object.str(), problem)});
    }
  }

  void look_for_stale_sidecars() {
    if (!settings_) return;
    std::set<std::string> known;
    for (const FileType type : {FileType::key, FileType::snapshot, FileType::index, FileType::pack})
      for (const store::FileInfo& file : backend_.list(type)) known.insert(file.name);
    for (const Handle& object : options_.required) known.insert(object.name);
    known.insert(sidecar_of({FileType::config, ""}).name);
    known.insert(sidecar_of({FileType::parity_settings, ""}).name);
    for (const store::FileInfo& file : backend_.list(FileType::parity)) {
      const Handle object{FileType::parity, file.name};
      if (!known.contains(file.name))
        add({Outcome::stale_parity,
             object,
             {},
             fmt::format("{} belongs to an object that does not exist: removed by another program, left by a "
                         "run that was killed, or lost",
                         object.str())});
    }
  }

  store::Backend& backend_;
  const RepairOptions& options_;
  const std::optional<FoundSettings> settings_;
  Progress& progress_;
  const std::stop_token stop_;
  std::mutex mutex_;
  RepairReport report_;
  std::atomic<std::uint64_t> bytes_read_{0};
  std::map<Handle, Lost> lost_;
  std::set<Handle> would_heal_;  // by a dry run
};

}  // namespace

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::healed:
      return "healed";
    case Outcome::parity_rebuilt:
      return "parity_rebuilt";
    case Outcome::beyond:
      return "beyond";
    case Outcome::group_damaged:
      return "group_damaged";
    case Outcome::stale_parity:
      return "stale_parity";
  }
  return "";
}

std::size_t RepairReport::count(Outcome outcome) const {
  return static_cast<std::size_t>(std::ranges::count(items, outcome, &RepairItem::outcome));
}

RepairReport repair_entrance(store::Backend& outer, bool config_is_bad) {
  store::Backend& backend = plain(outer);
  SilentProgress silent;
  RepairOptions options;
  for (const store::FileInfo& file : backend.list(FileType::key))
    options.only.push_back({FileType::key, file.name});
  if (options.only.empty()) options.only = lost_objects(backend, FileType::key, silent, {});
  const Handle config{FileType::config, ""};
  // There is no key to try it with yet: what the parity has is right when the stored one is known to be bad.
  if (config_is_bad) {
    options.only.push_back(config);
    const FoundSidecar found = find_sidecar(backend, config);
    const std::optional<crypto::Digest> wanted =
        found.sidecar ? std::optional(found.sidecar->header().sha256) : std::nullopt;
    options.is_config = [wanted](ByteView bytes) { return wanted && crypto::sha256(bytes) == *wanted; };
  }
  if (options.only.empty()) return {};
  RepairReport report = repair(backend, options, silent, {});
  // That a sidecar of a key is missing is told with all the others.
  std::erase_if(report.items, [](const RepairItem& item) { return item.outcome == Outcome::parity_rebuilt; });
  return report;
}

RepairReport repair(store::Backend& backend, const RepairOptions& options, Progress& progress,
                    std::stop_token stop) {
  return Repairing(backend, options, progress, std::move(stop)).run();
}

RepairReport look_for_healing(store::Backend& outer, const std::set<store::Handle>& objects,
                              Progress& progress, const std::stop_token& stop) {
  store::Backend& backend = plain(outer);
  RepairOptions options;
  options.dry_run = true;
  options.only.assign(objects.begin(), objects.end());
  if (options.only.empty()) return {};
  RepairReport report = repair(backend, options, progress, stop);
  std::set<std::string> beyond;
  for (const RepairItem& item : report.items)
    if (item.outcome == Outcome::beyond && item.object.type == FileType::pack)
      beyond.insert(item.object.name);
  if (beyond.empty()) return report;
  std::set<Handle> more = objects;
  for (const store::FileInfo& file : backend.list(FileType::parity_group)) {
    try {
      const auto head = load_group_head(backend, file);
      if (head && std::ranges::any_of(
                      head->members, [&](const GroupMember& member) { return beyond.contains(member.pack); }))
        for (const GroupMember& member : head->members)
          // What another program removed is not asked for.
          if (backend.stat({FileType::pack, member.pack})) more.insert({FileType::pack, member.pack});
    } catch (const Error&) {
      // A group that cannot be read helps nobody.
    }
  }
  if (more.size() == objects.size()) return report;
  options.only.assign(more.begin(), more.end());
  report = repair(backend, options, progress, stop);
  std::erase_if(report.items, [&](const RepairItem& item) { return !objects.contains(item.object); });
  return report;
}

}  // namespace respaldo::parity
