#include "config/config.h"

#include <gmock/gmock.h>

namespace respaldo::config {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Vocabulary kVocabulary = {{
    {"", {{"repo", {true, {}}}, {"retry-lock", {true, {}}}}},
    {"backup",
     {{"cow", {true, {}}},
      {"raw", {false, {}}},
      {"tag", {true, {}}},
      {"on-read-error", {true, {"fail", "skip"}}},
      {"hook-before", {true, {}}}}},
    {"forget", {{"keep-daily", {true, {}}}, {"keep-tag", {true, {}}}, {"prune", {false, {}}}}},
    {"prune", {{"max-unused", {true, {}}}}},
    {"check", {{"read-data", {false, {}}}, {"read-data-subset", {true, {}}}, {"threads", {true, {}}}}},
}};

constexpr const char* kGood = R"(
[repositories.disk]
location = "/srv/backup"
password-file = "/etc/respaldo/password"
options = { retry-lock = 60 }

[defaults]
tags = ["host"]
keep = { daily = 7, tag = ["gold", "silver"] }
notify = { email = "root", when = "always" }

[jobs.nightly]
volumes = ["vg0/*", "/dev/vg1/data"]
exclude = "vg0/swap"
check-every = "never"
prune-every = "always"
metrics = "/var/lib/node/respaldo.prom"
[jobs.nightly.backup]
cow = "10%ORIGIN"
on-read-error = "skip"
raw = true
[jobs.nightly.hooks]
before-snapshot = "mysql -e 'flush tables'"
after-snapshot = ["true"]
deadline = "1m30s"
[jobs.nightly.limits]
nice = 10
io-priority = "idle"
deadline = "8h"

[jobs.weekly]
volumes = "vg0/root"
tags = []
)";

std::vector<std::string> problems_of(const std::string& text) {
  std::vector<std::string> lines;
  for (const Problem& problem : parse(text, "c", kVocabulary).problems)
    lines.push_back(problem.text("c") + (problem.hint.empty() ? "" : " (" + problem.hint + ")"));
  return lines;
}

const std::string kRepository = "[repositories.disk]\nlocation = \"/srv\"\n";

TEST(Config, every_key_is_read) {
  const Parsed parsed = parse(kGood, "c", kVocabulary);
  ASSERT_THAT(problems_of(kGood), IsEmpty());
  const Job& job = parsed.config.job("nightly");
  const Repository& repository = parsed.config.repository_of(job);
  EXPECT_EQ(repository.location, "/srv/backup");
  EXPECT_EQ(repository.password_file, "/etc/respaldo/password");
  EXPECT_THAT(repository.options, ElementsAre("--retry-lock=60"));
  EXPECT_THAT(job.volumes, ElementsAre("vg0/*", "vg1/data"));
  EXPECT_THAT(job.exclude, ElementsAre("vg0/swap"));
  EXPECT_THAT(job.backup, ElementsAre("--cow=10%ORIGIN", "--on-read-error=skip", "--raw"));
  EXPECT_THAT(job.hooks.before_snapshot, ElementsAre("mysql", "-e", "flush tables"));
  EXPECT_THAT(job.hooks.after_snapshot, ElementsAre("true"));
  EXPECT_EQ(job.hooks.deadline, seconds(90));
  EXPECT_EQ(job.prune_every, seconds(0));
  EXPECT_FALSE(job.check_every);
  EXPECT_EQ(job.limits.nice, 10);
  EXPECT_EQ(job.limits.io_priority, "idle");
  EXPECT_EQ(job.limits.deadline, seconds(8 * 3600));
  EXPECT_EQ(job.metrics, "/var/lib/node/respaldo.prom");
}

