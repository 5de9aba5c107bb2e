#include "verify/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace respaldo::verify {

void Findings::add(Severity severity, std::string kind, std::string message, std::string advice) {
  std::lock_guard lock(mutex_);
  Kind& all = kinds_[kind];
  all.severity = std::max(all.severity, severity);
  if (all.told.size() >= kMostOfAKind) {
    ++all.untold;
  } else {
    all.told.push_back({severity, std::move(kind), std::move(message), std::move(advice)});
  }
}

void Findings::damaged(const store::Handle& object) {
  std::lock_guard lock(mutex_);
  damaged_.insert(object);
}

std::set<store::Handle> Findings::take_damaged() {
  std::lock_guard lock(mutex_);
  return std::exchange(damaged_, {});
}

std::vector<Finding> Findings::take() {
  std::lock_guard lock(mutex_);
  std::vector<Finding> result;
  for (auto& [kind, all] : kinds_) {
    std::ranges::move(all.told, std::back_inserter(result));
    if (all.untold > 0)
      result.push_back({all.severity, kind, fmt::format("and {} more of this kind", all.untold), {}});
  }
  kinds_.clear();
  std::ranges::stable_sort(result, [](const Finding& a, const Finding& b) {
    // "and ... more" stays at the end of its kind.
    const bool a_rest = a.message.starts_with("and "), b_rest = b.message.starts_with("and ");
    return std::tie(b.severity, a.kind, a_rest, a.message) < std::tie(a.severity, b.kind, b_rest, b.message);
  });
  return result;
}

}  // namespace respaldo::verify
