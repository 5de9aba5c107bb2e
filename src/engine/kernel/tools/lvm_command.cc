#include "engine/kernel/tools/lvm_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::engine {

namespace {

constexpr std::chrono::milliseconds kGrace = std::chrono::minutes(5);

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

// Chatter that says nothing about what went wrong.
bool is_noise(std::string_view line) {
  return line.starts_with("File descriptor ") || line.starts_with("WARNING") ||
         line.find("leaked on") != line.npos;
}

struct Complaint {
  std::string_view words;
  ErrorKind kind;
  std::string_view hint;
};

// lvm2 2.02.158 to 2.03.2x; what is not found here is told in lvm2's words.
constexpr Complaint kComplaints[] = {
    {"must be run as root", ErrorKind::refused, "run respaldo as root"},
    {"Running as a non-root user", ErrorKind::refused, "run respaldo as root"},
    {"Permission denied", ErrorKind::refused, "run respaldo as root"},
    {"nsufficient free space", ErrorKind::no_space,
     "extend the group (vgextend), or remove a volume that is not needed"},
    {"nsufficient suitable", ErrorKind::no_space,
     "extend the group (vgextend), or remove a volume that is not needed"},
    {"No specified PVs have space available", ErrorKind::no_space,
     "extend the group (vgextend), or remove a volume that is not needed"},
    {"No free extents", ErrorKind::no_space,
     "extend the group (vgextend), or remove a volume that is not needed"},
    {"Failed to find logical volume", ErrorKind::not_found, "`lvs` lists the volumes"},
    {"Failed to find physical volume", ErrorKind::not_found, "`pvs` lists the physical volumes"},
    {"not found", ErrorKind::not_found, "`lvs` lists the volumes"},
    {"already exists", ErrorKind::refused, ""},
    {"in use", ErrorKind::busy, "end what uses it (`fuser -vm`, `lsof`), and run again"},
    {"Can't get lock", ErrorKind::busy, "wait for the other LVM command, and run again"},
    {"open logical volume", ErrorKind::busy, "end what uses it (`fuser -vm`, `lsof`), and run again"},
    {"Device or resource busy", ErrorKind::busy, "end what uses it (`fuser -vm`, `lsof`), and run again"},
    {"Interrupted", ErrorKind::busy, ""},
};

std::array<unsigned, 3> version_numbers(std::string_view text) {
  std::array<unsigned, 3> numbers{};
  const char *at = text.data(), *const end = text.data() + text.size();
  for (unsigned& number : numbers) {
    const auto parsed = std::from_chars(at, end, number);
    if (parsed.ec != std::errc()) break;
    at = parsed.ptr;
    if (at == end || *at != '.') break;
    ++at;
  }
  return numbers;
}

}  // namespace

std::string lvm_complaint(std::string_view standard_error) {
  std::vector<std::string_view> kept;
  for (std::string_view line : lines_of(standard_error))
    if (!is_noise(line) && std::ranges::find(kept, line) == kept.end()) kept.push_back(line);
  std::string said;
  for (std::string_view line : kept) {
    while (!line.empty() && line.back() == '.') line.remove_suffix(1);
    said += (said.empty() ? "" : "; ") + printable(line);
  }
  return said;
}

std::vector<std::string> lvm_warnings(std::string_view standard_error) {
  constexpr std::string_view kWord = "WARNING: ";
  std::vector<std::string> warnings;
  for (std::string_view line : lines_of(standard_error)) {
    if (!line.starts_with(kWord)) continue;
    std::string text = printable(line.substr(kWord.size()));
    if (std::ranges::find(warnings, text) == warnings.end()) warnings.push_back(std::move(text));
  }
  return warnings;
}

bool lvm_version_at_least(std::string_view have, std::string_view need) {
  return version_numbers(have) >= version_numbers(need);
}

os::CommandResult LvmCommand::run(const std::vector<std::string>& words, bool changes,
                                  std::stop_token stop) const {
  std::vector<std::string> argv = {"lvm"};
  argv.insert(argv.end(), words.begin(), words.end());
  os::CommandOptions options;
  options.limit = patience_;
  if (changes) options.grace = kGrace;
  try {
    os::CommandResult result = runner_.run(argv, options, stop);
    // It goes on without rights, and finds nothing.
    if (result.err.find("non-root user") != std::string::npos)
      throw Error(ErrorKind::refused, "only root can work with the volumes of this system", "run respaldo as root");
    return result;
  } catch (const os::CommandTimeout&) {
    throw Error(
        ErrorKind::busy,
        fmt::format("{} did not get what it waits for within {} s: another LVM command holds the lock of the "
                    "volume group, or a device does not answer",
                    words.front(), std::chrono::duration_cast<std::chrono::seconds>(patience_).count()),
        "see which one with `ps ax | grep lvm`; run again when it has ended");
  } catch (Error& error) {
    if (error.kind() == ErrorKind::not_found)
      throw Error(ErrorKind::not_found, "lvm2 is not installed: there is no program `lvm`",
                  "install it (apt install lvm2); for disk images give --disk, which needs no lvm2");
    throw;
  }
}

