#include "app/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "app/no_repository.h"
#include "base/error.h"
#include "crypto/secret.h"

namespace respaldo::app {

namespace {

// What names an account or a region. A file that holds accounts is no account: it may be the same for both.
constexpr const char* kFile = "AWS_SHARED_CREDENTIALS_FILE";
constexpr std::string_view kAccount[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                                         "AWS_PROFILE", kFile};
constexpr std::string_view kRegion[] = {"AWS_DEFAULT_REGION", "AWS_REGION"};
constexpr std::span<const std::string_view> kSets[] = {kAccount, kRegion};

std::string source_name(std::string_view name) {
  const std::size_t stem = name.find('_');
  return fmt::format("{}_FROM{}", name.substr(0, stem), name.substr(stem));
}

}  // namespace

std::function<std::optional<std::string>(const char*)> source_environment(
    std::function<std::optional<std::string>(const char*)> outer) {
  return [outer = std::move(outer)](const char* name) -> std::optional<std::string> {
    const std::string_view word = name;
    if (word.find('_') == std::string_view::npos) return outer(name);
    if (auto value = outer(source_name(word).c_str())) return value;
    if (word == "RESPALDO_CACHE_DIR" || word == kFile) return outer(name);
    if (word.starts_with("RESPALDO_") || word.starts_with("RESTIC_")) return std::nullopt;
    for (const std::span<const std::string_view> set : kSets)
      if (std::ranges::find(set, word) != set.end())
        for (const std::string_view other : set)
          if (const auto given = outer(source_name(other).c_str()); given && !given->empty())
            return std::nullopt;
    return outer(name);
  };
}

std::unique_ptr<repo::Repository> open_source(Context& context, const SourceOptions& options) {
  // A context of its own, in which the source is the repository.
  World world = context.world();
  world.environment = source_environment(context.world().environment);
  world.ask = [outer = context.world().ask](std::string_view question, bool secret) {
    return outer(fmt::format("source: {}", question), secret);
  };
  CommonOptions common;
  common.repository = options.repository;
  common.password_file = options.password_file;
  common.password_command = options.password_command;
  common.store = context.options().store;
  Context source(std::move(world), std::move(common));
  const auto with_hint = [](const char* hint, auto body) {
    try {
      return body();
    } catch (Error& error) {
      if (error.kind() == ErrorKind::usage) error.set_hint(hint);
      throw;
    }
  };
  with_hint("name the source with --from-repo, or in $RESPALDO_FROM_REPOSITORY",
            [&] { return source.repository_location(); });
  auto [backend, cache] = in_context(
      [] { return "the source"; },
      [&] {
        try {
          auto opened = source.open_store_with_cache();
          require_repository(*opened.first, source.shown_location(), "correct --from-repo");
          return opened;
        } catch (Error& error) {
          if (error.kind() == ErrorKind::usage && error.hint().empty())
            error.set_hint("its variables have FROM_ in their names: AWS_FROM_ACCESS_KEY_ID");
          throw;
        }
      });
  const crypto::SecretText secret =
      with_hint("use --from-password-file, --from-password-command, or $RESPALDO_FROM_PASSWORD",
                [&] { return source.secret_password(); });
  return source.open_repository(std::move(backend), cache, secret.view(), source.known_key(secret.view()));
}

}  // namespace respaldo::app
