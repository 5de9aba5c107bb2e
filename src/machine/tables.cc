#include "machine/tables.h"

#include <libmount/libmount.h>
#include <sys/sysmacros.h>

#include <memory>

#include "base/units.h"

namespace respaldo::machine {

namespace {

struct Free {
  void operator()(libmnt_table* table) const { mnt_unref_table(table); }
  void operator()(libmnt_iter* iterator) const { mnt_free_iter(iterator); }
};
using Table = std::unique_ptr<libmnt_table, Free>;

std::string text(const char* value) { return value == nullptr ? std::string() : std::string(value); }

Table new_table() {
  Table table(mnt_new_table());
  if (!table) throw Error(ErrorKind::io, "libmount: out of memory");
  return table;
}

template <class Take>
void each(libmnt_table* table, Take take) {
  const std::unique_ptr<libmnt_iter, Free> iterator(mnt_new_iter(MNT_ITER_FORWARD));
  libmnt_fs* fs = nullptr;
  while (iterator && mnt_table_next_fs(table, iterator.get(), &fs) == 0) take(fs);
}

bool is_there(const os::Path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// libmount gives one number for all of this; the kernel's own words are better.
void require_readable(const os::Path& path) { os::open_file(path, O_RDONLY | O_CLOEXEC); }

thread_local std::vector<unsigned>* bad_lines = nullptr;

}  // namespace

std::vector<Mount> read_mounts(const os::Path& path) {
  require_readable(path);
  const Table table = new_table();
  if (const int failed = mnt_table_parse_file(table.get(), path.c_str()); failed != 0)
    throw os::system_error(failed < 0 ? -failed : EINVAL, "mnt_table_parse_file", path);
  std::vector<Mount> mounts;
  each(table.get(), [&](libmnt_fs* fs) {
    Mount mount;
    mount.target = text(mnt_fs_get_target(fs));
    mount.source = text(mnt_fs_get_source(fs));
    mount.type = text(mnt_fs_get_fstype(fs));
    mount.options = text(mnt_fs_get_options(fs));
    mount.root = text(mnt_fs_get_root(fs));
    mount.major = major(mnt_fs_get_devno(fs));
    mount.minor = minor(mnt_fs_get_devno(fs));
    mounts.push_back(std::move(mount));
  });
  return mounts;
}

std::vector<Swap> read_swaps(const os::Path& path) {
  if (!is_there(path)) return {};
  require_readable(path);
  const Table table = new_table();
  if (const int failed = mnt_table_parse_swaps(table.get(), path.c_str()); failed != 0)
    throw os::system_error(failed < 0 ? -failed : EINVAL, "mnt_table_parse_swaps", path);
  std::vector<Swap> swaps;
  each(table.get(), [&](libmnt_fs* fs) {
    swaps.push_back({text(mnt_fs_get_source(fs)), static_cast<std::uint64_t>(mnt_fs_get_size(fs)) * kKiB,
                     static_cast<std::uint64_t>(mnt_fs_get_usedsize(fs)) * kKiB});
  });
  return swaps;
}

FstabTable read_fstab(const os::Path& path) {
  FstabTable result;
  if (!is_there(path)) return result;
  require_readable(path);
  const Table table = new_table();
  // The callback has no place for data of ours.
  bad_lines = &result.bad_lines;
  mnt_table_set_parser_errcb(table.get(), [](libmnt_table*, const char*, int line) {
    if (bad_lines != nullptr) bad_lines->push_back(static_cast<unsigned>(line));
    return 1;  // go on with the next line
  });
  const int failed = mnt_table_parse_fstab(table.get(), path.c_str());
  bad_lines = nullptr;
  if (failed != 0) throw os::system_error(failed < 0 ? -failed : EINVAL, "mnt_table_parse_fstab", path);
  each(table.get(), [&](libmnt_fs* fs) {
    result.entries.push_back({text(mnt_fs_get_source(fs)), text(mnt_fs_get_target(fs)),
                              text(mnt_fs_get_fstype(fs)), text(mnt_fs_get_options(fs)), mnt_fs_get_freq(fs),
                              mnt_fs_get_passno(fs)});
  });
  return result;
}

}  // namespace respaldo::machine
