// TOML -> Config, with every problem told at its place.
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cctype>

#include "base/printable.h"
#include "config/config.h"
#include "config/table.h"

namespace respaldo::config {

namespace {

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name[0] != '-' && name[0] != '.' &&
         std::ranges::all_of(
             name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; });
}

class Reader {
 public:
  Reader(const std::string& file, const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
    config_.file = file;
  }

  Parsed read(std::string_view text) {
    try {
      const toml::table root = toml::parse(text, config_.file);
      top(root);
    } catch (const toml::parse_error& error) {
      Problem problem;
      problem.line = error.source().begin.line;
      problem.column = error.source().begin.column;
      problem.message = printable(error.description());
      problem.hint = "this is not TOML (https://toml.io)";
      return {std::move(config_), {problem}};
    }
    return {std::move(config_), problems_.take()};
  }

 private:
  void top(const toml::table& root) {
    Table table(root, "the configuration", problems_);
    const toml::table* defaults = table.table("defaults");
    const toml::table* repositories = table.table("repositories");
    const toml::table* jobs = table.table("jobs");
    table.finish();
    each(repositories, "repository",
         [&](const std::string& name, const toml::table& own) { repository(name, own); });
    each(jobs, "job", [&](const std::string& name, const toml::table& own) { job(name, own, defaults); });
    // Without jobs nothing else would look at the defaults.
    if (defaults != nullptr && config_.jobs.empty()) job("defaults", toml::table{}, defaults);
    config_.jobs.erase("defaults");
    if (defaults != nullptr) check_default_keys(*defaults);
  }

  template <class Take>
  void each(const toml::table* tables, std::string_view what, const Take& take) {
    if (tables == nullptr) return;
    for (const auto& [key, value] : *tables) {
      const std::string name(key.str());
      if (!value.is_table())
        problems_.add(&value, fmt::format("the {} {} must be a table", what, backquoted(name)),
                      fmt::format("write [{}.{}]", what == "job" ? "jobs" : "repositories", printable(name)));
      else if (!is_plain_name(name) || name == "defaults")
        problems_.add(&value, fmt::format("{} is no name for a {}", backquoted(name), what),
                      "use letters, digits, - _ and ., not `defaults`");
      else
        take(name, *value.as_table());
    }
  }

  void repository(const std::string& name, const toml::table& own) {
    Table table(own, "the repository " + backquoted(name), problems_);
    Repository result;
    result.name = name;
    result.location = table.text("location");
    result.password_file = table.text("password-file");
    result.password_command = table.argv("password-command");
    result.options = options(
        table, "options", "",
        {"repo", "password-file", "password-command", "disk", "json", "quiet", "verbose", "help", "config", "no-lock"});
    if (own.contains("password"))
      problems_.add(table.node("password"), "a password does not belong into the configuration",
                    "write it into a file of mode 0600, and name that with password-file");
    if (result.location.empty()) problems_.add(table.place_of("location"), fmt::format("{} has no location", table.name()));
    if (!result.password_file.empty() && !result.password_command.empty())
      problems_.add(&own, fmt::format("{} has a password file and a password command", table.name()),
                    "keep one");
    table.finish();
    config_.repositories[name] = std::move(result);
  }

  void job(const std::string& name, const toml::table& own, const toml::table* defaults) {
    Table table(own, "the job " + backquoted(name), problems_, defaults);
    Job result;
    result.name = name;
    result.repository = table.text("repository");
    result.volumes = volume_patterns(table, "volumes");
    result.exclude = volume_patterns(table, "exclude");
    result.former_volumes = volume_patterns(table, "former-volumes");
    for (const std::string& former : result.former_volumes)
      if (std::ranges::find(result.volumes, former) != result.volumes.end())
        problems_.add(table.node("former-volumes"),
                      fmt::format("{} is one of `volumes`, too", backquoted(former)),
                      "former volumes are gone for good: take it out of one of the two");
    result.disks = table.texts("disks");
    result.tags = table.texts("tags");
    for (const std::string& tag : result.tags) {
      if (tag.empty() || tag.find(',') != std::string::npos)
        problems_.add(table.node("tags"), fmt::format("{} is no tag: commas separate tags", backquoted(tag)));
      // `backup` takes off the spaces, too.
      if (std::string_view(tag).substr(std::min(tag.find_first_not_of(' '), tag.size())).starts_with("job:"))
        problems_.add(table.node("tags"), fmt::format("{} is a tag by which respaldo knows a job's own backups", backquoted(tag)),
                      "take another; each backup has that of its job by itself");
    }
    result.backup = options(table, "backup", "backup", {"tag", "dry-run", "from-snapshot"});
    result.keep = keep(table);
    result.prune = options(table, "prune", "prune", {"dry-run", "yes"});
    result.check = check(table);
    result.prune_every = table.interval("prune-every", std::chrono::hours(7 * 24));
    result.check_every = table.interval("check-every", std::chrono::hours(7 * 24));
    hooks(table, result.hooks);
    limits(table, result.limits);
    notify(table, result.notify);
    result.metrics = table.text("metrics");
    result.report = table.text("report");
    finish_job(table, result, name == "defaults");
    config_.jobs[name] = std::move(result);
  }

