// Words in, words and exit codes out: help, wrong usage, no repository, wrong passwords.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/output_closed.h"
#include "cli/program_test.h"
#include "repo/lock.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(Program, without_words_shows_its_help) {
  const Outcome outcome = run({});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("Usage: respaldo"), HasSubstr("Examples:"), HasSubstr("Exit codes:")));
  for (const Command& command : commands()) EXPECT_THAT(outcome.out, HasSubstr(command.name));
}

TEST_F(Program, every_command_has_help_with_an_example) {
  for (const Command& command : commands()) {
    if (std::string_view(command.name) == "lvm") continue;  // its words are the verb's
    const Outcome outcome = run({command.name, "--help"});
    EXPECT_EQ(outcome.code, 0) << command.name;
    EXPECT_THAT(outcome.out, AllOf(HasSubstr("Example:\n  respaldo "), HasSubstr(command.name)))
        << command.name;
    EXPECT_THAT(outcome.err, IsEmpty());
  }
  EXPECT_THAT(run({"lvm", "help"}).out, AllOf(HasSubstr("lvcreate"), HasSubstr("Verbs:")));
  EXPECT_THAT(run({"lvm", "lvcreate", "--help"}).out, HasSubstr("-L|--size VALUE"));
}

TEST_F(Program, a_mistyped_command_is_recognised) {
  const Outcome outcome = run({"bakcup", "vg0/root"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("did you mean `backup`?"));
  EXPECT_THAT(run({"xyzzyq"}).err, AllOf(HasSubstr("there is no command `xyzzyq`"), Not(HasSubstr("did you mean")),
                                         HasSubstr("respaldo --help")));
  EXPECT_EQ(nlohmann::json::parse(run({"--json", "-r", "list", "xyzzyq"}).err)["message"], "there is no command `xyzzyq`");
}

TEST_F(Program, help_is_a_command_too) {
  EXPECT_THAT(run({"help"}).out, HasSubstr("Look into backups:"));
  EXPECT_THAT(run({"help", "backup"}).out, HasSubstr("--on-read-error"));
  EXPECT_EQ(run({"help", "lvm", "lvcreate"}).out, run({"lvm", "lvcreate", "--help"}).out);
  EXPECT_EQ(run({"help", "xyzzyq"}).code, 2);
}

TEST_F(Program, numbers_are_numbers) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"--limit-upload", "-5", "version"},
                                                {"--limit-download=-5", "version"},
                                                {"--limit-upload", "", "version"},
                                                {"--retry-lock", "-1", "version"}})
    EXPECT_EQ(run(words).code, 2) << words[0];
  EXPECT_THAT(run({"--retry-lock", "x", "version"}).err, HasSubstr("'x' is no number of seconds"));
  EXPECT_EQ(run({"--limit-upload", "5", "--retry-lock", "0", "version"}).code, 0);
}

TEST_F(Program, a_configuration_that_is_not_there_is_wrong_usage) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"run", "n"}, {"config", "check"}}) {
    std::vector<std::string> all = {"--config", path("none.toml")};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, 2) << words[0];
    EXPECT_THAT(outcome.err, HasSubstr("man respaldo.toml"));
  }
}

TEST_F(Program, unlock_tells_who_holds_what_is_left) {
  make_repository();
  const auto other = repo::Repository::open(store::open_location(repository()), "secret");
  const auto lock = repo::RepoLock::acquire(*other, repo::LockKind::shared);
  const auto told = must_json({"unlock"});
  EXPECT_EQ(told["left"], 1);
  EXPECT_EQ(told["owners"][0]["pid"], ::getpid());
  EXPECT_EQ(told["owners"][0]["exclusive"], false);
}

