// Checking a repository: what restic's check finds, as findings.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>
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

// Which packs are read: all, one of several parts, a share or an amount by chance.
struct ReadSubset {
  enum class Kind { all, part, percent, size };
  Kind kind = Kind::all;
  unsigned part = 1, parts = 1;  // by the first byte of their names, as in restic; from 1
  double percent = 100;
  std::uint64_t bytes = 0;
  static ReadSubset parse(std::string_view text);  // "2/7", "5%", "10G"; Error(usage)
};

struct CheckOptions {
  bool read_data = false;
  unsigned threads = 0;
  ReadSubset subset{};
};
struct CheckReport {
  std::vector<Finding> findings;
  std::uint64_t snapshots = 0, packs = 0, blobs = 0, bytes_read = 0;
  std::uint64_t unreferenced_packs = 0, unreferenced_bytes = 0;  // in no index
  bool ok() const;  // no finding of severity error
};

// Goes on after damage. Throws only when the repository cannot be looked at at all, or on Cancelled.
CheckReport check_repository(repo::Repository& repository, const CheckOptions& options, Progress& progress,
                             std::stop_token stop);

}  // namespace respaldo::verify