  void finish_job(Table& table, Job& job, bool only_defaults) {
    if (job.repository.empty() && config_.repositories.size() == 1)
      job.repository = config_.repositories.begin()->first;
    if (!only_defaults && job.repository.empty()) {
      problems_.add(
          table.place_of("repository"), fmt::format("{} names no repository", table.name()),
          config_.repositories.empty() ? "describe one in [repositories.NAME]" : "add repository = \"NAME\"");
    } else if (!job.repository.empty() && !config_.repositories.contains(job.repository)) {
      std::vector<std::string> names;
      for (const auto& [known, repository] : config_.repositories) names.push_back(known);
      const std::string close = closest(job.repository, names);
      problems_.add(table.node("repository"),
                    fmt::format("there is no repository {}", backquoted(job.repository)),
                    close.empty() ? "describe it in [repositories.NAME]"
                                  : fmt::format("did you mean {}?", backquoted(close)));
    }
    if (!only_defaults && job.volumes.empty())
      problems_.add(table.place_of("volumes"), fmt::format("{} names no volumes", table.name()),
                    "add volumes = [\"VG/LV\"]");
    if (job.hooks.before_snapshot.empty() != job.hooks.after_snapshot.empty() &&
        !job.hooks.before_snapshot.empty())
      problems_.add(table.node("hooks"),
                    fmt::format("{} has before-snapshot without after-snapshot", table.name()),
                    "what is frozen must thaw; a command that does nothing is `true`");
    table.finish();
  }

  // Keys of the defaults that no job has.
  void check_default_keys(const toml::table& defaults) {
    Table table(defaults, "[defaults]", problems_);
    for (const char* key :
         {"repository", "volumes", "exclude", "former-volumes", "disks", "tags", "backup", "keep", "prune",
          "check", "prune-every", "check-every", "hooks", "limits", "notify", "metrics", "report"})
      table.node(key);
    table.finish();
  }

  std::vector<std::string> volume_patterns(Table& table, const std::string& key) {
    std::vector<std::string> patterns = table.texts(key);
    for (std::string& pattern : patterns) {
      if (pattern.starts_with("/dev/") && !pattern.starts_with("/dev/mapper/")) pattern.erase(0, 5);
      const std::size_t slash = pattern.find('/');
      if (slash == std::string::npos || slash == 0 || slash + 1 == pattern.size() ||
          pattern.find('/', slash + 1) != std::string::npos)
        problems_.add(table.node(key), fmt::format("{} is no volume", backquoted(pattern)),
                      "write VG/LV, or VG/*");
    }
    return patterns;
  }

  // A table whose keys are the options of a command.
  std::vector<std::string> options(Table& table, const std::string& key, const std::string& command,
                                   const std::vector<std::string>& reserved) {
    const toml::table* given = table.table(key);
    if (given == nullptr) return {};
    const auto known = vocabulary_.commands.find(command);
    return read_options(*given, known == vocabulary_.commands.end() ? kNothing : known->second, {key, command, ""}, reserved);
  }

  std::vector<std::string> check(Table& table) {
    const std::size_t problems_before = problems_.count();
    auto words = options(table, "check", "check", {"device"});
    // 1/7 is another part only for who counts it on.
    const auto fixed_part = [](const std::string& word) {
      return word.starts_with("--read-data-subset=") && word.find('/') != std::string::npos;
    };
    if (problems_.count() == problems_before && std::ranges::any_of(words, fixed_part))
      problems_.add(table.table("check")->get("read-data-subset"),
                    "`read-data-subset`: a job would read the same part each time, and never the others",
                    "write a share, as in \"15%\": it is another one each time, by chance");
    return words;
  }

  // restic's words for retention: `daily = 7` is --keep-daily 7 of `forget`.
  std::vector<std::string> keep(Table& table) {
    const toml::table* given = table.table("keep");
    if (given == nullptr) return {};
    std::map<std::string, OptionShape> known;
    constexpr std::string_view kPrefix = "keep-";
    if (const auto forget = vocabulary_.commands.find("forget"); forget != vocabulary_.commands.end())
      for (const auto& [name, shape] : forget->second)
        if (name.starts_with(kPrefix)) known[name.substr(kPrefix.size())] = shape;
    const std::size_t problems_before = problems_.count();
    auto words = read_options(*given, known, {"keep", "forget", "keep-"}, {});
    if (problems_.count() == problems_before && std::ranges::all_of(words, keeps_nothing))
      problems_.add(given, "`keep` keeps nothing",
                    "say what to keep, as in daily = 7; or leave the table out");
    return words;
  }

  // "0", or "0d".
  static bool keeps_nothing(const std::string& word) {
    const std::size_t value = word.find('=') + 1;
    return !word.starts_with("--keep-tag=") && word.find('0', value) != word.npos &&
           word.find_first_of("123456789", value) == word.npos;
  }

