#include <fmt/ranges.h>

#include <set>

#include "care/forget.h"
#include "cli/care_options.h"
#include "cli/care_commands.h"
#include "cli/prune_options.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::vector<std::string> ids;
  FilterWords filter;
  std::string last, hourly, daily, weekly, monthly, yearly;
  std::string within, within_hourly, within_daily, within_weekly, within_monthly, within_yearly;
  std::vector<std::string> keep_tags;
  std::string group_by = "host,paths";
  bool allow_remove_all = false, trust_clock = false, dry_run = false, prune = false;
  PruneWords prune_words;
};

care::RetentionPolicy policy_of(const Options& o) {
  care::RetentionPolicy policy;
  const auto count = [](const std::string& word) { return word.empty() ? 0 : care::parse_keep_count(word); };
  policy.last = count(o.last);
  policy.hourly = count(o.hourly);
  policy.daily = count(o.daily);
  policy.weekly = count(o.weekly);
  policy.monthly = count(o.monthly);
  policy.yearly = count(o.yearly);
  policy.within = care::KeepDuration::parse(o.within);
  policy.within_hourly = care::KeepDuration::parse(o.within_hourly);
  policy.within_daily = care::KeepDuration::parse(o.within_daily);
  policy.within_weekly = care::KeepDuration::parse(o.within_weekly);
  policy.within_monthly = care::KeepDuration::parse(o.within_monthly);
  policy.within_yearly = care::KeepDuration::parse(o.within_yearly);
  for (const std::string& list : o.keep_tags) policy.tags.push_back(care::parse_tag_list(list));
  return policy;
}

// The backups named by ID go without a policy.
care::ForgetPlan plan_by_ids(const std::vector<repo::NamedSnapshot>& all,
                             const std::vector<std::string>& ids, const care::BackupFilter& filter) {
  care::ForgetPlan plan;
  plan.remove = select_backups(all, ids, filter);
  return plan;
}

void print_group(app::Context& context, const care::ForgetGroup& group) {
  std::size_t kept = 0;
  for (const care::Judged& one : group.judged) kept += one.keep();
  context.print(fmt::format("{}: {} kept, {} forgotten", printable(group.group.describe()), kept,
                            group.judged.size() - kept));
  for (const care::Judged& one : group.judged) {
    const std::string tags =
        one.backup.snapshot.tags.empty()
            ? ""
            : printable(fmt::format("  [{}]", fmt::join(one.backup.snapshot.tags, ", ")));
    context.print(fmt::format("  {} {}  {}{}  {}", one.keep() ? "keep  " : "forget",
                              one.backup.id.short_hex(), local_time(one.backup.snapshot.time), tags,
                              printable(fmt::format("{}", fmt::join(one.reasons, ", ")))));
  }
}

Json group_json(const care::ForgetGroup& group) {
  Json json = {{"host", group.group.host},
               {"paths", group.group.paths},
               {"tags", group.group.tags},
               {"keep", Json::array()},
               {"remove", Json::array()}};
  for (const care::Judged& one : group.judged) {
    Json backup = backup_json(one.backup);
    if (one.keep()) backup["reasons"] = one.reasons;
    json[one.keep() ? "keep" : "remove"].push_back(std::move(backup));
  }
  return json;
}

void print_plan(app::Context& context, const Options& options, const care::RetentionPolicy& policy,
                const care::ForgetPlan& plan) {
  if (context.options().verbosity == 0) return;
  if (options.ids.empty()) {
    context.print("keep " + policy.describe());
    for (const care::ForgetGroup& group : plan.groups) print_group(context, group);
  } else {
    for (const repo::NamedSnapshot& backup : plan.remove)
      context.print("  forget " + printable(backup_line(backup)));
  }
}

