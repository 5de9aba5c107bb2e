// What several commands do alike.
#pragma once

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "app/context.h"
#include "base/printable.h"
#include "engine/amount.h"
#include "repo/lock.h"
#include "view/volume_view.h"

namespace respaldo::cli {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json);                   // one line; bytes that are not UTF-8 are replaced
std::string local_time(const repo::Timestamp& time);  // "2026-11-23 18:40:34"
// "2026-11-23", "2026-11-23 18:40", "2026-11-23 18:40:34" (or with a T between) here, as seconds of 1970;
// Error(usage).
std::int64_t parse_local_time(const std::string& text);

const char* type_name(repo::NodeType type);  // as restic's: "file", "dir", "symlink", "dev", ...
std::string mode_text(repo::NodeType type, std::uint32_t mode);
// One line of `ls -l` for what lies at `path`: a repo::Node, or what has its fields.
template <class Entry>
std::string long_line(const Entry& entry, const std::string& path) {
  return fmt::format("{} {:>5} {:>5} {:>14} {} {}{}", mode_text(entry.type, entry.mode), entry.uid, entry.gid,
                     entry.size, local_time(entry.mtime), printable(path),
                     entry.link_target.empty() ? "" : " -> " + printable(entry.link_target));
}

// $RESPALDO_STATE, else /var/lib/respaldo: what this host remembers between runs.
os::Path state_folder(app::Context& context);
// To be called before a base goes: old metadata of its group may bring it back. A warning where it cannot be remembered.
void remember_removed_base(app::Context& context, const std::string& token);

// The words of --cow; absent: the engine decides. Error(usage).
std::optional<engine::Amount> parse_cow(const std::string& text);
// Error(usage) with --no-lock.
void require_writing(const app::Context& context);
// The repository's lock for this command, with --retry-lock.
std::unique_ptr<repo::RepoLock> lock_repository(app::Context& context, repo::LockKind kind,
                                                repo::Settling settling = repo::Settling::wait);
// The same for commands that only read: null, with a warning, where the repository cannot be written to, and with
// --no-lock. On the day of the disaster the disk with the backups may be full, or read-only since its errors.
std::unique_ptr<repo::RepoLock> lock_for_reading(app::Context& context, repo::Repository& repository,
                                                 repo::LockKind kind = repo::LockKind::shared);
std::unique_ptr<repo::RepoLock> lock_for_reading(app::Context& context,
                                                 repo::LockKind kind = repo::LockKind::shared);

struct FoundBackup {
  repo::NamedSnapshot backup;
  std::optional<std::string> volume;  // of "latest:VG/LV" or "ID:VG/LV"
};
// What "latest" may be while snapshot files cannot be read, one of which may be the newest, or while several hosts have
// such backups.
enum class Latest {
  of_readable,  // for who looks: with a warning
  certain,      // for who brings data back
};
// BACKUP as users write it: an ID, a prefix, "latest", each with ":VG/LV" or without; with `host`, the latest of that
// one. Error(corrupt) when it is not known which one is the latest, with the ID of the newest that can be read.
// Error(usage) when it may be that of several hosts, with the newest of each; or for an ID of another than `host`.
FoundBackup find_backup(app::Context& context, const std::string& selector, Latest latest, const std::string& host = {});
// Error(usage) for a "latest" (of `volume`) that may be that of several hosts: the newest of each, and what to type. Names
// such as vg0/root are the same on many hosts, and a rescue system has any name: nothing is guessed.
Error several_hosts(const std::vector<repo::NamedSnapshot>& newest, const std::optional<std::string>& volume);
// For find_backup().
void add_host_option(CLI::App& app, std::string& host);
// For people: "backup 4f2c8a01 (2026-11-23 18:40:34, host web)".
std::string title_of(const repo::NamedSnapshot& backup);
// For reports as JSON: backup, time, host.
Json fields_of(const repo::NamedSnapshot& backup);
// The volume of a backup: the one named in the selector or by --volume, else the only one.
view::StoredVolume find_volume(app::Context& context, const FoundBackup& found, const std::string& option);

// Writes to the command's standard output; Error(io) when that fails.
void write_out(app::Context& context, ByteView bytes);

}  // namespace respaldo::cli
