#include "app/context.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "app/no_repository.h"
#include "app/password.h"
#include "app/progress.h"
#include "base/printable.h"
#include "care/named_packs.h"
#include "engine/image/image_engine.h"
#include "engine/kernel/kernel_engine.h"
#include "parity/parity_backend.h"
#include "repo/keys.h"
#include "store/kept_key.h"
#include "store/open.h"
#include "store/prefetch.h"

namespace respaldo::app {

namespace {

constexpr std::chrono::seconds kImpatient{5};

}  // namespace

ExitCode exit_code_for(const Error& error) {
  if (dynamic_cast<const NoRepository*>(&error) != nullptr) return ExitCode::not_found;
  if (dynamic_cast<const NotOnMedium*>(&error) != nullptr) return ExitCode::damaged;
  switch (error.kind()) {
    case ErrorKind::usage:
      return ExitCode::usage;
    case ErrorKind::busy:
      return ExitCode::locked;
    case ErrorKind::wrong_key:
      return ExitCode::wrong_password;
    case ErrorKind::overflow:
      return ExitCode::overflow;
    default:
      return ExitCode::failed;
  }
}

ExitCode exit_code_for(const std::exception& thrown) {
  if (const auto* error = dynamic_cast<const Error*>(&thrown)) return exit_code_for(*error);
  if (dynamic_cast<const Cancelled*>(&thrown) != nullptr) return ExitCode::interrupted;
  if (dynamic_cast<const engine::HeldByActivation*>(&thrown) != nullptr) return ExitCode::locked;
  return ExitCode::failed;
}

std::vector<std::string> StoreFlags::words() const {
  std::vector<std::string> words{fmt::format("--connections={}", connections)};
  if (limit_upload != 0) words.push_back(fmt::format("--limit-upload={}", limit_upload));
  if (limit_download != 0) words.push_back(fmt::format("--limit-download={}", limit_download));
  if (!cache_dir.empty()) words.push_back("--cache-dir=" + cache_dir);
  if (no_cache) words.emplace_back("--no-cache");
  if (!cacert.empty()) words.push_back("--cacert=" + cacert);
  if (!tls_client_cert.empty()) words.push_back("--tls-client-cert=" + tls_client_cert);
  for (const std::string& option : extended) words.push_back("--option=" + option);
  return words;
}

struct Context::Impl {
  World world;
  CommonOptions options;
  std::unique_ptr<Progress> progress;
  std::unique_ptr<repo::Repository> repository;
  std::shared_ptr<const repo::IndexedRepository> indexed;
  std::unique_ptr<engine::VolumeEngine> engine;
  std::shared_ptr<store::WriteLog> write_log;
  bool bypass_cache = false, impatient = false;
  store::Entrance entrance;
  std::optional<store::KeptKey> kept_key;
  std::string key_file;  // what was kept

  // Says warnings, for as long as the outside world lives: stores outlive the context that opened them.
  std::function<void(std::string_view)> warner() const {
    return [err = world.err, json = options.json](std::string_view text) {
      if (!json) {
        err(fmt::format("warning: {}\n", text));
        return;
      }
      const nlohmann::json event = {{"event", "warning"}, {"message", text}};
      err(event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    };
  }

  std::optional<std::string> environment(const std::string& name) const {
    for (const char* prefix : {"RESPALDO_", "RESTIC_"})
      if (auto value = world.environment((prefix + name).c_str()); value && !value->empty()) return value;
    return std::nullopt;
  }
};

Context::Context(World world, CommonOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->world = std::move(world);
  impl_->options = std::move(options);
  const auto& o = impl_->options;
  const ProgressStyle style = o.json                         ? ProgressStyle::json
                              : o.verbosity == 0             ? ProgressStyle::silent
                              : impl_->world.err_is_terminal ? ProgressStyle::terminal
                              : impl_->world.err_is_journal  ? ProgressStyle::journal
                                                             : ProgressStyle::lines;
  impl_->progress = make_progress(style, impl_->world.columns, impl_->world.err);
}
Context::~Context() = default;

const CommonOptions& Context::options() const { return impl_->options; }
World& Context::world() { return impl_->world; }
std::stop_token Context::stop() const { return impl_->world.stop; }
Progress& Context::progress() { return *impl_->progress; }

void Context::print(std::string_view text) { impl_->world.out(fmt::format("{}\n", text)); }

void Context::warn(std::string_view text) { impl_->warner()(text); }

void Context::print_json(std::string_view json) { print(json); }

std::string Context::repository_location() const {
  if (!impl_->options.repository.empty()) return impl_->options.repository;
  if (auto value = impl_->environment("REPOSITORY")) return *value;
  throw Error(ErrorKind::usage, "no repository is given", "name it with -r, or in $RESPALDO_REPOSITORY");
}

std::string Context::shown_location() const { return store::display_location(repository_location()); }

void Context::bypass_cache() { impl_->bypass_cache = true; }
void Context::look_ahead(bool indexes) {
  impl_->entrance.snapshots = true;
  impl_->entrance.indexes = indexes;
}
void Context::expect_to_write() { impl_->entrance.will_write = true; }
void Context::be_impatient() { impl_->impatient = true; }

std::unique_ptr<store::Backend> Context::open_store() {
  const StoreFlags& flags = impl_->options.store;
  store::StoreOptions options;
  options.connections = flags.connections;
  options.limit_upload = flags.limit_upload;
  options.limit_download = flags.limit_download;
  options.ca_certificate = flags.cacert;
  options.client_certificate = flags.tls_client_cert;
  for (const std::string& word : flags.extended) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos)
      throw Error(ErrorKind::usage, fmt::format("-o {}: a '=' is missing", printable(word)),
                  "write -o KEY=VALUE");
    options.extended[word.substr(0, equals)] = word.substr(equals + 1);
  }
  if (impl_->impatient) options.first_contact = kImpatient;
  options.tell = impl_->warner();
  options.environment = impl_->world.environment;
  options.stop = impl_->world.stop;
  options.will_write = impl_->entrance.will_write;
  options.interactive = impl_->world.in_is_terminal && impl_->world.err_is_terminal;
  return store::open_location(repository_location(), options);
}