TEST(Config, jobs_take_from_the_defaults_what_they_do_not_say) {
  const Config config = parse(kGood, "c", kVocabulary).config;
  EXPECT_THAT(config.job("nightly").tags, ElementsAre("host"));
  EXPECT_THAT(config.job("weekly").tags, IsEmpty());
  EXPECT_THAT(config.job("weekly").keep,
              ElementsAre("--keep-daily=7", "--keep-tag=gold", "--keep-tag=silver"));
  EXPECT_TRUE(config.job("weekly").notify.always);
  EXPECT_EQ(config.job("weekly").check_every, seconds(7 * 86400));
  EXPECT_EQ(config.job("weekly").repository, "disk");
}

TEST(Config, unknown_keys_are_told_with_their_place_and_a_near_name) {
  EXPECT_THAT(problems_of(kRepository + "[jobs.a]\nvolume = \"vg0/root\"\nvolumes = \"vg0/root\"\n"),
              ElementsAre("c:4:10: the job `a` has no key `volume` (did you mean `volumes`?)"));
  EXPECT_THAT(problems_of(kRepository + "[jobs.a]\nvolumes = \"vg0/root\"\nbackup = { cov = \"1G\" }\n"),
              ElementsAre(HasSubstr("c:5:18: `backup` has no key `cov` (did you mean `cow`?)")));
  EXPECT_THAT(problems_of("[job.a]\n"), ElementsAre(HasSubstr("did you mean `jobs`?")));
  EXPECT_THAT(problems_of(kRepository + "[defaults]\nretention = 1\n"),
              ElementsAre(HasSubstr("no key `retention`")));
}

TEST(Config, options_that_respaldo_sets_itself_are_refused) {
  for (const char* key : {"tag = \"x\"", "hook-before = \"x\""})
    EXPECT_THAT(problems_of(kRepository + "[jobs.a]\nvolumes = \"vg0/root\"\n[jobs.a.backup]\n" + key + "\n"),
                ElementsAre(HasSubstr("respaldo sets that option itself")))
        << key;
}

TEST(Config, what_a_command_would_refuse_is_told_at_its_place) {
  Vocabulary vocabulary = kVocabulary;
  vocabulary.commands["backup"]["cow"].check = [](const std::string& text) {
    if (text == "bad") throw Error(ErrorKind::usage, "'bad' is no size", "write 10G");
  };
  const auto told = parse(kRepository + "[jobs.a]\nvolumes = \"vg0/root\"\nbackup = { cow = \"bad\" }\n", "c", vocabulary).problems;
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].text("c"), "c:5:18: `cow`: 'bad' is no size");
  EXPECT_EQ(told[0].hint, "write 10G");
  EXPECT_THAT(problems_of("[repositories.disk]\noptions = {}\nlocation = \"\"\n"),
              ElementsAre(HasSubstr("c:3:12: the repository `disk` has no location")));
  EXPECT_THAT(problems_of(kRepository + "[jobs.a]\nvolumes = \"vg0/root\"\nkeep = { daily = 0 }\n"),
              ElementsAre(HasSubstr("`keep` keeps nothing")));
}

TEST(Config, wrong_values_are_told_each_once) {
  const auto told = problems_of(R"([repositories.disk]
location = "/srv"
password = "hunter2"
[defaults]
notify = { email = "-oQ/tmp", when = "sometimes" }
[jobs.a]
volumes = ["root", 5]
check-every = "soon"
hooks = { before-snapshot = "freeze", deadline = "0s" }
limits = { nice = -5 }
backup = { on-read-error = "ignore", raw = "yes" }
tags = "a,b"
[jobs.b]
volumes = "vg0/root"
repository = "disc"
)");
  EXPECT_THAT(
      told, ElementsAre(
                HasSubstr("c:3:12: a password does not belong"), HasSubstr("c:5:20: `-oQ/tmp` is no address"),
                HasSubstr("`when` must be one of failure, always"), HasSubstr("`root` is no volume"),
                HasSubstr("c:7:20: `volumes` must be a list of texts"), HasSubstr("`check-every` must be"),
                HasSubstr("before-snapshot without after-snapshot"), HasSubstr("`deadline` must be a time"),
                HasSubstr("`nice` must be a number from 0 to 19"), HasSubstr("must be one of fail, skip"),
                HasSubstr("`raw` must be true or false"), HasSubstr("`a,b` is no tag"),
                HasSubstr("there is no repository `disc` (did you mean `disk`?)")));
}