TEST_F(Program, whoever_takes_locks_away_writes) {
  make_repository();
  const Outcome outcome = respaldo({"--no-lock", "unlock"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--no-lock"));
}

TEST_F(Program, wrong_usage_says_where_help_is) {
  Outcome outcome = run({"list", "--no-such-option"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("--no-such-option"), HasSubstr("respaldo list --help")));
  outcome = run({"backup"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("volumes"));
}

TEST_F(Program, errors_are_events_with_json) {
  const Outcome outcome = run({"--json", "list"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.out, IsEmpty());
  const auto event = nlohmann::json::parse(outcome.err, nullptr, false);
  ASSERT_TRUE(event.is_object()) << outcome.err;
  EXPECT_EQ(event["event"], "error");
  EXPECT_EQ(event["kind"], "usage");
  EXPECT_EQ(event["message"], "no repository is given");
  EXPECT_EQ(event["exit_code"], 2);
}

TEST_F(Program, no_repository_is_exit_code_10_before_a_password_is_asked_for) {
  environment.clear();
  answers = {"never asked"};
  const Outcome outcome = respaldo({"list"});
  EXPECT_EQ(outcome.code, 10);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(repository()), HasSubstr("respaldo init")));
  EXPECT_THAT(asked, IsEmpty());
}

TEST_F(Program, a_wrong_password_is_exit_code_12) {
  make_repository();
  environment["RESPALDO_PASSWORD"] = "wrong";
  for (const char* command : {"list", "check", "key", "unlock"})
    EXPECT_EQ(respaldo({command}).code, 12) << command;
}

TEST_F(Program, passwords_come_from_file_command_environment_or_prompt) {
  make_repository();
  environment.clear();
  std::ofstream(path("password")) << "  secret\n";
  EXPECT_EQ(run({"-r", repository(), "--password-file", path("password"), "list"}).code, 0);
  EXPECT_EQ(run({"-r", repository(), "--password-command", "sh -c \"echo 'secret '\"", "list"}).code, 0);
  environment = {{"RESTIC_REPOSITORY", repository()}, {"RESTIC_PASSWORD_FILE", path("password")}};
  EXPECT_EQ(run({"list"}).code, 0);
  environment = {{"RESPALDO_REPOSITORY", repository()}, {"RESTIC_REPOSITORY", "/nowhere"}};
  answers = {"secret"};
  EXPECT_EQ(run({"list"}).code, 0);
  EXPECT_THAT(asked, HasSubstr("password"));
  const Outcome outcome = run({"list"});  // nobody to ask
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--password-file"));
  EXPECT_EQ(run({"--password-command", "false", "list"}).code, 2);
}

TEST_F(Program, a_password_file_is_named_for_what_it_is) {
  make_repository();
  std::ofstream(path("empty")) << "\n";
  Outcome outcome = run({"-r", repository(), "-p", path("empty"), "list"});
  EXPECT_EQ(outcome.code, 12);
  EXPECT_THAT(outcome.err, HasSubstr("the password is empty"));
  EXPECT_THAT(run({"-r", repository(), "-p", "/nosuch", "list"}).err, AllOf(HasSubstr("reading the password file"), HasSubstr("hint: --password-file")));
}

TEST_F(Program, values_that_are_no_values_are_refused) {
  make_repository();
  environment["RESPALDO_REPOSITORY"] = repository();
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"-r", "", "list"}, {"--repo=", "list"}, {"-p", "", "list"}, {"--password-command", "", "list"},
        {"check", "--threads", "99999"}, {"check", "--threads", "-1"}})
    EXPECT_EQ(run(words).code, 2) << words[0] << " " << words[1];
  EXPECT_EQ(run({"check", "--threads", "3"}).code, 0);
}

TEST_F(Program, nobody_is_told_that_a_list_was_cut_short) {
  make_repository();
  app::World world;
  world.arguments = {"-r", repository(), "list"};
  world.environment = [](const char* name) {
    return std::string_view(name) == "RESPALDO_PASSWORD" ? std::optional<std::string>("secret") : std::nullopt;
  };
  std::string told;
  world.out = [](std::string_view) { throw OutputClosed(os::system_error(EPIPE, "write", "standard output")); };
  world.err = [&](std::string_view text) { told += text; };
  EXPECT_EQ(cli::run(world), 1);
  EXPECT_EQ(told, "");
  world.arguments = {"-r", repository(), "forget", "--keep-last", "1"};
  EXPECT_EQ(cli::run(world), 1);
  EXPECT_THAT(told, HasSubstr("standard output"));
}

