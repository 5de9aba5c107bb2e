#include "serve/activate.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#define FUSE_USE_VERSION 312
#include <fuse3/fuse.h>

#include "base/printable.h"
#include "lvm/volume_group.h"
#include "serve/control.h"
#include "serve/control_server.h"
#include "serve/fuse_guard.h"
#include "serve/fuse_loop.h"
#include "serve/mount_point.h"

namespace respaldo::serve {

using engine::LiveVolumes;
using engine::VolumeName;

namespace {

constexpr std::string_view kMapper = "mapper";

struct Served {
  LiveVolumes& volumes;
  std::time_t since;
};

using HandlePtr = std::shared_ptr<LiveVolumes::Handle>;

Served& served() { return *static_cast<Served*>(fuse_get_context()->private_data); }
LiveVolumes::Handle& handle(fuse_file_info* info) { return **reinterpret_cast<HandlePtr*>(info->fh); }

// "/vg/lv" -> its name; absent for anything else.
std::optional<VolumeName> volume_of(std::string_view path) {
  path.remove_prefix(1);
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos || path.find('/', slash + 1) != std::string_view::npos)
    return std::nullopt;
  VolumeName name{std::string(path.substr(0, slash)), std::string(path.substr(slash + 1))};
  if (name.vg == kMapper) return std::nullopt;
  return name;
}

// "/mapper/vg-lv" -> the volume that it stands for.
std::optional<VolumeName> mapped_volume(std::string_view path) {
  constexpr std::string_view kPrefix = "/mapper/";
  if (!path.starts_with(kPrefix)) return std::nullopt;
  const auto name = lvm::parse_dm_name(path.substr(kPrefix.size()));
  if (!name || !name->layer.empty()) return std::nullopt;
  return VolumeName{name->vg, name->lv};
}

int get_attributes(const char* path, struct stat* st, fuse_file_info*) {
  return guarded([&] {
    *st = {};
    st->st_atime = st->st_mtime = st->st_ctime = served().since;
    st->st_uid = ::getuid();
    st->st_gid = ::getgid();
    const std::string_view text = path;
    const auto as_folder = [&] {
      st->st_mode = S_IFDIR | 0700;
      st->st_nlink = 2;
      return 0;
    };
    if (text == "/" || text == "/mapper") return as_folder();
    if (const auto name = mapped_volume(text)) {
      if (!served().volumes.find(*name)) return -ENOENT;
      st->st_mode = S_IFLNK | 0777;
      st->st_nlink = 1;
      st->st_size = static_cast<off_t>(name->str().size() + 3);
      return 0;
    }
    if (const auto name = volume_of(text)) {
      const auto volume = served().volumes.find(*name);
      if (!volume) return -ENOENT;
      st->st_mode = S_IFREG | (volume->writable ? 0600 : 0400);
      st->st_nlink = 1;
      st->st_size = static_cast<off_t>(volume->size);
      st->st_blocks = static_cast<blkcnt_t>(volume->size / 512);
      st->st_blksize = 65536;
      // A backup of disks inside of volumes sees by it that one was written.
      if (volume->last_write != 0)
        st->st_mtim = st->st_ctim = {volume->last_write / 1'000'000'000, volume->last_write % 1'000'000'000};
      return 0;
    }
    for (const auto& volume : served().volumes.list())
      if (text.substr(1) == volume.name.vg) return as_folder();
    return -ENOENT;
  });
}

int read_link(const char* path, char* out, std::size_t size) {
  return guarded([&] {
    const auto name = mapped_volume(path);
    if (!name || !served().volumes.find(*name)) return -ENOENT;
    const std::string target = "../" + name->str();
    const std::size_t n = std::min(target.size(), size - 1);
    std::memcpy(out, target.data(), n);
    out[n] = '\0';
    return 0;
  });
}

int read_folder(const char* path, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*,
                fuse_readdir_flags) {
  return guarded([&] {
    const std::string_view text = path;
    const auto add = [&](const std::string& name) {
      fill(buffer, name.c_str(), nullptr, 0, fuse_fill_dir_flags{});
    };
    add(".");
    add("..");
    if (text == "/") add(std::string(kMapper));
    std::string last;
    for (const auto& volume : served().volumes.list()) {
      if (text == "/" && volume.name.vg != last) add(last = volume.name.vg);
      if (text == "/mapper") add(lvm::dm_name(volume.name.vg, volume.name.lv));
      if (text.substr(1) == volume.name.vg) add(volume.name.lv);
    }
    return 0;
  });
}

int open_volume(const char* path, fuse_file_info* info) {
  return guarded([&] {
    const auto name = volume_of(path);
    const auto volume = name ? served().volumes.find(*name) : std::nullopt;
    if (!volume) return -ENOENT;
    if ((info->flags & O_ACCMODE) != O_RDONLY && !volume->writable) return -EROFS;
    info->fh = reinterpret_cast<std::uint64_t>(new HandlePtr(served().volumes.open(*name)));
    return 0;
  });
}

int release_volume(const char*, fuse_file_info* info) {
  return guarded([&] {
    delete reinterpret_cast<HandlePtr*>(info->fh);
    return 0;
  });
}

int read_volume(const char*, char* out, std::size_t size, off_t offset, fuse_file_info* info) {
  return guarded([&] {
    const MutableBytes into{reinterpret_cast<std::uint8_t*>(out), size};
    return static_cast<int>(handle(info).read(static_cast<std::uint64_t>(offset), into));
  });
}

int write_volume(const char*, const char* in, std::size_t size, off_t offset, fuse_file_info* info) {
  return guarded([&] {
    handle(info).write(static_cast<std::uint64_t>(offset), as_bytes({in, size}));
    return static_cast<int>(size);
  });
}

int sync_volume(const char*, int, fuse_file_info* info) {
  return guarded([&] {
    handle(info).flush();
    return 0;
  });
}

int allocate_in_volume(const char*, int mode, off_t offset, off_t length, fuse_file_info* info) {
  return guarded([&] {
    // Discard and zero-out; a volume has all its space already.
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0) return mode == 0 ? 0 : -EOPNOTSUPP;
    handle(info).zero({static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length)});
    return 0;
  });
}