void LvmCommand::fail(const std::vector<std::string>& words, const os::CommandResult& result) const {
  std::string said = lvm_complaint(result.err);
  if (said.find("eportformat") != said.npos && !lvm_version_at_least(version(), kOldestLvm2))
    throw Error(ErrorKind::unsupported, fmt::format("lvm2 {} is too old", version()),
                fmt::format("respaldo needs lvm2 {} or newer", kOldestLvm2));
  ErrorKind kind = ErrorKind::io;
  std::string hint;
  for (const Complaint& complaint : kComplaints) {
    if (said.find(complaint.words) == said.npos) continue;
    kind = complaint.kind;
    hint = complaint.hint;
    break;
  }
  if (::geteuid() != 0 && kind != ErrorKind::unsupported) {
    kind = ErrorKind::refused;
    hint = "run respaldo as root";
  }
  if (said.empty()) said = fmt::format("exit code {}", result.exit_code);
  throw Error(kind, fmt::format("{}: {}", words.front(), said), hint);
}

std::string LvmCommand::report(std::string_view verb, std::string fields,
                               const std::vector<std::string>& words, std::vector<std::string>& warnings,
                               std::stop_token stop) const {
  std::vector<std::string> argv = {
      std::string(verb), "--reportformat", "json", "--units", "b", "--nosuffix", "-o", std::move(fields)};
  argv.insert(argv.end(), words.begin(), words.end());
  os::CommandResult result = run(argv, false, std::move(stop));
  warnings = lvm_warnings(result.err);
  // With missing devices lvm2 may report all it has and still exit with 5.
  if (result.exit_code != 0 &&
      (result.out.find('{') == std::string::npos || !lvm_complaint(result.err).empty()))
    fail(argv, result);
  return std::move(result.out);
}

LvmCommand::Report<LvRow> LvmCommand::lvs(const std::vector<std::string>& words, std::stop_token stop) const {
  std::vector<std::string> all = {"-a"};
  all.insert(all.end(), words.begin(), words.end());
  const std::uint64_t changes = changes_;
  Report<LvRow> result;
  result.rows = parse_lvs(report("lvs", lvs_fields(), all, result.warnings, std::move(stop)));
  if (words.empty()) keep(recent_lvs_, result, changes);
  return result;
}

LvmCommand::Report<VgRow> LvmCommand::vgs(const std::vector<std::string>& words, std::stop_token stop) const {
  const std::uint64_t changes = changes_;
  Report<VgRow> result;
  result.rows = parse_vgs(report("vgs", vgs_fields(), words, result.warnings, std::move(stop)));
  if (words.empty()) keep(recent_vgs_, result, changes);
  return result;
}

LvmCommand::Report<PvRow> LvmCommand::pvs(const std::vector<std::string>& words, std::stop_token stop) const {
  Report<PvRow> result;
  result.rows = parse_pvs(report("pvs", pvs_fields(), words, result.warnings, std::move(stop)));
  return result;
}

template <class Row>
std::optional<LvmCommand::Report<Row>> LvmCommand::recent(const std::optional<Recent<Row>>& last) const {
  const std::lock_guard lock(mutex_);
  if (!last || last->changes != changes_ || std::chrono::steady_clock::now() - last->came > kMoment) return std::nullopt;
  return last->report;
}

template <class Row>
void LvmCommand::keep(std::optional<Recent<Row>>& last, const Report<Row>& report, std::uint64_t changes) const {
  const std::lock_guard lock(mutex_);
  last = Recent<Row>{report, std::chrono::steady_clock::now(), changes};
}

LvmCommand::Report<LvRow> LvmCommand::lvs_lately(std::stop_token stop) const {
  auto known = recent(recent_lvs_);
  return known ? std::move(*known) : lvs({}, std::move(stop));
}

LvmCommand::Report<VgRow> LvmCommand::vgs_lately(std::stop_token stop) const {
  auto known = recent(recent_vgs_);
  return known ? std::move(*known) : vgs({}, std::move(stop));
}

std::string LvmCommand::change(const std::vector<std::string>& words, std::stop_token stop) const {
  // What is asked while it runs may be from before or after: neither is kept, whether it fails or not.
  forget();
  const std::shared_ptr<void> ended(nullptr, [this](void*) { forget(); });
  os::CommandResult result = run(words, true, std::move(stop));
  if (result.exit_code != 0) fail(words, result);
  return std::move(result.out);
}

std::string LvmCommand::ask(const std::vector<std::string>& words, std::stop_token stop) const {
  os::CommandResult result = run(words, false, std::move(stop));
  if (result.exit_code != 0) fail(words, result);
  return std::move(result.out);
}

std::string LvmCommand::version() const {
  constexpr std::string_view kLabel = "LVM version:";
  const os::CommandResult result = run({"version"}, false, {});
  for (std::string_view line : lines_of(result.out)) {
    if (!line.starts_with(kLabel)) continue;
    line.remove_prefix(kLabel.size());
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    return std::string(line.substr(0, line.find(' ')));
  }
  return "";
}

}  // namespace respaldo::engine
