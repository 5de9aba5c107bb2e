// What a command runs with: options common to all, terminal, repository, engine, exit codes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "crypto/secret.h"
#include "engine/volume_engine.h"
#include "os/file.h"
#include "repo/repository.h"
#include "store/cache.h"
#include "store/write_log.h"

namespace respaldo::app {

inline constexpr const char* kVersion = "0.1.0";

// The outside world, given by main and by tests.
struct World {
  std::vector<std::string> arguments;  // without the program's name
  std::function<std::optional<std::string>(const char*)> environment;
  std::function<void(std::string_view)> out, err;  // standard output and error
  bool out_is_terminal = false, err_is_terminal = false, in_is_terminal = false;
  bool err_is_journal = false;  // systemd's: progress is told seldom
  unsigned columns = 80;
  std::function<std::optional<std::string>(std::string_view question, bool secret)>
      ask;         // absent answer: end of input
  int out_fd = 1;  // for raw bytes (dump, cat, export)
  std::stop_token stop;
};

// How a repository far away is reached: store/open.h.
struct StoreFlags {
  int connections = 5;                                 // --connections
  std::uint64_t limit_upload = 0, limit_download = 0;  // --limit-upload, --limit-download: KiB/s, 0: none
  std::string cache_dir;                               // --cache-dir
  bool no_cache = false;                               // --no-cache
  std::string cacert, tls_client_cert;                 // --cacert, --tls-client-cert
  std::vector<std::string> extended;                   // -o KEY=VALUE

  // The flags again, for a command line.
  std::vector<std::string> words() const;
};

struct CommonOptions {
  std::string repository;  // -r, else RESPALDO_REPOSITORY, else RESTIC_REPOSITORY
  std::string password_file, password_command;
  std::string config;              // --config: the configuration's file
  std::vector<std::string> disks;  // --disk
  bool json = false;
  int verbosity = 1;                              // 0 quiet, 1 normal, 2 verbose
  std::optional<unsigned> lock_patience_seconds;  // --retry-lock
  bool no_lock = false;                           // --no-lock
  StoreFlags store;
};

// Documented in docs/exit-codes.md and the manual page; an interface.
enum class ExitCode : int {
  ok = 0,
  failed = 1,  // nothing was saved or changed
  usage = 2,
  incomplete = 3,       // a backup was saved, but ranges or files are missing from it
  not_found = 10,       // no such repository (as restic)
  locked = 11,          // (as restic)
  wrong_password = 12,  // (as restic)
  damaged = 20,         // check found errors; what was written does not read back (backup --verify)
  overflow = 21,        // the snapshot died during the backup
  interrupted = 130,
};
ExitCode exit_code_for(const Error& error);
ExitCode exit_code_for(const std::exception& thrown);  // whatever ended the command

// There is nothing at the repository's place: its exit code is restic's.
class NoRepository : public Error {
 public:
  explicit NoRepository(const Error& error) : Error(error) {}
};

// What was written does not read back from the medium, or may be gone: ExitCode::damaged.
class NotOnMedium : public Error {
 public:
  using Error::Error;
};

class Context {
 public:
  Context(World world, CommonOptions options);
  ~Context();

  const CommonOptions& options() const;
  World& world();
  std::stop_token stop() const;
  Progress& progress();  // a bar on a terminal, lines otherwise, JSON events with --json, silent with -q
  void print(std::string_view text);       // standard output, newline added
  void warn(std::string_view text);        // "warning: ..." on standard error, or a JSON event
  void print_json(std::string_view json);  // one line on standard output: the command's result

  // Opened on first use; keeps parity where the repository has it. Error(usage) when no repository is given.
  repo::Repository& repository();
  std::shared_ptr<const repo::IndexedRepository> indexed();
  // Remembers what is saved from now on. REQUIRES that the repository is not opened yet.
  std::shared_ptr<store::WriteLog> log_writes();
  // For commands that look whether things are where they should be. REQUIRES that nothing is opened yet.
  void bypass_cache();
  // For commands that only read: what they will list is asked for early. REQUIRES that nothing is opened yet.
  void look_ahead(bool indexes);
  // For commands that lock and then write much, likewise.
  void expect_to_write();
  // For commands that would rather say "not reachable" soon than wait.
  void be_impatient();
  // The store at the repository's location, without the cache.
  std::unique_ptr<store::Backend> open_store();
  // The same with a cache above it, not in use yet: null when there is none.
  std::pair<std::unique_ptr<store::Backend>, store::CachingBackend*> open_store_with_cache();
  // For the next time that the repository is opened.
  void keep_key(const repo::Repository& repository) const;
  // The key that opened it the last time, if that was kept: its derivation begins.
  repo::KnownKey known_key(std::string_view secret) const;
  // What came of it, opened with the password; the cache is in use from here on, and the key is kept.
  std::unique_ptr<repo::Repository> open_repository(std::unique_ptr<store::Backend> backend,
                                                    store::CachingBackend* cache, std::string_view secret,
                                                    repo::KnownKey known);
  engine::VolumeEngine& engine();        // the image engine when --disk was given
  std::vector<os::Path> images() const;  // of --disk; Error(usage) without
  std::string repository_location() const;
  std::string shown_location() const;  // the same for messages: no password
  std::string password();
  crypto::SecretText secret_password();
  bool has_password() const;          // given other than by a prompt
  bool has_password_at_hand() const;  // and other than by a command, which may ask somebody
  // For init and key add: out of `file`, or asked for twice.
  std::string new_password(std::string_view question, const std::string& file);
  // True when the user (or --yes) agreed. Without a terminal and without yes: Error(refused) saying to give
  // --yes.
  bool confirm(std::string_view question, bool yes);

 private:
  os::Path cache_folder() const;  // of stores far away; empty: none
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace respaldo::app
