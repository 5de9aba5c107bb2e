#include "cli/command.h"
#include "cli/shared.h"
#include "crypto/secret.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::uint32_t version = 2;
  std::string new_password_file;
};

app::ExitCode init(app::Context& context, const Options& options) {
  auto backend = store::open_location(context.repository_location());
  const std::string location = backend->location();
  if (backend->stat({store::FileType::config, ""}))
    throw Error(ErrorKind::refused, fmt::format("{} holds a repository already", location),
                "use it as it is, or choose another folder");
  std::string password =
      context.has_password() && options.new_password_file.empty()
          ? context.password()
          : context.new_password("password for the new repository", options.new_password_file);
  if (password.empty()) throw Error(ErrorKind::usage, "an empty password protects nothing");
  const crypto::SecretText secret(password);
  crypto::wipe(password.data(), password.size());
  repo::Repository::CreateOptions create;
  create.version = options.version;
  const auto repository = repo::Repository::create(std::move(backend), secret.view(), create);
  if (context.options().json) {
    context.print_json(
        dump({{"repository", location}, {"id", repository->config().id}, {"version", options.version}}));
    return app::ExitCode::ok;
  }
  context.print(fmt::format("made repository {} at {}", repository->config().id.substr(0, 10), location));
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
  return [options](app::Context& context) { return init(context, *options); };
}

}  // namespace respaldo::cli
