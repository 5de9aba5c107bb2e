#include "app/source.h"

#include <fmt/format.h>

#include "base/error.h"
#include "crypto/secret.h"

namespace respaldo::app {

std::unique_ptr<repo::Repository> open_source(Context& context, const SourceOptions& options) {
  // A context of its own, in which the source is the repository: its variables have FROM_ in their names.
  World world = context.world();
  world.environment = [outer = context.world().environment](const char* name) -> std::optional<std::string> {
    const std::string word = name;
    const std::size_t stem = word.find('_');
    if (stem == std::string::npos) return outer(name);
    if (auto value = outer((word.substr(0, stem) + "_FROM" + word.substr(stem)).c_str())) return value;
    // The target's password is not for the source; where caches lie, and what S3 calls us, is the same for
    // both.
    const bool secret = word.starts_with("RESPALDO_") || word.starts_with("RESTIC_");
    return secret && word != "RESPALDO_CACHE_DIR" ? std::nullopt : outer(name);
  };
  world.ask = [outer = context.world().ask](std::string_view question, bool secret) {
    return outer(fmt::format("source: {}", question), secret);
  };
  CommonOptions common;
  common.repository = options.repository;
  common.password_file = options.password_file;
  common.password_command = options.password_command;
  common.store = context.options().store;
  Context source(std::move(world), std::move(common));
  std::string location, password;
  try {
    location = source.repository_location();
    auto [backend, cache] = source.open_store_with_cache();
    if (!backend->stat({store::FileType::config, ""}))
      throw NoRepository(Error(ErrorKind::not_found,
                               fmt::format("there is no repository at {}", source.shown_location()),
                               "correct --from-repo"));
    password = source.password();
    const crypto::SecretText kept(password);
    crypto::wipe(password.data(), password.size());
    auto repository = repo::Repository::open(std::move(backend), kept.view());
    if (cache != nullptr) repository->use_cache(*cache);
    return repository;
  } catch (Error& error) {
    if (error.kind() == ErrorKind::usage)
      error.set_hint(location.empty() ? "name the source with --from-repo, or in $RESPALDO_FROM_REPOSITORY"
                                      : "use --from-password-file, --from-password-command, or "
                                        "$RESPALDO_FROM_PASSWORD");
    throw;
  }
}

}  // namespace respaldo::app
