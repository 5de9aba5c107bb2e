// What is recorded of a filesystem in a backup, damage and loss included.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backup/volume_job.h"
#include "fs/file_reader.h"
#include "view/volume_view.h"

namespace respaldo::backup {

// Without findings. `started`: when the backup began.
view::FileViewFacts filesystem_facts(const FileView& view, const repo::Timestamp& started);

// Counts all, keeps the first hundred.
void add_findings(view::FileViewFacts& facts, const std::vector<fs::Finding>& findings, std::uint64_t count);

// Ranges of job.facts.lost, told by the names of the files that have them.
void add_lost_files(const Job& job, const FileView& view, view::FileViewFacts& facts);

// One line, printable. REQUIRES facts.finding_count > 0
std::string first_finding(const view::FileViewFacts& facts);

// The file whose bytes lie there; empty for anything else.
std::string file_at(const Job& job, std::uint64_t offset);

}  // namespace respaldo::backup
