#include <iterator>

#include "cli/command.h"
#include "cli/lvm/lvm_command.h"
#include "engine/image/activation_client.h"

namespace respaldo::cli {

namespace {

app::ExitCode run(app::Context& context, const std::vector<std::string>& argv) {
  if (const auto help = lvm_help(argv)) {
    context.world().out(*help);
    return app::ExitCode::ok;
  }
  LvmWorld world;
  world.print = [&](std::string_view line) { context.print(line); };
  world.warn = [&](std::string_view line) { context.world().err(std::string(line) + "\n"); };
  world.confirm = [&](std::string_view question) { return context.confirm(question, false); };
  world.progress = &context.progress();
  world.stop = context.stop();
  try {
    const auto disks = engine::DiskSet::open(
        context.images(), lvm_verb_writes(argv) ? engine::LockMode::exclusive : engine::LockMode::shared);
    for (const std::string& warning : disks->warnings()) world.warn("  WARNING: " + warning);
    return static_cast<app::ExitCode>(run_lvm_verb(argv, *disks, world));
  } catch (const engine::HeldByActivation& held) {
    // Nobody can be asked over there.
    const auto reply = engine::ActivationClient(held.address(), context.stop()).lvm(argv);
    context.world().out(reply.out);
    context.world().err(reply.err);
    return static_cast<app::ExitCode>(reply.exit_code);
  }
}

}  // namespace

Action configure_lvm(CLI::App& app) {
  auto argv = std::make_shared<std::vector<std::string>>();
  app.add_option("verb", *argv, "the verb and its words, as lvm2 takes them; `lvm help` lists the verbs")
      ->type_name("VERB...");
  return [argv](app::Context& context) { return run(context, *argv); };
}

}  // namespace respaldo::cli
