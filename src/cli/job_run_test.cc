// Jobs, from the configuration to the last word about them: what they say is what happened, and nothing old
// goes unnoticed.
#include <cmath>
#include <thread>

#include "cli/program_test.h"
#include "repo/lock.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class JobRun : public ProgramWithDisk {
 protected:
  JobRun() {
    environment["RESPALDO_CONFIG"] = path("respaldo.toml");
    std::ofstream(path("password")) << "secret\n";
    std::ofstream(path("tell")) << "#!/bin/sh\n{ echo \"$RESPALDO_SUBJECT\"; cat; } >>'" << path("told")
                                << "'\n";
    std::filesystem::permissions(path("tell"), std::filesystem::perms::owner_all);
    configure("");
  }

  // The job `n`, with further lines.
  void configure(const std::string& more) {
    std::ofstream file(path("respaldo.toml"));
    file << "[repositories.disk]\nlocation = \"" << repository() << "\"\npassword-file = \""
         << path("password") << "\"\n[jobs.n]\nvolumes = [\"vg0/*\"]\ndisks = [\"" << disks[0]
         << "\"]\ncheck-every = \"never\"\n"
         << "keep = { last = 2 }\nprune-every = \"always\"\nnotify = { command = [\"" << path("tell")
         << "\"] }\n"
         << more;
  }
  Outcome night() {
    std::filesystem::remove(path("told"));
    return run({"run", "n"});
  }
  std::string text(const std::string& name) const {
    return std::filesystem::exists(path(name)) ? os::read_text(path(name)) : "";
  }
  std::string must_run(std::vector<std::string> words) {
    const Outcome outcome = run(std::move(words));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.out;
  }
  nlohmann::json report() const { return nlohmann::json::parse(text("report.json"), nullptr, false); }
  // How many backups hold the volume.
  int held(const std::string& volume) {
    return static_cast<int>(must_json({"list", "--volume", volume}).size());
  }
  void remove_home() { must({"-q", "lvm", "lvremove", "-y", "vg0/home"}); }
  static std::vector<std::string> steps_of(const nlohmann::json& report) {
    std::vector<std::string> steps;
    for (const auto& step : report["steps"])
      steps.push_back(step["step"].get<std::string>() + " " + step["outcome"].get<std::string>());
    return steps;
  }
};

TEST_F(JobRun, a_stop_between_two_steps_is_no_success) {
  configure("report = \"" + path("report.json") + "\"\n");
  stop_at = "backup: ";
  const Outcome outcome = night();
  EXPECT_EQ(outcome.code, 130) << outcome.out << outcome.err;
  EXPECT_THAT(steps_of(report()), ElementsAre("backup done", "forget failed", "prune skipped"));
  EXPECT_THAT(text("told"), HasSubstr("not begun: interrupted"));
}

TEST_F(JobRun, a_password_command_that_hangs_takes_no_longer_than_the_job_may) {
  configure("report = \"" + path("report.json") + "\"\nlimits = { deadline = \"1s\" }\n");
  std::string toml = text("respaldo.toml");
  toml.replace(toml.find("password-file"), toml.find("\n", toml.find("password-file")) - toml.find("password-file"),
               "password-command = \"sleep 1000\"");
  std::ofstream(path("respaldo.toml")) << toml;
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(night().code, 1);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(60));
  EXPECT_EQ(report()["exit_code"], 1);
  EXPECT_THAT(text("told"), HasSubstr("the job has had its time"));
}

TEST_F(JobRun, its_duration_is_measured_as_that_of_its_steps) {
  configure("report = \"" + path("report.json") + "\"\n");
  EXPECT_EQ(night().code, 0);
  double steps = 0;
  for (const auto& step : report()["steps"]) steps += step["seconds"].get<double>();
  const double seconds = report()["seconds"];
  EXPECT_GE(seconds, steps);
  // The difference of two times of day has none.
  EXPECT_NE(seconds, std::floor(seconds));
}

TEST_F(JobRun, metrics_that_cannot_be_written_are_told_and_the_report_says_so) {
  configure("metrics = \"" + path("missing/n.prom") + "\"\nreport = \"" + path("report.json") + "\"\n");
  EXPECT_EQ(night().code, 1);
  EXPECT_THAT(text("told"), AllOf(HasSubstr("FAILED: the metrics"), HasSubstr("exit code 1")));
  EXPECT_EQ(report()["exit_code"], 1);
  EXPECT_THAT(text("state/jobs/n.json"), Not(HasSubstr("last_success")));
}

