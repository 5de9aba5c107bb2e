// A store that keeps the parity of everything that passes through it.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "parity/named_packs.h"
#include "parity/settings.h"
#include "store/backend.h"

namespace respaldo::parity {

// Wraps a store: what is saved through it gets its sidecar (made of the bytes in hand: nothing is read
// again), packs join groups, what is removed leaves them. Whoever writes through it (backup, prune, repair,
// copy, keys) keeps parity right without knowing of it. Order: a sidecar is stored before its object, so a
// kill leaves at worst a sidecar without an object. A snapshot's is stored after it: one without its snapshot
// would be a backup that was lost, while a snapshot without parity is whole. Groups and the other sidecars
// are durable before a snapshot is stored. An object's sidecar goes before the object: a removed key never
// comes back. A pack whose group is all that can still heal another, damaged or lost, stays when it is
// removed, in no index: the next prune tries again. On a full store packs are removed before the others of their
// groups have new ones, as nothing else makes room; those are made afterwards, or what is missing is told.
class ParityBackend : public store::Backend {
 public:
  virtual const Settings& settings() const = 0;
  // The settings could not be read: those in use are out of their parity, or the defaults.
  virtual bool settings_damaged() const = 0;
  virtual store::Backend& plain() = 0;
  // Is told in sentences what could not be done as asked: packs that stay for the sake of damaged ones, a
  // backup that is stored and its parity not.
  virtual void warn_with(std::function<void(std::string_view)> warn) = 0;
  // Is asked, when packs are removed, whether another that is not there was lost. Without it: perhaps.
  virtual void ask_named_packs(AskNamedPacks ask) = 0;
};

// For a new repository: create() stores the settings as well.
std::unique_ptr<ParityBackend> with_parity(std::unique_ptr<store::Backend> backend, const Settings& settings);
// Wrapped when the repository has parity, else as it is.
std::unique_ptr<store::Backend> open_with_parity(std::unique_ptr<store::Backend> backend);

// The store itself, below the parity when it has one.
store::Backend& plain(store::Backend& backend);
// Null when this store keeps no parity.
ParityBackend* parity_of(store::Backend& backend);
// How a hint about damage begins where there is parity: what is healed need not be given up. Else empty.
std::string heal_first(store::Backend& backend);

}  // namespace respaldo::parity
