#include "cli/cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "cli/cmd_snapshot.h"
#include "cli/care_commands.h"
#include "cli/cmd_base.h"
#include "cli/cmd_migrate.h"
#include "base/words.h"
#include "cli/command.h"
#include "cli/output_closed.h"
#include "engine/image/image_engine.h"
#include "os/signals.h"

namespace respaldo::cli {

namespace {

using app::CommonOptions;
using app::ExitCode;
using app::World;

constexpr const char* kAbout =
    "respaldo backs up LVM volumes and brings them back.\n"
    "A backup is taken from a snapshot, in one pass, into a repository in restic's format.";

constexpr const char* kFooter =
    "\nExamples:\n"
    "  respaldo --disk server.img layout                  what is on the disk\n"
    "  respaldo -r /backups init                          make a repository\n"
    "  respaldo -r /backups --disk server.img backup vg0/root\n"
    "  respaldo -r /backups list                          what was saved\n"
    "  respaldo -r /backups restore latest:vg0/root --to-file root.img\n"
    "\n`respaldo COMMAND --help` explains a command. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 saved "
    "but incomplete,\n"
    "10 no repository, 11 locked, 12 wrong password, 20 damage found, 21 snapshot overflowed, 130 "
    "interrupted.";

const std::vector<Command> kCommands = {
    {"layout", "Look at disks", "Show disks, partitions, physical volumes, groups, volumes and filesystems.",
     "respaldo layout\n  respaldo --disk a.img --disk b.img layout", configure_layout},
    {"dump", "Look at disks", "Write a volume's bytes to standard output or a file; needs no repository.",
     "respaldo --disk server.img dump vg0/root -o root.img", configure_dump},
    {"activate", "Look at disks", "Show the volumes of disk images as files that can be read and written.",
     "respaldo --disk server.img activate /mnt/volumes\n  mkfs.ext4 /mnt/volumes/vg0/data\n  fusermount3 -u "
     "/mnt/volumes",
     configure_activate},
    {"lvm", "Look at disks",
     "LVM on disk images: pvcreate, vgcreate, lvcreate, lvs, ... with lvm2's options.",
     "respaldo --disk server.img lvm lvcreate -s -L 1G -n rootsnapshot vg0/root", configure_lvm},
    {"target", "Back up", "Make a backup target of a disk, look after it, take it out of use.",
     "respaldo target create /dev/sdb\n  respaldo target status\n  respaldo target remove /backups", configure_target},
    {"init", "Back up", "Make a repository.", "respaldo -r /backups init", configure_init},
    {"backup", "Back up", "Save volumes: snapshot, one pass, snapshot gone.",
     "respaldo -r /backups --disk server.img backup vg0/root vg0/home --tag nightly", configure_backup},
    {"snapshot", "Back up", "Make, list, watch, extend, merge and remove snapshots by hand.",
     "respaldo snapshot create vg0/root --name before-upgrade\n  respaldo snapshot watch vg0/before-upgrade\n"
     "  respaldo snapshot merge vg0/before-upgrade",
     configure_snapshot},
    {"clean", "Back up", "Remove what a crash or a power cut left behind: snapshots of runs that are dead.",
     "respaldo clean --dry-run", configure_clean},
    {"doctor", "Back up", "Tell whether the next backup would work, and what to do about what would not.",
     "respaldo -r /backups/repository doctor vg0/root", configure_doctor},
    {"base", "Back up", "Show and remove bases: snapshots that tell the next backup what changed.",
     "respaldo --disk server.img base list\n  respaldo --disk server.img base remove vg0/root", configure_base},
    {"list", "Look into backups", "List the backups of a repository.", "respaldo -r /backups list",
     configure_list},
    {"show", "Look into backups", "Show everything known about one backup.",
     "respaldo -r /backups show latest", configure_show},
    {"ls", "Look into backups", "List the files inside a backup.", "respaldo -r /backups ls latest /vg0",
     configure_ls},
    {"cat", "Look into backups", "Write a file inside a backup to standard output.",
     "respaldo -r /backups cat latest /vg0/vg.conf", configure_cat},
    {"find", "Look into backups", "Look for files in all backups, by name, type, size and time.",
     "respaldo -r /backups find '*.conf' 'home/*/.bashrc' --newer 2026-11-01", configure_find},
    {"diff", "Look into backups", "Show what changed between two backups.",
     "respaldo -r /backups diff 4f2c latest /vg0/root/files/etc", configure_diff},
    {"mount", "Look into backups", "Show all backups as a filesystem that can be read.",
     "respaldo -r /backups mount /mnt/backups\n  mount -o loop,ro /mnt/backups/latest/vg0/root/image.raw "
     "/mnt/root\n"
     "  fusermount3 -u /mnt/backups",
     configure_mount},
    {"restore", "Bring back", "Write a volume back: onto a volume, into a file, or its files into a folder.",
     "respaldo -r /backups --disk server.img restore latest --to vg0/root\n"
     "  respaldo -r /backups restore latest:vg0/root --to vg0/root2 --create --verify\n"
     "  respaldo -r /backups restore 4f2c:vg0/root --to-file root.img\n"
     "  respaldo -r /backups restore latest:vg0/root --files etc home/ana --to /tmp/back",
     configure_restore},
    {"export", "Bring back", "Write a backup in a form that other tools take.",
     "respaldo -r /backups export latest:vg0/root --tar root.tar.gz\n"
     "  respaldo -r /backups export latest:vg0/root --raw - | ssh host 'cat > /dev/vg0/root'",
     configure_export},
    {"migrate", "Bring back", "Move a volume to another disk of its group while it is used, or to another group.",
     "respaldo migrate vg0/root --to /dev/sdb1\n  respaldo migrate vg0/data --to vg1\n  "
     "respaldo migrate vg0/root --abort", configure_migrate},
    {"check", "Care of the repository", "Find damage in the repository.",
     "respaldo -r /backups check --read-data", configure_check},
    {"forget", "Care of the repository", "Remove old backups by a policy, or by their IDs.",
     "respaldo -r /backups forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --prune", configure_forget},
    {"prune", "Care of the repository", "Remove the data that no backup needs.", "respaldo -r /backups prune",
     configure_prune},
    {"repair", "Care of the repository", "Make the best of damage: indexes, backups and packs.",
     "respaldo -r /backups repair index\n"
     "  respaldo -r /backups repair packs 4f2c8a01\n"
     "  respaldo -r /backups repair snapshots --forget",
     configure_repair},
    {"copy", "Care of the repository", "Copy backups from another repository into this one.",
     "respaldo -r /elsewhere copy --from-repo /backups --from-password-file key.txt latest", configure_copy},
    {"parity", "Care of the repository", "Parity, out of which damage is healed: switch it on, look after it.",
     "respaldo -r /backups parity enable 5% --groups 20+1", configure_parity},
    {"drill", "Care of the repository", "Prove that backups can be restored: restore, check, compare.",
     "respaldo -r /backups drill\n  respaldo -r /backups drill vg0/root --sample all --scratch /var/tmp",
     configure_drill},
    {"key", "Care of the repository", "List, add, remove and change passwords.",
     "respaldo -r /backups key add", configure_key},
    {"unlock", "Care of the repository", "Remove locks that their owners left behind.",
     "respaldo -r /backups unlock", configure_unlock},
    {"run", "Every night", "Do a job of the configuration: backup, forget, prune, check.",
     "respaldo run nightly\n  respaldo run nightly --dry-run", configure_run},
    {"config", "Every night", "Check or show the configuration.",
     "respaldo config check\n  respaldo --config test.toml config show", configure_config},
    {"version", "Help", "Show the version.", "respaldo version", configure_version},
};

// An empty value is a variable of a script that is not set: what would be used instead is not what was meant.
std::string not_empty(const std::string& value) { return value.empty() ? "the value is empty" : ""; }

// CLI11 takes "-5" for a large number.
auto whole_number(const char* of_what) {
  return [of_what](const std::string& value) {
    const bool number = !value.empty() && value.size() < 10 && value.find_first_not_of("0123456789") == value.npos;
    return number ? "" : fmt::format("'{}' is no number of {}", printable(value), of_what);
  };
}

void add_common_options(CLI::App& app, CommonOptions& options, int& verbose, bool& quiet) {
  app.add_option("-r,--repo", options.repository,
                 "the repository: a folder, or a place at sftp:, rest: or s3: [$RESPALDO_REPOSITORY, $RESTIC_REPOSITORY]")
      ->type_name("REPO")
      ->check(not_empty);
  app.add_option("--disk", options.disks,
                 "a disk image or block device that holds LVM; may be given several times")
      ->type_name("IMG")
      ->take_all()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("-p,--password-file", options.password_file, "a file that holds the password")
      ->type_name("FILE")
      ->check(not_empty);
  app.add_option("--password-command", options.password_command, "a command that prints the password")
      ->type_name("COMMAND")
      ->check(not_empty);
  app.add_option("--retry-lock", options.lock_patience_seconds,
                 "wait so many seconds for a locked repository")
      ->type_name("SECONDS")
      ->check(whole_number("seconds"));
  app.add_flag("--no-lock", options.no_lock,
               "read without a lock: nothing may be pruned meanwhile (commands that write refuse it)");
  app.add_option("--connections", options.store.connections,
                 "requests at once to a repository that is not a folder")
      ->type_name("N")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--limit-upload", options.store.limit_upload, "KiB a second to such a repository [no limit]")
      ->type_name("KIB")
      ->check(whole_number("KiB a second"));
  app.add_option("--limit-download", options.store.limit_download, "KiB a second from such a repository [no limit]")
      ->type_name("KIB")
      ->check(whole_number("KiB a second"));
  app.add_option("--cache-dir", options.store.cache_dir,
                 "where copies of such a repository's small parts are kept [$RESPALDO_CACHE_DIR, ~/.cache/respaldo]")
      ->type_name("DIR");
  app.add_flag("--no-cache", options.store.no_cache, "keep and use no such copies");
  app.add_option("--cacert", options.store.cacert, "certificates of who may vouch for a server")->type_name("FILE");
  app.add_option("--tls-client-cert", options.store.tls_client_cert, "our certificate and its key, for a server")
      ->type_name("FILE");
  app.add_option("-o,--option", options.store.extended,
                 "sftp.command=COMMAND, s3.storage-class=CLASS and others, as restic's; may be given several times")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--config", options.config,
                 "the configuration of `run` [$RESPALDO_CONFIG, /etc/respaldo/respaldo.toml]")
      ->type_name("FILE");
  app.add_flag("--json", options.json, "the result as JSON on standard output, events on standard error");
  app.add_flag("-q,--quiet", quiet, "errors and results only");
  app.add_flag("-v,--verbose", verbose, "say more");
}

void print_error(const World& world, const CommonOptions& options, const Error& error, ExitCode code) {
  if (options.json) {
    const nlohmann::json event = {{"event", "error"},
                                  {"kind", code == ExitCode::interrupted ? "interrupted" : to_string(error.kind())},
                                  {"message", error.what()},
                                  {"hint", error.hint()},
                                  {"exit_code", static_cast<int>(code)}};
    world.err(event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    return;
  }
  world.err(fmt::format("respaldo: {}\n", error.what()));
  if (!error.hint().empty()) world.err(fmt::format("hint: {}\n", error.hint()));
  if (options.verbosity > 1)
    world.err(fmt::format("from: {}:{}\n", error.where().file_name(), error.where().line()));
}

void print_error(const World& world, const CommonOptions& options, const Error& error) {
  print_error(world, options, error, app::exit_code_for(error));
}

// The command that was meant; empty when none is close.
std::string similar(const std::string& word) {
  std::vector<std::string> names;
  for (const Command& command : kCommands) names.emplace_back(command.name);
  return closest(word, names);
}

Error no_command(const std::string& word) {
  const std::string close = similar(word);
  return {ErrorKind::usage, fmt::format("there is no command `{}`", printable(word)),
          close.empty() ? "`respaldo --help` lists the commands" : fmt::format("did you mean `{}`?", close)};
}

struct Parsed {
  CommonOptions options;
  Action action;
  bool looks = false;
  std::optional<ExitCode> done;  // help was printed, or the words are wrong
};

// Where the command stands, behind the common options; past the end where there is none.
std::size_t position_of_command(const std::vector<std::string>& words) {
  constexpr std::string_view kWithValue[] = {
      "-r", "--repo", "--disk", "-p", "--password-file", "--password-command", "--retry-lock", "--config",
      "--connections", "--limit-upload", "--limit-download", "--cache-dir", "--cacert", "--tls-client-cert", "-o",
      "--option"};
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (std::find(std::begin(kWithValue), std::end(kWithValue), words[i]) != std::end(kWithValue))
      ++i;
    else if (words[i].empty() || words[i][0] != '-')
      return i;
  }
  return words.size();
}

bool is_command(const std::string& word) {
  return std::ranges::any_of(kCommands, [&](const Command& command) { return word == command.name; });
}

Parsed parse(const World& world) {
  Parsed parsed;
  CommandLine line;
  CLI::App& app = line.app;
  std::vector<std::string> words = world.arguments;
  if (words.empty()) words.emplace_back("--help");
  std::size_t command = position_of_command(words);
  const bool help = command < words.size() && words[command] == "help";
  if (help) {
    while (command < words.size() && words[command] == "help") words.erase(words.begin() + static_cast<std::ptrdiff_t>(command));
    words.emplace_back("--help");
    command = position_of_command(words);
  }
  const std::string name = command < words.size() ? words[command] : "";
  const bool json = std::ranges::find(words, "--json") != words.end();
  if (help && !name.empty() && !is_command(name)) {
    line.options.json = json;
    print_error(world, line.options, no_command(name));
    parsed.done = ExitCode::usage;
    return parsed;
  }
  // What follows `lvm` belongs to the verb, whatever it looks like.
  if (command + 1 < words.size() && words[command] == "lvm")
    words.insert(words.begin() + static_cast<std::ptrdiff_t>(command) + 1, "--");
  std::reverse(words.begin(), words.end());
  try {
    app.parse(std::move(words));
  } catch (const CLI::Success& success) {
    std::ostringstream out, err;
    app.exit(success, out, err);
    world.out(out.str());
    parsed.done = ExitCode::ok;
    return parsed;
  } catch (const CLI::ParseError& error) {
    std::string hint = "`respaldo --help` lists the commands and options";
    for (const CLI::App* sub : app.get_subcommands())
      hint = fmt::format("see `respaldo {} --help`", sub->get_name());
    std::string what = error.what();
    std::replace(what.begin(), what.end(), '\n', ' ');
    line.options.json |= json;
    if (app.get_subcommands().empty() && !name.empty() && !is_command(name))
      print_error(world, line.options, no_command(name));
    else
      print_error(world, line.options, Error(ErrorKind::usage, printable(what), hint));
    parsed.done = ExitCode::usage;
    return parsed;
  } catch (const Error& error) {
    print_error(world, line.options, error);
    parsed.done = ExitCode::usage;
    return parsed;
  }
  parsed.options = line.options;
  parsed.options.verbosity = line.quiet ? 0 : 1 + line.verbose;
  for (auto& [sub, action] : line.actions)
    if (sub->parsed()) {
      parsed.looks = sub->get_group().starts_with("Look ");
      parsed.action = std::move(action);
    }
  // The actions own what their options point to; the parser may go.
  return parsed;
}

}  // namespace

