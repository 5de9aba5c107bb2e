#include "backup/file_facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "backup/quick.h"
#include "base/error.h"
#include "base/printable.h"

namespace respaldo::backup {

namespace {

std::string journal_name(fs::JournalState state) {
  switch (state) {
    case fs::JournalState::none:
      return "";
    case fs::JournalState::replayed:
      return "replayed";
    case fs::JournalState::partial:
      return "partial";
    case fs::JournalState::external:
      return "external";
    case fs::JournalState::skipped:
      return "skipped";
  }
  throw Error(ErrorKind::internal, "unknown state of a journal");
}

}  // namespace

view::FileViewFacts filesystem_facts(const FileView& view, const repo::Timestamp& started) {
  const fs::FilesystemFacts& filesystem = view.reader->facts();
  view::FileViewFacts facts;
  facts.folder = view.folder;
  facts.how = filesystem.how;
  facts.filesystem = filesystem.type;
  facts.uuid = filesystem.uuid;
  facts.label = filesystem.label;
  facts.journal = journal_name(filesystem.journal);
  facts.notes = filesystem.notes;
  facts.encrypted_folders = filesystem.encrypted_directories;
  if (filesystem.type.starts_with("ext")) facts.newest_ctime = newest_ctime(*view.reader, started);
  return facts;
}

void add_findings(view::FileViewFacts& facts, const std::vector<fs::Finding>& findings, std::uint64_t count) {
  constexpr std::size_t kMostTold = 100;
  facts.finding_count += count;
  for (const fs::Finding& finding : findings) {
    if (facts.findings.size() == kMostTold) return;
    std::string path = finding.path;
    if (path.empty() && finding.inode != 0) path = fmt::format("inode {}", finding.inode);
    facts.findings.push_back({std::move(path), finding.what});
  }
}

void add_lost_files(const Job& job, const FileView& view, view::FileViewFacts& facts) {
  const auto number = static_cast<std::uint32_t>(&view - job.files.views.data());
  for (const view::LostRange& lost : job.facts.lost) {
    auto run = std::ranges::lower_bound(job.map.files, lost.extent.offset, {},
                                        [](const FileRun& one) { return one.extent.end() - 1; });
    for (; run != job.map.files.end() && run->extent.offset < lost.extent.end(); ++run) {
      if (run->view != number) continue;
      const Extent both = intersect(run->extent, lost.extent);
      add_findings(facts,
                   {{view.reader->node(run->node).inode, view.reader->path(run->node),
                     fmt::format("{} bytes at byte {} of the file could not be read and are zeros",
                                 both.length, run->logical + (both.offset - run->extent.offset))}},
                   1);
    }
  }
}

std::string first_finding(const view::FileViewFacts& facts) {
  if (facts.findings.empty()) return fmt::format("{} entries are damaged", facts.finding_count);
  constexpr std::size_t kLongest = 200;  // a hook's environment holds it, too
  const auto& first = facts.findings.front();
  return fmt::format("{}{}{}{}", printable(first.path.substr(0, kLongest)), first.path.empty() ? "" : ": ",
                     printable(first.what),
                     facts.finding_count > 1 ? fmt::format(", and {} more", facts.finding_count - 1) : "");
}

std::string file_at(const Job& job, std::uint64_t offset) {
  const auto run = std::ranges::upper_bound(job.map.files, offset, {},
                                            [](const FileRun& one) { return one.extent.end(); });
  if (run == job.map.files.end() || run->extent.offset > offset) return {};
  const FileView& view = job.files.views.at(run->view);
  return view.folder + view.reader->path(run->node);
}

}  // namespace respaldo::backup