TEST_F(JobRun, a_report_that_cannot_be_written_is_told_and_the_metrics_say_so) {
  configure("metrics = \"" + path("n.prom") + "\"\nreport = \"" + path("missing/report.json") + "\"\n");
  const Outcome outcome = night();
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(text("told"), HasSubstr("FAILED: the report"));
  EXPECT_THAT(text("n.prom"), AllOf(HasSubstr("respaldo_job_exit_code{job=\"n\"} 1\n"),
                                    Not(HasSubstr("respaldo_job_last_success"))));
  EXPECT_THAT(text("state/jobs/n.json"), Not(HasSubstr("last_success")));
  // Told once, though the others were written again.
  const std::size_t first = outcome.err.find("the report: FAILED");
  ASSERT_NE(first, std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find("the report: FAILED", first + 1), std::string::npos) << outcome.err;
}

TEST_F(JobRun, a_state_that_cannot_be_written_is_told) {
  configure("metrics = \"" + path("n.prom") + "\"\nreport = \"" + path("report.json") + "\"\n");
  EXPECT_EQ(night().code, 0);
  std::filesystem::remove(path("state/jobs/n.json"));
  std::filesystem::create_directories(path("state/jobs/n.json/in the way"));
  EXPECT_EQ(night().code, 1);
  EXPECT_THAT(text("told"), HasSubstr("FAILED: the job's state"));
  EXPECT_EQ(report()["exit_code"], 1);
  EXPECT_THAT(text("n.prom"), HasSubstr("respaldo_job_exit_code{job=\"n\"} 1\n"));
}

TEST_F(JobRun, a_state_folder_that_is_none_is_told) {
  std::ofstream(path("state")) << "in the way";
  configure("report = \"" + path("report.json") + "\"\n");
  EXPECT_EQ(night().code, 1);
  EXPECT_THAT(text("told"), AllOf(HasSubstr("FAILED: the job's state"), HasSubstr("$RESPALDO_STATE")));
  EXPECT_EQ(report()["exit_code"], 1);
}

TEST_F(JobRun, a_message_that_cannot_be_sent_is_in_the_report) {
  configure("metrics = \"" + path("n.prom") + "\"\nreport = \"" + path("report.json") + "\"\n");
  std::string toml = text("respaldo.toml");
  toml.replace(toml.find("notify"), toml.find("\n", toml.find("notify")) - toml.find("notify"),
               "notify = { command = \"false\", when = \"always\" }");
  std::ofstream(path("respaldo.toml")) << toml;
  EXPECT_EQ(night().code, 1);
  EXPECT_EQ(report()["exit_code"], 1);
  EXPECT_THAT(text("n.prom"), HasSubstr("respaldo_job_exit_code{job=\"n\"} 1\n"));
}

TEST_F(JobRun, a_volume_that_vanished_is_told_every_night_and_its_last_backups_stay) {
  configure("report = \"" + path("report.json") + "\"\nmetrics = \"" + path("n.prom") + "\"\n");
  EXPECT_EQ(night().code, 0);
  EXPECT_EQ(night().code, 0);
  EXPECT_EQ(night().code, 0);
  EXPECT_THAT(steps_of(report()), ElementsAre("backup done", "forget done", "prune done"));
  EXPECT_EQ(held("vg0/home"), 2);
  remove_home();
  for (int nights = 1; nights <= 3; ++nights) {
    const Outcome outcome = night();
    EXPECT_EQ(outcome.code, 3);
    EXPECT_THAT(steps_of(report()), ElementsAre("backup done", "volumes incomplete", "forget skipped"));
    for (const std::string& said : {outcome.err, text("told")})
      EXPECT_THAT(said,
                  AllOf(HasSubstr("vg0/home"), Not(HasSubstr("vg0/root, vg0/home")), HasSubstr("[jobs.n]"),
                        HasSubstr(path("respaldo.toml")), HasSubstr("former-volumes = [\"vg0/home\"]")));
    EXPECT_THAT(text("told"), HasSubstr("INCOMPLETE"));
    EXPECT_THAT(text("n.prom"), HasSubstr("respaldo_job_exit_code{job=\"n\"} 3\n"));
    EXPECT_EQ(report()["exit_code"], 3);
    EXPECT_EQ(held("vg0/home"), 2);
    EXPECT_EQ(held("vg0/root"), 2 + nights);
  }
  // The line that the message names ends it, and retention goes on.
  configure("report = \"" + path("report.json") + "\"\nformer-volumes = [\"vg0/home\"]\n");
  EXPECT_EQ(night().code, 0);
  EXPECT_THAT(steps_of(report()), ElementsAre("backup done", "forget done", "prune done"));
  EXPECT_THAT(text("told"), IsEmpty());
  EXPECT_EQ(held("vg0/home"), 0);
}

