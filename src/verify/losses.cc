#include "verify/losses.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "view/volume_view.h"

namespace respaldo::verify {

namespace {

using repo::BlobType;

constexpr std::size_t kDeepest = 1000, kMostPaths = 10000, kNamedBackups = 4;

struct Loss {
  std::uint64_t bytes = 0, blobs = 0;
  bool folder = false;
  std::vector<std::string> backups;  // the first ones
  std::uint64_t backup_count = 0;
};

// "/vg0/root/files/etc/passwd" -> "volume vg0/root, file etc/passwd".
std::string in_words(const std::string& path, bool folder) {
  const auto second = path.find('/', 1);
  const auto third = second == std::string::npos ? second : path.find('/', second + 1);
  if (third == std::string::npos)
    return fmt::format("{} {}", folder ? "folder" : "file", path.empty() ? "/" : path);
  const std::string volume = path.substr(1, third - 1), rest = path.substr(third + 1);
  const std::string files = std::string(view::kFilesName) + "/";
  if (rest == view::kImageName || rest.starts_with(std::string(view::kImageFolder) + "/"))
    return fmt::format("volume {}, its {}", volume,
                       folder                     ? "image"
                       : rest == view::kImageName ? "image"
                                                  : rest);
  if (const auto at = rest.find(files); at == 0 || (at != std::string::npos && rest.starts_with("part")))
    return fmt::format("volume {}, {} {}{}", volume, folder ? "folder" : "file",
                       rest.substr(at + files.size()),
                       at == 0 ? "" : fmt::format(" of {}", rest.substr(0, at - 1)));
  return fmt::format("volume {}, {}", volume, rest);
}

class Walk {
 public:
  Walk(const repo::IndexedRepository& repository, const DamagedPlaces& damaged, const std::stop_token& stop)
      : repository_(repository), damaged_(damaged), stop_(stop) {}

  void backup(const repo::NamedSnapshot& backup) {
    backup_ = backup.id.short_hex();
    folder(backup.snapshot.tree, "", 0);
  }
  const std::map<std::string, Loss>& losses() const { return losses_; }

 private:
  bool lost(BlobType type, const repo::BlobId& id) const {
    return damaged_.lost(repository_.index(), type, id);
  }

  // True when something below is lost.
  bool folder(const repo::BlobId& id, const std::string& path, std::size_t depth) {
    os::throw_if_stopped(stop_);
    // What lies deeper is counted, but not named.
    if (depth > kDeepest || whole_.contains(id)) return false;
    repo::Tree tree;
    try {
      if (lost(BlobType::tree, id)) throw Error(ErrorKind::corrupt, "lost");
      tree = repository_.load_tree(id);
    } catch (const Error&) {
      Loss& loss = add(path);
      loss.folder = true;
      return true;
    }
    bool any = false;
    for (const repo::Node& node : tree.nodes) {
      const std::string where = path + "/" + node.name;
      if (node.subtree) any |= folder(*node.subtree, where, depth + 1);
      if (node.type == repo::NodeType::file) any |= file(node, where);
    }
    if (!any) whole_.insert(id);
    return any;
  }

  bool file(const repo::Node& node, const std::string& where) {
    std::uint64_t blobs = 0, bytes = 0;
    for (const repo::BlobId& id : node.content) {
      if (!lost(BlobType::data, id)) continue;
      ++blobs;
      if (const auto place = repository_.index().find(BlobType::data, id)) bytes += place->plain_length();
    }
    if (blobs == 0) return false;
    Loss& loss = add(where);
    loss.blobs = std::max(loss.blobs, blobs);
    loss.bytes = std::max(loss.bytes, bytes);
    return true;
  }

  Loss& add(const std::string& path) {
    if (losses_.size() >= kMostPaths && !losses_.contains(path)) return overflow_;
    Loss& loss = losses_[path];
    ++loss.backup_count;
    if (loss.backups.size() < kNamedBackups) loss.backups.push_back(backup_);
    return loss;
  }

  const repo::IndexedRepository& repository_;
  const DamagedPlaces& damaged_;
  const std::stop_token& stop_;
  std::string backup_;
  std::map<std::string, Loss> losses_;
  Loss overflow_;
  std::unordered_set<repo::BlobId> whole_;
};

}  // namespace

bool DamagedPlaces::lost(const repo::Index& index, BlobType type, const repo::BlobId& id) const {
  const auto places = index.find_all(type, id);
  return std::ranges::all_of(places, [&](const repo::BlobLocation& place) {
    return places_.contains({type, id, place.pack});
  });
}

void tell_losses(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
                 const DamagedPlaces& damaged, Findings& findings, const std::stop_token& stop) {
  Walk walk(repository, damaged, stop);
  for (std::size_t i = backups.size(); i-- > 0;) walk.backup(backups[i]);
  const std::string heal = parity::heal_first(repository.repository().backend());
  for (const auto& [path, loss] : walk.losses()) {
    const std::string what = loss.folder ? "all that is below"
                                         : fmt::format("{} in {} blob{}", format_size(loss.bytes), loss.blobs,
                                                       loss.blobs == 1 ? "" : "s");
    const std::string more = loss.backup_count > loss.backups.size()
                                 ? fmt::format(" and {} older ones", loss.backup_count - loss.backups.size())
                                 : "";
    findings.add(Severity::error, "lost",
                 fmt::format("{}: lost is {}, in backup{} {}{}", printable(in_words(path, loss.folder)), what,
                             loss.backup_count == 1 ? "" : "s", fmt::join(loss.backups, ", "), more),
                 heal +
                     "a new backup stores again what the volume still holds; `respaldo repair snapshots` "
                     "makes the old ones usable without it");
  }
}

}  // namespace respaldo::verify