// Tools that "create" their output (dd without conv=notrunc) truncate first: a volume keeps its size, as a
// disk does.
int truncate_volume(const char* path, off_t, fuse_file_info* info) {
  return guarded([&] {
    if (info != nullptr) return 0;
    const auto name = volume_of(path);
    const auto volume = name ? served().volumes.find(*name) : std::nullopt;
    if (!volume) return -ENOENT;
    return volume->writable ? 0 : -EROFS;
  });
}

// Lets readers skip what is known to be zeros: backups of mostly empty volumes depend on it.
off_t seek_volume(const char*, off_t offset, int whence, fuse_file_info* info) {
  off_t found = 0;
  const int failure = guarded([&] {
    const auto kind = whence == SEEK_DATA ? block::RunKind::data : block::RunKind::zero;
    const std::uint64_t size = handle(info).size();
    auto at = static_cast<std::uint64_t>(offset);
    if (offset < 0 || at >= size) return -ENXIO;
    // Small steps first, so that a scan through a fragmented volume does not list all of it at each call.
    for (std::uint64_t step = 4U << 20; at < size; step = std::min<std::uint64_t>(step * 2, 1U << 30)) {
      for (const block::Run& run : handle(info).runs({at, std::min(step, size - at)}))
        if (run.kind == kind) {
          found = static_cast<off_t>(run.extent.offset);
          return 0;
        }
      at += std::min(step, size - at);
    }
    found = static_cast<off_t>(size);  // where the last hole begins, by convention
    return whence == SEEK_DATA ? -ENXIO : 0;
  });
  return failure != 0 ? failure : found;
}

int accept_times(const char*, const timespec*, fuse_file_info*) { return 0; }

void* start(fuse_conn_info* connection, fuse_config* config) {
  config->attr_timeout = config->entry_timeout = config->negative_timeout =
      0;  // lvm verbs change sizes and names, writes the times
  // All writes pass the kernel's cache: a new time does not make it stale.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_AUTO_INVAL_DATA);
  connection->max_write = 1U << 20;
  connection->max_readahead = 1U << 20;
  return fuse_get_context()->private_data;
}

