// Groups in the making: packs are added as they are stored, without reading any again.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "parity/group_format.h"
#include "parity/named_packs.h"

namespace respaldo::parity {

// Thread-safe. Memory: one shard (as long as the longest pack) for each row of parity.
class GroupBuilder {
 public:
  // `backend` is the plain store below the parity. REQUIRES settings.has_groups().
  GroupBuilder(store::Backend& backend, const Settings& settings);

  // A pack that is stored, or about to be. The first one continues a group that an earlier run left
  // unfinished, when there is one. A full group is written at once (durable at the next sync).
  void add(const std::string& pack, ByteView bytes);
  // The unfinished group becomes durable; the groups that it and the full ones replace are removed.
  void flush();
  // Flushes and starts afresh; none of these groups is continued.
  void leave(const std::vector<std::string>& groups);
  // Starts afresh without a flush; groups that were to be removed stay. Returns the packs of the group in hand.
  std::vector<std::string> give_up();

  // A group of that name was stored by this object.
  bool wrote(const std::string& group);

 private:
  void flush_locked();
  void start_afresh();
  void adopt_unfinished();
  bool adopt(const std::string& name);
  void make_room(std::uint64_t size);
  std::vector<std::uint8_t*> row_pointers();
  void write();

  store::Backend& backend_;
  const Settings settings_;
  const ErasureCode code_;
  std::mutex mutex_;
  bool looked_ = false;  // for an unfinished group
  bool dirty_ = false;   // something was added since it was written
  GroupHead head_;
  std::vector<Bytes> rows_;
  std::string written_as_;  // the name under which the group in hand is stored; empty: not yet
  std::set<std::string> wrote_;
  std::set<std::string> left_;        // not to be continued
  std::set<std::string> superseded_;  // to be removed when what replaces them is durable
};

// The code that all groups with so many rows share: columns do not depend on how many there are.
ErasureCode group_code(std::uint32_t rows);

// What becomes of the groups whose packs are about to be removed.
struct LeftGroups {
  std::vector<std::string> emptied;  // of no use any more: to be removed after the packs
  std::set<std::string> needed;   // packs that must not go: out of them a damaged member may still be healed
  std::set<std::string> damaged;  // members that nothing healed; their groups stay
  std::set<std::string> lost;     // such that are named and not there
  std::vector<std::string> bare;  // whole members that are in no group then: there was no room for a new one
};
// Takes packs out of their groups, so that the others stay protected: a member that stays and is damaged, or
// named and not there, is healed first, or keeps the group's parity without those that go. `ask` is called
// when such a member is not there. What replaces the old groups is durable when this returns. On a full store nothing
// replaces them: a disk that only removing frees is not to be kept full. REQUIRES the exclusive lock.
LeftGroups leave_groups(store::Backend& backend, GroupBuilder& builder, const std::set<std::string>& packs,
                        const AskNamedPacks& ask);

// Makes groups of packs that were left bare, when those that left are gone. Returns those that still are.
std::vector<std::string> cover(store::Backend& backend, GroupBuilder& builder, std::vector<std::string> bare);

}  // namespace respaldo::parity
