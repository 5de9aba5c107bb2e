#include "serve/fuse_loop.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>

#define FUSE_USE_VERSION 312
#include <fuse3/fuse_lowlevel.h>

#include "base/error.h"

namespace respaldo::serve {

void run_fuse_loop(unsigned threads, const std::function<int(fuse_loop_config*)>& loop) {
  const std::unique_ptr<fuse_loop_config, decltype(&fuse_loop_cfg_destroy)> config(fuse_loop_cfg_create(),
                                                                                   &fuse_loop_cfg_destroy);
  if (!config) throw Error(ErrorKind::io, "libfuse cannot start: out of memory");
  fuse_loop_cfg_set_max_threads(config.get(), threads);
  // 0 after an unmount, a signal's number after one that libfuse was told to handle.
  const int result = loop(config.get());
  if (result >= 0) return;
  // -1 is no number of an error here.
  throw Error(ErrorKind::io,
              fmt::format("libfuse ended before the unmount: {}",
                          result == -1 ? "it could not start a thread" : std::strerror(-result)));
}

}  // namespace respaldo::serve
