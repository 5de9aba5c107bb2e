#include "app/check_record.h"
#include "base/printable.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "verify/check.h"

namespace respaldo::cli {

namespace {

const char* severity_name(verify::Severity severity) {
  switch (severity) {
    case verify::Severity::info:
      return "note";
    case verify::Severity::warning:
      return "warning";
    case verify::Severity::error:
      break;
  }
  return "error";
}

app::ExitCode check(app::Context& context, const verify::CheckOptions& options) {
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  const verify::CheckReport report =
      verify::check_repository(context.repository(), options, context.progress(), context.stop());
  app::record_check(state_folder(context), context.repository().config().id,
                    {.time = repo::now().seconds, .read_data = options.read_data, .ok = report.ok()});
  if (context.options().json) {
    Json json = {{"ok", report.ok()},     {"backups", report.snapshots},     {"packs", report.packs},
                 {"blobs", report.blobs}, {"bytes_read", report.bytes_read}, {"findings", Json::array()}};
    for (const verify::Finding& finding : report.findings)
      json["findings"].push_back({{"severity", severity_name(finding.severity)},
                                  {"kind", finding.kind},
                                  {"message", finding.message},
                                  {"advice", finding.advice}});
    context.print_json(dump(json));
  } else {
    for (const verify::Finding& finding : report.findings) {
      if (finding.severity == verify::Severity::info && context.options().verbosity < 2) continue;
      context.print(fmt::format("{}: {}", severity_name(finding.severity), printable(finding.message)));
      if (!finding.advice.empty()) context.print("  " + printable(finding.advice));
    }
    if (context.options().verbosity > 0)
      context.print(
          fmt::format("{} backups, {} packs, {} blobs{}: {}", report.snapshots, report.packs, report.blobs,
                      options.read_data ? fmt::format(", {} read", format_size(report.bytes_read)) : "",
                      report.ok() ? "no errors were found" : "ERRORS WERE FOUND"));
  }
  return report.ok() ? app::ExitCode::ok : app::ExitCode::damaged;
}

}  // namespace

Action configure_check(CLI::App& app) {
  auto options = std::make_shared<verify::CheckOptions>();
  app.add_flag("--read-data", options->read_data, "read, decrypt and verify every stored byte as well");
  app.add_option("--threads", options->threads, "worker threads; 0: one for each core")
      ->capture_default_str();
  return [options](app::Context& context) { return check(context, *options); };
}

}  // namespace respaldo::cli