TEST(Config, jobs_that_write_over_each_others_files_are_told) {
  const std::string a = "[jobs.a]\nvolumes = \"vg0/a\"\n", b = "[jobs.b]\nvolumes = \"vg0/b\"\n";
  const auto shared = [](const std::string& text, const std::string& job = {}) {
    const Parsed parsed = parse(kRepository + text, "c", kVocabulary);
    EXPECT_THAT(parsed.problems, IsEmpty());
    return shared_files(parsed.config, job);
  };
  const std::string both = b + "report = \"/m\"\nmetrics = \"/x/./m\"\n" + a + "metrics = \"/x/m\"\n";
  EXPECT_THAT(shared(both), ElementsAre("the metrics of the job a and the metrics of the job b go to one file, /x/m: each hides "
                                        "how the other ended"));
  EXPECT_THAT(shared(a + "metrics = \"/x\"\nreport = \"/x\"\n"),
              ElementsAre(HasSubstr("the metrics of the job a and the report of the job a go to one file")));
  const std::string defaults = "[defaults]\nreport = \"/r\"\n", c = "[jobs.c]\nvolumes = \"vg0/c\"\nreport = \"/c\"\n";
  EXPECT_THAT(shared(defaults + a + b + c), ElementsAre(HasSubstr("job a and the report of the job b go to one file, /r")));
  EXPECT_EQ(shared(defaults + a + b + c, "b").size(), 1U);
  EXPECT_THAT(shared(defaults + a + b + c, "c"), IsEmpty());
  EXPECT_THAT(shared(defaults + a), IsEmpty());
}

TEST(Config, a_job_reads_no_part_that_is_always_the_same) {
  const std::string job = kRepository + "[jobs.a]\nvolumes = \"vg0/a\"\n";
  EXPECT_THAT(problems_of(job + "check = { read-data-subset = \"1/7\" }\n"),
              ElementsAre(AllOf(HasSubstr("c:5:30: "), HasSubstr("the same part each time"), HasSubstr("\"15%\""))));
  EXPECT_THAT(problems_of(kRepository + "[defaults.check]\nread-data-subset = \"1/7\"\n[jobs.a]\nvolumes = \"vg0/a\"\n"),
              ElementsAre(HasSubstr("c:4:20: ")));
  for (const char* good : {"15%", "10G"})
    EXPECT_THAT(problems_of(job + "check = { read-data-subset = \"" + good + "\" }\n"), IsEmpty());
}

TEST(Config, the_tags_of_jobs_are_theirs_alone) {
  for (const char* tag : {"job:s", " job:", "job:a"})
    EXPECT_THAT(problems_of(kRepository + "[jobs.a]\nvolumes = \"vg0/a\"\ntags = [\"x\", \"" + tag + "\"]\n"),
                ElementsAre(HasSubstr("c:5:8: `" + std::string(tag) + "` is a tag by which")));
  EXPECT_THAT(problems_of(kRepository + "[jobs.a]\nvolumes = \"vg0/a\"\ntags = \"my job:s\"\n"), IsEmpty());
}

TEST(Config, one_wrong_value_is_one_problem) {
  EXPECT_THAT(problems_of(kRepository + "[jobs.a]\nvolumes = \"vg0/a\"\nkeep = { daily = 7.0 }\n"),
              ElementsAre("c:5:18: `daily` must be a text or a whole number"));
}

TEST(Config, what_is_not_toml_is_told_with_line_and_column) {
  EXPECT_THAT(problems_of("[jobs.a]\nvolumes = [\n"), ElementsAre(HasSubstr("c:2:13:")));
  EXPECT_THAT(problems_of(std::string("a = \"\xff\x00\"", 8)), ElementsAre(HasSubstr("c:1:")));
}

