#include <algorithm>
#include <filesystem>

#include "app/no_repository.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "crypto/secret.h"
#include "parity/parity_backend.h"
#include "store/open.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::uint32_t version = 2;
  std::string new_password_file, parity, parity_groups;
};

namespace fs = std::filesystem;

// The folder of a repository that is one.
std::optional<fs::path> local_folder(app::Context& context) {
  store::Location place = store::parse_location(context.repository_location());
  if (place.scheme != store::Scheme::local) return std::nullopt;
  std::error_code unknown;
  const auto status = fs::status(place.rest, unknown);
  if (fs::exists(status) && !fs::is_directory(status))
    throw Error(ErrorKind::refused, fmt::format("{} is there, and is no folder", printable(place.rest)),
                "a repository is a folder: name an empty one, or one that is not there yet");
  return fs::path(std::move(place.rest));
}

// Of an `init` that was cut off, or at the top of filesystems.
bool may_be_there(const fs::path& entry) {
  const std::string name = entry.filename().native();
  constexpr std::string_view kKnown[] = {"data", "index", "keys", "locks", "snapshots", "parity",
                                         "lost+found", "System Volume Information", "$RECYCLE.BIN", ".snapshots", ".snapshot",
                                         "@eaDir", ".DS_Store", "aquota.user", "aquota.group"};
  return std::ranges::find(kKnown, name) != std::end(kKnown) || name.starts_with("config-tmp-") || name.starts_with(".Trash-");
}

// A repository among other files is easily removed with them, or they with it.
void require_no_other_files(const fs::path& folder) {
  std::error_code none;
  for (fs::directory_iterator at(folder, none), end; !none && at != end; at.increment(none))
    if (!may_be_there(at->path()))
      throw Error(ErrorKind::refused,
                  fmt::format("{} holds other files, such as {}", printable(folder.native()),
                              printable(at->path().filename().native())),
                  fmt::format("a repository has a folder of its own, for example {}: init makes it",
                              printable((folder / "repository").native())));
}

app::ExitCode init(app::Context& context, const Options& options) {
  std::optional<parity::Settings> parity;
  if (!options.parity.empty() || !options.parity_groups.empty())
    parity = parity::parse_settings(options.parity.empty() ? "5%" : options.parity, options.parity_groups);
  const auto folder = local_folder(context);
  auto backend = context.open_store();
  const std::string location = backend->location();
  if (backend->stat({store::FileType::config, ""}))
    throw Error(ErrorKind::refused, fmt::format("{} holds a repository already", location),
                "use it as it is, or choose another folder");
  app::require_not_lost(*backend, location);
  if (folder) require_no_other_files(*folder);
  std::string password =
      context.has_password() && options.new_password_file.empty()
          ? context.password()
          : context.new_password("password for the new repository", options.new_password_file);
  if (password.empty()) throw Error(ErrorKind::usage, "an empty password protects nothing");
  const crypto::SecretText secret(password);
  crypto::wipe(password.data(), password.size());
  repo::Repository::CreateOptions create;
  create.version = options.version;
  if (parity) backend = parity::with_parity(std::move(backend), *parity);
  const auto repository = repo::Repository::create(std::move(backend), secret.view(), create);
  context.keep_key(*repository);
  if (context.options().json) {
    context.print_json(dump({{"repository", location},
                             {"id", repository->config().id},
                             {"version", options.version},
                             {"parity", parity ? Json(parity::describe(*parity)) : Json()}}));
    return app::ExitCode::ok;
  }
  context.print(fmt::format("made repository {} at {}", repository->config().id.substr(0, 10), location));
  if (parity) context.print(fmt::format("with parity: {}", parity::describe(*parity)));
  if (context.options().verbosity > 0)
    context.print("Without the password nothing in it can ever be read: keep it somewhere else as well.");
  return app::ExitCode::ok;
}

}  // namespace

Action configure_init(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("--repository-version", options->version, "format version")
      ->check(CLI::Range(1, 2))
      ->capture_default_str();
  app.add_option("--new-password-file", options->new_password_file, "a file that holds the new password")
      ->type_name("FILE");
  app.add_option("--parity", options->parity,
                 "keep parity of so many percent, out of which `check --repair` heals damage [none]")
      ->type_name("PERCENT");
  app.add_option("--parity-groups", options->parity_groups,
                 "parity over packs as well, MEMBERS+PARITY (20+1): a lost pack comes back")
      ->type_name("N+M");
  return [options](app::Context& context) { return init(context, *options); };
}

}  // namespace respaldo::cli
