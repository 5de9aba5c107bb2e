#include "backup/base_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "base/hex.h"
#include "base/printable.h"
#include "crypto/crypto.h"
#include "lvm/volume_group.h"

namespace respaldo::backup {

namespace {

constexpr std::size_t kTimeDigits = 8;

// Why a base is not used. Never leaves this file.
class Refusal : public std::exception {
 public:
  explicit Refusal(std::string why) : why_(std::move(why)) {}
  const char* what() const noexcept override { return why_.c_str(); }

 private:
  std::string why_;
};

std::optional<std::int64_t> time_of(const std::string& token) {
  std::uint32_t seconds = 0;
  const char* end = token.data() + std::min(token.size(), kTimeDigits);
  const auto [stop, error] = std::from_chars(token.data(), end, seconds, 16);
  if (error != std::errc() || stop != token.data() + kTimeDigits) return std::nullopt;
  return seconds;
}

struct FoundParent {
  const repo::NamedSnapshot& backup;
  view::StoredVolume volume;
  view::BaseFacts base;
  std::optional<view::CutRecord> cuts;
};

// The backup that was read from the base. Only those of its second are opened.
std::optional<FoundParent> find_parent_of(const repo::IndexedRepository& repository,
                                          const std::vector<repo::NamedSnapshot>& backups,
                                          const std::string& token) {
  const auto time = time_of(token);
  if (!time) return std::nullopt;
  for (const repo::NamedSnapshot& backup : backups) {
    if (static_cast<std::uint32_t>(backup.snapshot.time.seconds) != static_cast<std::uint32_t>(*time))
      continue;
    for (view::StoredVolume& volume : view::stored_volumes(repository, backup.snapshot)) {
      auto record = view::load_base_record(repository, backup.snapshot, volume.tree_path);
      if (!volume.facts || !record || !record->kept || record->kept->token != token) continue;
      auto cuts = view::load_cut_record(repository, backup.snapshot, volume);
      return FoundParent{backup, std::move(volume), std::move(*record->kept), std::move(cuts)};
    }
  }
  return std::nullopt;
}

// Everything below an LV, down to the extents of the PVs. A volume that is cut short while it is not active
// and then grown again may hold other extents, and no exception tells of it.
void describe_layout(const lvm::VolumeGroup& vg, const lvm::LogicalVolume& lv, unsigned depth,
                     std::string& text) {
  constexpr unsigned kDeepest = 8;
  const auto area = [&](const lvm::SegmentArea& at) {
    if (const lvm::PhysicalVolume* pv = vg.find_pv(at.name)) {
      text += fmt::format(" {}:{}", pv->id.plain(), at.extent);
    } else if (const lvm::LogicalVolume* below = vg.find_lv(at.name); below != nullptr && depth < kDeepest) {
      text += fmt::format(" ({}:", at.extent);
      describe_layout(vg, *below, depth + 1, text);
      text += ")";
    }
  };
  for (const lvm::Segment& segment : lv.segments) {
    text += fmt::format("\n{} {} {}", segment.start, segment.count, segment.type);
    if (const auto* striped = std::get_if<lvm::StripedSegment>(&segment.body)) {
      text += fmt::format(" {}", striped->stripe_sectors);
      for (const lvm::SegmentArea& at : striped->areas) area(at);
    } else if (const auto* mirror = std::get_if<lvm::MirrorSegment>(&segment.body)) {
      for (const lvm::SegmentArea& at : mirror->areas) area(at);
    } else if (const auto* raid = std::get_if<lvm::RaidSegment>(&segment.body)) {
      for (const std::string& image : raid->images) area({image, 0});
    }
  }
}

void describe_place(const std::string& vg_config, const std::string& lv, view::BaseFacts& facts) {
  try {
    const lvm::VolumeGroup vg = lvm::VolumeGroup::parse(vg_config);
    const lvm::LogicalVolume* volume = vg.find_lv(lv);
    if (volume == nullptr) return;
    std::string text;
    describe_layout(vg, *volume, 0, text);
    facts.layout = to_hex(ByteView(crypto::sha256(as_bytes(text))).first(16));
    for (const auto& binding : vg.snapshots_of(*volume))
      if (binding.cow->id.dashed() == facts.snapshot_uuid) facts.binding_uuid = binding.pseudo->id.dashed();
  } catch (const Error&) {
    // A base without a place is refused when its time comes.
  }
}

void require_same(const view::BaseFacts& recorded, const view::BaseFacts& found) {
  const auto same = [](bool equal, std::string_view what) {
    if (!equal) throw Refusal(fmt::format("its {} is not the one that its backup recorded", what));
  };
  same(recorded.source == found.source, "kind");
  same(recorded.vg_uuid == found.vg_uuid, "volume group");
  same(recorded.origin_uuid == found.origin_uuid, "volume");
  same(recorded.snapshot_uuid == found.snapshot_uuid, "UUID");
  same(recorded.size == found.size, "size");
  same(recorded.chunk == found.chunk, "chunk size");
  if (recorded.source == change::to_string(change::Source::thick) && recorded.layout.empty())
    throw Refusal("its backup does not tell where the volume lay");
  if (recorded.source == change::to_string(change::Source::thick) && recorded.binding_uuid.empty())
    throw Refusal("its backup does not tell when it was attached to the volume");
  if (recorded.binding_uuid != found.binding_uuid)
    throw Refusal("it was taken off the volume and attached again, and does not know what was written in between");
  if (recorded.layout != found.layout)
    throw Refusal("the volume does not lie where it lay: it was moved, or cut short and grown again");
  same(recorded.pool_uuid == found.pool_uuid && recorded.thin_id == found.thin_id, "place in the pool");
}

// Old metadata of the group (vgcfgrestore) brings back a base that was gone, with all that identifies it. The base that was
// kept in its place is missing then.
void require_never_away(const BaseSearch& search, const FoundParent& parent, const std::vector<std::string>& tokens) {
  const repo::Snapshot& of = parent.backup.snapshot;
  const auto moment = [](const repo::Snapshot& snapshot) {
    return std::pair(snapshot.time.seconds, snapshot.time.nanoseconds);
  };
  for (const repo::NamedSnapshot& backup : search.backups) {
    // Machines that were cloned have volumes of the same UUIDs.
    const std::string& host = backup.snapshot.hostname;
    if (moment(backup.snapshot) <= moment(of) || (host != search.hostname && host != of.hostname)) continue;
    for (const view::StoredVolume& volume : view::stored_volumes(search.repository, backup.snapshot)) {
      if (!volume.facts || volume.facts->lv_uuid != parent.volume.facts->lv_uuid) continue;
      const auto record = view::load_base_record(search.repository, backup.snapshot, volume.tree_path);
      if (record && record->kept && std::ranges::find(tokens, record->kept->token) == tokens.end())
        throw Refusal(fmt::format("the newer base that backup {} kept is gone: this one may have been away meanwhile, and "
                                  "not know of every write (or cloned machines are saved under one name: --host tells them apart)",
                                  backup.id.short_hex()));
    }
  }
}

void prove(BaseChoice& choice, const BaseSearch& search, const engine::Base& base,
           const std::vector<std::string>& tokens) {
  const repo::IndexedRepository& repository = search.repository;
  const view::BaseFacts found = facts_of(base.identity(), search.vg_config, search.lv);
  const std::uint64_t size = search.lease.device().size();
  if (found.size != size)
    throw Refusal(fmt::format("it shows {} bytes, the volume has {}: it was resized", found.size, size));
  if (search.removed.holds(found.token))
    throw Refusal("it was removed, and has come back: it does not know what was written in between");
  auto parent = find_parent_of(repository, search.backups, found.token);
  if (!parent) throw Refusal("the backup that was read from it is not in this repository");
  const view::VolumeFacts& facts = *parent->volume.facts;
  require_same(parent->base, found);
  if (facts.size != size || parent->volume.image_size != size)
    throw Refusal("its backup holds an image of another size");
  if (!parent->cuts) throw Refusal(fmt::format("its backup has no sound {}", view::kCutsName));
  if (parent->cuts->cutter != search.cutter)
    throw Refusal("its backup was cut by other rules, or for another repository");
  require_never_away(search, *parent, tokens);

  change::ChangeMap map = base.changes();
  if (map.size != size || map.token != found.token) throw Refusal("it tells of another volume's changes");
  view::ReuseFacts used{found.source, found.token, parent->backup.id.hex(), map.changed.total(), 0};
  ParentImage image{std::move(parent->volume), std::move(*parent->cuts), std::move(map.changed)};
  for (const view::LostRange& lost : image.volume.facts->lost)
    image.changed.add(intersect(lost.extent, {0, size}));
  for (ParentChunks chunks(repository, image.volume); chunks.current() != nullptr;) chunks.next();
  choice.parent = std::move(image);
  choice.used = std::move(used);
}

}  // namespace

bool holds_backup_of(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
                     const std::string& token) {
  try {
    return find_parent_of(repository, backups, token).has_value();
  } catch (const Error&) {
    return true;  // a backup that is damaged: check tells of it
  }
}

std::string new_base_token(const repo::Timestamp& backup_began) {
  std::array<std::uint8_t, 12> random{};
  crypto::random_bytes(random);
  return fmt::format("{:08x}{}", static_cast<std::uint32_t>(backup_began.seconds), to_hex(random));
}

view::BaseFacts facts_of(const engine::BaseIdentity& identity, const std::string& vg_config,
                         const std::string& lv) {
  view::BaseFacts facts;
  facts.token = identity.token;
  facts.source = change::to_string(identity.source);
  facts.snapshot_uuid = identity.snapshot_uuid;
  facts.origin_uuid = identity.origin_uuid;
  facts.vg_uuid = identity.vg_uuid;
  facts.size = identity.size;
  facts.chunk = identity.chunk;
  facts.pool_uuid = identity.pool_uuid;
  facts.thin_id = identity.thin_id;
  // Thin blocks are told apart wherever the pool lies.
  if (identity.source == change::Source::thick) describe_place(vg_config, lv, facts);
  return facts;
}

BaseChoice choose_base(const BaseSearch& search, const std::vector<std::unique_ptr<engine::Base>>& bases) {
  BaseChoice choice;
  std::vector<std::string> tokens;
  for (const auto& base : bases) tokens.push_back(base->identity().token);
  for (const auto& base : bases) {
    const auto refuse = [&](std::string_view why) {
      choice.refused +=
          fmt::format("{}{}: {}", choice.refused.empty() ? "" : "; ", printable(base->name()), why);
    };
    try {
      prove(choice, search, *base, tokens);
      choice.refused.clear();
      return choice;
    } catch (const Refusal& refusal) {
      refuse(refusal.what());
    } catch (const Error& error) {
      refuse(error.what());
    }
  }
  return choice;
}

}  // namespace respaldo::backup
