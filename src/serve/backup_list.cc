#include "serve/backup_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace respaldo::serve {

namespace {

constexpr auto kLookAgain = std::chrono::seconds(5);
constexpr std::size_t kLongestName = 255;

std::string time_name(const repo::Timestamp& time) {
  const std::time_t seconds = time.seconds;
  std::tm broken{};
  ::localtime_r(&seconds, &broken);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", broken.tm_year + 1900, broken.tm_mon + 1,
                     broken.tm_mday, broken.tm_hour, broken.tm_min, broken.tm_sec);
}

// -> the name it got.
std::string add_by_time(BackupNames::Folder& folder, const BackupPtr& backup) {
  const std::string plain = time_name(backup->snapshot.time);
  std::string name = plain;
  for (std::size_t n = 1; !folder.try_emplace(name, backup).second; ++n)
    name = fmt::format("{}-{}", plain, n);
  return name;
}

}  // namespace

bool is_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= kLongestName &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

BackupNames name_backups(std::vector<BackupPtr> backups) {
  std::ranges::sort(backups, [](const BackupPtr& a, const BackupPtr& b) {
    return std::tie(a->snapshot.time.seconds, a->snapshot.time.nanoseconds, a->id) <
           std::tie(b->snapshot.time.seconds, b->snapshot.time.nanoseconds, b->id);
  });
  std::map<std::string, std::size_t> short_ids;
  for (const BackupPtr& backup : backups) ++short_ids[backup->id.short_hex()];
  BackupNames names;
  for (const BackupPtr& backup : backups) {
    const std::string short_id = backup->id.short_hex();
    names.ids.emplace(short_ids[short_id] == 1 ? short_id : backup->id.hex(), backup);
    names.latest = add_by_time(names.times, backup);
    const std::string& host = backup->snapshot.hostname;
    if (is_file_name(host))
      names.latest_of[host] = add_by_time(names.hosts[host], backup);
    else
      ++names.nameless_hosts;
  }
  return names;
}

BackupList::BackupList(repo::Repository& repository, Wanted wanted, Tell tell, Progress& progress,
                       std::stop_token stop)
    : repository_(repository), wanted_(std::move(wanted)), tell_(std::move(tell)) {
  std::lock_guard loading(loading_);
  load(progress, std::move(stop));
}

std::shared_ptr<const BackupNames> BackupList::names() const {
  std::lock_guard lock(mutex_);
  return names_;
}

std::shared_ptr<const repo::IndexedRepository> BackupList::repository() const {
  std::lock_guard lock(mutex_);
  return indexed_;
}

void BackupList::refresh() {
  std::unique_lock loading(loading_, std::try_to_lock);
  if (!loading || std::chrono::steady_clock::now() - looked_ < kLookAgain) return;
  loading.unlock();
  refresh_now();
}

void BackupList::refresh_now() {
  std::lock_guard loading(loading_);
  try {
    SilentProgress silent;
    load(silent, {});
  } catch (const std::exception& error) {
    looked_ = std::chrono::steady_clock::now();
    tell_(fmt::format("warning: cannot look for new backups: {}", error.what()));
  }
}

void BackupList::load(Progress& progress, std::stop_token stop) {
  const auto tell_once = [&](const std::string& text) {
    if (told_.try_emplace(text, true).second) tell_("warning: " + text);
  };
  // Snapshots before the index: whoever wrote a snapshot had written its index before.
  std::map<std::string, BackupPtr> found;
  bool more = false, fewer = false;
  for (const store::FileInfo& file : repository_.backend().list(store::FileType::snapshot)) {
    if (const auto known = known_.find(file.name); known != known_.end()) {
      found.insert(*known);
      continue;
    }
    BackupPtr backup;
    try {
      const Bytes json = repository_.load_unpacked(store::FileType::snapshot, file.name);
      repo::Snapshot snapshot = in_context([&] { return "snapshot " + file.name.substr(0, 8); },
                                           [&] { return repo::parse_snapshot(json); });
      const auto id = repo::SnapshotId::parse(file.name);
      if (id && wanted_(snapshot))
        backup = std::make_shared<const repo::NamedSnapshot>(repo::NamedSnapshot{*id, std::move(snapshot)});
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) continue;  // removed since it was listed
      tell_once(error.what());
    }
    more |= backup != nullptr;
    found.emplace(file.name, std::move(backup));
  }
  for (const auto& [name, backup] : known_) fewer |= backup && !found.contains(name);
  std::shared_ptr<const repo::IndexedRepository> indexed = repository();
  if (more || !indexed) {
    std::vector<std::string> damaged;
    indexed = std::make_shared<const repo::IndexedRepository>(
        repository_, repository_.load_index(progress, &damaged, std::move(stop)));
    for (const std::string& problem : damaged) tell_once(problem);
  }
  known_ = std::move(found);
  if (more || fewer || !names()) {
    std::vector<BackupPtr> backups;
    for (const auto& [name, backup] : known_)
      if (backup) backups.push_back(backup);
    auto names = std::make_shared<const BackupNames>(name_backups(std::move(backups)));
    if (names->nameless_hosts > 0)
      tell_once(fmt::format("{} backups are not in hosts/: the name of their host cannot be shown",
                            names->nameless_hosts));
    std::lock_guard lock(mutex_);
    indexed_ = std::move(indexed);
    names_ = std::move(names);
  }
  looked_ = std::chrono::steady_clock::now();
}

}  // namespace respaldo::serve
