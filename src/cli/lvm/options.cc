#include "cli/lvm/options.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"

namespace respaldo::cli {

namespace {

SyntaxError bad(std::string message) {
  return SyntaxError(std::move(message) + "\n  Error during parsing of command line.");
}

const LvmOption* find_short(const LvmVerb& verb, char letter) {
  for (const auto* list : {&verb.options, &common_lvm_options()})
    for (const LvmOption& option : *list)
      if (option.short_name == letter) return &option;
  return nullptr;
}

const LvmOption kSeveral{};  // a name that begins several options

// An exact name, or the only one that begins so.
const LvmOption* find_long(const LvmVerb& verb, std::string_view name) {
  const LvmOption* found = nullptr;
  std::string possibilities;
  for (const auto* list : {&verb.options, &common_lvm_options()})
    for (const LvmOption& option : *list) {
      if (option.long_name == name) return &option;
      if (!option.long_name.starts_with(name)) continue;
      possibilities += fmt::format(" '--{}'", option.long_name);
      found = found == nullptr ? &option : &kSeveral;
    }
  if (found == &kSeveral)
    throw bad(fmt::format("{}: option '--{}' is ambiguous; possibilities:{}", verb.name, printable(name),
                          possibilities));
  if (found == nullptr) throw bad(fmt::format("{}: unrecognized option '--{}'", verb.name, printable(name)));
  return found;
}

}  // namespace

const LvmVerb* find_lvm_verb(std::string_view name) {
  for (const LvmVerb& verb : lvm_verbs())
    if (verb.name == name) return &verb;
  return nullptr;
}

LvmArguments LvmArguments::parse(const LvmVerb& verb, const std::vector<std::string>& argv) {
  LvmArguments result;
  bool options_end = false;
  for (std::size_t i = 0; i < argv.size(); ++i) {
    const std::string& word = argv[i];
    if (options_end || word.size() < 2 || word[0] != '-') {
      result.positional_.push_back(word);
      continue;
    }
    if (word == "--") {
      options_end = true;
      continue;
    }
    if (word[1] == '-') {
      const std::size_t equals = word.find('=');
      const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
      const LvmOption* option = find_long(verb, name);
      std::string value;
      if (equals != std::string::npos) {
        if (!option->takes_value)
          throw bad(fmt::format("{}: option '--{}' doesn't allow an argument", verb.name, option->long_name));
        value = word.substr(equals + 1);
      } else if (option->takes_value) {
        if (++i == argv.size())
          throw bad(fmt::format("{}: option '--{}' requires an argument", verb.name, option->long_name));
        value = argv[i];
      }
      result.values_[std::string(option->long_name)].push_back(std::move(value));
      continue;
    }
    for (std::size_t at = 1; at < word.size(); ++at) {
      const LvmOption* option = find_short(verb, word[at]);
      if (option == nullptr)
        throw bad(fmt::format("{}: invalid option -- '{}'", verb.name, printable(word.substr(at, 1))));
      auto& values = result.values_[std::string(option->long_name)];
      if (!option->takes_value) {
        values.emplace_back();
        continue;
      }
      if (at + 1 < word.size())
        values.push_back(word.substr(at + 1));
      else if (++i < argv.size())
        values.push_back(argv[i]);
      else
        throw bad(fmt::format("{}: option requires an argument -- '{}'", verb.name, word[at]));
      break;
    }
  }
  return result;
}

std::size_t LvmArguments::count(std::string_view option) const {
  auto it = values_.find(option);
  return it == values_.end() ? 0 : it->second.size();
}

std::string LvmArguments::value(std::string_view option, std::string_view otherwise) const {
  auto it = values_.find(option);
  return it == values_.end() ? std::string(otherwise) : it->second.back();
}

std::vector<std::string> LvmArguments::values(std::string_view option) const {
  auto it = values_.find(option);
  return it == values_.end() ? std::vector<std::string>{} : it->second;
}

}  // namespace respaldo::cli