fuse_operations operations() {
  fuse_operations ops{};
  ops.getattr = get_attributes;
  ops.readlink = read_link;
  ops.readdir = read_folder;
  ops.open = open_volume;
  ops.release = release_volume;
  ops.read = read_volume;
  ops.write = write_volume;
  ops.fsync = sync_volume;
  ops.lseek = seek_volume;
  ops.fallocate = allocate_in_volume;
  ops.truncate = truncate_volume;
  ops.utimens = accept_times;
  ops.init = start;
  return ops;
}

// Owns libfuse's object and the mount.
class Mount {
 public:
  Mount(const os::Path& point, const ActivateOptions& options, Served& served) {
    std::string mount_options = "-ofsname=respaldo,subtype=respaldo,default_permissions";
    if (options.allow_other) mount_options += ",allow_other";
    if (options.read_only) mount_options += ",ro";
    fuse_args args = FUSE_ARGS_INIT(0, nullptr);
    fuse_opt_add_arg(&args, "respaldo");
    fuse_opt_add_arg(&args, mount_options.c_str());
    const fuse_operations ops = operations();
    fuse_ = fuse_new(&args, &ops, sizeof ops, &served);
    fuse_opt_free_args(&args);
    if (fuse_ == nullptr) throw Error(ErrorKind::io, "libfuse cannot start");
    if (fuse_mount(fuse_, point.c_str()) != 0) {
      fuse_destroy(fuse_);
      throw mount_error(point);
    }
  }
  ~Mount() {
    fuse_unmount(fuse_);
    fuse_destroy(fuse_);
  }
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  void loop() {
    run_fuse_loop(8, [&](fuse_loop_config* config) { return fuse_loop_mt(fuse_, config); });
  }

 private:
  fuse* fuse_ = nullptr;
};

void require_alive(const LiveVolumes& volumes) {
  std::string names;
  for (const VolumeName& name : volumes.died()) names += (names.empty() ? "" : ", ") + printable(name.str());
  if (!names.empty())
    throw Error(ErrorKind::overflow,
                fmt::format("died while it was served: snapshot {}. Its COW store overflowed or failed, and what it shows "
                            "is lost",
                            names),
                "remove it with lvremove, and do not use it as a base");
}

}  // namespace

void activate(const ActivateOptions& options, const LvmVerb& lvm, Progress& progress, std::stop_token stop) {
  const os::Path point = mount_point(options.mount_point, "an activation");
  auto disks = engine::DiskSet::open(
      options.images, options.read_only ? engine::LockMode::shared : engine::LockMode::exclusive);
  for (const std::string& warning : disks->warnings()) progress.note("warning: " + warning);
  if (!options.read_only)
    for (const auto& group : disks->groups())
      if (const auto refusal = engine::write_refusal(group))
        progress.note(fmt::format("warning: {}; {}", refusal->what(), refusal->hint()));
  LiveVolumes volumes(std::move(disks), options.read_only);
  for (const auto& volume : volumes.list()) {
    const std::string name = printable(volume.name.str());
    if (!volume.unreadable.empty())
      progress.note(fmt::format("warning: {} cannot be read: {}", name, volume.unreadable));
    else if (volume.held_back)
      progress.note(fmt::format("warning: {} is read-only: {}", name, volume.unwritable));
  }

  Served served{volumes, std::time(nullptr)};
  std::exception_ptr failure;
  Control control(volumes, lvm);
  const os::Path socket = engine::activation_folder() / fmt::format("activation-{}.sock", ::getpid());
  ControlServer server(socket, [&](const nlohmann::json& request) { return control.answer(request); });
  {
    Mount mount(point, options, served);
    // Beside a read-only activation others may read the images themselves: nothing changes.
    std::optional<engine::ActivationRecord> record;
    if (!options.read_only)
      record.emplace(options.images, engine::ActivationAddress{::getpid(), socket, point});
    std::atomic<bool> over{false};
    std::jthread watcher([&] { unmount_when_stopped(point, progress, stop, over); });
    try {
      if (options.ready) options.ready();
      mount.loop();
    } catch (...) {
      failure = std::current_exception();
    }
    // From here on others wait for the lock instead of asking us.
    record.reset();
    over = true;
  }
  volumes.flush();
  if (failure) std::rethrow_exception(failure);
  require_alive(volumes);
}

}  // namespace respaldo::serve
