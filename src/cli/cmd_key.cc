// key and unlock.
#include "base/printable.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "crypto/secret.h"
#include "parity/parity_backend.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::string action = "list", id, new_password_file;
};

repo::KeyId find_key(repo::Repository& repository, const std::string& prefix) {
  std::vector<repo::KeyId> found;
  for (const repo::KeyInfo& key : repository.keys())
    if (!prefix.empty() && key.id.hex().starts_with(prefix)) found.push_back(key.id);
  if (found.size() == 1) return found.front();
  throw Error(found.empty() ? ErrorKind::not_found : ErrorKind::usage,
              found.empty() ? fmt::format("no key has the ID '{}'", printable(prefix))
                            : fmt::format("'{}' begins the IDs of several keys", prefix),
              "`respaldo key list` shows them");
}

void list(app::Context& context) {
  const auto keys = context.repository().keys();
  if (context.options().json) {
    Json json = Json::array();
    for (const repo::KeyInfo& key : keys)
      json.push_back({{"id", key.id.hex()},
                      {"current", key.current},
                      {"username", key.username},
                      {"hostname", key.hostname},
                      {"created", format_time(key.created)},
                      {"problem", key.problem}});
    context.print_json(dump(json));
    return;
  }
  context.print(fmt::format("  {:<8}  {:<12}  {:<16}  {}", "ID", "User", "Host", "Made"));
  for (const repo::KeyInfo& key : keys)
    context.print(fmt::format("{} {:<8}  {:<12}  {:<16}  {}", key.current ? '*' : ' ', key.id.short_hex(),
                              printable(key.username), printable(key.hostname),
                              key.problem.empty() ? local_time(key.created) : "damaged: " + key.problem));
}

std::string ask_new(app::Context& context, const Options& options) {
  std::string password = context.new_password("new password", options.new_password_file);
  if (password.empty()) throw Error(ErrorKind::usage, "an empty password protects nothing");
  return password;
}

repo::KeyId add(app::Context& context, const Options& options) {
  std::string password = ask_new(context, options);
  const repo::KeyId id = context.repository().add_key(password);
  crypto::wipe(password.data(), password.size());
  return id;
}

void tell(app::Context& context, const Options& options, std::string_view done, const repo::KeyId& id) {
  if (context.options().json)
    context.print_json(dump({{"action", options.action}, {"id", id.hex()}}));
  else if (context.options().verbosity > 0)
    context.print(fmt::format("{} key {}", done, id.short_hex()));
}

// An ID that is ignored would let the command do something else than was meant.
void judge(const Options& options) {
  const bool remove = options.action == "remove";
  if (remove && options.id.empty())
    throw Error(ErrorKind::usage, "`key remove` needs the ID of the key", "`respaldo key list` shows them");
  if (!remove && !options.id.empty())
    throw Error(ErrorKind::usage, fmt::format("`key {}` takes no ID, and '{}' is one", options.action, printable(options.id)),
                options.action == "passwd" ? "it changes the password that opens the repository: give the old one of that key"
                                           : "only `key remove` does");
}

app::ExitCode key(app::Context& context, const Options& options) {
  judge(options);
  if (options.action == "list") {
    list(context);
  } else if (options.action == "add") {
    const auto lock = lock_repository(context, repo::LockKind::shared);
    tell(context, options, "added", add(context, options));
  } else if (options.action == "remove") {
    const auto lock = lock_repository(context, repo::LockKind::exclusive);
    const repo::KeyId id = find_key(context.repository(), options.id);
    context.repository().remove_key(id);
    tell(context, options, "removed", id);
  } else {
    const auto lock = lock_repository(context, repo::LockKind::exclusive);
    std::vector<repo::KeyId> old;
    for (const repo::KeyInfo& info : context.repository().keys())
      if (info.current) old.push_back(info.id);
    std::string password = ask_new(context, options);
    const repo::KeyId id = context.repository().add_key(password);
    // Opened with the new key before the old one goes: the repository is never without a key that works.
    const auto reopened =
        repo::Repository::open(parity::open_with_parity(context.open_store()),
                               password);
    crypto::wipe(password.data(), password.size());
    for (const repo::KeyId& gone : old) reopened->remove_key(gone);
    tell(context, options, "changed the password; the new one is", id);
  }
  return app::ExitCode::ok;
}

struct UnlockOptions {
  bool all = false, watch = false, exclusive = false, sure = false;
};

app::ExitCode unlock(app::Context& context, const UnlockOptions& options) {
  require_writing(context);
  if (options.all && options.watch) throw Error(ErrorKind::usage, "--watch and --remove-all exclude each other");
  const auto tell = [&](const repo::LockInfo& lock) {
    context.progress().note(fmt::format("the lock of {} on {} looks stale: it is watched for {}, in which its owner would renew it",
                                        printable(lock.username), printable(lock.hostname),
                                        format_duration(std::chrono::seconds(repo::kLockWatch).count())));
  };
  const std::size_t removed = options.watch
                                  ? repo::remove_dead_locks(context.repository(), {options.exclusive, options.sure},
                                                            repo::kLockWatch, tell, context.stop())
                                  : repo::remove_locks(context.repository(), options.all);
  const auto left = repo::list_locks(context.repository());
  if (context.options().json) {
    Json owners = Json::array();
    for (const repo::LockInfo& lock : left)
      owners.push_back(lock.unreadable ? Json{{"lock", lock.name}, {"unreadable", true}}
                                       : Json{{"lock", lock.name},
                                              {"unreadable", false},
                                              {"username", lock.username},
                                              {"hostname", lock.hostname},
                                              {"pid", lock.pid},
                                              {"exclusive", lock.exclusive}});
    context.print_json(dump({{"removed", removed}, {"left", left.size()}, {"owners", owners}}));
    return app::ExitCode::ok;
  }
  context.print(fmt::format("removed {}", counted(removed, "lock")));
  for (const repo::LockInfo& lock : left)
    context.print(lock.unreadable
                      ? fmt::format("left: {}, which cannot be read", lock.name.substr(0, 8))
                      : fmt::format("left: {} on {}, process {}, which may still be at work",
                                    printable(lock.username), printable(lock.hostname), lock.pid));
  return app::ExitCode::ok;
}

}  // namespace

Action configure_key(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("action", options->action, "list, add, remove or passwd")
      ->check(CLI::IsMember({"list", "add", "remove", "passwd"}))
      ->capture_default_str();
  app.add_option("id", options->id, "the key to remove")->type_name("ID");
  app.add_option("--new-password-file", options->new_password_file, "a file that holds the new password")
      ->type_name("FILE");
  return [options](app::Context& context) { return key(context, *options); };
}

Action configure_unlock(CLI::App& app) {
  auto options = std::make_shared<UnlockOptions>();
  app.add_flag("--remove-all", options->all, "also locks whose owners may still be at work");
  auto* watch = app.add_flag(
      "--watch", options->watch,
      "for scripts: what only looks stale is watched for 11 minutes first, in which a living owner renews its lock");
  app.add_flag("--exclusive", options->exclusive, "with --watch: only locks that keep a backup from its work")->needs(watch);
  app.add_flag("--sure", options->sure, "with --watch: nothing is watched, only what is surely dead goes")->needs(watch);
  return [options](app::Context& context) { return unlock(context, *options); };
}

Action configure_version(CLI::App&) {
  return [](app::Context& context) {
    if (context.options().json)
      context.print_json(dump({{"version", app::kVersion}}));
    else
      context.print(fmt::format("respaldo {}", app::kVersion));
    return app::ExitCode::ok;
  };
}

}  // namespace respaldo::cli
