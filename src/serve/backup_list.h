// The backups of a repository under the names that a mount gives them, kept up to date while others add more.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "repo/repository.h"

namespace respaldo::serve {

using BackupPtr = std::shared_ptr<const repo::NamedSnapshot>;

// Names in byte order. A value.
struct BackupNames {
  using Folder = std::map<std::string, BackupPtr, std::less<>>;
  Folder ids;    // 8 hexadecimal digits, all 64 where 8 are not enough
  Folder times;  // "2026-11-23T18:40:34", local time; -1, -2, ... tell apart those of one second
  std::map<std::string, Folder, std::less<>> hosts;           // as times, for each host
  std::string latest;                                         // in times; empty without backups
  std::map<std::string, std::string, std::less<>> latest_of;  // host -> name in its folder
  std::size_t nameless_hosts = 0;  // backups whose host cannot be the name of a folder
};

// `backups` in any order.
BackupNames name_backups(std::vector<BackupPtr> backups);

// True for what can be the name of a file: not empty, not "." or "..", without '/' and NUL, at most 255
// bytes.
bool is_file_name(std::string_view name);

// Thread-safe. The repository must outlive it.
class BackupList {
 public:
  using Wanted = std::function<bool(const repo::Snapshot&)>;
  using Tell = std::function<void(const std::string&)>;
  // Reads snapshots and index. What is damaged is told and left out.
  BackupList(repo::Repository& repository, Wanted wanted, Tell tell, Progress& progress,
             std::stop_token stop);

  std::shared_ptr<const BackupNames> names() const;
  // Looks for new and removed backups, unless that was done in the last five seconds or another thread is at
  // it. What fails is told; the list stays as it was.
  void refresh();
  void refresh_now();
  // With an index that knows the blobs of all backups in names().
  std::shared_ptr<const repo::IndexedRepository> repository() const;

 private:
  void load(Progress& progress, std::stop_token stop);

  repo::Repository& repository_;
  const Wanted wanted_;
  const Tell tell_;
  std::mutex loading_;                      // held by the thread that reads; guards the next three
  std::map<std::string, BackupPtr> known_;  // by the object's name; null: damaged or not wanted
  std::map<std::string, bool> told_;
  std::chrono::steady_clock::time_point looked_{};
  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<const BackupNames> names_;
  std::shared_ptr<const repo::IndexedRepository> indexed_;
};

}  // namespace respaldo::serve
