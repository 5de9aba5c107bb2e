// What a check finds, gathered from its threads.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "verify/check.h"

namespace respaldo::verify {

inline constexpr std::size_t kMostOfAKind = 1000;  // findings of one kind that are told one by one

// Thread-safe. Bounded: past kMostOfAKind of a kind the rest is only counted.
class Findings {
 public:
  void add(Severity severity, std::string kind, std::string message, std::string advice = {});
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
};

}  // namespace respaldo::verify
