// The configuration, /etc/respaldo/respaldo.toml: repositories, and jobs that `respaldo run` does. TOML 1.0,
// read by toml++; docs/configuration.md describes every key.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace respaldo::config {

inline constexpr const char* kDefaultFile = "/etc/respaldo/respaldo.toml";

using Argv = std::vector<std::string>;  // a program and its arguments, run without a shell; empty: none

// The long options that each command takes, without dashes; "" has the common ones. From the program's own
// parser, so that the configuration knows every option that the command line knows.
struct OptionShape {
  bool takes_value = false;
  std::vector<std::string> choices;  // empty: any value
  // Error for a value that the command would refuse; may be empty.
  std::function<void(const std::string&)> check{};
};
struct Vocabulary {
  std::map<std::string, std::map<std::string, OptionShape>> commands;
  // Error for options, as on the command line, that the command would refuse together; may be empty.
  std::function<void(const std::string& command, const std::vector<std::string>& options)> judge{};
};

struct Repository {
  std::string name, location;
  std::string password_file;
  Argv password_command;
  std::vector<std::string> options;  // common options, as on the command line
};

struct Hooks {
  Argv before_snapshot, after_snapshot, success, failure;
  std::chrono::seconds deadline{60};  // of each hook; past it it is killed and has failed
  std::chrono::seconds thaw_after{
      60};  // from the end of before_snapshot: past it after_snapshot is run at once
};

struct Limits {
  std::optional<int> nice;                       // 0 to 19
  std::string io_priority;                       // "idle", "best-effort", or empty: as it is
  std::optional<std::chrono::seconds> deadline;  // of the whole job
};

struct Notify {
  std::string email;  // addresses for sendmail, separated by commas
  Argv command;
  bool always = false;  // not only when something failed
  bool wanted() const { return !email.empty() || !command.empty(); }
};

struct Job {
  std::string name, repository;
  // "VG/LV", with * and ? and [...] in either part. Former: gone for good, as the user confirmed.
  std::vector<std::string> volumes, exclude, former_volumes;
  std::vector<std::string> disks, tags;
  // Options of the commands that the job is made of, as on the command line ("--cow=10G").
  std::vector<std::string> backup, keep, prune, check;
  // Absent: never; 0: every time. From the start of the last job in which it went well.
  std::optional<std::chrono::seconds> prune_every, check_every;
  Hooks hooks;
  Limits limits;
  Notify notify;
  std::string metrics, report;  // files; empty: none
};

struct Config {
  std::string file;
  std::map<std::string, Repository> repositories;
  std::map<std::string, Job> jobs;
  // Error(usage) that lists what there is.
  const Job& job(const std::string& name) const;
  const Repository& repository_of(const Job& job) const { return repositories.at(job.repository); }
};

struct Problem {
  unsigned line = 0, column = 0;  // from 1; 0: of the file as a whole
  std::string message, hint;
  std::string text(const std::string& file) const;  // "FILE:LINE:COLUMN: message"
};

struct Parsed {
  Config config;
  std::vector<Problem> problems;  // in the order of the file; empty: the configuration is right
};

// Never throws for what is in the text.
Parsed parse(std::string_view text, const std::string& file, const Vocabulary& vocabulary);
// Reads the file. Error(usage) with the first problem, or without the file.
Config load(const std::string& file, const Vocabulary& vocabulary);
std::string read_file(const std::string& file);  // Error(usage) with what to do

// Metrics and reports that go to the same file, for people: each would hide how the other ended. `job`: its own alone; empty: all.
std::vector<std::string> shared_files(const Config& config, const std::string& job = {});

// The names (VG/LV) that a job's patterns select, in their order, none twice. Error(not_found) for a pattern
// that selects nothing.
std::vector<std::string> select_volumes(const Job& job, const std::vector<std::string>& names);
// Those of the job's earlier backups that it does not select any more, though they are neither excluded nor
// former ones; sorted, none twice. A pattern that still selects others says nothing about them.
std::vector<std::string> vanished_volumes(const Job& job, const std::vector<std::string>& earlier,
                                          const std::vector<std::string>& selected);

// "90s", "5m", "12h", "7d", "2w", "1h30m". Absent when malformed.
std::optional<std::chrono::seconds> try_parse_duration(std::string_view text);

}  // namespace respaldo::config
