#include "cli/lvm/verb.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"

namespace respaldo::cli {

namespace {

SyntaxError bad_value(std::string_view option, const std::string& text) {
  return SyntaxError(fmt::format("  Invalid argument for --{}: {}\n  Error during parsing of command line.",
                                 option, printable(text)));
}

// Errors of the engine's parsers, in lvm2's shape.
SyntaxError bad_size(const Error& error) {
  std::string text = "  ";
  for (const char c : error.message()) {
    text += c;
    if (c == '\n') text += "  ";
  }
  return SyntaxError(text + "\n  Error during parsing of command line.");
}

}  // namespace

void print_block(const LvmWorld& world, std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    world.print(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::uint64_t size_option(const LvmArguments& arguments, std::string_view option, std::uint64_t unit,
                          std::uint64_t otherwise) {
  if (!arguments.has(option)) return otherwise;
  const auto bytes = try_parse_size(arguments.value(option), unit);
  if (!bytes) throw bad_value(option, arguments.value(option));
  return *bytes;
}

std::uint64_t count_option(const LvmArguments& arguments, std::string_view option, std::uint64_t otherwise,
                           std::uint64_t most) {
  if (!arguments.has(option)) return otherwise;
  const std::string text = arguments.value(option);
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos ||
      std::stoull(text) > most)
    throw bad_value(option, text);
  return std::stoull(text);
}

bool yes_option(const LvmArguments& arguments, std::string_view option, bool otherwise) {
  if (!arguments.has(option)) return otherwise;
  const std::string text = arguments.value(option);
  if (text == "y" || text == "yes" || text == "1") return true;
  if (text == "n" || text == "no" || text == "0") return false;
  throw bad_value(option, text);
}

std::vector<std::string> tags_option(const LvmArguments& arguments, std::string_view option) {
  std::vector<std::string> tags = arguments.values(option);
  for (std::string& tag : tags) {
    if (tag.starts_with('@')) tag.erase(0, 1);
    if (tag.empty() || tag.size() > 1024 ||
        tag.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-/=!:&#") !=
            std::string::npos ||
        tag[0] == '-')
      throw bad_value(option, tag);
  }
  return tags;
}

std::optional<engine::AllocationPolicy> policy_of(const LvmArguments& arguments) {
  if (arguments.has("contiguous") && yes_option(arguments, "contiguous", false))
    return engine::AllocationPolicy::contiguous;
  if (!arguments.has("alloc") || arguments.value("alloc") == "inherit") return std::nullopt;
  const auto policy = engine::parse_allocation_policy(arguments.value("alloc"));
  if (!policy)
    throw SyntaxError(
        fmt::format("  Unrecognised allocation policy {0}\n  Invalid argument for --alloc: {0}\n  Error "
                    "during parsing of command line.",
                    printable(arguments.value("alloc"))));
  return policy;
}

engine::SizeSpec size_of(const Call& call, bool plus, bool minus) {
  const LvmArguments& arguments = call.arguments;
  if (!arguments.has("size") && !arguments.has("extents")) throw no_matching_syntax(call.verb);
  if (arguments.has("size") && arguments.has("extents"))
    throw Error(ErrorKind::usage, "Please specify either size or extents (not both).");
  const char* option = arguments.has("size") ? "size" : "extents";
  const std::string text = arguments.value(option);
  engine::SizeSpec spec;
  try {
    spec = arguments.has("size") ? engine::parse_size_spec(text) : engine::parse_extents_spec(text);
    const bool bytes = arguments.has("size");
    if (spec.sign == engine::SizeSign::minus && !minus)
      throw Error(ErrorKind::usage, fmt::format("{} may not be negative.\nInvalid argument for --{}: {}",
                                                bytes ? "Size" : "Extents", option, printable(text)));
    if (spec.sign == engine::SizeSign::plus && !plus)
      throw Error(ErrorKind::usage, fmt::format("{} may not be positive.\nInvalid argument for --{}: {}",
                                                bytes ? "Size" : "Extents", option, printable(text)));
  } catch (const Error& error) {
    throw bad_size(error);
  }
  if (spec.value == 0) throw Error(ErrorKind::usage, fmt::format("--{} may not be zero.", option));
  return spec;
}

void require_lvm2_format(const LvmArguments& arguments) {
  const std::string format = arguments.value("metadatatype", "2");
  if (format != "2" && format != "lvm2") throw bad_value("metadatatype", format);
}

const std::string& word(const Call& call, std::size_t index) {
  if (index >= call.arguments.positional().size()) throw no_matching_syntax(call.verb);
  return call.arguments.positional()[index];
}

std::vector<std::string> words_from(const LvmArguments& arguments, std::size_t first) {
  const auto& all = arguments.positional();
  return {all.begin() + static_cast<std::ptrdiff_t>(std::min(first, all.size())), all.end()};
}

std::string without_dev(std::string name) {
  if (name.starts_with("/dev/")) name.erase(0, 5);
  return name;
}

SyntaxError no_matching_syntax(const LvmVerb& verb) {
  std::string text = fmt::format(
      "  No command with matching syntax recognised.  Run '{} --help' for more information.", verb.name);
  if (verb.usage.find('\n') == std::string_view::npos)
    text += fmt::format("\n  Correct command syntax is:\n  {}\n", verb.usage);
  return SyntaxError(text);
}

std::string new_lv_name(const std::string& given) {
  std::string name = without_dev(given);
  const std::size_t slash = name.find('/');
  if (slash != std::string::npos && name.find('/', slash + 1) != std::string::npos)
    throw Error(ErrorKind::usage, fmt::format("\"{}\": Invalid path for Logical Volume.", printable(given)));
  return slash == std::string::npos ? name : name.substr(slash + 1);
}

}  // namespace respaldo::cli
