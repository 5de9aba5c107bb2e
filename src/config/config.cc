#include "config/config.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include "base/printable.h"
#include "os/file.h"

namespace respaldo::config {

const Job& Config::job(const std::string& name) const {
  const auto at = jobs.find(name);
  if (at != jobs.end()) return at->second;
  std::string names;
  for (const auto& [known, job] : jobs) names += (names.empty() ? "" : ", ") + known;
  throw Error(ErrorKind::usage, fmt::format("there is no job {} in {}", printable(name), file),
              names.empty() ? "the configuration has no jobs" : "the jobs are: " + names);
}

std::string Problem::text(const std::string& file) const {
  if (line == 0) return fmt::format("{}: {}", file, message);
  return fmt::format("{}:{}:{}: {}", file, line, column, message);
}

std::string read_file(const std::string& file) {
  if (auto text = os::try_read_text(file, 4U << 20)) return std::move(*text);
  throw Error(ErrorKind::usage, fmt::format("there is no configuration at {}", file),
              "write one (`man respaldo.toml` shows how), or name it with --config or $RESPALDO_CONFIG");
}

Config load(const std::string& file, const Vocabulary& vocabulary) {
  Parsed parsed = parse(read_file(file), file, vocabulary);
  if (parsed.problems.empty()) return std::move(parsed.config);
  const Problem& first = parsed.problems.front();
  std::string hint = first.hint;
  if (parsed.problems.size() > 1)
    hint += fmt::format("{}`respaldo config check` lists all {} problems", hint.empty() ? "" : "; ",
                        parsed.problems.size());
  throw Error(ErrorKind::usage, first.text(file), hint);
}

namespace {

bool fits(const std::string& pattern, const std::string& name) {
  return pattern == name || ::fnmatch(pattern.c_str(), name.c_str(), FNM_PATHNAME | FNM_NOESCAPE) == 0;
}

bool fits_any(const std::vector<std::string>& patterns, const std::string& name) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) { return fits(pattern, name); });
}

}  // namespace

std::vector<std::string> select_volumes(const Job& job, const std::vector<std::string>& names) {
  std::vector<std::string> chosen;
  std::set<std::string> seen;
  for (const std::string& pattern : job.volumes) {
    bool any = false;
    for (const std::string& name : names) {
      if (!fits(pattern, name)) continue;
      any = true;
      if (!fits_any(job.exclude, name) && seen.insert(name).second) chosen.push_back(name);
    }
    if (!any)
      throw Error(
          ErrorKind::not_found, fmt::format("no volume fits {}", printable(pattern)),
          fmt::format("correct `volumes` of the job {}; `respaldo layout` shows what there is", job.name));
  }
  if (chosen.empty())
    throw Error(ErrorKind::not_found, fmt::format("the job {} excludes every volume that it names", job.name),
                "correct its `exclude`");
  return chosen;
}

std::vector<std::string> vanished_volumes(const Job& job, const std::vector<std::string>& earlier,
                                          const std::vector<std::string>& selected) {
  std::set<std::string> vanished;
  for (const std::string& name : earlier)
    if (std::ranges::find(selected, name) == selected.end() && !fits_any(job.exclude, name) &&
        !fits_any(job.former_volumes, name))
      vanished.insert(name);
  return {vanished.begin(), vanished.end()};
}

std::vector<std::string> shared_files(const Config& config, const std::string& job) {
  struct Output {
    const std::string* job;
    const char* what;
  };
  std::map<std::string, std::vector<Output>> outputs;  // by file
  for (const auto& [name, one] : config.jobs)
    for (const auto& [file, what] : {std::pair(&one.metrics, "metrics"), std::pair(&one.report, "report")})
      if (!file->empty()) outputs[std::filesystem::path(*file).lexically_normal().native()].push_back({&name, what});
  std::vector<std::string> told;
  for (const auto& [file, who] : outputs) {
    if (who.size() < 2 || (!job.empty() && std::ranges::none_of(who, [&](const Output& one) { return *one.job == job; })))
      continue;
    std::string text;
    for (const Output& one : who)
      text += fmt::format("{}the {} of the job {}", text.empty() ? "" : " and ", one.what, printable(*one.job));
    told.push_back(fmt::format("{} go to one file, {}: each hides how the other ended", text, printable(file)));
  }
  return told;
}

std::optional<std::chrono::seconds> try_parse_duration(std::string_view text) {
  constexpr std::uint64_t kMost = std::uint64_t{100} * 366 * 86400;
  std::uint64_t total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::size_t digits = 0;
    std::uint64_t number = 0;
    for (; digits < text.size() && std::isdigit(static_cast<unsigned char>(text[digits])) != 0; ++digits) {
      number = number * 10 + static_cast<std::uint64_t>(text[digits] - '0');
      if (number > kMost) return std::nullopt;
    }
    if (digits == 0 || digits == text.size()) return std::nullopt;
    std::uint64_t unit = 0;
    switch (text[digits]) {
      case 's':
        unit = 1;
        break;
      case 'm':
        unit = 60;
        break;
      case 'h':
        unit = 3600;
        break;
      case 'd':
        unit = 86400;
        break;
      case 'w':
        unit = 7 * 86400;
        break;
      default:
        return std::nullopt;
    }
    total += number * unit;
    if (total > kMost) return std::nullopt;
    text.remove_prefix(digits + 1);
  }
  return std::chrono::seconds(total);
}

}  // namespace respaldo::config
