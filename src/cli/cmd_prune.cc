#include <filesystem>

#include "base/printable.h"
#include "base/units.h"
#include "cli/care_commands.h"
#include "cli/pack_size.h"
#include "cli/prune_options.h"
#include "store/open.h"

namespace respaldo::cli {

namespace {

struct Options {
  PruneWords words;
  bool dry_run = false, yes = false;
};

// When no backup is listed everything goes: it must be meant. Who answers for a store far away may be wrong,
// and is never believed. Error(refused) when the list itself is not there.
enum class Meant { yes, no, not_asked };
Meant removes_everything(app::Context& context, const Options& options) {
  if (!believes_that_there_are_no_backups(context)) return Meant::not_asked;
  store::Backend& backend = context.repository().backend();
  const std::string folder = store::parse_location(context.repository_location()).rest;
  std::error_code ignored;
  if (!std::filesystem::is_directory(std::filesystem::path(folder) / "snapshots", ignored))
    throw Error(
        ErrorKind::refused,
        fmt::format("{} has no folder `snapshots`, and prune would remove everything", printable(folder)),
        "is the disk mounted, and was the repository copied completely? If every backup was really "
        "forgotten, "
        "make an empty folder of that name");
  if (!backend.list(store::FileType::snapshot).empty()) return Meant::not_asked;
  std::uint64_t packs = 0, bytes = 0;
  for (const store::FileInfo& file : backend.list(store::FileType::pack)) {
    ++packs;
    bytes += file.size;
  }
  if (packs == 0 || options.dry_run) return Meant::yes;
  return context.confirm(fmt::format("No backup is listed. Remove all data, {} of {} in all?", counted(packs, "pack"),
                                     format_size(bytes)),
                         options.yes)
             ? Meant::yes
             : Meant::no;
}

app::ExitCode prune(app::Context& context, const Options& options) {
  care::PruneOptions prune_options = options.words.options();
  prune_options.dry_run = options.dry_run;
  const Meant meant = removes_everything(context, options);
  if (meant == Meant::no) return app::ExitCode::failed;
  prune_options.no_backups = meant == Meant::yes;
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  const care::PruneReport report =
      care::prune(context.repository(), prune_options, lock.get(), context.progress(), context.stop());
  warn_of_damage(context, report);
  if (context.options().json)
    context.print_json(dump(prune_json(report, options.dry_run)));
  else
    print_prune(context, report, options.dry_run);
  return app::ExitCode::ok;
}

std::uint64_t parse_repack_size(const std::string& text) { return parse_size(text, "--max-repack-size", kMiB); }

}  // namespace

std::vector<CLI::Option*> add_prune_options(CLI::App& app, PruneWords& words) {
  return {
      app.add_option("--max-unused", words.max_unused,
                     "unused data that may stay in packs that are partly used: a share of the repository, a size, or "
                     "`unlimited`")
          ->type_name("SIZE|N%|unlimited")
          ->check(taken_by(care::UnusedLimit::parse))
          ->capture_default_str(),
      app.add_option("--max-repack-size", words.max_repack_size,
                     "stop repacking after this much; the next prune goes on")
          ->type_name("SIZE")
          ->check(taken_by(parse_repack_size)),
      app.add_flag("--repack-cacheable-only", words.repack_cacheable_only,
                   "repack only packs of trees, which are small"),
      app.add_flag("--repack-uncompressed", words.repack_uncompressed, "compress what is stored uncompressed"),
      app.add_option("--pack-size", words.pack_size, "size of new packs, 4M to 128M")
          ->type_name("SIZE")
          ->check(taken_by(parse_pack_size))
          ->capture_default_str()};
}

care::PruneOptions PruneWords::options() const {
  care::PruneOptions options;
  options.max_unused = care::UnusedLimit::parse(max_unused);
  if (!max_repack_size.empty()) options.max_repack_size = parse_repack_size(max_repack_size);
  options.repack_cacheable_only = repack_cacheable_only;
  options.repack_uncompressed = repack_uncompressed;
  options.pack_size = parse_pack_size(pack_size);
  return options;
}

bool believes_that_there_are_no_backups(const app::Context& context) {
  return store::parse_location(context.repository_location()).scheme == store::Scheme::local;
}

Json prune_json(const care::PruneReport& report, bool dry_run) {
  const auto& [blobs, bytes, packs] = report.stats;
  return {
      {"dry_run", dry_run},
      {"blobs",
       {{"total", blobs.total},
        {"used", blobs.used},
        {"unused", blobs.unused},
        {"duplicate", blobs.duplicate},
        {"repack", blobs.repack},
        {"remove", blobs.remove_total},
        {"remaining", blobs.remaining}}},
      {"bytes",
       {{"total", bytes.total},
        {"used", bytes.used},
        {"unused", bytes.unused},
        {"duplicate", bytes.duplicate},
        {"unreferenced", bytes.unreferenced},
        {"repack", bytes.repack},
        {"remove", bytes.remove_total},
        {"remaining", bytes.remaining},
        {"remaining_unused", bytes.remaining_unused}}},
      {"packs",
       {{"total", packs.total},
        {"keep", packs.keep},
        {"repack", packs.repack},
        {"remove", packs.remove_total},
        {"unreferenced", packs.unreferenced},
        {"missing", report.missing_packs}}},
      {"index_files",
       {{"kept", report.index.kept}, {"written", report.index.written}, {"removed", report.index.removed}}}};
}

void warn_of_damage(app::Context& context, const care::PruneReport& report) {
  for (const std::string& warning : report.warnings) context.warn(warning);
}

void print_prune(app::Context& context, const care::PruneReport& report, bool dry_run) {
  if (context.options().verbosity == 0) return;
  const auto& [blobs, bytes, packs] = report.stats;
  const auto line = [&](const char* what, std::uint64_t count, const char* unit, std::uint64_t size) {
    context.print(fmt::format("{:<28} {:>10} {}  {:>10}", what, count, unit, format_size(size)));
  };
  line("needed by backups", blobs.used, "blobs", bytes.used);
  if (blobs.duplicate > 0) line("stored more than once", blobs.duplicate, "blobs", bytes.duplicate);
  line("needed by none", blobs.unused, "blobs", bytes.unused);
  if (packs.unreferenced > 0) line("in no index", packs.unreferenced, "packs", bytes.unreferenced);
  if (packs.repack > 0) line(dry_run ? "would be repacked" : "repacked", packs.repack, "packs", bytes.repack);
  line(dry_run ? "would be removed" : "removed", packs.remove_total, "packs", bytes.remove_total);
  line(dry_run ? "would stay" : "stay", blobs.remaining, "blobs", bytes.remaining);
  context.print(fmt::format("unused data that {}: {}", dry_run ? "would stay" : "stays",
                            format_size(bytes.remaining_unused)));
  if (report.missing_packs > 0)
    context.print(fmt::format("missing, though the index named them: {}; no backup needed them",
                              counted(report.missing_packs, "pack")));
}

Action configure_prune(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_flag("-n,--dry-run", options->dry_run, "only tell what would be done");
  app.add_flag("-y,--yes", options->yes, "do not ask when no backup is listed and all data would go");
  add_prune_options(app, options->words);
  return [options](app::Context& context) { return prune(context, *options); };
}

}  // namespace respaldo::cli