app::ExitCode forget(app::Context& context, const Options& options) {
  const care::RetentionPolicy policy = policy_of(options);
  const care::PruneOptions base = options.prune_words.options();
  const care::ForgetOptions forget_options{options.filter.filter(), care::Grouping::parse(options.group_by),
                                           policy, options.allow_remove_all, options.trust_clock};
  if (!options.ids.empty() && !policy.empty())
    throw Error(ErrorKind::usage, "backups are named and a policy is given",
                "give either IDs, which are forgotten, or a policy");
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  const auto all = readable_backups(context);
  const care::ForgetPlan plan = options.ids.empty() ? care::plan_forget(all, forget_options, repo::now())
                                                    : plan_by_ids(all, options.ids, forget_options.filter);
  for (const repo::NamedSnapshot& backup : plan.misdated)
    context.warn(fmt::format("backup {} is dated {}, {}: it is kept, and counts for nothing. The clock of {} was wrong; "
                             "`forget {}` removes it",
                             backup.id.short_hex(), local_time(backup.snapshot.time),
                             repo::is_before_first_release(backup.snapshot.time) ? "before there was a respaldo"
                                                                                 : "in the future",
                             printable(backup.snapshot.hostname), backup.id.short_hex()));
  if (options.ids.empty()) warn_if_none_fits(context, all.size(), plan.groups.size());
  if (!context.options().json) print_plan(context, options, policy, plan);
  if (!options.dry_run && !plan.remove.empty()) {
    lock->require();
    care::remove_backups(context.repository(), plan.remove, context.progress(), context.stop());
  }

  Json pruned = nullptr;
  if (options.prune && !plan.remove.empty()) {
    care::PruneOptions prune_options = base;
    prune_options.dry_run = options.dry_run;
    prune_options.no_backups = believes_that_there_are_no_backups(context);
    for (const repo::NamedSnapshot& backup : plan.remove) prune_options.without.push_back(backup.id);
    const care::PruneReport report =
        care::prune(context.repository(), prune_options, lock.get(), context.progress(), context.stop());
    warn_of_damage(context, report);
    pruned = prune_json(report, options.dry_run);
    if (!context.options().json) print_prune(context, report, options.dry_run);
  }
  if (context.options().json) {
    Json json = {{"dry_run", options.dry_run}, {"groups", Json::array()}, {"removed", Json::array()}};
    for (const care::ForgetGroup& group : plan.groups) json["groups"].push_back(group_json(group));
    for (const repo::NamedSnapshot& backup : plan.remove) json["removed"].push_back(backup.id.hex());
    json["prune"] = std::move(pruned);
    context.print_json(dump(json));
  } else if (context.options().verbosity > 0) {
    context.print(fmt::format("{} {} backup{}{}", options.dry_run ? "would forget" : "forgot",
                              plan.remove.size(), plan.remove.size() == 1 ? "" : "s",
                              options.prune || options.dry_run || plan.remove.empty()
                                  ? ""
                                  : "; `respaldo prune` frees their space"));
  }
  return app::ExitCode::ok;
}

void add_policy_options(CLI::App& app, Options& o) {
  const auto count = [&](const char* name, std::string& word, const char* what) {
    app.add_option(name, word, fmt::format("keep the newest N {}; `unlimited`: all", what))
        ->type_name("N")
        ->check(taken_by([](const std::string& n) {
          if (!n.empty()) care::parse_keep_count(n);
        }));
  };
  count("-l,--keep-last", o.last, "backups");
  count("-H,--keep-hourly", o.hourly, "hours' last backups");
  count("-d,--keep-daily", o.daily, "days' last backups");
  count("-w,--keep-weekly", o.weekly, "weeks' last backups");
  count("-m,--keep-monthly", o.monthly, "months' last backups");
  count("-y,--keep-yearly", o.yearly, "years' last backups");
  const auto within = [&](const char* name, std::string& word, const char* what) {
    app.add_option(name, word, fmt::format("keep {} within this time (1y5m7d2h) before the newest", what))
        ->type_name("TIME")
        ->check(taken_by(care::KeepDuration::parse));
  };
  within("--keep-within", o.within, "all backups");
  within("--keep-within-hourly", o.within_hourly, "one backup an hour");
  within("--keep-within-daily", o.within_daily, "one backup a day");
  within("--keep-within-weekly", o.within_weekly, "one backup a week");
  within("--keep-within-monthly", o.within_monthly, "one backup a month");
  within("--keep-within-yearly", o.within_yearly, "one backup a year");
  add_repeatable(app, "--keep-tag", o.keep_tags, "keep backups that have all these tags (a,b)", "TAGS");
}

}  // namespace

Action configure_forget(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("backups", options->ids, "backups to forget, whatever the policy")->type_name("BACKUP");
  add_policy_options(app, *options);
  add_filter_options(app, options->filter);
  app.add_option("-g,--group-by", options->group_by,
                 "apply the policy to each group of backups that have these in common; '' for one group")
      ->type_name("host,paths,tags")
      ->capture_default_str();
  app.add_flag("--unsafe-allow-remove-all", options->allow_remove_all,
               "without a policy: forget all backups that the filter selects");
  app.add_flag("--trust-clock", options->trust_clock,
               "backups may go although later ones are dated more than a year after them");
  app.add_flag("-n,--dry-run", options->dry_run, "only tell what would be done");
  auto* prune = app.add_flag("--prune", options->prune, "and remove what no backup needs any more");
  for (CLI::Option* of_prune : add_prune_options(app, options->prune_words)) of_prune->needs(prune);
  return [options](app::Context& context) { return forget(context, *options); };
}

}  // namespace respaldo::cli