os::Path Context::cache_folder() const {
  const StoreFlags& flags = impl_->options.store;
  if (flags.no_cache) return {};
  return flags.cache_dir.empty() ? store::usual_cache_folder(impl_->world.environment) : flags.cache_dir;
}

void Context::keep_key(const repo::Repository& repository) const {
  if (store::parse_location(repository_location()).scheme == store::Scheme::local) return;
  if (const os::Path folder = cache_folder(); !folder.empty())
    store::KeptKey(folder, repository_location()).write(repository.key_file());
}

std::pair<std::unique_ptr<store::Backend>, store::CachingBackend*> Context::open_store_with_cache() {
  auto backend = open_store();
  if (store::parse_location(repository_location()).scheme == store::Scheme::local)
    return {std::move(backend), nullptr};
  store::CacheOptions options;
  if (!impl_->bypass_cache) options.folder = cache_folder();
  if (!options.folder.empty()) {
    impl_->kept_key.emplace(options.folder, repository_location());
    impl_->key_file = impl_->kept_key->read();
    if (!impl_->key_file.empty()) impl_->entrance.key = repo::name_of_key(as_bytes(impl_->key_file));
  }
  backend = store::with_prefetched_entrance(std::move(backend), impl_->entrance);
  if (options.folder.empty()) return {std::move(backend), nullptr};
  options.tell = impl_->warner();
  auto cache = store::with_cache(std::move(backend), options);
  store::CachingBackend* const found = cache.get();
  return {std::move(cache), found};
}

repo::KnownKey Context::known_key(std::string_view secret) const {
  return impl_->key_file.empty() ? repo::KnownKey() : repo::derived_ahead(as_bytes(impl_->key_file), secret);
}

std::unique_ptr<repo::Repository> Context::open_repository(std::unique_ptr<store::Backend> backend,
                                                           store::CachingBackend* cache, std::string_view secret,
                                                           repo::KnownKey known) {
  auto repository = repo::Repository::open(std::move(backend), secret, std::move(known));
  if (cache != nullptr) repository->use_cache(*cache);
  if (impl_->kept_key) impl_->kept_key->write(repository->key_file());
  return repository;
}

repo::Repository& Context::repository() {
  if (!impl_->repository) {
    auto [backend, cache] = open_store_with_cache();
    // One that costs nothing to have: its key is derived while the store answers.
    std::optional<crypto::SecretText> secret;
    repo::KnownKey known;
    if (!impl_->key_file.empty() && has_password_at_hand()) {
      secret = secret_password();
      known = known_key(secret->view());
    }
    // Before the password is asked for.
    require_repository(*backend, shown_location(), "make one with `respaldo init`, or correct the path");
    if (impl_->write_log) backend = store::with_write_log(std::move(backend), impl_->write_log);
    backend = parity::open_with_parity(std::move(backend));
    if (auto* parity = parity::parity_of(*backend); parity != nullptr) {
      parity->warn_with([this](std::string_view text) { warn(text); });
      if (parity->settings_damaged())
        warn(
            fmt::format("the settings of parity are lost or damaged; going on with {}; `respaldo check --repair` "
                        "writes them anew",
                        parity::describe(parity->settings())));
    }
    if (!secret) {
      secret = secret_password();
      known = known_key(secret->view());
    }
    try {
      impl_->repository = open_repository(std::move(backend), cache, secret->view(), std::move(known));
    } catch (Error& error) {
      // restic has repositories that an empty password opens.
      if (error.kind() == ErrorKind::wrong_key && secret->empty()) error.add_context("the password is empty");
      throw;
    }
    if (auto* parity = parity::parity_of(impl_->repository->backend()); parity != nullptr)
      parity->ask_named_packs([this] { return care::named_packs(*impl_->repository, stop()); });
  }
  return *impl_->repository;
}

