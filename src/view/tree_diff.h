// What differs between two backups: files by their blobs' ids, images by the places of theirs. Content is read where it
// was cut otherwise, and nowhere else.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "view/chunk_diff.h"
#include "view/volume_view.h"

namespace respaldo::view {

enum class Change {
  added,
  removed,
  content,   // of a file; the target of a link; the number of a device
  type,      // a file became a folder, or the like
  metadata,  // nothing but mode, owner, time or attributes
};

struct Difference {
  Change change = Change::added;
  const std::string& path;
  const repo::Node* before = nullptr;  // null when added
  const repo::Node* after = nullptr;   // null when removed
};

// What of the metadata differs: "mode", "owner", "time", "attributes"; empty when all is equal. Access times,
// inode numbers and counts of links do not matter.
std::vector<std::string> metadata_changes(const repo::Node& before, const repo::Node& after);

// Two versions of the image of one volume; a missing one has size 0.
struct ImageDifference {
  std::string volume;  // "vg0/root"
  std::optional<std::uint64_t> size_before, size_after;
  std::uint64_t bytes_changed = 0, ranges = 0;
};

class TreeDiff {
 public:
  struct Report {
    std::function<void(const Difference&)> difference;
    std::function<void(const ImageDifference&)> image;  // of each volume whose image differs
    // What cannot be read; the rest is compared.
    std::function<void(const std::string& path, const Error& error)> problem;
  };
  // Repository and progress must outlive it.
  TreeDiff(const repo::IndexedRepository& repository, Report report, Progress& progress)
      : repository_(repository), report_(std::move(report)), progress_(progress) {}

  // What lies at `path` and below, parents first, by names; images at the end. Folders with equal ids are not
  // read. Content that cannot be read is a problem, and counts as changed. False when neither backup has the
  // path. No recursion; depth and paths are bounded. Cancelled on stop.
  bool compare(const repo::Snapshot& before, const repo::Snapshot& after, const std::string& path,
               const std::stop_token& stop);

 private:
  struct Level {
    std::vector<repo::Node> before, after;
    std::size_t next_before = 0, next_after = 0, path_length = 0;
  };
  std::vector<StoredVolume> volumes(const repo::Snapshot& snapshot);
  std::vector<repo::Node> nodes(const repo::Node* folder);
  void walk(Level start, std::string path, const std::stop_token& stop);
  void enter(std::vector<Level>& levels, const repo::Node* before, const repo::Node* after,
             const std::string& path);
  bool same_content(const repo::Node& before, const repo::Node& after, const std::string& path);
  bool same_file(const repo::Node& before, const repo::Node& after, const std::string& path);
  void entry(const repo::Node* before, const repo::Node* after, const std::string& path);
  void images(const std::vector<StoredVolume>& before, const std::vector<StoredVolume>& after,
              const std::string& path);
  void image(const StoredVolume* before, const StoredVolume* after);

  const repo::IndexedRepository& repository_;
  const Report report_;
  Progress& progress_;
  std::stop_token stop_;
  std::vector<std::string> images_;  // paths that are not compared as files
};

}  // namespace respaldo::view