TEST_F(Program, doctor_looks_at_no_images) {
  const Outcome outcome = run({"--disk", make_image("disk.img", 1U << 20), "doctor"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("not at disk images"));
}

TEST_F(Program, init_makes_a_repository_once) {
  const Outcome made = respaldo({"--json", "init"});
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(nlohmann::json::parse(made.out)["version"], 2);
  const Outcome again = respaldo({"init"});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr("holds a repository already"));
  EXPECT_EQ(respaldo({"-q", "list"}).code, 0);
}

TEST_F(Program, init_refuses_passwords_that_are_empty_or_typed_differently) {
  environment.clear();
  answers = {"one", "other"};
  EXPECT_THAT(respaldo({"init"}).err, HasSubstr("differ"));
  std::ofstream(path("empty")) << "\n";
  const Outcome outcome = respaldo({"init", "--new-password-file", path("empty")});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("empty"));
  EXPECT_FALSE(std::filesystem::exists(repository() + "/config"));
}

TEST_F(Program, init_makes_no_repository_among_other_files) {
  namespace fs = std::filesystem;
  fs::create_directories(repository() + "/lost+found");
  std::ofstream(repository() + "/letter.txt") << "dear";
  const Outcome outcome = respaldo({"init"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("holds other files, such as letter.txt"), HasSubstr(repository() + "/repository")));
  fs::remove(repository() + "/letter.txt");
  // Of an init that was cut off.
  fs::create_directories(repository() + "/data/00");
  fs::create_directories(repository() + "/keys");
  std::ofstream(repository() + "/config-tmp-abc") << "";
  EXPECT_THAT(must({"init"}), HasSubstr("made repository"));

  std::ofstream(path("srv.img")) << "";
  const Outcome file = run({"-r", path("srv.img"), "init"});
  EXPECT_EQ(file.code, 1);
  EXPECT_THAT(file.err, HasSubstr("srv.img is there, and is no folder"));
}

TEST_F(Program, keys_are_added_changed_and_removed) {
  make_repository();
  std::ofstream(path("second")) << "second";
  std::ofstream(path("third")) << "third";
  std::ofstream(path("empty")) << "";
  const auto adding = must_json({"key", "add", "--new-password-file", path("second")});
  EXPECT_EQ(adding["action"], "add");
  const std::string added = adding["id"];
  EXPECT_EQ(respaldo({"key", "add", "--new-password-file", path("empty")}).code, 2);
  EXPECT_EQ(respaldo({"key", "passwd", "--new-password-file", path("empty")}).code, 2);
  auto keys = must_json({"key", "list"});
  ASSERT_EQ(keys.size(), 2);
  std::string current;
  for (const auto& key : keys)
    if (key["current"]) current = key["id"];
  EXPECT_NE(current, added);
  EXPECT_THAT(must({"key"}), HasSubstr("* " + current.substr(0, 8)));

  EXPECT_EQ(respaldo({"key", "remove", current}).code, 1);  // the one in use
  EXPECT_EQ(respaldo({"key", "remove", "ffffffffffff"}).code, 1);
  for (const std::vector<std::string>& words : {std::vector<std::string>{"key", "remove", ""},
                                                {"key", "remove"},
                                                {"key", "passwd", current, "--new-password-file", path("third")},
                                                {"key", "add", current, "--new-password-file", path("third")},
                                                {"key", "list", current}})
    EXPECT_EQ(respaldo(words).code, 2) << words[1];
  EXPECT_EQ(must_json({"key", "list"}).size(), 2);
  environment["RESPALDO_PASSWORD"] = "second";
  must({"key", "remove", current});
  must({"key", "passwd", "--new-password-file", path("third")});
  EXPECT_EQ(respaldo({"list"}).code, 12);
  environment["RESPALDO_PASSWORD"] = "third";
  EXPECT_EQ(must_json({"key"}).size(), 1);
}

