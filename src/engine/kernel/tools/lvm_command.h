// lvm2's commands. Everything that is said to lvm2 goes through here: no shell, C locale, a deadline for each
// command, lvm2's complaints as Errors of a kind.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "engine/kernel/tools/lvm_rows.h"
#include "os/command_runner.h"

namespace respaldo::engine {

// The oldest lvm2 that has JSON reports.
inline constexpr std::string_view kOldestLvm2 = "2.02.158";

// Const methods are thread-safe when the runner is. Errors: not_found (lvm2 is missing, or knows no such
// group or volume), unsupported (lvm2 is too old), refused (not root), busy (another command holds the
// group's lock past the deadline; a volume is open), no_space (no free extents), io (anything else, in lvm2's
// words).
class LvmCommand {
 public:
  // `runner` must outlive it. `patience` is how long a command may take, waiting for locks included.
  explicit LvmCommand(os::CommandRunner& runner,
                      std::chrono::milliseconds patience = std::chrono::seconds(60))
      : runner_(runner), patience_(patience) {}

  template <class Row>
  struct Report {
    std::vector<Row> rows;
    std::vector<std::string> warnings;  // "WARNING: ..." of lvm2, without that word
  };
  // Everything, hidden volumes included; or only what the words name ("vg0", "vg0/root", "--select", "...").
  Report<LvRow> lvs(const std::vector<std::string>& words = {}, std::stop_token stop = {}) const;
  Report<VgRow> vgs(const std::vector<std::string>& words = {}, std::stop_token stop = {}) const;
  Report<PvRow> pvs(const std::vector<std::string>& words = {}, std::stop_token stop = {}) const;

  // Everything, as it was told a moment ago (kMoment at most), by lvs() or vgs(), too, if nothing has been changed from here
  // since: each question costs lvm2 a look at every disk. For the steps that follow a look; whoever has waited, or
  // compares, asks anew. After taking a lock: forget().
  Report<LvRow> lvs_lately(std::stop_token stop = {}) const;
  Report<VgRow> vgs_lately(std::stop_token stop = {}) const;
  void forget() const { ++changes_; }
  static constexpr std::chrono::milliseconds kMoment{1000};

  // A command that changes something: {"lvcreate", "-s", ...}. Never killed: past the deadline, or when
  // stopped, it is interrupted, which ends its waiting for a lock but not what it has begun. Returns what it
  // printed.
  std::string change(const std::vector<std::string>& words, std::stop_token stop = {}) const;
  // A command that only reads and prints, such as {"lvmconfig", "--type", "full", "activation/monitoring"}.
  std::string ask(const std::vector<std::string>& words, std::stop_token stop = {}) const;
  // "2.03.16(2)".
  std::string version() const;

 private:
  os::CommandResult run(const std::vector<std::string>& words, bool changes, std::stop_token stop) const;
  [[noreturn]] void fail(const std::vector<std::string>& words, const os::CommandResult& result) const;
  std::string report(std::string_view verb, std::string fields, const std::vector<std::string>& words,
                     std::vector<std::string>& warnings, std::stop_token stop) const;

  // The answer to the last question, and when it came.
  template <class Row>
  struct Recent {
    Report<Row> report;
    std::chrono::steady_clock::time_point came;
    std::uint64_t changes = 0;  // changes_ when it was asked
  };
  template <class Row>
  std::optional<Report<Row>> recent(const std::optional<Recent<Row>>& last) const;
  template <class Row>
  void keep(std::optional<Recent<Row>>& last, const Report<Row>& report, std::uint64_t changes) const;

  os::CommandRunner& runner_;
  const std::chrono::milliseconds patience_;
  mutable std::atomic<std::uint64_t> changes_ = 0;  // begun or ended from here, and what forget() counts
  mutable std::mutex mutex_;
  mutable std::optional<Recent<LvRow>> recent_lvs_;
  mutable std::optional<Recent<VgRow>> recent_vgs_;
};

// lvm2's complaints, as one line: without "WARNING" lines, indentation and repetition.
std::string lvm_complaint(std::string_view standard_error);
// "WARNING" lines of standard error, each without that word.
std::vector<std::string> lvm_warnings(std::string_view standard_error);
// Whether version `have` ("2.03.16(2) (2022-05-18)") is `need` or newer.
bool lvm_version_at_least(std::string_view have, std::string_view need);

}  // namespace respaldo::engine
