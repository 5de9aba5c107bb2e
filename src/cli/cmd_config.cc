#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/printable.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/nested.h"
#include "os/file.h"
#include "store/open.h"

namespace respaldo::cli {

namespace {

bool program_is_there(app::Context& context, const std::string& program) {
  if (program.find('/') != std::string::npos) return ::access(program.c_str(), X_OK) == 0;
  std::string path = context.world().environment("PATH").value_or("/usr/bin:/bin") + ":";
  for (std::size_t colon; (colon = path.find(':')) != std::string::npos; path.erase(0, colon + 1))
    if (colon > 0 && ::access((path.substr(0, colon) + "/" + program).c_str(), X_OK) == 0) return true;
  return false;
}

// What the text cannot tell: files and programs that it names.
class Surroundings {
 public:
  explicit Surroundings(app::Context& context) : context_(context) {}

  std::vector<std::string> look(const config::Config& config) {
    for (const auto& [name, repository] : config.repositories) look(repository);
    for (const auto& [name, job] : config.jobs) look(job);
    for (std::string& text : config::shared_files(config)) warn(std::move(text));
    return std::move(warnings_);
  }

 private:
  void look(const config::Repository& repository) {
    const std::string who = fmt::format("the repository {}", repository.name);
    if (!repository.password_file.empty()) {
      absolute(repository.password_file, who);
      struct stat facts {};
      if (::stat(repository.password_file.c_str(), &facts) != 0)
        warn(
            fmt::format("{}: the password file {} cannot be read", who, printable(repository.password_file)));
      else if ((facts.st_mode & 077) != 0)
        warn(fmt::format("{}: others may read the password file {} (chmod 600)", who,
                         printable(repository.password_file)));
    } else if (repository.password_command.empty()) {
      warn(fmt::format("{} has no password file and no password command: $RESPALDO_PASSWORD must be set",
                       who));
    }
    program(repository.password_command, who);
    try {
      const store::Location place = store::parse_location(repository.location);
      if (place.scheme != store::Scheme::local) return;
      absolute(place.rest, who);
      if (::access(place.rest.c_str(), F_OK) != 0)
        warn(fmt::format("{}: there is nothing at {}", who, printable(place.rest)));
    } catch (const Error& error) {
      warn(fmt::format("{}: {}", who, error.message()));
    }
  }

  void look(const config::Job& job) {
    const std::string who = fmt::format("the job {}", job.name);
    for (const config::Argv* hook : {&job.hooks.before_snapshot, &job.hooks.after_snapshot,
                                     &job.hooks.success, &job.hooks.failure, &job.notify.command})
      program(*hook, who);
    if (!job.notify.email.empty() && !program_is_there(context_, "sendmail") &&
        !program_is_there(context_, "/usr/sbin/sendmail"))
      warn(fmt::format("{}: there is no sendmail to send mail with", who));
    for (const std::string& disk : job.disks) {
      absolute(disk, who);
      if (::access(disk.c_str(), F_OK) != 0) warn(fmt::format("{}: there is no {}", who, printable(disk)));
    }
    for (const std::string* file : {&job.metrics, &job.report}) {
      if (file->empty()) continue;
      absolute(*file, who);
      const auto folder = os::Path(*file).parent_path();
      if (!folder.empty() && ::access(folder.c_str(), F_OK) != 0)
        warn(fmt::format("{}: there is no folder for {}", who, printable(*file)));
    }
  }

  // A timer starts jobs in /.
  void absolute(const std::string& file, const std::string& who) {
    if (!file.starts_with('/'))
      warn(fmt::format("{}: {} depends on the folder that it is run in: write the whole path", who, printable(file)));
  }

  void program(const config::Argv& argv, const std::string& who) {
    if (!argv.empty() && argv.front().find('/') != std::string::npos) absolute(argv.front(), who);
    if (!argv.empty() && !program_is_there(context_, argv.front()))
      warn(fmt::format("{}: there is no program {}", who, printable(argv.front())));
  }

  void warn(std::string text) { warnings_.push_back(std::move(text)); }

