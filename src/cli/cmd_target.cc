// target create, status, remove.
#include <algorithm>

#include "base/units.h"
#include "cli/command.h"
#include "cli/layout.h"
#include "crypto/crypto.h"
#include "crypto/secret.h"
#include "provision/disk_use.h"
#include "provision/target_list.h"

namespace respaldo::cli {

namespace {

using Step = provision::Action;
using provision::ActionList;

struct CreateOptions {
  std::string disk, vg, extend_vg, lv, size, filesystem = "ext4", mount = "/backups", destroy, fstab;
  unsigned device_timeout = 10;
  bool mbr = false, no_init = false, dry_run = false, yes = false;
};
struct StatusOptions {
  std::string target, fstab;
};
struct RemoveOptions {
  std::string target, wipe, fstab;
  bool dry_run = false, yes = false;
};

// A random UUID (RFC 9562, version 4).
std::string new_uuid() {
  Bytes bytes(16);
  crypto::random_bytes(bytes.span());
  bytes.data()[6] = static_cast<std::uint8_t>((bytes.data()[6] & 0x0f) | 0x40);
  bytes.data()[8] = static_cast<std::uint8_t>((bytes.data()[8] & 0x3f) | 0x80);
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes.data()[i]);
  return text;
}

class Teller final : public provision::ActionObserver {
 public:
  explicit Teller(app::Context& context) : context_(context) {}
  void doing(std::size_t number, std::size_t count, const Step& action) override {
    context_.progress().note(printable(fmt::format("{}/{} {}", number, count, action.text)));
  }
  void undoing(const Step& action) override {
    context_.progress().note(printable("undoing: " + action.undo_text));
  }

