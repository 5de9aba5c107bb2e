// All backups of a repository as one tree of files: DIR/ids, DIR/times, DIR/hosts, DIR/latest. What a
// filesystem asks, without FUSE.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "serve/backup_list.h"
#include "serve/stored_file.h"
#include "serve/stored_folder.h"

namespace respaldo::serve {

// Thread-safe. Entries are named by handles: kRoot, and what look_up() gave and forget() has not taken back.
// An unknown handle is Error with ESTALE.
//
// st_ino is a hash of the backup and the path inside it (of the inode, for hard links): the same in every
// mount, and by whichever way one comes to the backup.
class BackupTree {
 public:
  using Handle = std::uint64_t;
  static constexpr Handle kRoot = 1;

  struct Found {
    Handle handle = 0;
    struct stat status {};
    bool lasting = false;  // will never change
  };
  struct Row {
    std::string_view name;
    std::uint64_t inode = 0;
    mode_t type = 0;  // S_IFMT bits
  };
  // A folder as it was when it was opened.
  class Listing {
   public:
    std::size_t size() const;  // with "." and ".."
    Row at(std::size_t row) const;
    bool lasting() const { return folder_ != nullptr; }

   private:
    friend class BackupTree;
    struct Named {
      std::string name;
      std::uint64_t inode = 0;
      mode_t type = 0;
    };
    std::uint64_t self_ = 0, above_ = 0, seed_ = 0;
    FolderCache::FolderPtr folder_;  // or
    std::vector<Named> named_;
  };
  using Tell = std::function<void(const std::string&)>;

  BackupTree(BackupList& backups, std::uint64_t cache_bytes, Tell tell);

  // Absent when there is no such name. One more reference to the handle otherwise.
  std::optional<Found> look_up(Handle folder, std::string_view name);
  void forget(Handle entry, std::uint64_t references);
  struct stat status(Handle entry, bool* lasting = nullptr);
  Listing list(Handle folder);
  std::string link_target(Handle entry);
  std::vector<repo::ExtendedAttribute> attributes(Handle entry);
  // The content of a regular file; shared by all who open it.
  std::shared_ptr<StoredFile> open(Handle entry);
  // Fills `out`; REQUIRES that it ends within the file. What fails is told.
  void read(const std::shared_ptr<StoredFile>& file, std::uint64_t offset, MutableBytes out);
  // Below the mount, for messages: "ids/0123abcd/etc/passwd".
  std::string path(Handle entry) const;
  std::size_t entries() const;  // remembered now

 private:
  enum class Kind : std::uint8_t { root, ids, times, hosts, host, latest, backup, stored };
  struct Entry {
    Kind kind = Kind::stored;
    bool in_volume = false;    // the folder that holds it may be a volume's
    std::uint16_t depth = 0;   // below its backup, 0 for the backup itself
    std::uint32_t number = 0;  // in `tree`
    std::uint64_t inode = 0, seed = 0;
    std::uint64_t references = 0;
    Handle above = 0;
    repo::BlobId tree;  // that holds it
    BackupPtr backup;   // of the kind backup
    std::string name;   // of kinds that are not stored
  };
  struct Place {  // of a stored entry
    Handle above;
    std::uint32_t number;
    auto operator<=>(const Place&) const = default;
  };
  struct PlaceHash {
    std::size_t operator()(const Place& place) const {
      return static_cast<std::size_t>(place.above * 0x9e3779b97f4a7c15U ^ place.number);
    }
  };

  Entry entry(Handle handle) const;
  Handle made_up(Handle above, Kind kind, const std::string& name, const BackupPtr& backup = nullptr);
  std::optional<Found> look_up_made_up(Handle folder, const Entry& above, std::string_view name);
  FolderCache::FolderPtr contents(Handle folder, const Entry& entry);
  struct stat status_of(const Entry& entry);
  struct stat status_of(const Entry& entry, const repo::Node& node);
  std::uint64_t links_of(const Entry& entry, const repo::Node& node);
  const BackupNames::Folder* dated(const BackupNames& names, const Entry& entry) const;
  std::string latest_target(const Entry& entry) const;
  void tell_once(const std::string& text);

  BackupList& backups_;
  const Tell tell_;
  const timespec since_;
  mutable FolderCache folders_;
  FileReader reader_;
  mutable std::mutex mutex_;
  std::unordered_map<Handle, Entry> entries_;
  std::unordered_map<Place, Handle, PlaceHash> places_;
  std::map<std::pair<Handle, std::string>, Handle> made_up_;  // folders of names: kept for good
  std::unordered_map<Handle, std::weak_ptr<StoredFile>> open_;
  std::set<std::string> told_;
  Handle next_ = kRoot + 1;
};

}  // namespace respaldo::serve