  app::Context& context_;
  std::vector<std::string> warnings_;
};

app::ExitCode check(app::Context& context) {
  const std::string file = config_file(context);
  const config::Parsed parsed = config::parse(config::read_file(file), file, vocabulary());
  const auto warnings =
      parsed.problems.empty() ? Surroundings(context).look(parsed.config) : std::vector<std::string>{};
  if (context.options().json) {
    Json json = {
        {"file", file}, {"ok", parsed.problems.empty()}, {"problems", Json::array()}, {"warnings", warnings}};
    for (const config::Problem& problem : parsed.problems)
      json["problems"].push_back({{"line", problem.line},
                                  {"column", problem.column},
                                  {"message", problem.message},
                                  {"hint", problem.hint}});
    context.print_json(dump(json));
  } else {
    for (const config::Problem& problem : parsed.problems) {
      context.print(problem.text(file));
      if (!problem.hint.empty()) context.print("  " + problem.hint);
    }
    for (const std::string& warning : warnings) context.warn(warning);
    if (parsed.problems.empty())
      context.print(fmt::format("{} is right: {} {}, {}", file, parsed.config.repositories.size(),
                                parsed.config.repositories.size() == 1 ? "repository" : "repositories",
                                counted(parsed.config.jobs.size(), "job")));
  }
  return parsed.problems.empty() ? app::ExitCode::ok : app::ExitCode::usage;
}

std::string interval(const std::optional<std::chrono::seconds>& every) {
  if (!every) return "never";
  return every->count() == 0 ? "always" : fmt::format("{}s", every->count());
}

Json job_json(const config::Job& job) {
  Json json = {{"repository", job.repository},
               {"volumes", job.volumes},
               {"exclude", job.exclude},
               {"former-volumes", job.former_volumes},
               {"disks", job.disks},
               {"tags", job.tags},
               {"backup", job.backup},
               {"keep", job.keep},
               {"prune", job.prune},
               {"check", job.check},
               {"prune-every", interval(job.prune_every)},
               {"check-every", interval(job.check_every)},
               {"hooks",
                {{"before-snapshot", job.hooks.before_snapshot},
                 {"after-snapshot", job.hooks.after_snapshot},
                 {"success", job.hooks.success},
                 {"failure", job.hooks.failure},
                 {"deadline", fmt::format("{}s", job.hooks.deadline.count())},
                 {"thaw-after", fmt::format("{}s", job.hooks.thaw_after.count())}}},
               {"limits", {{"io-priority", job.limits.io_priority}}},
               {"notify",
                {{"email", job.notify.email},
                 {"command", job.notify.command},
                 {"when", job.notify.always ? "always" : "failure"}}},
               {"metrics", job.metrics},
               {"report", job.report}};
  if (job.limits.nice) json["limits"]["nice"] = *job.limits.nice;
  if (job.limits.deadline) json["limits"]["deadline"] = fmt::format("{}s", job.limits.deadline->count());
  return json;
}

Json config_json(const config::Config& config) {
  Json json = {{"file", config.file}, {"repositories", Json::object()}, {"jobs", Json::object()}};
  for (const auto& [name, repository] : config.repositories) {
    Json one = {{"location", repository.location}, {"options", repository.options}};
    if (!repository.password_file.empty()) one["password-file"] = repository.password_file;
    if (!repository.password_command.empty())
      one["password-command"] = fmt::format("{}", fmt::join(repository.password_command, " "));
    json["repositories"][name] = std::move(one);
  }
  for (const auto& [name, job] : config.jobs) json["jobs"][name] = job_json(job);
  return json;
}

// "key = value" lines under a heading; what is empty is left out.
void print_table(app::Context& context, const std::string& heading, const Json& table) {
  context.print(fmt::format("[{}]", heading));
  for (const auto& [key, value] : table.items())
    if (!value.is_object() && !(value.is_string() && value.get<std::string>().empty()) &&
        !(value.is_array() && value.empty()))
      context.print(fmt::format("{} = {}", key, printable(dump(value))));
  for (const auto& [key, value] : table.items())
    if (value.is_object() && !value.empty()) print_table(context, heading + "." + key, value);
}

app::ExitCode show(app::Context& context) {
  const Json json = config_json(without_secrets(config::load(config_file(context), vocabulary())));
  if (context.options().json) {
    context.print_json(dump(json));
    return app::ExitCode::ok;
  }
  context.print(
      fmt::format("# {}, with all that holds where it says nothing", json["file"].get<std::string>()));
  for (const char* kind : {"repositories", "jobs"})
    for (const auto& [name, table] : json[kind].items()) {
      context.print("");
      print_table(context, fmt::format("{}.{}", kind, name), table);
    }
  return app::ExitCode::ok;
}

}  // namespace

Action configure_config(CLI::App& app) {
  app.require_subcommand(1);
  const auto what = std::make_shared<app::ExitCode (*)(app::Context&)>(&check);
  app.add_subcommand("check",
                     "Tell what is wrong in it, with line and column; exit code 2 when something is.")
      ->callback([what] { *what = &check; });
  app.add_subcommand("show", "Show it as respaldo understands it; secrets are left out.")->callback([what] {
    *what = &show;
  });
  return [what](app::Context& context) { return (*what)(context); };
}

}  // namespace respaldo::cli
