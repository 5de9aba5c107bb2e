#include <algorithm>
#include <cctype>
#include <optional>
#include <random>
#include <set>

#include "base/printable.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "cli/threads_option.h"
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
  std::string name;
  std::optional<view::StoredVolume> volume;  // absent: it is not in the backup any more
  std::string damage;                        // why
  std::string known_filesystem;              // of an older backup, where this one has none
};

struct Chosen {
  std::vector<Candidate> candidates;
  std::size_t unreadable = 0;          // snapshot files: newer backups may be among them
  std::vector<std::string> not_found;  // wanted volumes that may be in those alone
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

// The volumes `open` of a backup, as far as they can be found in it.
void add_volumes(app::Context& context, const std::vector<repo::NamedSnapshot>& all, std::size_t number,
                 std::vector<std::string> open, std::vector<Candidate>& candidates) {
  const repo::NamedSnapshot& backup = all[number];
  std::string damage = "the backup holds no image of it";
  // Of restic's backups nobody knows which paths are volumes, unless it can be seen in them.
  bool lost = backup.snapshot.program_version.starts_with("respaldo");
  try {
    for (view::StoredVolume& volume : view::stored_volumes(*context.indexed(), backup.snapshot)) {
      const std::string name = volume.str();
      if (!volume.has_image || std::erase(open, name) == 0) continue;
      std::string before;
      if (!volume.facts || volume.facts->filesystem.empty())
        before = filesystem_before(context, all, number, volume);
      candidates.push_back({backup, name, std::move(volume), {}, std::move(before)});
    }
  } catch (const Error& error) {
    if (!drill::is_damage(error)) throw;
    damage = fmt::format("it cannot be restored: {}", error.what());
    lost = true;
  }
  if (!lost) return;
  for (std::string& name : open)
    if (name.find('/') != std::string::npos && !name.starts_with('/'))
      candidates.push_back({backup, std::move(name), {}, damage, {}});
}

// The newest backup of each volume of each host; of the named volumes only when there are names.
Chosen latest_of_each(app::Context& context, const Options& options) {
  std::vector<std::string> damaged;
  auto all = context.repository().snapshots(&damaged);
  for (const std::string& problem : damaged) context.warn(problem);
  std::ranges::stable_sort(all, [](const repo::NamedSnapshot& a, const repo::NamedSnapshot& b) {
    return std::pair(a.snapshot.time.seconds, a.snapshot.time.nanoseconds) >
           std::pair(b.snapshot.time.seconds, b.snapshot.time.nanoseconds);
  });
  std::set<std::string> wanted, seen;
  for (const std::string& name : options.volumes) wanted.insert(engine::VolumeName::parse(name).str());
  Chosen chosen;
  chosen.unreadable = damaged.size();
  for (std::size_t number = 0; number < all.size(); ++number) {
    const repo::NamedSnapshot& backup = all[number];
    if (!options.host.empty() && backup.snapshot.hostname != options.host) continue;
    std::vector<std::string> open;  // volumes that no newer backup has
    for (const std::string& path : backup.snapshot.paths) {
      const std::string name = path.starts_with("/dev/") ? path.substr(5) : path;
      if (!wanted.empty() && !wanted.contains(name)) continue;
      if (seen.insert(backup.snapshot.hostname + '\0' + name).second) open.push_back(name);
    }
    if (!open.empty()) add_volumes(context, all, number, std::move(open), chosen.candidates);
  }
  for (const std::string& name : wanted)
    if (std::ranges::find(chosen.candidates, name, &Candidate::name) == chosen.candidates.end())
      chosen.not_found.push_back(name);
  if (chosen.unreadable > 0) return chosen;
  const std::string whose = options.host.empty() ? "" : fmt::format(" of host {}", printable(options.host));
  if (!chosen.not_found.empty())
    throw Error(ErrorKind::not_found,
                fmt::format("there is no backup of {}{}", printable(chosen.not_found.front()), whose),
                "`respaldo list` shows what there is");
  if (chosen.candidates.empty())
    throw Error(ErrorKind::not_found, fmt::format("there is no backup of a volume{} in the repository", whose),
                "`respaldo list` shows what there is");
  return chosen;
}

drill::Report drill_one(app::Context& context, const Candidate& candidate, drill::Options how) {
  if (candidate.volume) {
    how.known_filesystem = candidate.known_filesystem;
    return drill::run_drill(context.indexed(), candidate.backup.snapshot, *candidate.volume, how,
                            context.progress(), context.stop());
  }
  drill::Report report;
  report.volume = candidate.name;
  report.verdict = drill::Verdict::damaged;
  report.why = candidate.damage;
  return report;
}

// With --json as warnings; those of reading them have told the rest.
void tell_unreadable(app::Context& context, const Chosen& chosen) {
  const bool json = context.options().json;
  for (const std::string& name : chosen.not_found) {
    const std::string line = fmt::format("{}: DAMAGED: no backup of it can be read", printable(name));
    json ? context.warn(line) : context.print(line);
  }
  if (json) return;
  context.print(fmt::format(
      "DAMAGED: {} of the repository's backups cannot be read, and newer ones than those that were "
      "tried may be among them; `respaldo check` tells what is lost",
      chosen.unreadable));
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
  const auto lock = lock_for_reading(context);
  const Chosen chosen = latest_of_each(context, options);
  bool good = chosen.unreadable == 0;
  Json results = Json::array();
  for (const Candidate& candidate : chosen.candidates) {
    const drill::Report report = drill_one(context, candidate, how);
    good &= report.verdict == drill::Verdict::good || report.verdict == drill::Verdict::unchecked;
    if (context.options().json)
      results.push_back(report_json(candidate, report));
    else
      print_report(context, candidate, report);
  }
  if (chosen.unreadable > 0) tell_unreadable(context, chosen);
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
  add_threads_option(app, options->threads);
  return [options](app::Context& context) { return run(context, *options); };
}

}  // namespace respaldo::cli
