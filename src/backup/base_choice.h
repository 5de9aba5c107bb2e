// Whether an earlier backup's base can be trusted: it counts only when proven.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backup/reuse.h"
#include "engine/base.h"
#include "journal/removed_bases.h"
#include "repo/repository.h"
#include "view/base_facts.h"

namespace respaldo::backup {

struct BaseChoice {
  std::optional<ParentImage> parent;  // absent: everything is read
  view::ReuseFacts used;              // REQUIRES parent
  // Why the bases that are there cannot be used; empty when there are none, or one is.
  std::string refused;
};

// A random token for a base, which also tells when its backup began: "65f3a1b2" (seconds of 1970) + 24 more
// hexadecimal digits.
std::string new_base_token(const repo::Timestamp& backup_began);

// False for bases of other repositories, and of backups that are forgotten.
bool holds_backup_of(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
                     const std::string& token);

// `vg_config`: the group's metadata as text, with the base; `lv`: the base's origin.
view::BaseFacts facts_of(const engine::BaseIdentity& identity, const std::string& vg_config,
                         const std::string& lv);

// What is known of a volume when a base is looked for.
struct BaseSearch {
  const repo::IndexedRepository& repository;
  const std::vector<repo::NamedSnapshot>& backups;
  const engine::SnapshotLease& lease;  // what will be read
  const std::string& vg_config;
  const std::string& lv;
  const std::string& cutter;  // cutter_name() of this repository
  const std::string& hostname;  // as the run records it
  const journal::RemovedBases& removed;  // by this host
};

// The newest base of which all is proven: the backup that was read from it is found by the token; UUIDs,
// size, chunk, layout and attachment are those that it recorded; it was cut as this repository cuts; every blob of its
// image is in the index; the base still told what changed; and nothing says that it was away meanwhile: no later backup of
// the volume kept a base that is gone, and this host did not remove it.
BaseChoice choose_base(const BaseSearch& search, const std::vector<std::unique_ptr<engine::Base>>& bases);

}  // namespace respaldo::backup
