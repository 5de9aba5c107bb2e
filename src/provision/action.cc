#include "provision/action.h"

#include <fmt/format.h>

#include "base/error.h"

namespace respaldo::provision {

namespace {

// What could not be taken back, for the user to do by hand.
std::vector<std::string> undo_all(const ActionList& actions, std::size_t touched, ActionObserver& observer) {
  std::vector<std::string> left;
  for (std::size_t i = touched; i-- > 0;) {
    const Action& action = actions[i];
    if (!action.undo) continue;
    observer.undoing(action);
    try {
      action.undo();
    } catch (const std::exception& error) {
      left.push_back(fmt::format("{} ({})", action.undo_text, error.what()));
    }
  }
  return left;
}

std::string outcome(const ActionList& actions, std::size_t touched, const std::vector<std::string>& left) {
  bool destroyed = false;
  for (std::size_t i = 0; i < touched; ++i) destroyed |= actions[i].final;
  if (left.empty())
    return destroyed ? "everything that was made has been undone; what was on the disk is gone"
                     : "everything that was done has been undone";
  std::string text = "NOT undone, please do it by hand: ";
  for (std::size_t i = 0; i < left.size(); ++i) text += (i == 0 ? "" : "; ") + left[i];
  return text;
}

}  // namespace

void run_actions(const ActionList& actions, ActionObserver& observer, std::stop_token stop) {
  std::size_t touched = 0;
  try {
    for (const Action& action : actions) {
      if (stop.stop_requested()) throw Cancelled();
      observer.doing(touched + 1, actions.size(), action);
      ++touched;
      action.apply(stop);
    }
    if (stop.stop_requested()) throw Cancelled();
  } catch (Error& error) {
    const auto left = undo_all(actions, touched, observer);
    error.add_context(actions[touched - 1].text);
    const std::string then = outcome(actions, touched, left);
    error.set_hint(error.hint().empty() ? then : error.hint() + "; " + then);
    throw;
  } catch (const Cancelled&) {
    const auto left = undo_all(actions, touched, observer);
    if (!left.empty()) throw Error(ErrorKind::io, "interrupted", outcome(actions, touched, left));
    throw;
  } catch (...) {
    undo_all(actions, touched, observer);
    throw;
  }
}

}  // namespace respaldo::provision
