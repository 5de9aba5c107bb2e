#include <algorithm>
#include <cctype>
#include <random>
#include <set>

#include "base/printable.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "drill/drill.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::vector<std::string> volumes;
  std::string scratch, sample = "10%", host;
  unsigned threads = 0;
};

struct Candidate {
  repo::NamedSnapshot backup;
  view::StoredVolume volume;
  std::string known_filesystem;  // of an older backup, where this one has none
};

unsigned sample_percent(std::string text) {
  if (text == "all") return 100;
  if (text.ends_with('%')) text.pop_back();
  if (!text.empty() && text.size() <= 3 &&
      std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; }))
    if (const unsigned percent = static_cast<unsigned>(std::stoul(text)); percent <= 100) return percent;
  throw Error(ErrorKind::usage, fmt::format("--sample: '{}' is no share of the files", printable(text)),
              "write 5%, 50% or all");
}

// What the volume held in the backups before `newest` (numbers in `all`, newest first).
std::string filesystem_before(app::Context& context, const std::vector<repo::NamedSnapshot>& all,
                              std::size_t newest, const view::StoredVolume& volume) {
  constexpr int kMostLookedAt = 10;
  const std::string path = "/dev/" + volume.str();
  int looked = 0;
  for (std::size_t i = newest + 1; i < all.size() && looked < kMostLookedAt; ++i) {
    const repo::Snapshot& older = all[i].snapshot;
    if (older.hostname != all[newest].snapshot.hostname ||
        std::ranges::find(older.paths, path) == older.paths.end())
      continue;
    ++looked;
    try {
      for (const view::StoredVolume& one : view::stored_volumes(*context.indexed(), older))
        if (one.str() == volume.str() && one.facts && !one.facts->filesystem.empty())
          return one.facts->filesystem;
    } catch (const Error&) {
      // A damaged older backup is not what is asked about.
    }
  }
  return {};
}

// The newest backup of each volume of each host; of the named volumes only when there are names.
std::vector<Candidate> latest_of_each(app::Context& context, const Options& options) {
  std::vector<std::string> damaged;
  auto all = context.repository().snapshots(&damaged);
  for (const std::string& problem : damaged) context.warn(problem);
  std::ranges::stable_sort(all, [](const repo::NamedSnapshot& a, const repo::NamedSnapshot& b) {
    return std::pair(a.snapshot.time.seconds, a.snapshot.time.nanoseconds) >
           std::pair(b.snapshot.time.seconds, b.snapshot.time.nanoseconds);
  });
  std::set<std::string> wanted, seen, found;
  for (const std::string& name : options.volumes) wanted.insert(engine::VolumeName::parse(name).str());
  std::vector<Candidate> chosen;
  for (std::size_t number = 0; number < all.size(); ++number) {
    const repo::NamedSnapshot& backup = all[number];
    if (!options.host.empty() && backup.snapshot.hostname != options.host) continue;
    std::vector<std::string> open;  // volumes that no newer backup has
    for (const std::string& path : backup.snapshot.paths) {
      const std::string name = path.starts_with("/dev/") ? path.substr(5) : path;
      if (!wanted.empty() && !wanted.contains(name)) continue;
      if (seen.insert(backup.snapshot.hostname + '\0' + name).second) open.push_back(name);
    }
    if (open.empty()) continue;
    for (view::StoredVolume& volume : view::stored_volumes(*context.indexed(), backup.snapshot)) {
      if (!volume.has_image || std::ranges::find(open, volume.str()) == open.end()) continue;
      found.insert(volume.str());
      std::string before;
      if (!volume.facts || volume.facts->filesystem.empty())
        before = filesystem_before(context, all, number, volume);
      chosen.push_back({backup, std::move(volume), std::move(before)});
    }
  }
  for (const std::string& name : wanted)
    if (!found.contains(name))
      throw Error(ErrorKind::not_found, fmt::format("there is no backup of {}", printable(name)),
                  "`respaldo list` shows what there is");
  if (chosen.empty()) throw Error(ErrorKind::not_found, "there is no backup of a volume in the repository");
  return chosen;
}

Json filesystem_json(const drill::FilesystemReport& report) {
  return {{"where", report.where},
          {"filesystem", report.filesystem},
          {"verdict", drill::to_string(report.verdict)},
          {"checker", report.checker},
          {"checker_exit_code", report.checker_code},
          {"checker_says", report.checker_says},
          {"files", report.files},
          {"compared", report.compared},
          {"compared_bytes", report.compared_bytes},
          {"different", report.different},
          {"differences", report.differences},
          {"notes", report.notes}};
}

