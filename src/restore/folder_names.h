// The names of one stored folder, as a walk meets them.
#pragma once

#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

namespace respaldo::restore {

// Trees are sorted; those of hostile repositories need not be.
class FolderNames {
 public:
  // False when it was there before.
  bool add(const std::string& name) {
    const std::size_t hash = std::hash<std::string>()(name);
    if (hashes_.empty() || (set_.empty() && name > last_)) {
      hashes_.push_back(hash);
      last_ = name;
      return true;
    }
    if (set_.empty()) set_.insert(hashes_.begin(), hashes_.end());
    return set_.insert(hash).second;
  }

 private:
  std::string last_;
  std::vector<std::size_t> hashes_;
  std::unordered_set<std::size_t> set_;
};

}  // namespace respaldo::restore