 private:
  app::Context& context_;
};

Json steps(const ActionList& actions) {
  Json json = Json::array();
  for (const Step& action : actions)
    json.push_back({{"text", action.text}, {"command", action.command}, {"can_be_undone", !action.final}});
  return json;
}

void print_steps(app::Context& context, const ActionList& actions) {
  context.print("steps");
  for (std::size_t i = 0; i < actions.size(); ++i) {
    context.print(printable(
        fmt::format("{:>3}. {}{}", i + 1, actions[i].text, actions[i].final ? "  (cannot be undone)" : "")));
    if (!actions[i].command.empty()) context.print(printable(fmt::format("       {}", actions[i].command)));
  }
}

void print_row(app::Context& context, const char* name, const std::string& words) {
  context.print(printable(fmt::format("{:<9} {}", name, words)));
}

void print_plan(app::Context& context, const machine::Device& disk, const provision::TargetPlan& plan,
                const std::string& repository) {
  std::string facts;
  for (const std::string* fact : {&disk.model, &disk.serial, &disk.transport})
    if (!fact->empty()) facts += ", " + *fact;
  print_row(context, "disk",
            fmt::format("{}, {}{}, sectors of {}/{}", disk.path, format_size(disk.size), facts,
                        disk.topology.logical_sector, disk.topology.physical_sector));
  for (std::size_t i = 0; i < std::max<std::size_t>(plan.now.size(), 1); ++i)
    print_row(context, i == 0 ? "now" : "", plan.now.empty() ? "empty" : plan.now[i] + "  (WILL BE LOST)");
  print_row(context, "will be",
            fmt::format("{}: {}, type Linux LVM, {} from {} on, aligned to {}", plan.partition,
                        to_string(plan.place.kind), format_size(plan.place.length),
                        format_size(plan.place.start), format_size(plan.place.alignment)));
  print_row(context, "",
            fmt::format("{}: the volume group {}", plan.group,
                        plan.extends_group ? "gets this disk" : "of this disk alone"));
  print_row(context, "",
            fmt::format("{}: volume of {}, {}", plan.full_name(),
                        plan.size ? format_size(*plan.size) : "the whole disk", plan.filesystem));
  print_row(context, "",
            fmt::format("{}: mount point, at each boot, which does not wait for the disk if it is gone",
                        plan.mount_point));
  if (!repository.empty()) print_row(context, "", fmt::format("{}: the repository", repository));
}

// Where the repository will be; empty when none is made now.
std::string repository_place(app::Context& context, const CreateOptions& options) {
  if (options.no_init || !context.has_password()) return {};
  const std::string given = repository_folder(context);
  return given == options.mount || given.starts_with(options.mount + "/") ? given
                                                                          : options.mount + "/repository";
}

Step init_action(app::Context& context, const std::string& place) {
  return {.text = fmt::format("make the repository {}", place),
          .command = fmt::format("respaldo -r {} init", place),
          .apply = [&context, place](std::stop_token) {
            std::string password = context.password();
            if (password.empty()) throw Error(ErrorKind::usage, "an empty password protects nothing");
            const crypto::SecretText secret(password);
            crypto::wipe(password.data(), password.size());
            repo::Repository::create(store::open_local(place), secret.view(), {});
          }};
}

provision::Doors doors_of(app::Context& context, os::CommandRunner& commands,
                          provision::PartitionDoor& partitions, const std::string& fstab) {
  provision::Doors doors{.commands = commands, .partitions = partitions};
  doors.fstab = fstab.empty() ? places_of(context).fstab : os::Path(fstab);
  return doors;
}

machine::Picture picture_with(app::Context& context, os::CommandRunner& commands, const os::Path& fstab) {
  machine::Places places = places_of(context);
  places.fstab = fstab;
  return machine::read_picture(places, commands, context.stop());
}

// A disk without anything that libblkid knows may hold something all the same.
bool has_unknown_data(provision::PartitionDoor& partitions, const machine::Device& disk) {
  const auto ends = partitions.save(disk.path);
  const auto blank = [](const Bytes& bytes) {
    return std::all_of(bytes.data(), bytes.data() + bytes.size(), [](std::uint8_t b) { return b == 0; });
  };
  return !blank(ends.head) || !blank(ends.tail);
}

Json plan_json(const provision::TargetPlan& plan, const ActionList& actions, const std::string& repository) {
  return {{"disk", plan.disk},
          {"partition", plan.partition},
          {"partition_table", plan.place.kind == provision::TableKind::gpt ? "gpt" : "dos"},
          {"start", plan.place.start},
          {"length", plan.place.length},
          {"alignment", plan.place.alignment},
          {"vg", plan.group},
          {"lv", plan.volume},
          {"filesystem", plan.filesystem},
          {"uuid", plan.uuid},
          {"mount_point", plan.mount_point},
          {"now", plan.now},
          {"repository", repository.empty() ? Json() : Json(repository)},
          {"warnings", plan.warnings},
          {"steps", steps(actions)}};
}

app::ExitCode create(app::Context& context, const CreateOptions& options) {
  const auto commands = os::system_commands();
  const auto partitions = provision::real_partitions();
  provision::Doors doors = doors_of(context, *commands, *partitions, options.fstab);

  provision::TargetOptions wanted;
  wanted.disk = options.disk;
  wanted.extend_group = !options.extend_vg.empty();
  if (wanted.extend_group && !options.vg.empty())
    throw Error(ErrorKind::usage, "--vg and --extend-vg exclude each other");
  if (wanted.extend_group) wanted.group = options.extend_vg;
  if (!options.vg.empty()) wanted.group = options.vg;
  if (!options.lv.empty()) wanted.volume = options.lv;
  if (!options.size.empty()) wanted.size = parse_size(options.size, "--size", kMiB);
  wanted.filesystem = options.filesystem;
  wanted.mount_point = machine::real_path(options.mount);
  wanted.table = options.mbr ? provision::TableKind::mbr : provision::TableKind::gpt;
  wanted.destroy = options.destroy;
  wanted.device_timeout = options.device_timeout;

  const std::string uuid = new_uuid();
  const auto plan_of = [&](const machine::Picture& picture) {
    const machine::Device& disk = provision::find_disk(picture, options.disk);
    return provision::plan_target(
        picture, wanted, uuid,
        provision::examine(picture, disk).in_use.empty() && has_unknown_data(*partitions, disk));
  };
  const machine::Picture picture = picture_with(context, *commands, doors.fstab);
  const machine::Device& disk = provision::find_disk(picture, options.disk);
  const provision::TargetPlan plan = plan_of(picture);
  provision::check_surroundings(plan, doors);
  CreateOptions at = options;
  at.mount = plan.mount_point;
  const std::string repository = repository_place(context, at);
  ActionList actions = provision::target_actions(plan, doors);
  if (!repository.empty()) actions.push_back(init_action(context, repository));

  const bool json = context.options().json;
  if (!json) {
    print_plan(context, disk, plan, repository);
    print_steps(context, actions);
  }
  for (const std::string& warning : plan.warnings) context.warn(printable(warning));
  if (!options.dry_run) {
    if (!context.confirm(fmt::format("do this to {} ({})?", disk.path, format_size(disk.size)), options.yes))
      throw Error(ErrorKind::refused, "nothing was done");
    // The answer may have taken its time.
    provision::require_unchanged(plan, plan_of(picture_with(context, *commands, doors.fstab)));
    Teller teller(context);
    provision::run_actions(actions, teller, context.stop());
  }
  if (json) {
    Json document = plan_json(plan, actions, repository);
    document["done"] = !options.dry_run;
    context.print_json(dump(document));
  } else if (!options.dry_run) {
    context.print(fmt::format("{} is mounted at {}", plan.full_name(), printable(plan.mount_point)));
    if (repository.empty())
      context.print(fmt::format("make the repository with `respaldo -r {}/repository init`",
                                printable(plan.mount_point)));
    else
      context.print(fmt::format("the repository is {}; without its password nothing in it can ever be read",
                                printable(repository)));
  }
  return app::ExitCode::ok;
}

Json to_json(const provision::Target& target) {
  return {
      {"volume", target.full_name()},
      {"mount_point", target.mount_point},
      {"there", target.there},
      {"active", target.active},
      {"mounted", target.mounted},
      {"in_fstab", target.in_fstab},
      {"fstab",
       target.fstab ? Json({{"source", target.fstab->source}, {"options", target.fstab->options}}) : Json()},
      {"disks", target.disks},
      {"filesystem", target.filesystem},
      {"uuid", target.uuid},
      {"volume_size", target.volume_size},
      {"size", target.size ? Json(*target.size) : Json()},
      {"available", target.available ? Json(*target.available) : Json()},
      {"problems", target.problems}};
}

void print_target(app::Context& context, const provision::Target& target) {
  const auto joined = [](const std::vector<std::string>& items) {
    std::string text;
    for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
    return text;
  };
  context.print(printable(target.full_name()));
  print_row(context, "  disk", target.there ? joined(target.disks) : "NOT THERE");
  if (target.there)
    print_row(
        context, "  volume",
        fmt::format("{}, {}{}", format_size(target.volume_size), target.active ? "active" : "NOT ACTIVE",
                    target.filesystem.empty() ? "" : ", " + target.filesystem));
  print_row(context, "  mounted",
            !target.mounted ? "NO"
            : target.size   ? fmt::format("at {}, {} of {} available", target.mount_point,
                                          format_size(*target.available), format_size(*target.size))
                            : fmt::format("at {}", target.mount_point));
  print_row(context, "  fstab",
            target.fstab ? fmt::format("{} at {} with {}", target.fstab->source, target.fstab->target,
                                       target.fstab->options)
                         : "no line");
  for (const std::string& problem : target.problems) print_row(context, "  problem", problem);
}

app::ExitCode status(app::Context& context, const StatusOptions& options) {
  const auto commands = os::system_commands();
  const auto partitions = provision::real_partitions();
  const auto doors = doors_of(context, *commands, *partitions, options.fstab);
  const machine::Picture picture = picture_with(context, *commands, doors.fstab);
  std::vector<provision::Target> targets = provision::find_targets(picture);
  if (!options.target.empty()) targets = {provision::choose_target(targets, options.target)};
  for (const std::string& warning : picture.warnings) context.warn(printable(warning));
  bool well = true;
  for (const provision::Target& target : targets) well &= target.problems.empty();
  if (context.options().json) {
    Json all = Json::array();
    for (const provision::Target& target : targets) all.push_back(to_json(target));
    context.print_json(dump(all));
  } else if (targets.empty()) {
    context.print("there is no backup target on this host; `respaldo target create DISK` makes one");
  } else {
    for (const provision::Target& target : targets) print_target(context, target);
  }
  return well ? app::ExitCode::ok : app::ExitCode::damaged;
}

app::ExitCode remove(app::Context& context, const RemoveOptions& options) {
  const auto commands = os::system_commands();
  const auto partitions = provision::real_partitions();
  provision::Doors doors = doors_of(context, *commands, *partitions, options.fstab);
  const auto plan_now = [&] {
    const machine::Picture picture = picture_with(context, *commands, doors.fstab);
    const auto targets = provision::find_targets(picture);
    return provision::plan_removal(picture, provision::choose_target(targets, options.target), options.wipe);
  };
  const provision::RemovalPlan plan = plan_now();
  const ActionList actions = provision::removal_actions(plan, doors);
  const bool json = context.options().json;
  if (actions.empty())
    throw Error(ErrorKind::refused,
                fmt::format("nothing is to be done: {} is not mounted and has no line in {}",
                            plan.target.full_name(), doors.fstab.native()),
                fmt::format("its data goes only when it is named: --wipe {}", plan.target.full_name()));
  if (!json) {
    print_target(context, plan.target);
    print_steps(context, actions);
  }
  if (!plan.wipe.empty()) context.warn(fmt::format("all backups on {} will be lost", printable(plan.wipe)));
  if (!options.dry_run) {
    if (!context.confirm(plan.wipe.empty()
                             ? fmt::format("take the target {} out of use?", plan.target.full_name())
                             : fmt::format("destroy {} and all backups on it?", plan.wipe),
                         options.yes))
      throw Error(ErrorKind::refused, "nothing was done");
    // The answer may have taken its time.
    provision::require_unchanged(plan, plan_now());
    Teller teller(context);
    provision::run_actions(actions, teller, context.stop());
  }
  if (json) {
    context.print_json(dump({{"volume", plan.target.full_name()},
                             {"mount_point", plan.target.mount_point},
                             {"wiped", !plan.wipe.empty()},
                             {"steps", steps(actions)},
                             {"done", !options.dry_run}}));
  } else if (!options.dry_run && plan.wipe.empty()) {
    context.print(fmt::format("the data of {} is still there", plan.target.full_name()));
  }
  return app::ExitCode::ok;
}

constexpr const char* kFstabHelp = "the file to change instead of /etc/fstab [$RESPALDO_FSTAB]";

}  // namespace

