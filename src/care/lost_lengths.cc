#include "care/lost_lengths.h"

namespace respaldo::care {

std::optional<std::uint64_t> LostLengths::find(const repo::BlobId& id) const {
  if (const auto length = known_(id)) return length;
  if (const auto at = found_.find(id); at != found_.end()) return at->second;
  return std::nullopt;
}

void LostLengths::learn_from(std::uint64_t size, const std::vector<repo::BlobId>& content) {
  Equation equation{size, {}};
  for (const repo::BlobId& id : content) {
    const auto length = find(id);
    if (!length) {
      ++equation.unknown[id];
    } else if (*length > equation.size) {
      return;  // the file's size lies
    } else {
      equation.size -= *length;
    }
  }
  if (!equation.unknown.empty()) equations_.push_back(std::move(equation));
}

// Takes out what is known by now; true when the rest tells a length.
bool LostLengths::simplify(Equation& equation) {
  for (auto at = equation.unknown.begin(); at != equation.unknown.end();) {
    const auto length = found_.find(at->first);
    if (length == found_.end()) {
      ++at;
      continue;
    }
    const std::uint64_t all = length->second * at->second;
    if (all > equation.size) {
      equation.unknown.clear();  // it contradicts another file: no use
      return false;
    }
    equation.size -= all;
    at = equation.unknown.erase(at);
  }
  if (equation.unknown.size() != 1) return false;
  const auto& [id, times] = *equation.unknown.begin();
  if (equation.size == 0 || equation.size % times != 0) return false;
  found_.emplace(id, equation.size / times);
  equation.unknown.clear();
  return true;
}

void LostLengths::solve() {
  for (bool changed = true; changed;) {
    changed = false;
    for (Equation& equation : equations_) changed |= simplify(equation);
  }
}

}  // namespace respaldo::care
