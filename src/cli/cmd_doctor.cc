// doctor: would tonight's backup work?
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "app/check_record.h"
#include "app/no_repository.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/layout.h"
#include "engine/kernel/tools/lvm_command.h"
#include "machine/doctor.h"
#include "parity/parity_backend.h"
#include "repo/host.h"

namespace respaldo::cli {

namespace {

using machine::Finding;
using machine::Findings;
using machine::Severity;

struct Options {
  std::vector<std::string> volumes;
  bool strict = false;
  unsigned check_days = 30;
};

constexpr std::int64_t kDay = 24 * 3600;

std::string age(std::int64_t since) {
  const std::int64_t seconds = std::max<std::int64_t>(std::time(nullptr) - since, 0);
  const auto ago = [&](std::int64_t unit, const char* noun) {
    return counted(static_cast<std::uint64_t>(seconds / unit), noun) + " ago";
  };
  if (seconds < 2 * 3600) return ago(60, "minute");
  if (seconds < 2 * kDay) return ago(3600, "hour");
  return ago(kDay, "day");
}

void check_room(const std::string& folder, Findings& found) {
  struct statvfs figures {};
  if (folder.empty() || ::statvfs(folder.c_str(), &figures) != 0) return;
  const std::uint64_t available = std::uint64_t{figures.f_bavail} * figures.f_frsize,
                      size = std::uint64_t{figures.f_blocks} * figures.f_frsize;
  const std::string words =
      fmt::format("{} of {} are available for {}", format_size(available), format_size(size), folder);
  if ((figures.f_flag & ST_RDONLY) != 0)
    found.push_back({Severity::problem, "repository_read_only", folder,
                     fmt::format("the filesystem of {} is mounted read-only", folder),
                     "`dmesg` tells whether it has errors; mount it writable"});
  else if (available < size / 20)
    found.push_back(
        {Severity::problem, "repository_full", folder, words, "`respaldo forget --prune` makes room"});
  else if (available < size / 10)
    found.push_back(
        {Severity::warning, "repository_nearly_full", folder, words, "`respaldo forget --prune` makes room"});
  else
    found.push_back({Severity::ok, "repository_room", folder, words, ""});
}

void check_locks(repo::Repository& repository, Findings& found) {
  unsigned stale = 0, unreadable = 0;
  std::string held;
  for (const repo::LockInfo& lock : repo::list_locks(repository)) {
    if (lock.unreadable)
      ++unreadable;
    else if (lock.stale)
      ++stale;
    else if (lock.exclusive)
      held += fmt::format("{}{} of {} (process {})", held.empty() ? "" : ", ", lock.username, lock.hostname,
                          lock.pid);
  }
  if (stale > 0)
    found.push_back({Severity::warning, "stale_locks", "",
                     fmt::format("{} lock{} in the repository, left behind by who held {}", stale,
                                 stale == 1 ? " is" : "s are", stale == 1 ? "it" : "them"),
                     "`respaldo unlock` removes them"});
  if (unreadable > 0)
    found.push_back({Severity::warning, "unreadable_locks", "",
                     fmt::format("{} lock{} cannot be read: damaged, or written with credentials that ours may not read",
                                 unreadable, unreadable == 1 ? "" : "s"),
                     "`respaldo unlock --remove-all`, when nothing uses the repository"});
  if (!held.empty())
    found.push_back({Severity::warning, "locked", "",
                     "the repository is locked for everybody else by " + held,
                     "wait, or give --retry-lock to the backup"});
  if (stale + unreadable == 0 && held.empty()) found.push_back({Severity::ok, "locks", "", "no lock is in the way", ""});
}

void check_last_check(app::Context& context, repo::Repository& repository, unsigned days, Findings& found) {
  const auto record = app::last_check(state_folder(context), repository.config().id);
  if (!record)
    found.push_back({Severity::warning, "never_checked", "",
                     "this host has no record that the repository was ever checked",
                     "`respaldo check --read-data`"});
  else if (!record->ok)
    found.push_back({Severity::problem, "damaged", "",
                     fmt::format("the last check, {}, found errors", age(record->time)),
                     parity::heal_first(repository.backend()) +
                         "`respaldo check --read-data` tells them, and for each what to do"});
  else if (std::time(nullptr) - record->time > days * kDay)
    found.push_back({Severity::warning, "check_is_old", "",
                     fmt::format("the repository was last checked {}", age(record->time)),
                     "`respaldo check --read-data`"});
  else
    found.push_back({Severity::ok, "checked", "",
                     fmt::format("the repository was checked {}{}, without errors", age(record->time),
                                 record->read_data ? ", all data included" : ""),
                     ""});
}

// When each volume was last saved from this host, and how much of a COW store that took.
void check_backups(app::Context& context, const std::vector<std::string>& volumes, Findings& found,
                   std::map<std::string, std::uint64_t>& cow) {
  std::vector<std::string> damaged;
  const auto all = context.repository().snapshots(&damaged);
  for (const std::string& words : damaged)
    found.push_back({Severity::problem, "damaged_backup", "", words, "`respaldo check` tells what is lost"});
  for (const std::string& name : volumes) {
    const repo::NamedSnapshot* last = nullptr;
    for (const repo::NamedSnapshot& one : all)
      if (one.snapshot.hostname == repo::this_host() &&
          std::find(one.snapshot.paths.begin(), one.snapshot.paths.end(), "/dev/" + name) !=
              one.snapshot.paths.end())
        last = &one;
    if (last == nullptr) {
      found.push_back({Severity::warning, "never_saved", name,
                       fmt::format("{} was never backed up to this repository from this host", name),
                       fmt::format("`respaldo backup {}`", name)});
      continue;
    }
    const bool old = std::time(nullptr) - last->snapshot.time.seconds > 2 * kDay;
    found.push_back({old ? Severity::warning : Severity::ok, "last_backup", name,
                     fmt::format("{} was last backed up {}", name, age(last->snapshot.time.seconds)),
                     old ? fmt::format("`respaldo backup {}`", name) : ""});
    try {
      for (const view::StoredVolume& stored : view::stored_volumes(*context.indexed(), last->snapshot))
        if (stored.str() == name && stored.facts && stored.facts->cow_used)
          cow[name] = *stored.facts->cow_used;
    } catch (const Error&) {
      // Only an estimate depends on it.
    }
  }
}

void check_repository(app::Context& context, const Options& options, const std::vector<std::string>& volumes,
                      Findings& found, std::map<std::string, std::uint64_t>& cow) {
  std::string location;
  try {
    location = context.shown_location();
    context.be_impatient();
  } catch (const Error& error) {
    found.push_back({Severity::warning, "no_repository", "", error.what(), error.hint()});
    return;
  }
  check_room(repository_folder(context), found);
  if (!context.has_password())
    found.push_back({Severity::warning, "no_password", "",
                     "no password is given: a backup that nobody watches cannot ask for it",
                     "use --password-file, --password-command, or $RESPALDO_PASSWORD"});
  try {
    if (!context.has_password()) {
      app::require_repository(*context.open_store(), location, "make one with `respaldo init`, or mount its disk");
      found.push_back(
          {Severity::ok, "repository", "", fmt::format("there is a repository at {}", location), ""});
      return;
    }
    repo::Repository& repository = context.repository();
    found.push_back({Severity::ok, "repository", "",
                     fmt::format("the repository at {} opens with the password", location), ""});
    check_locks(repository, found);
    check_last_check(context, repository, options.check_days, found);
    check_backups(context, volumes, found, cow);
  } catch (const Error& error) {
    found.push_back({Severity::problem, "repository", location, error.what(), error.hint()});
  }
}

app::ExitCode doctor(app::Context& context, const Options& options) {
  const auto commands = os::system_commands();
  const machine::Picture picture = look_at_host(context, *commands);
  machine::DoctorFacts facts;
  facts.root = ::geteuid() == 0;
  facts.repository = repository_folder(context);
  for (const std::string& name : options.volumes)
    facts.volumes.push_back(engine::VolumeName::parse(name).str());
  const engine::LvmCommand lvm(*commands);
  try {
    facts.lvm_version = lvm.version();
    std::vector<std::string> words = {"lvmconfig", "--type", "full"};
    for (const std::string& name : machine::wanted_lvm_settings()) words.push_back(name);
    facts.settings = machine::parse_lvm_settings(lvm.ask(words));
  } catch (const Error&) {
    // An empty version says it.
  }
  std::vector<std::string> volumes = facts.volumes;
  if (volumes.empty())
    for (const engine::LvRow* lv : machine::volumes_to_save(picture)) volumes.push_back(lv->str());
  Findings of_repository;
  check_repository(context, options, volumes, of_repository, facts.cow);
  Findings found = machine::examine_host(picture, facts);
  std::move(of_repository.begin(), of_repository.end(), std::back_inserter(found));

  const auto count = [&](Severity severity) {
    return static_cast<std::uint64_t>(
        std::count_if(found.begin(), found.end(), [&](const Finding& f) { return f.severity == severity; }));
  };
  const auto problems = count(Severity::problem), warnings = count(Severity::warning);
  const bool well = problems == 0 && (!options.strict || warnings == 0);
  if (context.options().json) {
    Json json = {{"ok", well}, {"problems", problems}, {"warnings", warnings}, {"checks", Json::array()}};
    for (const Finding& finding : found) json["checks"].push_back(to_json(finding));
    context.print_json(dump(json));
  } else {
    Findings shown = found;
    if (context.options().verbosity == 0)
      std::erase_if(shown, [](const Finding& f) { return f.severity < Severity::warning; });
    draw_findings(context, shown);
    for (const std::string& warning : picture.warnings) context.warn(printable(warning));
    const bool nothing = std::ranges::any_of(found, [](const Finding& f) { return f.kind == "no_volumes"; });
    const std::string works = nothing ? "there is nothing to back up" : "the next backup would work";
    context.print(problems > 0   ? fmt::format("the next backup would fail or be lost: {}, {}", counted(problems, "problem"),
                                               counted(warnings, "warning"))
                  : warnings > 0 ? fmt::format("{}; {}", works, counted(warnings, "warning"))
                                 : works);
  }
  return well ? app::ExitCode::ok : app::ExitCode::damaged;
}

}  // namespace

Action configure_doctor(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("volumes", options->volumes, "volumes to look at; without one, all of this host")
      ->type_name("VG/LV");
  app.add_option("--check-age", options->check_days,
                 "days after which the last check of the repository is too old")
      ->type_name("DAYS")
      ->capture_default_str();
  app.add_flag("--strict", options->strict, "exit code 20 for warnings, too");
  return [options](app::Context& context) {
    if (!context.options().disks.empty())
      throw Error(ErrorKind::usage, "`doctor` looks at the volumes of this host, not at disk images",
                  "`respaldo --disk IMG layout` shows what is on an image");
    return doctor(context, *options);
  };
}

}  // namespace respaldo::cli
