#include "drill/checker.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/printable.h"
#include "os/process.h"

namespace respaldo::drill {

namespace {

using Says = CheckerResult::Says;

std::vector<std::string> last_lines(const std::string& text) {
  constexpr std::size_t kMost = 12;
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = printable(text.substr(at, end - at));
    if (line.find_first_not_of(' ') != std::string::npos) lines.push_back(line);
    at = end + 1;
  }
  if (lines.size() > kMost) lines.erase(lines.begin(), lines.end() - kMost);
  return lines;
}

// What its exit code means: see each one's manual page.
Says ext_says(int code) {
  if (code == 0) return Says::nothing_wrong;
  return (code & 8) != 0 ? Says::unusable : Says::errors;
}

class Checker {
 public:
  Checker(std::string image, std::stop_token stop) : image_(std::move(image)), stop_(std::move(stop)) {}

  // e2fsck: 0 clean, 1 and 2 corrected, 4 errors left, 8 not usable at all.
  CheckerResult ext(bool dirty) {
    if (dirty) {
      CheckerResult result = run({"e2fsck", "-fp", image_});
      if (result.says == Says::not_run) return result;
      if ((result.exit_code & ~3) != 0) {
        result.says = ext_says(result.exit_code);
        return result;
      }
    }
    CheckerResult result = run({"e2fsck", "-fn", image_});
    if (result.says != Says::not_run) result.says = ext_says(result.exit_code);
    if (dirty) result.command = "e2fsck -fp, then " + result.command;
    return result;
  }

  CheckerResult xfs() {
    CheckerResult result = run({"xfs_repair", "-n", "-f", image_});
    if (result.says == Says::not_run) return result;
    result.says = result.exit_code == 0 ? Says::nothing_wrong : Says::errors;
    if (said_.find("valuable metadata changes in a log") != std::string::npos) {
      result.says = Says::not_run;
      result.note =
          "the log of the xfs filesystem is to be replayed first, which only a mount does: not judged";
    } else if (said_.find("could not find valid secondary superblock") != std::string::npos ||
               said_.find("Sorry, could not find valid") != std::string::npos) {
      result.says = Says::unusable;
    }
    return result;
  }

  CheckerResult simple(std::vector<std::string> argv) {
    argv.push_back(image_);
    CheckerResult result = run(std::move(argv));
    if (result.says != Says::not_run)
      result.says = result.exit_code == 0 ? Says::nothing_wrong : Says::errors;
    return result;
  }

 private:
  CheckerResult run(std::vector<std::string> argv) {
    CheckerResult result;
    os::CommandResult ended;
    for (std::size_t i = 0; i + 1 < argv.size(); ++i) result.command += (i > 0 ? " " : "") + argv[i];
    try {
      ended = os::run_command(argv, {}, stop_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
      result.note = fmt::format("{} is not installed: the filesystem was not checked", argv.front());
      result.command.clear();
      return result;
    }
    result.exit_code = ended.exit_code;
    result.says = Says::errors;
    said_ = ended.out + ended.err;
    result.last_lines = last_lines(said_);
    return result;
  }

  const std::string image_;
  const std::stop_token stop_;
  std::string said_;  // by the last one
};

}  // namespace

CheckerResult run_checker(const std::string& filesystem, const os::Path& image, Extent where, bool dirty,
                          std::stop_token stop) {
  const bool ext = filesystem == "ext2" || filesystem == "ext3" || filesystem == "ext4";
  if (where.offset != 0 && !ext) {
    CheckerResult result;
    result.note = fmt::format("{} in a partition is not checked", filesystem);
    return result;
  }
  Checker checker(
      where.offset == 0 ? image.native() : fmt::format("{}?offset={}", image.native(), where.offset),
      std::move(stop));
  if (ext) return checker.ext(dirty);
  if (filesystem == "xfs") return checker.xfs();
  if (filesystem == "vfat") return checker.simple({"fsck.vfat", "-n"});
  if (filesystem == "btrfs") return checker.simple({"btrfs", "check", "--readonly"});
  CheckerResult result;
  result.note = filesystem.empty() ? "no filesystem is known on it: its content cannot be judged"
                                   : fmt::format("no checker is known for {}", filesystem);
  return result;
}

}  // namespace respaldo::drill
