// libarchive, loaded when the first archive is written. Internal to the room.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include "os/library.h"

namespace respaldo::restore {

#define RESPALDO_FUNCTION(name) \
  decltype(&::archive_##name) name = library.function<decltype(&::archive_##name)>("archive_" #name)
struct ArchiveLibrary {
  os::Library library{"libarchive.so.13", "libarchive13"};
  RESPALDO_FUNCTION(entry_acl_add_entry);
  RESPALDO_FUNCTION(entry_free);
  RESPALDO_FUNCTION(entry_hardlink);
  RESPALDO_FUNCTION(entry_new);
  RESPALDO_FUNCTION(entry_set_atime);
  RESPALDO_FUNCTION(entry_set_filetype);
  RESPALDO_FUNCTION(entry_set_gid);
  RESPALDO_FUNCTION(entry_set_gname);
  RESPALDO_FUNCTION(entry_set_hardlink);
  RESPALDO_FUNCTION(entry_set_mode);
  RESPALDO_FUNCTION(entry_set_mtime);
  RESPALDO_FUNCTION(entry_set_pathname);
  RESPALDO_FUNCTION(entry_set_rdev);
  RESPALDO_FUNCTION(entry_set_size);
  RESPALDO_FUNCTION(entry_set_symlink);
  RESPALDO_FUNCTION(entry_set_uid);
  RESPALDO_FUNCTION(entry_set_uname);
  RESPALDO_FUNCTION(entry_sparse_add_entry);
  RESPALDO_FUNCTION(entry_xattr_add_entry);
  RESPALDO_FUNCTION(error_string);
  RESPALDO_FUNCTION(set_error);
  RESPALDO_FUNCTION(write_add_filter_gzip);
  RESPALDO_FUNCTION(write_add_filter_xz);
  RESPALDO_FUNCTION(write_add_filter_zstd);
  RESPALDO_FUNCTION(write_close);
  RESPALDO_FUNCTION(write_data);
  RESPALDO_FUNCTION(write_fail);
  RESPALDO_FUNCTION(write_finish_entry);
  RESPALDO_FUNCTION(write_free);
  RESPALDO_FUNCTION(write_header);
  RESPALDO_FUNCTION(write_new);
  RESPALDO_FUNCTION(write_open2);
  RESPALDO_FUNCTION(write_set_bytes_in_last_block);
  RESPALDO_FUNCTION(write_set_bytes_per_block);
  RESPALDO_FUNCTION(write_set_filter_option);
  RESPALDO_FUNCTION(write_set_format_option);
  RESPALDO_FUNCTION(write_set_format_pax);
  RESPALDO_FUNCTION(write_set_format_raw);
};
#undef RESPALDO_FUNCTION

// Error(unsupported) when it cannot be loaded. Thread-safe.
inline const ArchiveLibrary& libarchive() {
  static const ArchiveLibrary loaded;
  return loaded;
}

}  // namespace respaldo::restore
