#include "cli/shared.h"

#include <ctime>

#include "journal/removed_bases.h"
#include "os/output_stream.h"

namespace respaldo::cli {

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string local_time(const repo::Timestamp& time) {
  const std::time_t seconds = time.seconds;
  std::tm broken{};
  ::localtime_r(&seconds, &broken);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", broken.tm_year + 1900, broken.tm_mon + 1,
                     broken.tm_mday, broken.tm_hour, broken.tm_min, broken.tm_sec);
}

std::int64_t parse_local_time(const std::string& text) {
  for (const char* form :
       {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"}) {
    std::tm given{};
    const char* end = ::strptime(text.c_str(), form, &given);
    if (end == nullptr || *end != '\0') continue;
    given.tm_isdst = -1;
    std::tm real = given;
    const std::time_t seconds = std::mktime(&real);
    // mktime takes 30 February for 2 March.
    if (real.tm_mday != given.tm_mday || real.tm_mon != given.tm_mon || given.tm_sec > 59) break;
    return seconds;
  }
  throw Error(ErrorKind::usage, fmt::format("{} is no date and time", printable(text)),
              "write 2026-11-23, \"2026-11-23 18:40\" or \"2026-11-23 18:40:34\"");
}

os::Path state_folder(app::Context& context) {
  const auto given = context.world().environment("RESPALDO_STATE");
  return given && !given->empty() ? os::Path(*given) : os::Path("/var/lib/respaldo");
}

void remember_removed_base(app::Context& context, const std::string& token) {
  try {
    journal::RemovedBases(state_folder(context)).add(token);
  } catch (const Error& error) {
    context.warn(fmt::format("it cannot be remembered that the base was removed: {}", error.what()));
  }
}

const char* type_name(repo::NodeType type) {
  constexpr const char* kNames[] = {"file", "dir", "symlink", "dev", "chardev", "fifo", "socket", "unknown"};
  return kNames[static_cast<std::size_t>(type)];
}

std::string mode_text(repo::NodeType type, std::uint32_t mode) {
  constexpr char kTypes[] = "-dlbcps?";
  std::string text(1, kTypes[static_cast<std::size_t>(type)]);
  for (int shift = 6; shift >= 0; shift -= 3) {
    const std::uint32_t bits = mode >> shift & 7;
    text += (bits & 4) != 0 ? 'r' : '-';
    text += (bits & 2) != 0 ? 'w' : '-';
    text += (bits & 1) != 0 ? 'x' : '-';
  }
  return text;
}

namespace {

std::unique_ptr<repo::RepoLock> lock(app::Context& context, repo::Repository& repository, repo::LockKind kind,
                                     repo::Settling settling) {
  return repo::RepoLock::acquire(repository, kind,
                                 std::chrono::seconds(context.options().lock_patience_seconds.value_or(0)),
                                 context.stop(), settling);
}

}  // namespace

std::optional<engine::Amount> parse_cow(const std::string& text) {
  if (text.empty() || text == "auto") return std::nullopt;
  const engine::Amount cow = engine::Amount::parse(text, "--cow", engine::Amount::Of::origin);
  if (cow.value == 0)
    throw Error(ErrorKind::usage, "--cow: a COW store of that size holds nothing", "leave --cow out, or give a size");
  return cow;
}

void require_writing(const app::Context& context) {
  if (context.options().no_lock)
    throw Error(ErrorKind::usage, "--no-lock is for commands that only read; this one writes to the repository",
                "leave it out");
}

std::unique_ptr<repo::RepoLock> lock_repository(app::Context& context, repo::LockKind kind,
                                                repo::Settling settling) {
  require_writing(context);
  return lock(context, context.repository(), kind, settling);
}

std::unique_ptr<repo::RepoLock> lock_for_reading(app::Context& context, repo::Repository& repository,
                                                 repo::LockKind kind) {
  if (context.options().no_lock) return nullptr;
  try {
    return lock(context, repository, kind, repo::Settling::wait);
  } catch (const repo::LockNotSaved& error) {
    context.warn(fmt::format("reading without a lock, which could not be saved ({}): a `prune` at the same time may "
                             "take away what is read",
                             error.what()));
    return nullptr;
  }
}

std::unique_ptr<repo::RepoLock> lock_for_reading(app::Context& context, repo::LockKind kind) {
  return lock_for_reading(context, context.repository(), kind);
}

namespace {

// `wanted` as find_snapshot() takes it.
Error latest_is_not_known(const std::vector<repo::NamedSnapshot>& all, const std::string& wanted,
                          const std::optional<std::string>& volume, const std::vector<std::string>& damaged) {
  constexpr std::size_t kMostNamed = 5;
  std::string which;
  for (std::size_t i = 0; i < damaged.size() && i < kMostNamed; ++i)
    which += (i == 0 ? "" : "; ") + damaged[i];
  if (damaged.size() > kMostNamed) which += fmt::format("; and {} more", damaged.size() - kMostNamed);
  std::string hint = "`respaldo check` tells what is lost";
  try {
    const repo::NamedSnapshot newest = repo::find_snapshot(all, wanted);
    hint = fmt::format("the newest that can be read is of {}: name it to take it, {}{}; {}",
                       local_time(newest.snapshot.time), newest.id.short_hex(),
                       volume ? ":" + printable(*volume) : "", hint);
  } catch (const Error&) {
    hint = "there is no other; " + hint;
  }
  return {ErrorKind::corrupt, "backups cannot be read, and the latest may be among them: " + which, hint};
}

}  // namespace

Error several_hosts(const std::vector<repo::NamedSnapshot>& newest, const std::optional<std::string>& volume) {
  constexpr std::size_t kMostNamed = 12;
  std::string which;
  for (std::size_t i = 0; i < newest.size() && i < kMostNamed; ++i)
    which += fmt::format("{}{} ({} of {})", i == 0 ? "" : ", ", printable(newest[i].snapshot.hostname), newest[i].id.short_hex(),
                         local_time(newest[i].snapshot.time));
  if (newest.size() > kMostNamed) which += fmt::format(", and {} more (`respaldo list`)", newest.size() - kMostNamed);
  const repo::NamedSnapshot& first = newest.front();
  return {ErrorKind::usage,
          fmt::format("{} hosts have backups{}, and it is not said whose latest is meant; the newest of each: {}",
                      newest.size(), volume ? " of " + printable(*volume) : "", which),
          fmt::format("give --host, such as --host {}, or instead of `latest` an ID, such as {}{}",
                      printable(first.snapshot.hostname), first.id.short_hex(),
                      volume ? ":" + printable(*volume) : "")};
}

namespace {

bool is_ahead(const repo::NamedSnapshot& backup) {
  return backup.snapshot.time.seconds - repo::now().seconds > repo::kClockTolerance;
}

void warn_of_date(app::Context& context, std::vector<repo::NamedSnapshot> all, const std::string& wanted,
                  const repo::NamedSnapshot& latest) {
  if (!is_ahead(latest)) return;
  std::erase_if(all, is_ahead);
  const auto before = repo::latest_of_hosts(all, wanted);
  context.warn(fmt::format(
      "the latest, {}, is dated in the future: the clock of that host was wrong, or the one here is. {}", title_of(latest),
      before.empty() ? "There is no other" : fmt::format("The newest before it is {}", title_of(before.front()))));
}

void keep_those_of(const std::string& host, const std::optional<std::string>& volume, const std::string& wanted,
                   bool all_are_known, std::vector<repo::NamedSnapshot>& all) {
  std::erase_if(all, [&](const repo::NamedSnapshot& one) { return one.snapshot.hostname != host; });
  if (!all_are_known || !repo::latest_of_hosts(all, wanted).empty()) return;
  throw Error(ErrorKind::not_found,
              fmt::format("the repository holds no backup of {}host {}", volume ? printable(*volume) + " of " : "",
                          printable(host)),
              "`respaldo list` shows what there is");
}

}  // namespace

void add_host_option(CLI::App& app, std::string& host) {
  app.add_option("--host", host, "with latest: whose; needed when several hosts have such backups")->type_name("NAME");
}

std::string title_of(const repo::NamedSnapshot& backup) {
  return fmt::format("backup {} ({}, host {})", backup.id.short_hex(), local_time(backup.snapshot.time),
                     printable(backup.snapshot.hostname));
}

Json fields_of(const repo::NamedSnapshot& backup) {
  return {{"backup", backup.id.hex()},
          {"time", format_time(backup.snapshot.time)},
          {"host", backup.snapshot.hostname}};
}

FoundBackup find_backup(app::Context& context, const std::string& selector, Latest latest, const std::string& host) {
  std::vector<std::string> damaged;
  auto all = context.repository().snapshots(&damaged);
  const auto tell_damage = [&] {
    for (const std::string& problem : damaged) context.warn(problem);
  };
  const std::size_t colon = selector.find(':');
  FoundBackup found;
  if (colon != std::string::npos) found.volume = selector.substr(colon + 1);
  const bool newest_of_volume = selector.starts_with("latest:");
  // Paths are stored as /dev/VG/LV.
  const std::string wanted = newest_of_volume ? "latest:dev/" + engine::VolumeName::parse(*found.volume).str()
                                              : selector.substr(0, colon);
  if (!newest_of_volume && wanted != "latest") {
    tell_damage();
    found.backup = repo::find_snapshot(all, wanted);
    if (!host.empty() && found.backup.snapshot.hostname != host)
      throw Error(ErrorKind::usage, fmt::format("this is {}, and --host says {}", title_of(found.backup), printable(host)),
                  "leave --host out, or name another backup");
    return found;
  }
  if (!host.empty()) keep_those_of(host, found.volume, wanted, damaged.empty(), all);
  const auto newest = repo::latest_of_hosts(all, wanted);
  if (latest == Latest::certain && newest.size() > 1) {
    tell_damage();
    throw several_hosts(newest, found.volume);
  }
  if (latest == Latest::certain && !damaged.empty()) throw latest_is_not_known(all, wanted, found.volume, damaged);
  tell_damage();
  found.backup = repo::find_snapshot(all, wanted);
  if (newest.size() > 1)
    context.warn(fmt::format("{} hosts have such backups; the latest of all is {}", newest.size(), title_of(found.backup)));
  warn_of_date(context, std::move(all), wanted, found.backup);
  return found;
}

view::StoredVolume find_volume(app::Context& context, const FoundBackup& found, const std::string& option) {
  std::optional<std::string> name = found.volume;
  if (name && !option.empty() && engine::VolumeName::parse(*name) != engine::VolumeName::parse(option))
    throw Error(ErrorKind::usage,
                fmt::format("the backup is given with :{}, and --volume says {}", printable(*name), printable(option)),
                "name one volume");
  if (!option.empty()) name = option;
  auto volumes = view::stored_volumes(*context.indexed(), found.backup.snapshot);
  return view::select_volume(std::move(volumes),
                             name ? std::optional<std::string_view>(*name) : std::nullopt);
}

void write_out(app::Context& context, ByteView bytes) {
  os::OutputStream(context.world().out_fd, "standard output", context.stop()).write(bytes);
}

}  // namespace respaldo::cli