std::shared_ptr<const repo::IndexedRepository> Context::indexed() {
  if (!impl_->indexed) {
    repo::Repository& repository = this->repository();
    impl_->indexed = std::make_shared<repo::IndexedRepository>(
        repository, repository.load_index(progress(), nullptr, stop()));
  }
  return impl_->indexed;
}

std::shared_ptr<store::WriteLog> Context::log_writes() {
  if (!impl_->write_log) impl_->write_log = std::make_shared<store::WriteLog>();
  return impl_->write_log;
}

engine::VolumeEngine& Context::engine() {
  if (impl_->engine) return *impl_->engine;
  if (!impl_->options.disks.empty()) {
    impl_->engine = engine::make_image_engine(images());
  } else {
    engine::KernelEngineOptions options;
    options.state = impl_->world.environment("RESPALDO_STATE").value_or("");
    options.stop = impl_->world.stop;
    impl_->engine = engine::make_kernel_engine(std::move(options));
  }
  return *impl_->engine;
}

std::vector<os::Path> Context::images() const {
  if (impl_->options.disks.empty())
    throw Error(
        ErrorKind::usage, "no disk image is given",
        "name each disk image (or block device) with --disk; on the running system use lvm2's own commands");
  return {impl_->options.disks.begin(), impl_->options.disks.end()};
}

std::string Context::password() {
  const auto& o = impl_->options;
  if (!o.password_file.empty()) return password_from_file(o.password_file, stop());
  if (!o.password_command.empty()) return password_from_command(o.password_command, stop());
  if (auto value = impl_->environment("PASSWORD")) return *value;
  if (auto file = impl_->environment("PASSWORD_FILE")) return password_from_file(*file, stop());
  if (auto command = impl_->environment("PASSWORD_COMMAND")) return password_from_command(*command, stop());
  if (impl_->world.in_is_terminal)
    if (auto answer = impl_->world.ask("password of the repository: ", true)) return *answer;
  throw Error(ErrorKind::usage, "no password is given",
              "use --password-file, --password-command, or $RESPALDO_PASSWORD");
}

crypto::SecretText Context::secret_password() {
  std::string text = password();
  crypto::SecretText secret(text);
  crypto::wipe(text.data(), text.size());
  return secret;
}

bool Context::has_password_at_hand() const {
  const auto& o = impl_->options;
  return !o.password_file.empty() ||
         (o.password_command.empty() && (impl_->environment("PASSWORD") || impl_->environment("PASSWORD_FILE")));
}

std::string Context::new_password(std::string_view question, const std::string& file) {
  if (!file.empty()) return password_from_file(file, stop());
  if (!impl_->world.in_is_terminal)
    throw Error(ErrorKind::usage, "no new password is given",
                "name a file that holds it with --new-password-file");
  const auto first = impl_->world.ask(fmt::format("{}: ", question), true);
  const auto second = impl_->world.ask("once more: ", true);
  if (!first || !second || first->empty()) throw Error(ErrorKind::usage, "no password was typed");
  if (*first != *second) throw Error(ErrorKind::usage, "the two passwords differ");
  return *first;
}

bool Context::has_password() const {
  const auto& o = impl_->options;
  return !o.password_file.empty() || !o.password_command.empty() || impl_->environment("PASSWORD") ||
         impl_->environment("PASSWORD_FILE") || impl_->environment("PASSWORD_COMMAND");
}

bool Context::confirm(std::string_view question, bool yes) {
  if (yes) return true;
  if (!impl_->world.in_is_terminal)
    throw Error(ErrorKind::refused, fmt::format("not done without a yes: {}", question),
                "give --yes if it is meant");
  const auto answer = impl_->world.ask(fmt::format("{} [y/N] ", question), false);
  return answer && (*answer == "y" || *answer == "Y" || *answer == "yes");
}

}  // namespace respaldo::app