Action configure_target(CLI::App& app) {
  app.require_subcommand(1);
  auto chosen = std::make_shared<Action>();
  const auto add = [&](const char* name, const char* summary) {
    CLI::App* sub = app.add_subcommand(name, summary);
    sub->fallthrough();
    sub->set_help_flag("-h,--help", "show this help");
    sub->option_defaults()->group("Options");
    return sub;
  };

  auto c = std::make_shared<CreateOptions>();
  CLI::App* make =
      add("create", "Make a backup target of a disk: partition, PV, VG, LV, filesystem, mount point, fstab.");
  make->add_option("disk", c->disk, "the whole disk, such as /dev/sdb")->type_name("DISK")->required();
  make->add_option("--vg", c->vg, "name of its volume group (backup)")->type_name("NAME");
  make->add_option("--extend-vg", c->extend_vg,
                   "add the disk to this volume group instead, which then depends on it")
      ->type_name("VG");
  make->add_option("--lv", c->lv, "name of its volume (backups)")->type_name("NAME");
  make->add_option("--size", c->size, "size of the volume; without it, the whole disk")->type_name("SIZE");
  make->add_option("--fs", c->filesystem, "filesystem")
      ->check(CLI::IsMember({"ext4", "ext3", "xfs"}))
      ->capture_default_str();
  make->add_option("--mount", c->mount, "mount point; made when it is missing")
      ->type_name("DIR")
      ->capture_default_str();
  make->add_flag("--mbr", c->mbr, "an MBR partition table (type 8e), not a GPT");
  make->add_option("--device-timeout", c->device_timeout, "seconds that a boot waits for the disk")
      ->type_name("SECONDS")
      ->capture_default_str();
  make->add_option("--destroy", c->destroy, "the disk once more: what is on it may be destroyed")
      ->type_name("DISK");
  make->add_flag("--no-init", c->no_init, "make no repository, even if a password is given");
  make->add_option("--fstab", c->fstab, kFstabHelp)->type_name("FILE");
  make->add_flag("-n,--dry-run", c->dry_run, "show the plan, do nothing");
  make->add_flag("-y,--yes", c->yes, "do not ask");
  make->callback([chosen, c] { *chosen = [c](app::Context& context) { return create(context, *c); }; });

  auto s = std::make_shared<StatusOptions>();
  CLI::App* show = add("status", "Show whether targets are there, mounted, full, and in fstab.");
  show->add_option("target", s->target, "VG/LV or mount point; without it, all")->type_name("TARGET");
  show->add_option("--fstab", s->fstab, "the file to read instead of /etc/fstab [$RESPALDO_FSTAB]")
      ->type_name("FILE");
  show->callback([chosen, s] { *chosen = [s](app::Context& context) { return status(context, *s); }; });

  auto r = std::make_shared<RemoveOptions>();
  CLI::App* drop =
      add("remove", "Take a target out of use: unmount it, and take its line out of fstab. The data stays.");
  drop->add_option("target", r->target, "VG/LV or mount point; may be left out when there is only one")
      ->type_name("TARGET");
  drop->add_option("--wipe", r->wipe, "the target's volume once more: destroy it and all backups on it")
      ->type_name("VG/LV");
  drop->add_option("--fstab", r->fstab, kFstabHelp)->type_name("FILE");
  drop->add_flag("-n,--dry-run", r->dry_run, "show the steps, do nothing");
  drop->add_flag("-y,--yes", r->yes, "do not ask");
  drop->callback([chosen, r] { *chosen = [r](app::Context& context) { return remove(context, *r); }; });

  return [chosen](app::Context& context) { return (*chosen)(context); };
}

}  // namespace respaldo::cli