TEST_F(JobRun, a_volume_that_vanished_is_told_without_retention_too) {
  configure("");
  std::string toml = text("respaldo.toml");
  toml.replace(toml.find("keep"), toml.find("\n", toml.find("keep")) - toml.find("keep"), "");
  std::ofstream(path("respaldo.toml")) << toml;
  EXPECT_EQ(night().code, 0);
  remove_home();
  EXPECT_EQ(night().code, 3);
  EXPECT_THAT(text("told"), HasSubstr("former-volumes"));
}

TEST_F(JobRun, whoever_forgets_the_backups_of_a_vanished_volume_has_confirmed_it) {
  EXPECT_EQ(night().code, 0);
  const std::string old = must_json({"list"}).at(0)["id"];
  remove_home();
  EXPECT_EQ(night().code, 3);
  must({"-q", "forget", old});
  EXPECT_EQ(night().code, 0);
}

TEST_F(JobRun, a_volume_that_is_excluded_has_not_vanished) {
  EXPECT_EQ(night().code, 0);
  configure("exclude = [\"vg0/ho*\"]\n");
  EXPECT_EQ(night().code, 0);
  remove_home();
  EXPECT_EQ(night().code, 0);
}

TEST_F(JobRun, a_volume_that_no_pattern_finds_any_more_is_told_though_it_is_there) {
  EXPECT_EQ(night().code, 0);
  std::string toml = text("respaldo.toml");
  toml.replace(toml.find("vg0/*"), 5, "vg0/r*");
  std::ofstream(path("respaldo.toml")) << toml;
  EXPECT_EQ(night().code, 3);
  EXPECT_THAT(text("told"), HasSubstr("former-volumes = [\"vg0/home\"]"));
}

TEST_F(JobRun, backups_of_others_say_nothing_about_a_job) {
  must({"-q", "backup", "vg0/home", "--tag", "job:n", "--host", "elsewhere"});
  must({"-q", "backup", "vg0/home", "--tag", "job:other"});
  remove_home();
  EXPECT_EQ(night().code, 0);
}

TEST_F(JobRun, a_former_volume_that_came_back_is_a_warning) {
  configure("report = \"" + path("report.json") + "\"\nformer-volumes = \"vg0/home\"\n");
  const Outcome outcome = night();
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("warning: "), HasSubstr("vg0/home"), HasSubstr("former-volumes")));
  EXPECT_EQ(held("vg0/home"), 1);
}

TEST_F(JobRun, an_incomplete_backup_is_told_with_what_it_lacks) {
  std::ofstream(path("failed")) << "#!/bin/sh\necho \"$RESPALDO_ERROR\" >'" << path("error") << "'\n";
  std::filesystem::permissions(path("failed"), std::filesystem::perms::owner_all);
  configure("report = \"" + path("report.json") + "\"\nbackup = { on-read-error = \"skip\" }\nhooks = { failure = \"" +
            path("failed") + "\" }\n");
  std::filesystem::resize_file(disks[0], 10U << 20);
  const Outcome outcome = night();
  EXPECT_EQ(outcome.code, 3);
  const auto what = AllOf(HasSubstr("vg0/root: 3.00 MiB in 1 range are lost"), HasSubstr("vg0/home: 4.00 MiB"));
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("INCOMPLETE: "), what));
  EXPECT_THAT(text("told"), AllOf(what, HasSubstr("warning: vg0/home: 4.00 MiB at byte 0 could not be read")));
  EXPECT_THAT(text("error"), what);
  EXPECT_THAT(report()["steps"][0]["result"]["missing"][0], HasSubstr("vg0/"));
}

TEST_F(JobRun, a_plan_and_the_configuration_show_no_passwords) {
  std::ofstream(path("respaldo.toml"))
      << "[repositories.far]\nlocation = \"rest:http://me:TOPSECRET@host:8000/\"\n"
      << "password-command = [\"/bin/vault\", \"--token\", \"HIDDEN\"]\n[jobs.n]\nvolumes = [\"vg0/*\"]\ndisks = [\""
      << disks[0] << "\"]\nkeep = { last = 2 }\n";
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"run", "n", "--dry-run"}, {"--json", "run", "n", "--dry-run"}, {"config", "show"}}) {
    const std::string out = must_run(words);
    EXPECT_THAT(out, AllOf(Not(HasSubstr("TOPSECRET")), Not(HasSubstr("HIDDEN")), HasSubstr("rest:http://me:***@host"),
                           HasSubstr("/bin/vault"), HasSubstr("...")));
  }
}

