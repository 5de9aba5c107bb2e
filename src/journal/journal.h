// Intents that survive a crash: what a run is about to do to the system is on disk before it does it, and
// struck out after it was undone. What is left after a crash is what has to be undone.
//
// One file for each run, STATE/journal/RUN.journal, one JSON object on each line:
//   {"begin":1,"kind":"snapshot","facts":{"vg":"vg0","lv":"respaldo_..."}}
//   {"add":1,"facts":{"lv_uuid":"..."}}
//   {"end":1}
// The run holds flock on its file for as long as it lives; a file that nobody holds is a dead run's. A last
// line without an end was never relied on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "os/file.h"

namespace respaldo::journal {

using Facts = std::map<std::string, std::string>;

struct Intent {
  std::uint64_t id = 0;
  std::string kind;  // "snapshot", "volume", "activation", ...
  Facts facts;       // what undoing needs: names, UUIDs
};

// $RESPALDO_STATE, else /var/lib/respaldo.
os::Path default_state_folder();

// The journal of this run. Thread-safe.
class Journal {
 public:
  // Makes the folder (0700) and the file. Error(io, no_space, refused).
  explicit Journal(const os::Path& state);
  // Removes the file when no intent is open; else it is left for `clean`.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Durable when it returns.
  std::uint64_t begin(std::string kind, Facts facts);
  void add(std::uint64_t id, const Facts& facts);
  // What the intent was about is gone again, or is wanted to stay.
  void end(std::uint64_t id);

  const os::Path& path() const { return path_; }

 private:
  void append(const std::string& line);
  os::Path path_;
  os::UniqueFd fd_;
  std::mutex mutex_;
  std::uint64_t next_ = 1, size_ = 0;
  std::map<std::uint64_t, std::string> open_;  // id -> kind
};

// A dead run's journal, locked while this lives.
class DeadJournal {
 public:
  const os::Path& path() const { return path_; }
  // Those that were not ended, newest first.
  const std::vector<Intent>& open_intents() const { return intents_; }
  // Everything is undone: removes the file.
  void forget();

 private:
  friend std::vector<DeadJournal> dead_journals(const os::Path& state);
  DeadJournal(os::Path path, os::FileLock lock, std::vector<Intent> intents)
      : path_(std::move(path)), lock_(std::move(lock)), intents_(std::move(intents)) {}
  os::Path path_;
  os::FileLock lock_;
  std::vector<Intent> intents_;
};

// Of all runs that ended without ending their intents. A missing folder has none.
std::vector<DeadJournal> dead_journals(const os::Path& state);

// The open intents of all journals: of living runs too, and of those that somebody else is working off. To be believed,
// not to be acted on.
std::vector<Intent> all_intents(const os::Path& state);

// The open intents of a journal's text, newest first. Lines that cannot be understood are passed over.
std::vector<Intent> parse_journal(std::string_view text);

}  // namespace respaldo::journal
