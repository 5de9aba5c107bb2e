// The folder that files are restored into, and those below it.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>

#include "os/unique_fd.h"
#include "restore/beneath.h"

namespace respaldo::restore {

// The identity of something in the filesystem.
struct Place {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const Place&, const Place&) = default;
};
inline Place place_of(const struct stat& st) { return {st.st_dev, st.st_ino}; }

struct Folder;
using FolderPtr = std::shared_ptr<const Folder>;

// One of thousands that may be inside one another: it holds its own name only, and those above it live as long as it
// does.
struct Folder {
  Folder(FolderPtr above, std::string own, bool is_fresh, Place where)
      : parent(std::move(above)), name(std::move(own)), fresh(is_fresh), place(where) {}
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  mutable FolderPtr parent;  // null: the target; taken away by the end of the last one below only
  const std::string name;
  const bool fresh;  // made by this restore: whatever lies in it does, too
  const Place place;
};

// Below the target, for messages: those longer than any path may be lack their middle. "": the target itself.
std::string path_of(const Folder& folder);
std::string path_in(const Folder& folder, const std::string& name);

// A folder opened lately, for one thread.
struct OpenFolder {
  FolderPtr folder;
  os::UniqueFd fd;
};

// Thread-safe.
class TargetFolder {
 public:
  // Made, with the folders above, when it is missing. Error when it cannot be used.
  explicit TargetFolder(const std::string& path);

  const FolderPtr& top() const { return top_; }
  // It was not there, or held nothing: what it is now is up to the restore. A new filesystem's empty lost+found is
  // nothing.
  bool was_bare() const { return bare_; }
  // Of the target, as it is now.
  struct stat status() const;
  // O_PATH, and sure to be the folder that it was.
  int open(const FolderPtr& folder, OpenFolder& cache) const;
  // The same, to read it or to set its metadata; it is then open in `near`, too.
  os::UniqueFd open_whole(const FolderPtr& folder, OpenFolder& near) const;
  // Removes what killed restores have left in a folder that was there before, as far as it can be sure that they are
  // dead: nobody else restored into this target when this one began. (One into a folder above or below it is not seen; it
  // tells which files it lost.)
  void tidy(const FolderPtr& folder, OpenFolder& near) const;
  // What the system has not written yet may still fail: Error(io).
  void sync() const;

 private:
  os::UniqueFd opened(const FolderPtr& folder, const OpenFolder& near) const;
  void claim();

  std::unique_ptr<Beneath> beneath_;
  os::UniqueFd whole_;  // the target again, to tell of what could not be written
  FolderPtr top_;
  bool bare_ = false;
  timespec began_{};  // by the clock that files get their times from
  bool alone_ = false;
};

// A name for what is not whole yet; put_in_place() gives it its own. The next restore into its folder removes it when
// this one is killed.
std::string name_while_made();
// In place of what has the name, if it is not fresh; a folder that is not empty stays, and is Error(refused).
void put_in_place(const Folder& in, int folder, const std::string& made, const std::string& name);

}  // namespace respaldo::restore
