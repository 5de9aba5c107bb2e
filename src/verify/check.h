// Checking a repository: what restic's check finds, as findings.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repo/repository.h"

namespace respaldo::verify {

enum class Severity { info, warning, error };

struct Finding {
  Severity severity = Severity::error;
  std::string kind;     // stable word for JSON: "missing_pack", "bad_blob", ...
  std::string message;  // with names: pack, blob, backup, volume
  std::string advice;   // what helps; may be empty
};

struct CheckOptions {
  bool read_data = false;
  unsigned threads = 0;
};
struct CheckReport {
  std::vector<Finding> findings;
  std::uint64_t snapshots = 0, packs = 0, blobs = 0, bytes_read = 0;
  bool ok() const;  // no finding of severity error
};

// Goes on after damage. Throws only when the repository cannot be looked at at all, or on Cancelled.
CheckReport check_repository(repo::Repository& repository, const CheckOptions& options, Progress& progress,
                             std::stop_token stop);

}  // namespace respaldo::verify
