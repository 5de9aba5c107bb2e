// What a restore of files has done so far.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

#include "restore/file_metadata.h"
#include "restore/file_restore.h"

namespace respaldo::restore {

// Thread-safe.
class RestoreTally {
 public:
  // One more, as &FileRestoreResult::files.
  void count(std::uint64_t FileRestoreResult::*what) {
    const std::lock_guard lock(mutex_);
    ++(result_.*what);
  }
  // Left alone; `differs`: from what the backup has.
  void kept(std::string_view path, bool differs) {
    const std::lock_guard lock(mutex_);
    ++result_.kept;
    if (!differs || ++result_.kept_different > kMostKeptNamed) return;
    result_.kept_different_named.push_back(told(path));
  }
  void written(std::uint64_t bytes) { written_ += bytes; }
  void zero(std::uint64_t bytes) { zero_ += bytes; }
  void problem(std::string_view path, const std::string& why) {
    const std::lock_guard lock(mutex_);
    ++result_.problem_count;
    if (result_.problems.size() < kMostProblems)
      result_.problems.push_back({told(path), why});
  }
  // No room is left for it: nothing more is to be written. Only the first one is a problem.
  void out_of_room(std::string_view path, const std::string& why) {
    {
      const std::lock_guard lock(mutex_);
      if (result_.no_space) return;
      result_.no_space = FileProblem{told(path), why};
    }
    problem(path, why);
    full_ = true;
  }
  bool is_full() const { return full_; }
  void metadata(const std::string& path, const MetadataOutcome& outcome) {
    if (!outcome.problem.empty()) problem(path, outcome.problem);
    if (!outcome.without_owner && !outcome.without_xattrs) return;
    const std::lock_guard lock(mutex_);
    result_.without_owner += outcome.without_owner ? 1 : 0;
    result_.without_xattrs += outcome.without_xattrs ? 1 : 0;
  }
  FileRestoreResult take() {
    const std::lock_guard lock(mutex_);
    result_.bytes_written = written_;
    result_.bytes_zero = zero_;
    return std::move(result_);
  }

 private:
  // Of what is longer than any path may be, both ends.
  static std::string told(std::string_view path) {
    constexpr std::size_t kLongestTold = 4096, kEnd = 200;
    if (path.size() <= kLongestTold) return std::string(path);
    return std::string(path.substr(0, kEnd)) + "..." + std::string(path.substr(path.size() - kEnd));
  }

  std::atomic<std::uint64_t> written_ = 0, zero_ = 0;
  std::atomic<bool> full_ = false;
  std::mutex mutex_;
  FileRestoreResult result_;
};

}  // namespace respaldo::restore
