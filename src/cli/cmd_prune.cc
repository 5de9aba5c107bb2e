#include "base/units.h"
#include "cli/care_commands.h"
#include "cli/prune_options.h"
#include "store/open.h"

namespace respaldo::cli {

namespace {

struct Options {
  PruneWords words;
  bool dry_run = false;
};

app::ExitCode prune(app::Context& context, const Options& options) {
  care::PruneOptions prune_options = options.words.options();
  prune_options.dry_run = options.dry_run;
  prune_options.no_backups = believes_that_there_are_no_backups(context);
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  const care::PruneReport report =
      care::prune(context.repository(), prune_options, lock.get(), context.progress(), context.stop());
  if (context.options().json)
    context.print_json(dump(prune_json(report, options.dry_run)));
  else
    print_prune(context, report, options.dry_run);
  return app::ExitCode::ok;
}

}  // namespace

void add_prune_options(CLI::App& app, PruneWords& words) {
  app.add_option(
         "--max-unused", words.max_unused,
         "unused data that may stay in packs that are partly used: a share of the repository, a size, or "
         "`unlimited`")
      ->type_name("SIZE|N%|unlimited")
      ->capture_default_str();
  app.add_option("--max-repack-size", words.max_repack_size,
                 "stop repacking after this much; the next prune goes on")
      ->type_name("SIZE");
  app.add_flag("--repack-cacheable-only", words.repack_cacheable_only,
               "repack only packs of trees, which are small");
  app.add_flag("--repack-uncompressed", words.repack_uncompressed, "compress what is stored uncompressed");
  app.add_option("--pack-size", words.pack_size, "size of new packs, 4M to 128M")
      ->type_name("SIZE")
      ->capture_default_str();
}

care::PruneOptions PruneWords::options() const {
  care::PruneOptions options;
  options.max_unused = care::UnusedLimit::parse(max_unused);
  if (!max_repack_size.empty()) options.max_repack_size = parse_size(max_repack_size, "--max-repack-size");
  options.repack_cacheable_only = repack_cacheable_only;
  options.repack_uncompressed = repack_uncompressed;
  options.pack_size = parse_size(pack_size, "--pack-size");
  if (options.pack_size < 4 * kMiB || options.pack_size > 128 * kMiB)
    throw Error(ErrorKind::usage, "--pack-size must be between 4M and 128M");
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
    context.print(fmt::format("{} packs that the index named were missing; no backup needed them",
                              report.missing_packs));
}

Action configure_prune(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_flag("-n,--dry-run", options->dry_run, "only tell what would be done");
  add_prune_options(app, options->words);
  return [options](app::Context& context) { return prune(context, *options); };
}

}  // namespace respaldo::cli
