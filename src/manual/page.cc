#include "manual/page.h"

#include <cmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <memory>

#include "app/context.h"
#include "cli/lvm/options.h"

namespace respaldo::manual {

namespace {

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

std::string title(const std::string& name, int section) {
  std::string upper = name;
  for (char& c : upper) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return fmt::format(".TH {} {} \"\" \"respaldo {}\" \"respaldo manual\"\n", escaped(upper), section,
                     app::kVersion);
}

// "Save volumes." as the NAME section wants it.
std::string whatis(std::string summary) {
  if (summary.ends_with('.')) summary.pop_back();
  if (summary.size() > 1 && summary[0] >= 'A' && summary[0] <= 'Z' &&
      !(summary[1] >= 'A' && summary[1] <= 'Z'))
    summary[0] = static_cast<char>(summary[0] - 'A' + 'a');
  return summary;
}

std::string bold(std::string_view text) { return "\\fB" + escaped(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + escaped(text) + "\\fR"; }

// Capitals are what the user fills in, the rest is typed as it is.
std::string value_text(const OptionRow& row) {
  return row.choices.empty() ? italic(row.value) : bold(row.value);
}

std::string option_text(const OptionRow& row) {
  std::string out = ".TP\n";
  for (std::size_t i = 0; i < row.names.size(); ++i) out += (i > 0 ? ", " : "") + bold(row.names[i]);
  if (!row.value.empty()) out += " " + value_text(row);
  out += "\n" + escaped(row.help);
  if (!row.otherwise.empty() && row.otherwise != "false")
    out += fmt::format(" (default: {})", escaped(row.otherwise));
  return out + "\n";
}

std::string argument_text(const OptionRow& row) {
  const std::string word = row.choices.empty() ? italic(row.value) : bold(row.value);
  return fmt::format(".TP\n{}\n{}\n", word, escaped(row.help));
}

std::string synopsis(const CommandRow& command) {
  std::string out = fmt::format("{} [{}] {}", bold("respaldo"), italic("COMMON OPTIONS"), bold(command.name));
  if (command.options.size() > 1) out += fmt::format(" [{}]", italic("OPTIONS"));
  if (!command.commands.empty()) out += " " + italic("SUBCOMMAND");
  for (const OptionRow& row : command.arguments) {
    std::string word = value_text(row) + (row.many ? "..." : "");
    out += " " + (row.required ? word : "[" + word + "]");
  }
  return out + "\n";
}

bool is_help(const OptionRow& row) { return row.names.back() == "--help"; }

std::string options_of(const CommandRow& command) {
  std::string out;
  for (const OptionRow& row : command.arguments) out += argument_text(row);
  for (const OptionRow& row : command.options)
    if (!is_help(row)) out += option_text(row);
  return out;
}

// Commands below `command`, each with its options.
std::string subcommands(const CommandRow& command) {
  std::string out;
  for (const CommandRow& sub : command.commands) {
    out += fmt::format(".SS {}\n{}.PP\n{}\n{}", escaped(sub.name), synopsis(sub), escaped(sub.summary),
                       options_of(sub));
    out += subcommands(sub);
  }
  return out;
}

std::string example(std::string_view lines) {
  std::string out = ".EX\n";
  for (std::size_t at = 0; at <= lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    std::string_view line = lines.substr(at, end - at);
    while (line.starts_with(' ')) line.remove_prefix(1);
    out += escaped(line) + "\n";
    at = end + 1;
  }
  return out + ".EE\n";
}

std::string lvm_verbs_section() {
  std::string out = ".SH VERBS\n";
  for (const cli::LvmVerb& verb : cli::lvm_verbs()) {
    out += fmt::format(".SS {}\n{}\n.PP\n", escaped(verb.name), escaped(verb.summary));
    out += example(verb.usage);
    std::string options;
    for (const cli::LvmOption& option : verb.options) {
      options += options.empty() ? "" : ", ";
      if (option.short_name != 0) options += bold(fmt::format("-{}", option.short_name)) + "|";
      options += bold(fmt::format("--{}", option.long_name));
      if (option.takes_value) options += " " + italic("VALUE");
    }
    if (!options.empty()) out += ".PP\nOptions: " + options + ".\n";
  }
  return out;
}

// The text in two: before its first section, and from there on.
std::pair<std::string, std::string> split_text(std::string_view text) {
  std::size_t at = text.starts_with("# ") ? 0 : text.find("\n# ");
  if (at == std::string_view::npos) at = text.size();
  return {roff_of(text.substr(0, at)), roff_of(text.substr(at))};
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    line_start = c == '\n';
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '\'')
      out += "\\(aq";
    else if (c == '^')
      out += "\\(ha";
    else if (c == '~')
      out += "\\(ti";
    else if (c == '`')
      out += "\\(ga";
    else
      out += c;
  }
  return out;
}

std::string manual_text(std::string_view markdown) {
  std::string out;
  bool in_table = false;
  for (std::size_t at = 0; at < markdown.size();) {
    const std::size_t end = std::min(markdown.find('\n', at), markdown.size());
    const std::string_view line = markdown.substr(at, end - at);
    at = end + 1;
    const std::size_t middle = line.starts_with("| ") ? line.find(" | ") : std::string_view::npos;
    if (middle != std::string_view::npos && line.ends_with(" |")) {
      // The heading and the line below it say nothing in a list.
      const bool heading = !in_table || line.starts_with("| ---");
      in_table = true;
      if (!heading)
        out += fmt::format("- {}: {}\n", line.substr(2, middle - 2),
                           line.substr(middle + 3, line.size() - middle - 5));
      continue;
    }
    in_table = false;
    if (line.starts_with("# ")) continue;
    out += line.starts_with("## ") ? line.substr(1) : line;
    out += '\n';
  }
  return out;
}

std::string roff_of(std::string_view markdown) {
  struct Free {
    void operator()(cmark_node* node) const { cmark_node_free(node); }
    void operator()(char* text) const { std::free(text); }
  };
  const std::unique_ptr<cmark_node, Free> document(
      cmark_parse_document(markdown.data(), markdown.size(), CMARK_OPT_DEFAULT));
  const std::unique_ptr<char, Free> raw(cmark_render_man(document.get(), CMARK_OPT_UNSAFE, 0));
  std::string out(raw.get());
  // cmark sets code in a font that terminals lack, and is generous with paragraphs.
  out = replaced(std::move(out), "\\f[C]", "\\f[B]");
  out = replaced(std::move(out), "\\f[]", "\\f[R]");
  return out;
}

std::string command_page(const CommandRow& command, std::string_view text) {
  const auto [description, sections] = split_text(text);
  const std::string name = "respaldo-" + command.name;
  std::string out = title(name, 8);
  out += fmt::format(".SH NAME\n{} \\- {}\n", escaped(name), escaped(whatis(command.summary)));
  out += ".SH SYNOPSIS\n" + synopsis(command);
  out += ".SH DESCRIPTION\n" + description;
  out += ".SH OPTIONS\n" + options_of(command);
  out +=
      ".PP\nThe common options (\\fB\\-r\\fR, \\fB\\-\\-disk\\fR, \\fB\\-\\-json\\fR, ...) are described in "
      "\\fBrespaldo\\fR(8).\n";
  if (!command.commands.empty()) out += ".SH SUBCOMMANDS\n" + subcommands(command);
  if (command.name == "lvm") out += lvm_verbs_section();
  out += sections;
  out += ".SH EXAMPLES\n" + example(command.example);
  return out + ".SH SEE ALSO\n.BR respaldo (8)\n";
}

std::string program_page(const CommandRow& program, std::string_view text) {
  const auto [description, sections] = split_text(text);
  std::string out = title("respaldo", 8);
  out += ".SH NAME\nrespaldo \\- back up LVM volumes and bring them back\n";
  out += fmt::format(".SH SYNOPSIS\n{} [{}] {} [{}]\n", bold("respaldo"), italic("COMMON OPTIONS"),
                     italic("COMMAND"), italic("OPTIONS"));
  out += ".SH DESCRIPTION\n" + description;
  out += ".SH COMMANDS\nEach has a page of its own, \\fBrespaldo\\-\\fICOMMAND\\fR(8).\n";
  std::string group;
  for (const CommandRow& command : program.commands) {
    if (command.group != group) out += ".SS " + escaped(command.group) + "\n";
    group = command.group;
    out += fmt::format(".TP\n{}\n{}\n", bold(command.name), escaped(command.summary));
  }
  out += ".SH COMMON OPTIONS\n";
  for (const OptionRow& row : program.options) out += option_text(row);
  out += sections;
  out += ".SH SEE ALSO\n";
  for (const CommandRow& command : program.commands)
    out += fmt::format(".BR respaldo\\-{} (8),\n", escaped(command.name));
  return out + ".BR respaldo.toml (5),\n.BR restic (1),\n.BR lvm (8)\n";
}

std::string text_page(const std::string& name, int section, const std::string& summary,
                      std::string_view text) {
  const auto [description, sections] = split_text(text);
  return title(name, section) +
         fmt::format(".SH NAME\n{} \\- {}\n.SH DESCRIPTION\n", escaped(name), escaped(summary)) +
         description + sections + ".SH SEE ALSO\n.BR respaldo (8)\n";
}

}  // namespace respaldo::manual
