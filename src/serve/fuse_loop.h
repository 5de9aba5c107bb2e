// libfuse's loop of several threads.
#pragma once

#include <functional>

struct fuse_loop_config;

namespace respaldo::serve {

// Calls `loop`, which is one of libfuse's, with at most so many threads. Returns when the filesystem was
// unmounted. Error(io) when libfuse gave up before: no thread could be started, or the kernel not be read
// from.
void run_fuse_loop(unsigned threads, const std::function<int(fuse_loop_config*)>& loop);

}  // namespace respaldo::serve