TEST(Config, missing_parts_are_told) {
  EXPECT_THAT(problems_of("[jobs.a]\nvolumes = \"vg0/root\"\n"),
              ElementsAre(HasSubstr("names no repository")));
  EXPECT_THAT(problems_of(kRepository + "[jobs.a]\n"), ElementsAre(HasSubstr("names no volumes")));
  EXPECT_THAT(problems_of("[repositories.x]\n"), ElementsAre(HasSubstr("has no location")));
  EXPECT_THAT(problems_of(kRepository + "[jobs.\"a/../b\"]\nvolumes = \"vg0/root\"\n"),
              ElementsAre(HasSubstr("is no name for a job")));
}

TEST(Config, load_throws_the_first_problem) {
  EXPECT_THROW(load("/nonexistent/respaldo.toml", kVocabulary), Error);
}

TEST(Config, an_unknown_job_is_told_with_the_known_ones) {
  const Config config = parse(kGood, "c", kVocabulary).config;
  try {
    config.job("nigthly");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.hint(), HasSubstr("nightly, weekly"));
  }
}

TEST(SelectVolumes, patterns_choose_and_exclude) {
  Job job;
  job.name = "a";
  job.volumes = {"vg0/*", "vg1/data"};
  job.exclude = {"vg0/swap*"};
  const std::vector<std::string> names = {"vg0/root", "vg0/swap0", "vg0/home", "vg1/data", "vg1/tmp"};
  EXPECT_THAT(select_volumes(job, names), ElementsAre("vg0/root", "vg0/home", "vg1/data"));
  job.volumes = {"vg2/*"};
  EXPECT_THROW(select_volumes(job, names), Error);
  job.volumes = {"vg0/swap0"};
  EXPECT_THROW(select_volumes(job, names), Error);
}

TEST(VanishedVolumes, are_those_of_earlier_backups_that_nothing_explains) {
  Job job;
  job.exclude = {"vg0/swap*"};
  job.former_volumes = {"vg0/old", "vg0/ci-*"};
  const std::vector<std::string> found = {"vg0/root", "vg0/new"};
  EXPECT_THAT(vanished_volumes(job, {"vg0/root", "vg0/swap0", "vg0/old", "vg0/ci-7"}, found), IsEmpty());
  EXPECT_THAT(vanished_volumes(job, {"vg0/root", "vg0/home", "vg1/old", "vg0/home"}, found),
              ElementsAre("vg0/home", "vg1/old"));
}

TEST(Config, former_volumes_have_the_form_of_volumes_and_are_none) {
  const std::string job = kRepository + "[jobs.a]\nvolumes = [\"vg0/root\", \"vg0/*\"]\n";
  const Parsed parsed = parse(job + "former-volumes = [\"/dev/vg0/home\", \"vg0/ci-*\"]\n", "c", kVocabulary);
  ASSERT_THAT(parsed.problems, IsEmpty());
  EXPECT_THAT(parsed.config.job("a").former_volumes, ElementsAre("vg0/home", "vg0/ci-*"));
  EXPECT_THAT(problems_of(job + "former-volumes = [\"home\"]\n"),
              ElementsAre("c:5:18: `home` is no volume (write VG/LV, or VG/*)"));
  EXPECT_THAT(problems_of(job + "former-volumes = \"vg0/*\"\n"),
              ElementsAre(HasSubstr("c:5:18: `vg0/*` is one of `volumes`, too")));
  EXPECT_THAT(problems_of(kRepository + "[defaults]\nformer-volumes = \"vg0/old\"\n"), IsEmpty());
}

TEST(Duration, units_add_up) {
  EXPECT_EQ(try_parse_duration("90s"), seconds(90));
  EXPECT_EQ(try_parse_duration("1h30m"), seconds(5400));
  EXPECT_EQ(try_parse_duration("2w"), seconds(14 * 86400));
  for (const char* bad : {"", "5", "s", "1y", "-1s", "1.5h", "99999999999999999999d", "5s5"})
    EXPECT_FALSE(try_parse_duration(bad)) << bad;
}

}  // namespace
}  // namespace respaldo::config
