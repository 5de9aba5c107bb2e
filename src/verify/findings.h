// What a check finds, gathered from its threads.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "verify/check.h"

namespace respaldo::verify {

inline constexpr std::size_t kMostOfAKind = 1000;  // findings of one kind that are told one by one

// Thread-safe. Bounded: past kMostOfAKind of a kind the rest is only counted.
class Findings {
 public:
  void add(Severity severity, std::string kind, std::string message, std::string advice = {});
  // An object that a finding is about: parity may heal it.
  void damaged(const store::Handle& object);
  std::set<store::Handle> take_damaged();
  // Errors first, then by kind and message: the same damage gives the same list. Leaves nothing behind.
  std::vector<Finding> take();

 private:
  struct Kind {
    Severity severity = Severity::info;
    std::vector<Finding> told;
    std::uint64_t untold = 0;
  };
  std::mutex mutex_;
  std::map<std::string, Kind> kinds_;
  std::set<store::Handle> damaged_;
};

}  // namespace respaldo::verify
