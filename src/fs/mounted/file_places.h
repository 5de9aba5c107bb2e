// Where the kernel says that a file's content lies.
#pragma once

#include <vector>

#include "base/extent.h"
#include "fs/file_reader.h"
#include "fs/mounted/mount_kind.h"
#include "os/file.h"

namespace respaldo::fs {

// What the content of an open regular file of `size` bytes is made of, as FileReader::extents() gives it.
// Content without a place of its own on the device (compressed, encrypted, inside metadata, past the end of a
// device of `device_size` bytes, its last block of `block_size` included) has kNoPlace. What no ioctl tells
// is told by SEEK_DATA; what that does not either, is all data.
std::vector<FileExtent> file_places(int fd, std::uint64_t size, Places how, std::uint32_t block_size,
                                    std::uint64_t device_size);

// What the mounted filesystem calls free (FS_IOC_GETFSMAP), in bytes of its device; nothing when it does not
// tell.
ExtentSet free_space(int fd, std::uint64_t device_size);

}  // namespace respaldo::fs