const std::vector<Command>& commands() { return kCommands; }

CLI::Validator taken_by(std::function<void(const std::string&)> parse) {
  return CLI::Validator(
      [parse = std::move(parse)](std::string& value) {
        parse(value);
        return std::string();
      },
      "");
}

CommandLine::CommandLine() : app(kAbout, "respaldo") {
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.set_help_flag("-h,--help", "show this help");
  app.set_version_flag("--version", fmt::format("respaldo {}", app::kVersion), "show the version");
  app.get_formatter()->column_width(34);
  app.option_defaults()->group("Common options");
  add_common_options(app, options, verbose, quiet);
  app.option_defaults()->group("Options");
  for (const Command& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->group(command.group);
    sub->footer(fmt::format(
        "\nExample:\n  {}\n\n`respaldo --help` lists the common options (-r, --disk, --json, ...).",
        command.example));
    actions.emplace_back(sub, command.configure(*sub));
    for (CLI::App* below : sub->get_subcommands([](CLI::App*) { return true; })) below->group("Subcommands");
  }
}

int run(World world) {
  Parsed parsed = parse(world);
  if (parsed.done) return static_cast<int>(*parsed.done);
  const CommonOptions options = parsed.options;
  // Copies of the callbacks: the context owns the world from here on.
  const World outside = world;
  ExitCode code = ExitCode::failed;
  try {
    app::Context context(std::move(world), std::move(parsed.options));
    code = parsed.action(context);
  } catch (const Error& error) {
    // `list | head` has all that it wanted; whoever changes something says that it did not come to the end.
    if (!parsed.looks || dynamic_cast<const OutputClosed*>(&error) == nullptr) print_error(outside, options, error);
    code = app::exit_code_for(error);
  } catch (const Cancelled& stop) {
    code = app::exit_code_for(stop);
    print_error(outside, options, Error(ErrorKind::usage, stop.what()), code);
  } catch (const engine::HeldByActivation& held) {
    print_error(outside, options,
                Error(ErrorKind::busy,
                      fmt::format("the images are served at {} by process {}",
                                  held.address().mount_point.native(), held.address().pid),
                      "end that activation first (fusermount3 -u)"));
    code = app::exit_code_for(held);
  } catch (const std::bad_alloc&) {
    print_error(outside, options, Error(ErrorKind::io, "out of memory"));
  } catch (const std::exception& error) {
    print_error(outside, options,
                Error(ErrorKind::internal, error.what(), "this is a bug in respaldo; please report it"));
  }
  return static_cast<int>(code);
}

}  // namespace respaldo::cli
