// A change to the machine as a list of steps: shown first, then done one by one, and taken back when one
// fails.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

namespace respaldo::provision {

struct Action {
  std::string text{};     // what it does: "make the volume group backup on /dev/sdb1"
  std::string command{};  // how an administrator would do it by hand; may be empty
  std::function<void(std::stop_token)> apply{};
  // Takes back what apply() did, or may have done when it failed half way; must not fail when there is
  // nothing to take back. Absent: nothing is left behind, or it cannot be taken back (then `final` says so).
  std::function<void()> undo{};
  std::string undo_text{};  // "remove the volume group backup"
  // What it destroys stays destroyed. When apply() fails with busy or refused, nothing was.
  bool final = false;
};
using ActionList = std::vector<Action>;

// Told while the list is worked off.
class ActionObserver {
 public:
  virtual ~ActionObserver() = default;
  virtual void doing(std::size_t number, std::size_t count, const Action& action) = 0;  // number from 1
  virtual void undoing(const Action& action) = 0;
};

// Applies the actions in order. When one fails, or a stop is asked for, everything done so far is undone,
// newest first, the failed one included; then the failure is thrown on (or Cancelled), saying whether all was
// undone and what was not.
void run_actions(const ActionList& actions, ActionObserver& observer, std::stop_token stop);

}  // namespace respaldo::provision
