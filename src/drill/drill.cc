#include "drill/drill.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <optional>

#include "base/printable.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "drill/checker.h"
#include "drill/compare.h"
#include "fs/part/partition_table.h"
#include "fs/probe/probe.h"
#include "os/thread_group.h"
#include "restore/image_restore.h"

namespace respaldo::drill {

namespace {

// A private folder in the scratch, gone with its content when destroyed.
class Scratch {
 public:
  explicit Scratch(const os::Path& folder) {
    std::string name = (folder / "respaldo-drill-XXXXXX").native();
    if (::mkdtemp(name.data()) == nullptr) throw os::system_error(errno, "mkdtemp", name);
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const os::Path& path() const { return path_; }

 private:
  os::Path path_;
};

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class Drill {
 public:
  Drill(const std::shared_ptr<const repo::IndexedRepository>& repository, const repo::Snapshot& snapshot,
        const view::StoredVolume& volume, const Options& options, Progress& progress, std::stop_token stop)
      : repository_(repository),
        snapshot_(snapshot),
        volume_(volume),
        options_(options),
        progress_(progress),
        stop_(std::move(stop)),
        scratch_(options.scratch),
        image_(scratch_.path() / "image.raw") {}

  Report run() {
    const auto start = std::chrono::steady_clock::now();
    report_.volume = volume_.str();
    report_.image_size = volume_.image_size;
    if (volume_.facts && !volume_.facts->lost.empty())
      report_.notes.push_back(
          fmt::format("the backup is incomplete: {}", view::describe(volume_.facts->lost)));
    if (restore()) {
      look();
      judge();
    }
    report_.seconds = since(start);
    return std::move(report_);
  }

 private:
  // False when the repository cannot give the image back.
  bool restore() {
    const auto start = std::chrono::steady_clock::now();
    os::UniqueFd fd = os::open_file(image_, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC);
    if (::ftruncate(fd.get(), static_cast<off_t>(volume_.image_size)) != 0)
      throw os::system_error(errno, "ftruncate", image_);
    block::FileDevice target(image_, std::move(fd), block::FileDevice::Access::read_write);
    restore::ImageRestoreOptions how;
    how.target_reads_zero = true;
    how.threads = options_.threads;
    try {
      const auto result = restore::restore_image(*repository_, volume_, target, how, progress_, stop_);
      report_.bytes_written = result.bytes_written;
      report_.restore_seconds = since(start);
      return true;
    } catch (Error& error) {
      if (error.kind() == ErrorKind::no_space)
        error.set_hint("name a folder with room for the volume's data with --scratch");
      if (!is_damage(error)) throw;
      report_.verdict = Verdict::damaged;
      report_.why = fmt::format("it cannot be restored: {}", error.what());
      return false;
    }
  }

  // The filesystems in the image: on all of it, or in its partitions.
  void look() {
    const auto device = std::make_shared<block::FileDevice>(image_, block::FileDevice::Access::read_only);
    const auto table = fs::read_partition_table(*device);
    if (!table || table->partitions.empty()) {
      report_.filesystems.push_back(look_at("", {0, device->size()}, device, expected("files")));
      return;
    }
    for (const fs::Partition& partition : table->partitions) {
      const std::string where = fmt::format("part{}", partition.number);
      const auto slice = block::slice(block::DevicePtr(device), partition.extent, where);
      const auto* facts = expected(where + "/files");
      if (facts == nullptr && !fs::probe(*slice)) continue;  // swap, boot code, nothing
      report_.filesystems.push_back(look_at(where, partition.extent, slice, facts));
    }
  }

  // What the backup recorded of the filesystem there; null when it has no files of it.
  const view::FileViewFacts* expected(const std::string& folder) const {
    if (!volume_.facts) return nullptr;
    for (const view::FileViewFacts& facts : volume_.facts->file_views)
      if (facts.folder == folder) return &facts;
    return nullptr;
  }

  FilesystemReport look_at(const std::string& where, Extent extent, const block::DevicePtr& device,
                           const view::FileViewFacts* facts) {
    FilesystemReport report;
    report.where = where;
    const auto found = fs::probe(*device);
    report.filesystem = found ? found->type : facts != nullptr ? facts->filesystem : recorded(where);
    bool usable = true, dirty = false, has_reader = false;
    try {
      fs::ExtOptions how;
      how.stop = stop_;
      const auto reader = fs::try_open_ext(device, how);
      if (reader) {
        has_reader = true;
        dirty = reader->facts().journal != fs::JournalState::none;
        usable = reader->root() != fs::kNoNode;
        if (!usable) report.trouble = "its root directory is damaged";
        if (usable) compare(report, where, reader.get());
      }
    } catch (const Error& error) {
      usable = false;
      report.trouble = error.what();
    }
    if (!found && usable && !has_reader && !report.filesystem.empty())
      report.trouble = fmt::format("nothing is recognised where there was {}", report.filesystem);
    if (!has_reader && usable) compare(report, where, nullptr);
    check(report, extent, dirty);
    if (!report.trouble.empty()) report.verdict = Verdict::unmountable;
    return report;
  }

  std::string recorded(const std::string& where) const {
    if (!where.empty()) return {};
    if (volume_.facts && !volume_.facts->filesystem.empty()) return volume_.facts->filesystem;
    return options_.known_filesystem;
  }

  void compare(FilesystemReport& report, const std::string& where, const fs::ExtReader* reader) {
    const std::string path =
        volume_.tree_path + (where.empty() ? "" : "/" + where) + "/" + std::string(view::kFilesName);
    std::optional<repo::Node> root;
    try {
      root = view::find_node(*repository_, snapshot_, path);
    } catch (const Error& error) {
      report.different = 1;
      report.differences.push_back(fmt::format("the backup's files cannot be read: {}", error.what()));
      return;
    }
    if (!root) {
      report.notes.emplace_back("the backup has no files of it to compare with");
      return;
    }
    const Sample sample{options_.sample_percent, options_.seed};
    const ProgressPhase phase(progress_, "compare the files", 0);
    CompareResult result;
    if (reader != nullptr) {
      result = compare_with_image(*repository_, *root, *reader, sample, progress_, stop_);
    } else {
      result = verify_content(*repository_, *root, sample, progress_, stop_);
      report.notes.push_back(fmt::format(
          "{} is not read without mounting it: the stored files were verified, not those in the image",
          report.filesystem.empty() ? "the filesystem" : report.filesystem));
    }
    report.files = result.files;
    report.compared = result.compared;
    report.compared_bytes = result.compared_bytes;
    report.different = result.different;
    report.differences = std::move(result.differences);
  }

  void check(FilesystemReport& report, Extent extent, bool dirty) {
    const ProgressPhase phase(progress_, "check the filesystem", 0);
    CheckerResult result = run_checker(report.filesystem, image_, extent, dirty, stop_);
    report.checker = result.command;
    report.checker_code = result.exit_code;
    if (!result.note.empty()) report.notes.push_back(std::move(result.note));
    using Says = CheckerResult::Says;
    if (result.says == Says::errors || result.says == Says::unusable)
      report.checker_says = std::move(result.last_lines);
    if (result.says == Says::unusable)
      report.verdict = Verdict::unmountable;
    else if (result.says == Says::errors || report.different > 0)
      report.verdict = Verdict::damaged;
    else if (result.says == Says::nothing_wrong)
      report.verdict = Verdict::good;
  }

  // The worst filesystem decides; one that cannot be judged does not make the rest bad.
  void judge() {
    const FilesystemReport* worst = nullptr;
    bool any_good = false;
    for (const FilesystemReport& one : report_.filesystems) {
      any_good |= one.verdict == Verdict::good;
      if (worst == nullptr || one.verdict > worst->verdict) worst = &one;
    }
    if (worst != nullptr && worst->verdict > Verdict::unchecked) {
      report_.verdict = worst->verdict;
      report_.why = reason(*worst);
    } else if (any_good) {
      report_.verdict = Verdict::good;
      report_.why = "it was restored, its filesystem is clean, and the compared files are as stored";
    } else {
      report_.verdict = Verdict::unchecked;
      report_.why = "it was restored and every byte verified, but nothing here can judge the content";
    }
    // The same zeros are in both views, and no checker can see them.
    if (report_.verdict <= Verdict::unchecked && volume_.facts && !volume_.facts->lost.empty()) {
      report_.verdict = Verdict::damaged;
      report_.why = fmt::format("it was restored, but {}", view::describe(volume_.facts->lost));
    }
  }

  static std::string reason(const FilesystemReport& report) {
    const std::string who = (report.where.empty() ? "its filesystem" : "the filesystem in " + report.where) +
                            (report.filesystem.empty() ? "" : " (" + report.filesystem + ")");
    if (report.verdict == Verdict::unmountable)
      return fmt::format("it was restored, but {} cannot be mounted: {}", who,
                         !report.trouble.empty()        ? report.trouble
                         : !report.checker_says.empty() ? report.checker_says.back()
                                                        : std::string("it is not recognised"));
    if (!report.checker_says.empty())
      return fmt::format("it was restored, but {} has errors: {} ended with exit code {}", who,
                         report.checker, report.checker_code);
    return fmt::format("it was restored, but {} of its files are not as stored, such as {}", report.different,
                       report.differences.empty() ? std::string("?") : report.differences.front());
  }

  const std::shared_ptr<const repo::IndexedRepository>& repository_;
  const repo::Snapshot& snapshot_;
  const view::StoredVolume& volume_;
  const Options& options_;
  Progress& progress_;
  const std::stop_token stop_;
  const Scratch scratch_;
  const os::Path image_;
  Report report_;
};

}  // namespace

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::good:
      return "good";
    case Verdict::unchecked:
      return "unchecked";
    case Verdict::damaged:
      return "damaged";
    case Verdict::unmountable:
      break;
  }
  return "unmountable";
}

bool is_damage(const Error& error) {
  return error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::not_found ||
         error.kind() == ErrorKind::io || error.kind() == ErrorKind::missing;
}

Report run_drill(const std::shared_ptr<const repo::IndexedRepository>& repository,
                 const repo::Snapshot& snapshot, const view::StoredVolume& volume, const Options& options,
                 Progress& progress, std::stop_token stop) {
  return Drill(repository, snapshot, volume, options, progress, std::move(stop)).run();
}

}  // namespace respaldo::drill