TEST_F(Program, a_locked_repository_is_exit_code_11_until_it_is_unlocked) {
  make_repository();
  const auto repository_ = repo::Repository::open(store::open_location(repository()), "secret");
  const auto lock = repo::RepoLock::acquire(*repository_, repo::LockKind::exclusive);
  for (const std::vector<std::string>& words : {std::vector<std::string>{"check"},
                                                {"key", "remove", "00"},
                                                {"restore", "latest", "--to-file", path("x")}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 11) << words[0];
    EXPECT_THAT(outcome.err, HasSubstr(std::to_string(::getpid())));
  }
  EXPECT_EQ(respaldo({"list"}).code, 0);  // looking needs no lock
  // Its owner lives: only --remove-all takes it.
  auto told = must_json({"unlock"});
  EXPECT_EQ(told["removed"], 0);
  EXPECT_EQ(told["left"], 1);
  EXPECT_THAT(must({"unlock"}), HasSubstr("may still be at work"));
  told = must_json({"unlock", "--remove-all"});
  EXPECT_EQ(told["removed"], 1);
  EXPECT_EQ(respaldo({"check"}).code, 0);
}

// A disk that the kernel made read-only, or that is full: nothing can be made in /sys, not even by root.
TEST_F(ProgramWithDisk, what_only_reads_goes_on_where_no_lock_can_be_saved) {
  must({"backup", "vg0/root"});
  std::filesystem::remove(repository() + "/locks");
  std::filesystem::create_directory_symlink("/sys", repository() + "/locks");
  const std::vector<std::vector<std::string>> readers = {
      {"restore", "latest", "--to-file", path("x"), "--yes"}, {"export", "latest", "--raw", "-"},
      {"drill", "--scratch", path("")},                       {"check"},
      {"check", "--device", "vg0/root"}};
  for (const auto& words : readers) {
    Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 0) << words[0] << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("warning: reading without a lock")) << words[0];
    std::vector<std::string> silent = words;
    silent.insert(silent.begin(), "--no-lock");
    outcome = respaldo(silent);
    EXPECT_EQ(outcome.code, 0) << words[0] << outcome.err;
    EXPECT_THAT(outcome.err, Not(HasSubstr("without a lock"))) << words[0];
  }
  EXPECT_TRUE(same(contents(path("x")), image_));
  const std::string target = path("target");
  const Outcome made = run({"-r", target, "init"});
  EXPECT_EQ(made.code, 0) << made.err;
  environment["RESPALDO_FROM_PASSWORD"] = "secret";
  const Outcome copied = run({"-r", target, "--no-lock", "copy", "--from-repo", repository()});
  EXPECT_EQ(copied.code, 0) << copied.err;

  EXPECT_EQ(respaldo({"backup", "vg0/root"}).code, 1);
  EXPECT_EQ(respaldo({"prune"}).code, 1);
  const Outcome refused = respaldo({"--no-lock", "forget", "latest"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("only read"));
}

TEST_F(Program, the_configuration_is_judged_by_the_parsers_of_the_commands) {
  const std::string file = path("respaldo.toml");
  std::ofstream(file) << R"([repositories.disk]
location = "/srv"
[jobs.night]
volumes = "vg0/root"
disks = ["nosuch.img"]
metrics = "relative.prom"
keep = { within = "7x", last = "some" }
backup = { cow = "bad", threads = "many", pack-size = "1", keep-free = "x" }
check = { read-data-subset = "9/3" }
prune = { max-unused = "foo", pack-size = "1" }
)";
  auto told = nlohmann::json::parse(run({"--json", "--config", file, "config", "check"}).out);
  EXPECT_FALSE(told["ok"]);
  std::map<unsigned, unsigned> lines;
  for (const auto& problem : told["problems"]) ++lines[problem["line"].get<unsigned>()];
  EXPECT_EQ(lines, (std::map<unsigned, unsigned>{{7, 2}, {8, 4}, {9, 1}, {10, 2}})) << told;

  std::ofstream(file) << R"([repositories.disk]
