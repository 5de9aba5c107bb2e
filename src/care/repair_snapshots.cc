#include "care/repair_snapshots.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "care/healing.h"
#include "care/index_rewrite.h"
#include "care/lost_lengths.h"
#include "care/prune_plan.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "parity/upkeep.h"
#include "repo/blob_writer.h"
#include "repo/pack_writer.h"
#include "view/cut_record.h"
#include "view/volume_view.h"

namespace respaldo::care {

namespace {

using repo::BlobId;
using repo::BlobType;
using repo::Node;
using repo::NodeType;
using repo::Tree;

constexpr std::size_t kDeepest = 1000;
constexpr std::uint64_t kLongestZero = 8 * kMiB;
constexpr const char* kTag = "repaired";

// What respaldo keeps beside an image: worth nothing in part.
bool is_record(const std::string& folder, const std::string& name) {
  const auto depth = std::ranges::count(folder, '/');
  return (depth == 2 && (name == view::kFactsName || name == view::kCutsName)) ||
         (depth == 1 && name == view::kGroupConfigName);
}

// Which blobs can still be had.
class Stock {
 public:
  explicit Stock(const repo::IndexedRepository& repository) : repository_(repository) {
    for (const store::FileInfo& file : repository.repository().backend().list(store::FileType::pack))
      stored_.emplace(*repo::PackId::parse(file.name), file.size);
  }
  bool has(BlobType type, const BlobId& id) const {
    const auto places = repository_.index().find_all(type, id);
    if (std::ranges::any_of(places, [&](const repo::BlobLocation& place) {
          const auto pack = stored_.find(place.pack);
          return pack != stored_.end() && std::uint64_t{place.offset} + place.length <= pack->second;
        }))
      return true;
    cannot_give(type, id);
    return false;
  }
  // For lack of this blob something would be given up.
  void cannot_give(BlobType type, const BlobId& id) const {
    const auto places = repository_.index().find_all(type, id);
    for (const repo::BlobLocation& place : places)
      bad_packs_.insert({store::FileType::pack, place.pack.hex()});
    in_no_index_ |= places.empty();
  }
  const std::set<store::Handle>& bad_packs() const { return bad_packs_; }
  bool lacks_what_no_index_tells() const { return in_no_index_; }
  std::optional<std::uint64_t> length(const BlobId& id) const {
    const auto place = repository_.index().find(BlobType::data, id);
    return place ? std::optional<std::uint64_t>(place->plain_length()) : std::nullopt;
  }

 private:
  const repo::IndexedRepository& repository_;
  StoredPacks stored_;
  // What the asking showed.
  mutable std::set<store::Handle> bad_packs_;
  mutable bool in_no_index_ = false;
};

bool is_image(const std::string& folder, const std::string& name) {
  return name == view::kImageName || folder.ends_with("/" + std::string(view::kImageFolder));
}

// Of a folder that holds one part of an image: the byte of the volume with which it begins.
std::optional<std::uint64_t> begin_of_part(const std::string& folder) {
  const std::size_t slash = folder.rfind('/');
  if (slash == folder.npos || !is_image(folder.substr(0, slash), "")) return std::nullopt;
  return view::parse_part_folder_name(std::string_view(folder).substr(slash + 1));
}

class Rewriter {
 public:
  Rewriter(const repo::IndexedRepository& repository, const Stock& stock, repo::BlobWriter::Lane& lane,
           repo::PackWriter& again, bool dry_run, const std::stop_token& stop)
      : repository_(repository),
        stock_(stock),
        lane_(lane),
        again_(again),
        dry_run_(dry_run),
        stop_(stop),
        lengths_([&stock](const BlobId& id) { return stock.length(id); }),
        cipher_(repository.repository().master_key()) {}

  RepairedBackup run(const repo::NamedSnapshot& backup, BlobId& root) {
    result_.id = backup.id;
    learn(backup.snapshot.tree, 0);
    lengths_.solve();
    const auto rewritten = tree(backup.snapshot.tree, "", 0);
    if (!rewritten) {
      result_.root_lost = true;
      result_.losses = {"its root folder cannot be read: nothing of it is left"};
    } else {
      root = rewritten->id;
    }
    return std::move(result_);
  }

 private:
  struct Rewritten {
    BlobId id;
    std::vector<view::LostRange> image_losses{};  // of the image whose folder this is
    bool image_gone = false;
  };

  std::optional<Tree> load(const BlobId& id) {
    if (!stock_.has(BlobType::tree, id)) return std::nullopt;
    try {
      return repository_.load_tree(id);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::not_found) throw;
      stock_.cannot_give(BlobType::tree, id);
      return std::nullopt;
    }
  }

