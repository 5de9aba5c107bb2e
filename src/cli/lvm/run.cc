// From a verb's words to what does it.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "base/printable.h"
#include "cli/lvm/verb.h"

namespace respaldo::cli {

namespace {

constexpr int kNoSuchCommand = 2, kBadCommandLine = 3, kFailed = 5;

std::string host_name() {
  char name[256] = "";
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

// In lvm2's manner: lines are indented, what to do next stands in parentheses.
void complain(const LvmWorld& world, const std::string& verb, const Error& error) {
  const std::string text = error.what();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    world.warn("  " + text.substr(at, end - at));
    at = end + 1;
  }
  if (!error.hint().empty()) world.warn("  (" + error.hint() + ")");
  if (error.kind() == ErrorKind::usage)
    world.warn(fmt::format("  Run `{} --help' for more information.", printable(verb)));
}

}  // namespace

bool is_lvm_verb(std::string_view name) { return find_lvm_verb(name) != nullptr; }

bool lvm_verb_writes(const std::vector<std::string>& argv) {
  const LvmVerb* verb = argv.empty() ? nullptr : find_lvm_verb(argv.front());
  return verb != nullptr && verb->writes;
}

std::optional<std::string> lvm_help(const std::vector<std::string>& argv) {
  if (argv.empty() || argv.front() == "help" || argv.front() == "-h" || argv.front() == "--help") {
    if (argv.size() > 1)
      if (const LvmVerb* verb = find_lvm_verb(argv[1])) return lvm_help({std::string(verb->name), "--help"});
    std::string out = "LVM on disk images. Options and output are lvm2's.\n\nVerbs:\n";
    for (const LvmVerb& verb : lvm_verbs()) out += fmt::format("  {:<14} {}\n", verb.name, verb.summary);
    return out +
           "\nPhysical volumes are named as the images are: disk.img, or disk.img:1 for its first "
           "partition.\nExample:\n"
           "  respaldo --disk a.img lvm vgcreate vg0 a.img\n  respaldo --disk a.img lvm lvcreate -L 1G -n "
           "root vg0\n";
  }
  const LvmVerb* verb = find_lvm_verb(argv.front());
  if (verb == nullptr || std::none_of(argv.begin() + 1, argv.end(),
                                      [](const std::string& a) { return a == "--help" || a == "-h"; }))
    return std::nullopt;
  std::string out = fmt::format("{}: {}\n\n  {}\n\nOptions:\n", verb->name, verb->summary, verb->usage);
  for (const LvmOption& option : verb->options)
    out += fmt::format("  {}--{}{}\n", option.short_name != 0 ? fmt::format("-{}|", option.short_name) : "",
                       option.long_name, option.takes_value ? " VALUE" : "");
  return out;
}

int run_lvm_verb(const std::vector<std::string>& argv, engine::DiskSet& disks, const LvmWorld& world) {
  const std::string name = argv.empty() ? "lvm" : argv.front();
  try {
    const LvmVerb* verb = find_lvm_verb(name);
    if (verb == nullptr) {
      world.warn("  No such command.  Try 'lvm help'.");
      return kNoSuchCommand;
    }
    const LvmArguments arguments = LvmArguments::parse(*verb, {argv.begin() + 1, argv.end()});
    const bool yes = arguments.has("yes");
    std::string command = name;
    for (std::size_t i = 1; i < argv.size(); ++i) command += " " + argv[i];
    engine::OpContext op{disks, world.print, world.warn,
                         [&](std::string_view question) { return yes || world.confirm(question); },
                         [] { return static_cast<std::int64_t>(std::time(nullptr)); }, host_name(), command,
                         arguments.has("test"), yes,
                         // In vgcfgbackup and vgcfgrestore -f is a file.
                         static_cast<unsigned>(name.starts_with("vgcfg") ? 0 : arguments.count("force")),
                         world.active, world.is_open, world.has_died, world.progress, world.stop};
    if (op.test)
      world.warn("  TEST MODE: Metadata will NOT be updated and volumes will not be (de)activated.");
    verb->run({op, *verb, arguments, world});
    return 0;
  } catch (const SyntaxError& error) {
    world.warn(error.what());
    return kBadCommandLine;
  } catch (const Error& error) {
    complain(world, name, error);
    return error.kind() == ErrorKind::usage ? kBadCommandLine : kFailed;
  }
}

}  // namespace respaldo::cli
