#include "serve/mount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#define FUSE_USE_VERSION 312
#include <fuse3/fuse_lowlevel.h>

#include "base/printable.h"
#include "base/units.h"
#include "serve/backup_tree.h"
#include "serve/fuse_loop.h"
#include "serve/mount_point.h"

namespace respaldo::serve {

namespace {

constexpr double kForGood = 1e8, kForNow = 1;  // seconds that the kernel remembers names and attributes
constexpr unsigned kThreads = 16;
constexpr std::size_t kLongestRead = 1 * kMiB;

BackupTree& tree(fuse_req_t request) { return *static_cast<BackupTree*>(fuse_req_userdata(request)); }

using FilePtr = std::shared_ptr<StoredFile>;
FilePtr& file_of(const fuse_file_info* info) { return *reinterpret_cast<FilePtr*>(info->fh); }
BackupTree::Listing& listing_of(const fuse_file_info* info) {
  return *reinterpret_cast<BackupTree::Listing*>(info->fh);
}

// Damage is EIO, whatever it looks like from below: a missing pack is not a missing file.
int number_of(const Error& error) {
  switch (error.error_number()) {
    case ESTALE:
    case ENOTDIR:
    case EISDIR:
    case EINVAL:
      return error.error_number();
    default:
      return EIO;
  }
}

// Runs a callback's body, which answers; what it throws is the answer otherwise.
template <class Body>
void answered(fuse_req_t request, Body&& body) noexcept {
  int failure = EIO;
  try {
    body();
    return;
  } catch (const Error& error) {
    failure = number_of(error);
  } catch (const std::bad_alloc&) {
    failure = ENOMEM;
  } catch (...) {
  }
  fuse_reply_err(request, failure);
}

void look_up(fuse_req_t request, fuse_ino_t folder, const char* name) {
  answered(request, [&] {
    fuse_entry_param entry{};
    if (const auto found = tree(request).look_up(folder, name)) {
      entry.ino = found->handle;
      entry.generation = 1;
      entry.attr = found->status;
      entry.attr_timeout = entry.entry_timeout = found->lasting ? kForGood : kForNow;
      if (fuse_reply_entry(request, &entry) != 0) tree(request).forget(found->handle, 1);
      return;
    }
    fuse_reply_err(request, ENOENT);
  });
}

void forget(fuse_req_t request, fuse_ino_t entry, std::uint64_t references) {
  tree(request).forget(entry, references);
  fuse_reply_none(request);
}

void forget_several(fuse_req_t request, std::size_t count, fuse_forget_data* forgotten) {
  for (std::size_t i = 0; i < count; ++i) tree(request).forget(forgotten[i].ino, forgotten[i].nlookup);
  fuse_reply_none(request);
}

void get_attributes(fuse_req_t request, fuse_ino_t entry, fuse_file_info*) {
  answered(request, [&] {
    bool lasting = false;
    const struct stat status = tree(request).status(entry, &lasting);
    fuse_reply_attr(request, &status, lasting ? kForGood : kForNow);
  });
}

void read_link(fuse_req_t request, fuse_ino_t entry) {
  answered(request, [&] { fuse_reply_readlink(request, tree(request).link_target(entry).c_str()); });
}

void open_folder(fuse_req_t request, fuse_ino_t folder, fuse_file_info* info) {
  answered(request, [&] {
    auto listing = std::make_unique<BackupTree::Listing>(tree(request).list(folder));
    info->cache_readdir = info->keep_cache = listing->lasting() ? 1 : 0;
    info->fh = reinterpret_cast<std::uint64_t>(listing.get());
    if (fuse_reply_open(request, info) == 0) listing.release();
  });
}

void release_folder(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  delete &listing_of(info);
  fuse_reply_err(request, 0);
}

void read_folder(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info* info) {
  answered(request, [&] {
    const BackupTree::Listing& listing = listing_of(info);
    std::string out(std::min(size, kLongestRead), '\0');
    std::size_t used = 0;
    std::string name;
    for (auto at = static_cast<std::size_t>(std::max<off_t>(offset, 0)); at < listing.size(); ++at) {
      const BackupTree::Row row = listing.at(at);
      name.assign(row.name);
      struct stat status {};
      status.st_ino = row.inode;
      status.st_mode = row.type;
      const std::size_t n = fuse_add_direntry(request, out.data() + used, out.size() - used, name.c_str(),
                                              &status, static_cast<off_t>(at + 1));
      if (n > out.size() - used) break;
      used += n;
    }
    fuse_reply_buf(request, out.data(), used);
  });
}

void open_file(fuse_req_t request, fuse_ino_t entry, fuse_file_info* info) {
  answered(request, [&] {
    if ((info->flags & O_ACCMODE) != O_RDONLY) {
      fuse_reply_err(request, EROFS);
      return;
    }
    auto file = std::make_unique<FilePtr>(tree(request).open(entry));
    info->keep_cache = 1;
    info->fh = reinterpret_cast<std::uint64_t>(file.get());
    if (fuse_reply_open(request, info) == 0) file.release();
  });
}

void release_file(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  delete &file_of(info);
  fuse_reply_err(request, 0);
}

void read_file(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info* info) {
  answered(request, [&] {
    const FilePtr& file = file_of(info);
    const auto at = static_cast<std::uint64_t>(std::max<off_t>(offset, 0));
    const std::uint64_t left = file->size() - std::min(at, file->size());
    thread_local Bytes buffer;
    buffer.resize(std::min<std::uint64_t>({size, left, kLongestRead}));
    try {
      tree(request).read(file, at, buffer);
    } catch (...) {
      buffer = Bytes();
      throw;
    }
    fuse_reply_buf(request, reinterpret_cast<const char*>(buffer.data()), buffer.size());
  });
}

void seek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info* info) {
  answered(request, [&] {
    const StoredFile& file = *file_of(info);
    const auto at = static_cast<std::uint64_t>(offset);
    std::uint64_t found = 0;
    if (offset < 0 || at >= file.size()) {
      fuse_reply_err(request, ENXIO);
    } else if (whence == SEEK_DATA && (found = file.next_data(at)) >= file.size()) {
      fuse_reply_err(request, ENXIO);
    } else if (whence == SEEK_DATA || whence == SEEK_HOLE) {
      fuse_reply_lseek(request, static_cast<off_t>(whence == SEEK_DATA ? found : file.next_zero(at)));
    } else {
      fuse_reply_err(request, EINVAL);
    }
  });
}

// The two ways of asking: for the length (size 0), and for the bytes.
void reply_attribute(fuse_req_t request, const std::string& bytes, std::size_t size) {
  if (size == 0)
    fuse_reply_xattr(request, bytes.size());
  else if (bytes.size() > size)
    fuse_reply_err(request, ERANGE);
  else
    fuse_reply_buf(request, bytes.data(), bytes.size());
}

void list_extended(fuse_req_t request, fuse_ino_t entry, std::size_t size) {
  answered(request, [&] {
    std::string names;
    for (const repo::ExtendedAttribute& attribute : tree(request).attributes(entry))
      if (!attribute.name.empty() && attribute.name.find('\0') == std::string::npos)
        names += attribute.name + '\0';
    reply_attribute(request, names, size);
  });
}

void get_extended(fuse_req_t request, fuse_ino_t entry, const char* name, std::size_t size) {
  answered(request, [&] {
    for (const repo::ExtendedAttribute& attribute : tree(request).attributes(entry))
      if (attribute.name == name) return reply_attribute(request, attribute.value, size);
    fuse_reply_err(request, ENODATA);
    return;
  });
}

void file_system(fuse_req_t request, fuse_ino_t) {
  struct statvfs facts {};
  facts.f_bsize = facts.f_frsize = 4096;
  facts.f_namemax = 255;
  facts.f_flag = ST_RDONLY | ST_NOSUID;
  fuse_reply_statfs(request, &facts);
}

void start(void*, fuse_conn_info* connection) {
  connection->max_write = kLongestRead;  // pages of one request, reads too
  connection->max_readahead = kLongestRead;
  // Who may read what is decided by access control lists too, where they are stored.
  if ((connection->capable & FUSE_CAP_POSIX_ACL) != 0) connection->want |= FUSE_CAP_POSIX_ACL;
}

fuse_lowlevel_ops operations() {
  fuse_lowlevel_ops ops{};
  ops.init = start;
  ops.lookup = look_up;
  ops.forget = forget;
  ops.forget_multi = forget_several;
  ops.getattr = get_attributes;
  ops.readlink = read_link;
  ops.opendir = open_folder;
  ops.readdir = read_folder;
  ops.releasedir = release_folder;
  ops.open = open_file;
  ops.read = read_file;
  ops.release = release_file;
  ops.lseek = seek;
  ops.listxattr = list_extended;
  ops.getxattr = get_extended;
  ops.statfs = file_system;
  return ops;
}

// Owns libfuse's session and the mount.
class Session {
 public:
  Session(const os::Path& point, bool allow_other, BackupTree& tree) {
    std::string options = "-oro,nosuid,nodev,noatime,fsname=respaldo,subtype=respaldo";
    if (allow_other) options += ",allow_other,default_permissions";
    fuse_args args = FUSE_ARGS_INIT(0, nullptr);
    fuse_opt_add_arg(&args, "respaldo");
    fuse_opt_add_arg(&args, options.c_str());
    const fuse_lowlevel_ops ops = operations();
    session_ = fuse_session_new(&args, &ops, sizeof ops, &tree);
    fuse_opt_free_args(&args);
    if (session_ == nullptr) throw Error(ErrorKind::io, "libfuse cannot start");
    if (fuse_session_mount(session_, point.c_str()) != 0) {
      fuse_session_destroy(session_);
      throw mount_error(point);
    }
  }
  ~Session() {
    fuse_session_unmount(session_);
    fuse_session_destroy(session_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void loop() {
    run_fuse_loop(kThreads, [&](fuse_loop_config* config) { return fuse_session_loop_mt(session_, config); });
  }

 private:
  fuse_session* session_ = nullptr;
};

}  // namespace

void mount_backups(repo::Repository& repository, const MountOptions& options, Progress& progress,
                   std::stop_token stop) {
  const os::Path point = mount_point(options.mount_point, "a `respaldo mount`");
  const auto tell = [&](const std::string& text) { progress.note(text); };
  BackupList backups(repository, options.wanted, tell, progress, stop);
  BackupTree backup_tree(backups, options.cache_bytes, tell);
  Session session(point, options.allow_other, backup_tree);
  std::atomic<bool> over{false};
  std::jthread watcher([&] { unmount_when_stopped(point, progress, stop, over); });
  std::jthread guard([&](std::stop_token end) {
    while (!over && !end.stop_requested()) {
      if (options.lock_lost && options.lock_lost()) {
        progress.note("warning: the repository's lock is lost: others may remove what is read here");
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  try {
    if (options.ready) options.ready();
    session.loop();
  } catch (...) {
    over = true;
    throw;
  }
  over = true;
}

}  // namespace respaldo::serve