location = "backups"
password-file = "key"
[jobs.night]
volumes = "vg0/root"
former-volumes = "vg0/old"
disks = ["nosuch.img"]
metrics = "relative.prom"
keep = { within = "7d", last = "unlimited", tag = "gold" }
backup = { cow = "auto", threads = 2, pack-size = "32M", keep-free = "1G", min-pool-free = "5%" }
check = { read-data-subset = "67%" }
prune = { max-unused = "unlimited" }
)";
  told = nlohmann::json::parse(run({"--json", "--config", file, "config", "check"}).out);
  EXPECT_TRUE(told["ok"]) << told;
  const std::string warnings = told["warnings"].dump();
  EXPECT_THAT(warnings, AllOf(HasSubstr("there is no nosuch.img"), HasSubstr("relative.prom depends on the folder"),
                              HasSubstr("backups depends on the folder"), HasSubstr("key depends on the folder")));
  const auto shown = nlohmann::json::parse(run({"--json", "--config", file, "config", "show"}).out);
  EXPECT_EQ(shown["jobs"]["night"]["former-volumes"], (nlohmann::json{"vg0/old"}));
}

TEST_F(Program, options_of_the_configuration_that_do_not_go_together_are_told) {
  const std::string file = path("respaldo.toml");
  const auto problems = [&](const std::string& line) {
    std::ofstream(file) << "[repositories.disk]\nlocation = \"/srv\"\n[jobs.night]\nvolumes = \"vg0/root\"\n" << line << "\n";
    const auto told = nlohmann::json::parse(run({"--json", "--config", file, "config", "check"}).out)["problems"];
    EXPECT_LE(told.size(), 1U) << told;
    return told.empty() ? "" : fmt::format("{}: {}", told[0]["line"].get<int>(), told[0]["message"].get<std::string>());
  };
  EXPECT_THAT(problems("backup = { mount = true, no-mount = true }"), AllOf(StartsWith("5: `backup`: "), HasSubstr("--mount")));
  EXPECT_THAT(problems("backup = { cow = [\"10M\", \"20M\"] }"), AllOf(StartsWith("5: `backup`: "), HasSubstr("--cow")));
  EXPECT_THAT(problems("prune = { max-unused = [\"5%\", \"6%\"] }"), AllOf(StartsWith("5: `prune`: "), HasSubstr("--max-unused")));
  EXPECT_THAT(problems("backup = { help = true }"), StartsWith("5: `backup` has no key `help`"));
  EXPECT_EQ(problems("keep = { within = \"0d\" }"), "5: `keep` keeps nothing");
  EXPECT_EQ(problems("keep = { within = \"0y0m\", last = 0 }"), "5: `keep` keeps nothing");
  for (const char* line : {"backup = { mount = true, cow = \"10M\", quick = true }", "keep = { tag = [\"0\", \"gold\"] }",
                           "keep = { last = \"unlimited\" }", "keep = { within = \"10d\" }", "check = { read-data = true }",
                           "prune = { max-unused = \"5%\" }"})
    EXPECT_EQ(problems(line), "");
}

TEST_F(Program, a_value_that_cannot_be_right_is_refused_before_anything_is_opened) {
  const Outcome outcome = respaldo({"backup", "vg0/root", "--cow", "0"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("--cow"), HasSubstr("hint: ")));
}

TEST_F(Program, options_of_which_one_would_do_nothing_are_refused) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"check", "--repair", "--device", "vg0/root"},
                                                {"check", "--read-data", "--device", "vg0/root"},
                                                {"check", "--read-data-subset", "1/2", "--device", "vg0/root"},
                                                {"check", "--read-data-subset", "1/2", "--read-data"},
                                                {"backup", "vg0/root", "--full", "--quick"},
                                                {"backup", "vg0/root", "--raw", "--quick"},
                                                {"backup", "vg0/root", "--raw", "--mount"},
                                                {"forget", "latest", "--max-repack-size", "0"},
                                                {"forget", "latest", "--repack-uncompressed"},
                                                {"repair", "index", "--host", "web"},
                                                {"repair", "packs", "00", "--forget"},
                                                {"repair", "snapshots", "--read-all-packs"}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 2) << words[0] << " " << words[1] << ": " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("--")) << words[0];
  }
}

TEST_F(Program, version_is_told) {
  EXPECT_THAT(run({"version"}).out, StartsWith("respaldo "));
  EXPECT_EQ(nlohmann::json::parse(run({"--json", "version"}).out)["version"], app::kVersion);
}

}  // namespace
}  // namespace respaldo::cli
