#include "care/healing.h"

#include <fmt/format.h>

#include "parity/parity_backend.h"
#include "parity/repair.h"
#include "parity/upkeep.h"

namespace respaldo::care {

void require_beyond_healing(repo::Repository& repository, const std::set<store::Handle>& objects,
                            Progress& progress, const std::stop_token& stop) {
  if (objects.empty()) return;
  if (parity::parity_of(repository.backend()) == nullptr) {
    if (parity::is_left_behind(repository.backend()))
      throw Error(ErrorKind::refused,
                  "there is parity that might heal this first, but its settings are lost; nothing was changed",
                  parity::kTakeUp);
    return;
  }
  const parity::RepairReport report = parity::look_for_healing(repository.backend(), objects, progress, stop);
  const std::size_t count = report.count(parity::Outcome::healed);
  for (const parity::RepairItem& item : report.items)
    if (item.outcome == parity::Outcome::healed)
      throw Error(ErrorKind::refused,
                  fmt::format("{}{}; nothing was changed", item.message,
                              count > 1 ? fmt::format(" (and {} more can be healed)", count - 1) : ""),
                  "`respaldo check --repair` can heal this first; then run this again for what is left");
}

}  // namespace respaldo::care