Json report_json(const Candidate& candidate, const drill::Report& report) {
  Json json = {{"backup", candidate.backup.id.hex()},
               {"host", candidate.backup.snapshot.hostname},
               {"volume", report.volume},
               {"verdict", drill::to_string(report.verdict)},
               {"why", report.why},
               {"image_size", report.image_size},
               {"bytes_written", report.bytes_written},
               {"restore_seconds", report.restore_seconds},
               {"seconds", report.seconds},
               {"filesystems", Json::array()},
               {"notes", report.notes}};
  for (const drill::FilesystemReport& one : report.filesystems)
    json["filesystems"].push_back(filesystem_json(one));
  return json;
}

std::string upper(std::string word) {
  for (char& c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return word;
}

void print_filesystem(app::Context& context, const drill::FilesystemReport& one) {
  std::string line = fmt::format("  {}{}: ", one.where.empty() ? "" : one.where + ", ",
                                 one.filesystem.empty() ? "no filesystem" : one.filesystem);
  line +=
      one.checker.empty() ? "not checked" : fmt::format("{}: exit code {}", one.checker, one.checker_code);
  if (one.compared > 0)
    line += fmt::format(", {} of {} files compared ({}), {} differ", one.compared, one.files,
                        format_size(one.compared_bytes), one.different);
  context.print(line);
  for (const std::string& difference : one.differences) context.print("    " + printable(difference));
  if (one.different > one.differences.size())
    context.print(fmt::format("    and {} more", one.different - one.differences.size()));
  for (const std::string& said : one.checker_says) context.print("    | " + said);
  for (const std::string& note : one.notes) context.print("    " + printable(note));
}

void print_report(app::Context& context, const Candidate& candidate, const drill::Report& report) {
  context.print(fmt::format("{}, backup {} of {}: {}: {}", printable(report.volume),
                            candidate.backup.id.short_hex(), local_time(candidate.backup.snapshot.time),
                            upper(drill::to_string(report.verdict)), printable(report.why)));
  for (const std::string& note : report.notes) context.print("  " + printable(note));
  for (const drill::FilesystemReport& one : report.filesystems) print_filesystem(context, one);
  if (report.restore_seconds > 0)
    context.print(
        fmt::format("  the restore took {}: {} written, {}", format_duration(report.restore_seconds),
                    format_size(report.bytes_written),
                    format_rate(static_cast<double>(report.bytes_written) / report.restore_seconds)));
}

app::ExitCode run(app::Context& context, const Options& options) {
  context.bypass_cache();
  drill::Options how;
  how.sample_percent = sample_percent(options.sample);
  how.threads = options.threads;
  how.seed = std::random_device()();  // another sample each time
  how.scratch =
      !options.scratch.empty() ? options.scratch : context.world().environment("TMPDIR").value_or("/tmp");
  const auto lock = lock_repository(context, repo::LockKind::shared);
  bool good = true;
  Json results = Json::array();
  for (const Candidate& candidate : latest_of_each(context, options)) {
    how.known_filesystem = candidate.known_filesystem;
    const drill::Report report = drill::run_drill(context.indexed(), candidate.backup.snapshot,
                                                  candidate.volume, how, context.progress(), context.stop());
    good &= report.verdict == drill::Verdict::good || report.verdict == drill::Verdict::unchecked;
    if (context.options().json)
      results.push_back(report_json(candidate, report));
    else
      print_report(context, candidate, report);
  }
  if (context.options().json) context.print_json(dump(results));
  return good ? app::ExitCode::ok : app::ExitCode::damaged;
}

}  // namespace

Action configure_drill(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("volumes", options->volumes, "the volumes to try; all that have backups when none is given")
      ->type_name("VG/LV");
  app.add_option("--scratch", options->scratch,
                 "a folder with room for a volume's data; what is made in it is removed [$TMPDIR, /tmp]")
      ->type_name("DIR");
  app.add_option("--sample", options->sample, "share of the files to compare: N%, or all")
      ->type_name("N%|all")
      ->capture_default_str();
  app.add_option("--host", options->host, "only backups of this host")->type_name("NAME");
  app.add_option("--threads", options->threads, "worker threads; 0: one for each core")
      ->capture_default_str();
  return [options](app::Context& context) { return run(context, *options); };
}

}  // namespace respaldo::cli
