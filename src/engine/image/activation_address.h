// Where a running `respaldo activate` can be reached: found from the image files that it serves.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/image/image_engine.h"
#include "os/file.h"

namespace respaldo::engine {

// The private folder of sockets and records: $XDG_RUNTIME_DIR/respaldo, /run/respaldo for root, else
// /tmp/respaldo-UID. Made with mode 0700; Error(refused) when it belongs to somebody else or is open to
// others.
os::Path activation_folder();

// Says that this process serves `images`: one small record for each image, by its device and inode numbers.
// Removed when destroyed.
class ActivationRecord {
 public:
  ActivationRecord(const std::vector<os::Path>& images, const ActivationAddress& address);
  ~ActivationRecord();
  ActivationRecord(const ActivationRecord&) = delete;
  ActivationRecord& operator=(const ActivationRecord&) = delete;

 private:
  std::vector<os::Path> records_;
};

// The activation that serves this image, if one runs: its record exists and its process lives.
std::optional<ActivationAddress> find_activation(const os::Path& image);

}  // namespace respaldo::engine
