// Command lines as lvm2 takes them: short options that cluster ("-ntestlv"), long options that may be
// abbreviated, values joined or apart.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace respaldo::cli {

// An option of lvm2. The long name identifies it.
struct LvmOption {
  std::string_view long_name;
  char short_name = 0;
  bool takes_value = false;
};

struct Call;

struct LvmVerb {
  std::string_view name;
  std::string_view usage;          // as lvm2 prints it when the syntax is wrong
  std::string_view summary;        // one line for --help
  std::vector<LvmOption> options;  // besides the common ones
  bool writes = false;             // needs the images exclusively
  void (*run)(const Call&) = nullptr;
};
// Every verb, in alphabetical order.
const std::vector<LvmVerb>& lvm_verbs();
const LvmVerb* find_lvm_verb(std::string_view name);
// -v, -y, -t, --config... : every verb takes them.
const std::vector<LvmOption>& common_lvm_options();

// A command line that fits no syntax. The message is printed as it is.
struct SyntaxError : Error {
  explicit SyntaxError(std::string lines) : Error(ErrorKind::usage, std::move(lines)) {}
};

// What was given. Values in order; an option without a value counts.
class LvmArguments {
 public:
  // SyntaxError with lvm2's words.
  static LvmArguments parse(const LvmVerb& verb, const std::vector<std::string>& argv);

  bool has(std::string_view option) const { return values_.find(option) != values_.end(); }
  std::size_t count(std::string_view option) const;
  // The last value, or `otherwise`.
  std::string value(std::string_view option, std::string_view otherwise = {}) const;
  std::vector<std::string> values(std::string_view option) const;
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
  std::vector<std::string> positional_;
};

}  // namespace respaldo::cli