  // First pass: what the sizes of files tell about blobs that the index does not know.
  void learn(const BlobId& id, std::size_t depth) {
    os::throw_if_stopped(stop_);
    if (depth > kDeepest || !learned_.emplace(id, true).second) return;
    const auto tree = load(id);
    if (!tree) return;
    for (const Node& node : tree->nodes) {
      if (node.type == NodeType::file) lengths_.learn_from(node.size, node.content);
      if (node.subtree) learn(*node.subtree, depth + 1);
    }
  }

  // Absent when the tree cannot be read.
  std::optional<Rewritten> tree(const BlobId& id, const std::string& path, std::size_t depth) {
    os::throw_if_stopped(stop_);
    if (clean_.contains(id)) return Rewritten{id, {}};
    if (depth > kDeepest) return Rewritten{id, {}};  // nobody looked: that is no reason to lose it
    std::optional<Tree> old = load(id);
    if (!old) return std::nullopt;
    const std::size_t losses_before = result_.losses.size();
    Tree fresh;
    Rewritten result{id};
    for (std::size_t i = 0; i < old->nodes.size(); ++i) {
      Node& node = old->nodes[i];
      const std::string where = path + "/" + node.name;
      if (node.type == NodeType::unknown) {
        lose(where, "is of an unknown type, and goes");
        continue;
      }
      if (node.type == NodeType::dir && node.name == view::kImageFolder) image_end_ = told_size(*old);
      if (node.type == NodeType::dir)
        folder(node, where, depth, i + 1 < old->nodes.size() ? old->nodes[i + 1].name : "", result);
      if (node.type == NodeType::file && !file(node, path, where, result)) continue;
      fresh.nodes.push_back(std::move(node));
    }
    if (result_.losses.size() == losses_before) {
      clean_.emplace(id, true);
      return result;
    }
    if (!result.image_losses.empty() && tell_in_facts(fresh, path, result.image_losses))
      result.image_losses.clear();
    result.id = save(BlobType::tree, as_bytes(repo::to_json(std::move(fresh))));
    return result;
  }

  void folder(Node& node, const std::string& where, std::size_t depth, const std::string& next,
              Rewritten& parent) {
    const auto losses_before = static_cast<std::ptrdiff_t>(result_.losses.size());
    auto below = node.subtree ? tree(*node.subtree, where, depth + 1) : std::nullopt;
    if (!below || below->image_gone)
      if (auto zeros = zeros_of_part(node, where, next)) {
        // Instead of what was said of its blobs.
        result_.losses.erase(result_.losses.begin() + losses_before, result_.losses.end() - 1);
        below = std::move(zeros);
      }
    if (!below) {
      lose(where, "cannot be read, and is empty now");
      below = Rewritten{save(BlobType::tree, as_bytes(repo::to_json(Tree{}))), {}};
    }
    node.subtree = below->id;
    // The parts of an image lie one folder deeper than its volume.json, or two.
    if (node.name == view::kImageFolder || begin_of_part(where))
      std::ranges::move(below->image_losses, std::back_inserter(parent.image_losses));
  }

  // What becomes of a part of an image whose tree is lost: the next one begins where it ended.
  std::optional<Rewritten> zeros_of_part(const Node& folder, const std::string& where,
                                         const std::string& next) {
    const auto begin = begin_of_part(where);
    const auto end = next.empty() ? image_end_ : view::parse_part_folder_name(next);
    if (!begin || !end || *end <= *begin || *end - *begin > view::kImagePartSize) return std::nullopt;
    Node part;
    part.name = view::kImageName;
    part.mode = S_IFREG | 0600;
    part.mtime = part.atime = part.ctime = folder.mtime;
    part.links = 1;
    part.size = *end - *begin;
    append_zeros(part.content, part.size);
    lose(where, fmt::format("cannot be read: {} at byte {} of the volume are zeros now",
                            format_size(part.size), *begin));
    return Rewritten{save(BlobType::tree, as_bytes(repo::to_json(Tree{{std::move(part)}}))),
                     {{{*begin, *end - *begin}, "lost in the repository"}}};
  }