// Another night on the same repository.
TEST_F(JobRun, a_job_waits_for_others_to_be_done) {
  const auto other = repo::Repository::open(store::open_location(repository()), "secret");
  auto lock = repo::RepoLock::acquire(*other, repo::LockKind::exclusive);
  const std::jthread night_ends([&lock] {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    lock.reset();
  });
  EXPECT_EQ(night().code, 0);
}

TEST_F(JobRun, waiting_for_others_is_bounded) {
  const auto plan = [this](const std::string& more) {
    configure(more);
    return must_run({"run", "n", "--dry-run"});
  };
  EXPECT_THAT(plan(""), AllOf(HasSubstr("--retry-lock=7200 --repo="), HasSubstr(" backup "), HasSubstr(" forget ")));
  EXPECT_THAT(plan("limits = { deadline = \"100s\" }\n"), HasSubstr("--retry-lock=90 "));
  std::string toml = text("respaldo.toml");
  toml.replace(toml.find("[jobs.n]"), 0, "options = { retry-lock = 5 }\n");
  std::ofstream(path("respaldo.toml")) << toml;
  EXPECT_THAT(must_run({"run", "n", "--dry-run"}), AllOf(HasSubstr("--retry-lock=5 "), Not(HasSubstr("--retry-lock=90"))));
}

// The timer starts jobs at some time within 45 minutes.
TEST_F(JobRun, what_is_to_be_done_every_day_is_done_every_night) {
  std::string toml = text("respaldo.toml");
  toml.replace(toml.find("\"never\""), 7, "\"1d\"");
  std::ofstream(path("respaldo.toml")) << toml;
  const auto due = [this](std::int64_t age) {
    std::filesystem::create_directories(path("state/jobs"));
    std::ofstream(path("state/jobs/n.json")) << nlohmann::json{{"last_check", repo::now().seconds - age}};
    return must_run({"run", "n", "--dry-run"}).find(" check") != std::string::npos;
  };
  constexpr std::int64_t kHour = 3600;
  EXPECT_TRUE(due(23 * kHour));
  EXPECT_TRUE(due(21 * kHour + 1));
  EXPECT_FALSE(due(20 * kHour));
  EXPECT_FALSE(due(12 * kHour));
}

TEST_F(JobRun, a_check_is_as_old_as_its_job) {
  configure("report = \"" + path("report.json") + "\"\n");
  std::string toml = text("respaldo.toml");
  toml.replace(toml.find("\"never\""), 7, "\"1d\"");
  std::ofstream(path("respaldo.toml")) << toml;
  std::ofstream(path("slow")) << "#!/bin/sh\nsleep 2\n";
  std::filesystem::permissions(path("slow"), std::filesystem::perms::owner_all);
  std::ofstream(path("respaldo.toml"), std::ios::app)
      << "hooks = { before-snapshot = \"" << path("slow") << "\", after-snapshot = \"true\" }\n";
  EXPECT_EQ(night().code, 0);
  const auto state = nlohmann::json::parse(text("state/jobs/n.json"));
  EXPECT_EQ(state["last_check"], report()["started"]);
  EXPECT_EQ(state["last_prune"], report()["started"]);
}

TEST_F(JobRun, a_stop_after_the_backup_is_listed_is_told_as_one) {
  configure("report = \"" + path("report.json") + "\"\nbackup = { verify = true }\n");
  stop_at = "\"event\":\"begin\",\"phase\":\"verify on the medium\"";
  stop_at_time = 2;
  EXPECT_EQ(run({"--json", "run", "n"}).code, 130);
  EXPECT_THAT(steps_of(report()), ElementsAre("backup done", "forget failed", "prune skipped"));
}

TEST_F(JobRun, earlier_backups_that_cannot_be_read_keep_retention_from_its_work) {
  configure("report = \"" + path("report.json") + "\"\n");
  EXPECT_EQ(night().code, 0);
  for (const auto& entry : std::filesystem::directory_iterator(repository() + "/snapshots")) {
    std::filesystem::permissions(entry, std::filesystem::perms::owner_all);
    std::filesystem::resize_file(entry, entry.file_size() - 1);
  }
  EXPECT_EQ(night().code, 20);
  EXPECT_THAT(steps_of(report()), ElementsAre("backup done", "volumes failed", "forget skipped"));
  EXPECT_THAT(text("told"), HasSubstr("FAILED: volumes"));
}

}  // namespace
}  // namespace respaldo::cli
