// A recorded machine: external programs answer what they were heard to say.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "os/command_runner.h"

namespace respaldo::testing {

// Answers a command by the rule that was added last of those whose words are all in its argv, in that order.
// A command without a rule is Error(internal), and so fails the test. Thread-safe.
class ReplayRunner final : public os::CommandRunner {
 public:
  using Answer = std::function<os::CommandResult(const std::vector<std::string>& argv)>;

  void on(std::vector<std::string> words, os::CommandResult result) {
    on(std::move(words), [result](const std::vector<std::string>&) { return result; });
  }
  void on(std::vector<std::string> words, Answer answer) {
    std::lock_guard lock(mutex_);
    rules_.push_front({std::move(words), std::move(answer), false});
  }
  // Answers once; then the rules before it count again.
  void once(std::vector<std::string> words, os::CommandResult result) {
    std::lock_guard lock(mutex_);
    rules_.push_front({std::move(words), [result](const std::vector<std::string>&) { return result; }, true});
  }
  void once(std::vector<std::string> words, Answer answer) {
    std::lock_guard lock(mutex_);
    rules_.push_front({std::move(words), std::move(answer), true});
  }

  os::CommandResult run(const std::vector<std::string>& argv, const os::CommandOptions& = {},
                        std::stop_token = {}) override {
    Answer answer;
    {
      std::lock_guard lock(mutex_);
      calls_.push_back(argv);
      for (auto rule = rules_.begin(); rule != rules_.end(); ++rule) {
        if (!matches(rule->words, argv)) continue;
        answer = rule->answer;
        if (rule->once) rules_.erase(rule);
        break;
      }
    }
    if (!answer)
      throw Error(ErrorKind::internal, fmt::format("no recorded answer to: {}", fmt::join(argv, " ")));
    return answer(argv);
  }

  std::vector<std::vector<std::string>> calls() const {
    std::lock_guard lock(mutex_);
    return calls_;
  }
  // How many of the calls have these words, in this order.
  std::size_t count(const std::vector<std::string>& words) const {
    std::lock_guard lock(mutex_);
    std::size_t found = 0;
    for (const auto& call : calls_) found += matches(words, call) ? 1 : 0;
    return found;
  }

 private:
  struct Rule {
    std::vector<std::string> words;
    Answer answer;
    bool once;
  };
  static bool matches(const std::vector<std::string>& words, const std::vector<std::string>& argv) {
    std::size_t at = 0;
    for (const std::string& word : argv)
      if (at < words.size() && word == words[at]) ++at;
    return at == words.size();
  }
  mutable std::mutex mutex_;
  std::list<Rule> rules_;
  std::vector<std::vector<std::string>> calls_;
};

}  // namespace respaldo::testing