  // By the volume.json in a volume's folder.
  std::optional<std::uint64_t> told_size(const Tree& volume) const {
    const auto facts = std::ranges::find(volume.nodes, view::kFactsName, &Node::name);
    if (facts == volume.nodes.end()) return std::nullopt;
    try {
      std::string json;
      for (const BlobId& id : facts->content) json += as_text(repository_.load_blob(BlobType::data, id));
      return view::VolumeFacts::parse(json).size;
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  // False when the file goes.
  bool file(Node& node, const std::string& folder, const std::string& where, Rewritten& parent) {
    std::uint64_t size = 0, gone = 0;
    for (const BlobId& id : node.content) {
      if (!stock_.has(BlobType::data, id))
        ++gone;
      else
        size += *stock_.length(id);
    }
    if (gone == 0) {
      if (size == node.size) return true;
      lose(where, fmt::format("has {} bytes, not {} as it claimed", size, node.size));
      node.size = size;
      return true;
    }
    if (is_image(folder, node.name)) return image(node, where, parent);
    if (is_record(folder, node.name)) {
      lose(where, "is lost, and goes; images and files can be restored without it");
      return false;
    }
    lose(where, fmt::format("{} of its {} blobs are lost; {} of {} bytes are left", gone, node.content.size(),
                            size, node.size));
    std::erase_if(node.content, [&](const BlobId& id) { return !stock_.has(BlobType::data, id); });
    node.size = size;
    return true;
  }

  bool image(Node& node, const std::string& where, Rewritten& parent) {
    const std::uint64_t base = first_byte(where, node.name);
    std::vector<BlobId> content;
    std::vector<Extent> holes;
    std::uint64_t at = 0;
    for (const BlobId& id : node.content) {
      const auto length = lengths_.find(id);
      if (!length) return drop_image(where, parent);
      if (stock_.has(BlobType::data, id)) {
        content.push_back(id);
      } else {
        append_zeros(content, *length);
        if (!holes.empty() && holes.back().end() == at)
          holes.back().length += *length;
        else
          holes.push_back({at, *length});
      }
      at += *length;
      if (at > node.size) break;
    }
    if (at != node.size) return drop_image(where, parent);
    for (const Extent& hole : holes) {
      lose(where, fmt::format("{} at byte {} of the volume are lost, and zeros now", format_size(hole.length),
                              base + hole.offset));
      parent.image_losses.push_back({{base + hole.offset, hole.length}, "lost in the repository"});
    }
    node.content = std::move(content);
    return true;
  }

  bool drop_image(const std::string& where, Rewritten& parent) {
    parent.image_gone = true;
    lose(where, "parts of it are lost, and nothing tells how long they were: it goes");
    return false;
  }

  static std::uint64_t first_byte(const std::string& where, const std::string& name) {
    if (name == view::kImageName) return begin_of_part(where.substr(0, where.rfind('/'))).value_or(0);
    for (std::size_t part = 0; part < 100000; ++part)
      if (view::part_name(part) == name) return part * view::kImagePartSize;
    return 0;
  }

  void append_zeros(std::vector<BlobId>& content, std::uint64_t length) {
    static const Bytes zeros = Bytes::zeroed(kLongestZero);
    for (std::uint64_t done = 0; done < length;) {
      const std::uint64_t piece = std::min(kLongestZero, length - done);
      content.push_back(save(BlobType::data, zeros.view(0, piece)));
      done += piece;
    }
  }

  // Adds the lost ranges to the volume.json beside the image. False when there is none.
  bool tell_in_facts(Tree& tree, const std::string& path, const std::vector<view::LostRange>& losses) {
    for (Node& node : tree.nodes) {
      if (node.name != view::kFactsName || node.type != NodeType::file) continue;
      std::string json;
      try {
        for (const BlobId& id : node.content) json += as_text(repository_.load_blob(BlobType::data, id));
        view::VolumeFacts facts = view::VolumeFacts::parse(json);
        facts.lost.insert(facts.lost.end(), losses.begin(), losses.end());
        std::ranges::sort(facts.lost, {}, [](const view::LostRange& lost) { return lost.extent.offset; });
        json = facts.to_json();
      } catch (const Error&) {
        for (const BlobId& id : node.content) stock_.cannot_give(BlobType::data, id);
        lose(path + "/" + node.name, "cannot be read, and does not tell what is lost of the image");
        return true;
      }
      node.content = {save(BlobType::data, as_bytes(json))};
      node.size = json.size();
      return true;
    }
    return false;
  }

  BlobId save(BlobType type, ByteView plain) {
    const BlobId id{crypto::sha256(plain)};
    if (dry_run_) return id;
    if (!repository_.index().contains(type, id) || stock_.has(type, id))
      return lane_.save(type, id, plain).id;
    // The index tells it, but its pack is gone: stored again.
    if (stored_again_.emplace(id, true).second) again_.add(type, id, cipher_.seal(plain), 0);
    return id;
  }

  void lose(const std::string& where, const std::string& what) {
    result_.losses.push_back(fmt::format("{}: {}", printable(where), what));
  }

  const repo::IndexedRepository& repository_;
  const Stock& stock_;
  repo::BlobWriter::Lane& lane_;
  repo::PackWriter& again_;
  const bool dry_run_;
  const std::stop_token& stop_;
  LostLengths lengths_;
  std::optional<std::uint64_t> image_end_;  // of the image at hand
  RepairedBackup result_;
  crypto::Cipher cipher_;
  std::unordered_map<BlobId, bool> learned_, clean_, stored_again_;
};

}  // namespace

std::vector<std::string> unreadable_backups(repo::Repository& repository) {
  std::vector<std::string> names;
  for (const store::FileInfo& file : repository.backend().list(store::FileType::snapshot)) {
    try {
      repo::parse_snapshot(repository.load_unpacked(store::FileType::snapshot, file.name));
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::corrupt) names.push_back(file.name);
    }
  }
  return names;
}

namespace {

// `stock` was asked for all that the backups need.
void require_nothing_to_heal(repo::Repository& repository, const Stock& stock,
                             const std::vector<std::string>& given_up, Progress& progress,
                             const std::stop_token& stop) {
  std::set<store::Handle> objects = stock.bad_packs();
  for (const std::string& name : given_up) objects.insert({store::FileType::snapshot, name});
  require_beyond_healing(repository, objects, progress, stop);
  if (!stock.lacks_what_no_index_tells()) return;
  const auto indexes = parity::lost_objects(repository.backend(), store::FileType::index, progress, stop);
  if (!indexes.empty())
    throw Error(
        ErrorKind::refused,
        fmt::format("backups need blobs that no index tells, and parity knows {} index file{} not there; "
                    "nothing was changed",
                    indexes.size(), indexes.size() == 1 ? " that is" : "s that are"),
        fmt::format(
            "`respaldo parity restore {}` brings it back; if another program removed them, or they are of a "
            "run that was killed: `respaldo parity update`, then this again",
            indexes.front().name.substr(0, 8)));
}

}  // namespace

RepairSnapshotsReport repair_snapshots(repo::Repository& repository,
                                       const std::vector<repo::NamedSnapshot>& backups,
                                       const RepairSnapshotsOptions& options, repo::RepoLock* lock,
                                       Progress& progress, const std::stop_token& stop) {
  RepairSnapshotsReport report;
  report.examined = backups.size();
  report.unreadable_files = unreadable_backups(repository);
  const std::vector<std::string> given_up =
      options.forget && options.forget_unreadable ? report.unreadable_files : std::vector<std::string>();
  const repo::IndexedRepository indexed(repository, repository.load_index(progress, nullptr, stop));
  const Stock stock(indexed);
  repo::BlobWriter writer(indexed, {});
  repo::PackWriter again(repository);                         // for what the index tells, but no pack holds
  std::vector<std::pair<repo::Snapshot, std::size_t>> fresh;  // and its place in report.backups
  {
    const ProgressPhase phase(progress, "repairing backups", 0);
    const auto lane = writer.open_lane();
    const auto rewrite = [&](const repo::NamedSnapshot& backup, BlobId& root, bool dry_run) {
      return Rewriter(indexed, stock, *lane, again, dry_run, stop).run(backup, root);
    };
    if (parity::parity_of(repository.backend()) != nullptr || parity::is_left_behind(repository.backend())) {
      BlobId ignored;
      for (const repo::NamedSnapshot& backup : backups) rewrite(backup, ignored, true);
      require_nothing_to_heal(repository, stock, given_up, progress, stop);
    }
    for (const repo::NamedSnapshot& backup : backups) {
      repo::Snapshot repaired = backup.snapshot;
      RepairedBackup one = rewrite(backup, repaired.tree, options.dry_run);
      if (one.losses.empty()) continue;
      if (!one.root_lost) {
        if (!repaired.original) repaired.original = backup.id;
        if (std::ranges::find(repaired.tags, kTag) == repaired.tags.end()) repaired.tags.emplace_back(kTag);
        repaired.incomplete = true;
        fresh.emplace_back(std::move(repaired), report.backups.size());
      }
      report.backups.push_back(std::move(one));
    }
    lane->close();
  }
  if (options.dry_run) return report;
  writer.finish();
  again.finish();
  std::vector<std::string> ignored;
  const auto all = repository.snapshots(&ignored);
  for (const auto& [snapshot, place] : fresh) {
    // An earlier run that kept the original may have made it already.
    const auto known = std::ranges::find_if(all, [&, wanted = &snapshot](const repo::NamedSnapshot& there) {
      return there.snapshot.original == wanted->original && there.snapshot.tree == wanted->tree &&
             there.snapshot.tags == wanted->tags;
    });
    report.backups[place].replacement =
        known != all.end() ? known->id : repo::save_snapshot(repository, snapshot);
  }
  if (!options.forget) return report;
  std::vector<std::string> gone = given_up;
  for (const RepairedBackup& backup : report.backups) gone.push_back(backup.id.hex());
  remove_files(repository, store::FileType::snapshot, gone, lock, progress);
  repository.backend().sync();
  return report;
}

}  // namespace respaldo::care