  // Of the table `key`, whose keys are the options of `command` with this prefix.
  struct Place {
    std::string key, command, prefix;
  };

  std::vector<std::string> read_options(const toml::table& given,
                                        const std::map<std::string, OptionShape>& known, const Place& place,
                                        const std::vector<std::string>& reserved) {
    const std::size_t problems_before = problems_.count();
    std::vector<std::string> words, names;
    for (const auto& [name, shape] : known)
      if (std::ranges::find(reserved, name) == reserved.end() && !name.starts_with("hook-"))
        names.push_back(name);
    for (const auto& [key, value] : given) {
      const std::string name(key.str());
      if (std::ranges::find(names, name) == names.end()) {
        const std::string close = closest(name, names);
        problems_.add(&value, fmt::format("`{}` has no key {}", place.key, backquoted(name)),
                      known.contains(name) ? "respaldo sets that option itself"
                      : !close.empty()     ? fmt::format("did you mean {}?", backquoted(close))
                      : names.empty()      ? ""
                                           : fmt::format("its keys are: {}", fmt::join(names, ", ")));
        continue;
      }
      option(words, "--" + place.prefix + name, known.at(name), value, name);
    }
    // What each alone is right for may be wrong together.
    if (vocabulary_.judge && problems_.count() == problems_before)
      careful(given, place.key, [&] { vocabulary_.judge(place.command, words); });
    return words;
  }

  void option(std::vector<std::string>& words, const std::string& option, const OptionShape& shape,
              const toml::node& value, const std::string& key) {
    if (!shape.takes_value) {
      if (const auto* flag = value.as_boolean()) {
        if (flag->get()) words.push_back(option);
      } else {
        problems_.add(&value, fmt::format("{} must be true or false", backquoted(key)));
      }
      return;
    }
    if (const auto* list = value.as_array()) {
      for (const toml::node& item : *list) one_value(words, option, shape, item, key);
    } else {
      one_value(words, option, shape, value, key);
    }
  }

  void one_value(std::vector<std::string>& words, const std::string& option, const OptionShape& shape,
                 const toml::node& value, const std::string& key) {
    std::string text;
    if (const auto* string = value.as_string())
      text = string->get();
    else if (const auto* integer = value.as_integer())
      text = std::to_string(integer->get());
    else
      return problems_.add(&value, fmt::format("{} must be a text or a whole number", backquoted(key)));
    if (text.empty() || text.find('\0') != std::string::npos) {
      problems_.add(&value, fmt::format("{} is empty", backquoted(key)));
      return;
    }
    if (!shape.choices.empty() && std::ranges::find(shape.choices, text) == shape.choices.end())
      problems_.add(&value, fmt::format("{} must be one of {}", backquoted(key), fmt::join(shape.choices, ", ")));
    else if (shape.check)
      careful(value, key, [&] { shape.check(text); });
    words.push_back(option + "=" + text);
  }

  template <class Check>
  void careful(const toml::node& value, const std::string& key, Check check) {
    try {
      check();
    } catch (const Error& error) {
      problems_.add(&value, fmt::format("{}: {}", backquoted(key), error.message()), error.hint());
    }
  }

  void hooks(Table& job, Hooks& hooks) {
    const toml::table* own = job.table("hooks");
    if (own == nullptr) return;
    Table table(*own, "`hooks`", problems_);
    hooks.before_snapshot = table.argv("before-snapshot");
    hooks.after_snapshot = table.argv("after-snapshot");
    hooks.success = table.argv("success");
    hooks.failure = table.argv("failure");
    hooks.deadline = table.duration("deadline").value_or(hooks.deadline);
    hooks.thaw_after = table.duration("thaw-after").value_or(hooks.thaw_after);
    table.finish();
  }

  void limits(Table& job, Limits& limits) {
    const toml::table* own = job.table("limits");
    if (own == nullptr) return;
    Table table(*own, "`limits`", problems_);
    limits.nice = table.number("nice", 0, 19);
    limits.io_priority = table.choice("io-priority", {"idle", "best-effort"});
    limits.deadline = table.duration("deadline");
    table.finish();
  }

  void notify(Table& job, Notify& notify) {
    const toml::table* own = job.table("notify");
    if (own == nullptr) return;
    Table table(*own, "`notify`", problems_);
    notify.email = table.text("email");
    if (notify.email.starts_with('-') || notify.email.find_first_of("\r\n") != std::string::npos) {
      problems_.add(table.node("email"), fmt::format("{} is no address", backquoted(notify.email)));
      notify.email.clear();
    }
    notify.command = table.argv("command");
    notify.always = table.choice("when", {"failure", "always"}) == "always";
    table.finish();
  }

  static inline const std::map<std::string, OptionShape> kNothing{};
  const Vocabulary& vocabulary_;
  Config config_;
  Problems problems_;
};

}  // namespace

Parsed parse(std::string_view text, const std::string& file, const Vocabulary& vocabulary) {
  return Reader(file, vocabulary).read(text);
}

}  // namespace respaldo::config
