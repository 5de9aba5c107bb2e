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

// Of `touched` actions the last one may have failed. What it destroys is gone when it returned; when it was
// refused, or somebody was in its way, it is all there; else nobody can say.
std::string lost(const ActionList& actions, std::size_t touched, bool last_failed, ErrorKind kind) {
  const std::size_t done = last_failed ? touched - 1 : touched;
  for (std::size_t i = 0; i < done; ++i)
    if (actions[i].final) return "; what was on the disk is gone";
  const bool untouched = kind == ErrorKind::busy || kind == ErrorKind::refused;
  return last_failed && actions[done].final && !untouched ? "; what was on the disk may be gone" : "";
}

std::string outcome(const std::string& lost, const std::vector<std::string>& left) {
  if (left.empty())
    return (lost.empty() ? "everything that was done has been undone"
                         : "everything that was made has been undone") +
           lost;
  std::string text = "NOT undone, please do it by hand: ";
  for (std::size_t i = 0; i < left.size(); ++i) text += (i == 0 ? "" : "; ") + left[i];
  return text + lost;
}

}  // namespace

void run_actions(const ActionList& actions, ActionObserver& observer, std::stop_token stop) {
  std::size_t touched = 0;
  bool failed = false;  // the last touched one
  try {
    for (const Action& action : actions) {
      if (stop.stop_requested()) throw Cancelled();
      observer.doing(touched + 1, actions.size(), action);
      ++touched;
      failed = true;
      action.apply(stop);
      failed = false;
    }
    if (stop.stop_requested()) throw Cancelled();
  } catch (Error& error) {
    const auto left = undo_all(actions, touched, observer);
    error.add_context(actions[touched - 1].text);
    const std::string then = outcome(lost(actions, touched, failed, error.kind()), left);
    error.set_hint(error.hint().empty() ? then : error.hint() + "; " + then);
    throw;
  } catch (const Cancelled&) {
    const auto left = undo_all(actions, touched, observer);
    if (!left.empty())
      throw Error(ErrorKind::io, "interrupted", outcome(lost(actions, touched, failed, ErrorKind::io), left));
    throw;
  } catch (...) {
    undo_all(actions, touched, observer);
    throw;
  }
}

}  // namespace respaldo::provision
