#include "manual/completion.h"

#include <fmt/format.h>

#include "cli/lvm/options.h"

namespace respaldo::manual {

namespace {

// What to offer for a value: the names are those of the functions' cases in kFunctions.
std::string kinds_of(const OptionRow& row) {
  if (!row.choices.empty()) {
    std::string words = "words";
    for (const std::string& choice : row.choices) words += " " + choice;
    return words;
  }
  std::string kinds;
  std::string rest = row.value + "|";
  for (std::size_t bar; (bar = rest.find('|')) != std::string::npos; rest.erase(0, bar + 1)) {
    const std::string type = rest.substr(0, bar);
    if (type == "FILE" || type == "IMG") kinds += " file";
    if (type == "DIR" || type == "REPO") kinds += " folder";
    if (type == "VG/LV") kinds += " volume";
    if (type == "BACKUP" || type == "BEFORE" || type == "AFTER") kinds += " backup";
    if (type == "JOB") kinds += " job";
  }
  return kinds.empty() ? "none" : kinds.substr(1);
}

std::string join(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : std::string(between)) + word;
  return out;
}

struct Tables {
  std::string commands, options, values, arguments;
};

void add(Tables& tables, const CommandRow& command, const std::string& key) {
  std::vector<std::string> names, below;
  for (const OptionRow& row : command.options) {
    names.insert(names.end(), row.names.begin(), row.names.end());
    if (row.value.empty()) continue;
    std::vector<std::string> patterns;
    for (const std::string& name : row.names) patterns.push_back(fmt::format("'{}:{}'", key, name));
    tables.values += fmt::format("    {}) echo '{}' ;;\n", join(patterns, "|"), kinds_of(row));
  }
  for (const CommandRow& sub : command.commands) below.push_back(sub.name.substr(sub.name.rfind(' ') + 1));
  tables.options += fmt::format("    '{}') echo '{}' ;;\n", key, join(names, " "));
  if (!below.empty()) tables.commands += fmt::format("    '{}') echo '{}' ;;\n", key, join(below, " "));
  std::string kinds;
  for (const OptionRow& row : command.arguments)
    kinds += (kinds.empty() ? "" : ";") + kinds_of(row) + (row.many ? ";..." : "");
  if (key == "lvm") {
    kinds = "words";
    for (const cli::LvmVerb& verb : cli::lvm_verbs()) kinds += " " + std::string(verb.name);
    kinds += ";file;...";
  }
  if (!kinds.empty()) tables.arguments += fmt::format("    '{}') echo '{}' ;;\n", key, kinds);
  for (const CommandRow& sub : command.commands) add(tables, sub, sub.name);
}

// The part that is the same whatever the commands are. COMP_WORDS is not used: readline cuts words at colons,
// and latest:VG/LV is one.
constexpr const char* kFunctions = R"BASH(
# Volumes: of the images on the line, else of the running system, where that needs no question.
_respaldo_volumes() {
  local -a disks=()
  local i
  for ((i = 1; i < ${#words[@]} - 1; i++)); do
    [[ ${words[i]} == --disk ]] && disks+=(--disk "${words[i + 1]}")
  done
  if ((${#disks[@]})); then
    timeout 2 "${words[0]}" "${disks[@]}" lvm lvs --noheadings --separator / -o vg_name,lv_name </dev/null 2>/dev/null
  elif [[ $EUID == 0 ]]; then
    timeout 2 lvs --noheadings --separator / -o vg_name,lv_name </dev/null 2>/dev/null
  fi | tr -d ' '
}

# Backups: only of a repository that is a folder here, with a password that is not asked for.
_respaldo_backups() {
  local -a common=()
  local i repository="${RESPALDO_REPOSITORY:-${RESTIC_REPOSITORY:-}}"
  for ((i = 1; i < ${#words[@]} - 1; i++)); do
    case "${words[i]}" in
      -r | --repo) repository="${words[i + 1]}" ;;
      -p | --password-file | --password-command) common+=("${words[i]}" "${words[i + 1]}") ;;
    esac
  done
  echo latest
  [[ -d $repository ]] || return
  timeout 3 "${words[0]}" -r "$repository" "${common[@]}" --json list </dev/null 2>/dev/null |
    grep -o '"short_id":"[0-9a-f]*"' | cut -d'"' -f4
}

# Jobs of the configuration.
_respaldo_jobs() {
  local i
  local -a common=()
  for ((i = 1; i < ${#words[@]} - 1; i++)); do
    [[ ${words[i]} == --config ]] && common=(--config "${words[i + 1]}")
  done
  timeout 2 "${words[0]}" "${common[@]}" config show </dev/null 2>/dev/null | grep -o '^\[jobs\.[^].]*\]' | tr -d '[]' | cut -d. -f2
}

_respaldo_offer() {  # the kinds of words that fit here
  local kind
  local -a kinds
  read -ra kinds <<<"$1"
  if [[ ${kinds[0]} == words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "${kinds[*]:1}" -- "$cur")
    return
  fi
  for kind in "${kinds[@]}"; do
    case "$kind" in
      file) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur") && compopt -o filenames ;;
      folder) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$cur") && compopt -o filenames ;;
      volume) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$(_respaldo_volumes)" -- "$cur") ;;
      job) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$(_respaldo_jobs)" -- "$cur") ;;
      backup)
        if [[ $cur == *:* ]]; then
          mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -P "${cur%%:*}:" -W "$(_respaldo_volumes)" -- "${cur#*:}")
        else
          mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$(_respaldo_backups)" -- "$cur")
        fi
        ;;
    esac
  done
}

_respaldo() {
  local line="${COMP_LINE:0:COMP_POINT}" cur key="" below word kinds previous=""
  local -a words slots
  local i place=0
  COMPREPLY=()
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  words[0]="${words[0]/#\~\//$HOME/}"
  cur="${words[-1]}"
  # Which command is it, and which of its arguments comes next?
  for ((i = 1; i < ${#words[@]} - 1; i++)); do
    word="${words[i]}"
    if [[ $word == -* && $key != lvm ]]; then
      [[ $word != *=* && -n $(_respaldo_value "$key" "$word") ]] && ((i++))
      continue
    fi
    below=" $(_respaldo_commands "$key") "
    if [[ $below == *" $word "* ]]; then
      key="${key:+$key }$word"
    else
      ((place++))
    fi
  done
  ((${#words[@]} > 2)) && previous="${words[-2]}"
  if [[ $previous == -* && $previous != *=* && $key != lvm ]]; then
    kinds="$(_respaldo_value "$key" "$previous")"
    if [[ -n $kinds ]]; then
      _respaldo_offer "$kinds"
      _respaldo_cut
      return
    fi
  fi
  if [[ $cur == --*=* && $key != lvm ]]; then
    kinds="$(_respaldo_value "$key" "${cur%%=*}")"
    cur="${cur#*=}"
    [[ -n $kinds ]] && _respaldo_offer "$kinds"
  elif [[ $cur == -* && $key != lvm ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_respaldo_options "$key") $([[ -n $key ]] && _respaldo_options '')" -- "$cur")
  else
    below="$(_respaldo_commands "$key")"
    if [[ -n $below ]]; then
      mapfile -t COMPREPLY < <(compgen -W "$below" -- "$cur")
    else
      IFS=';' read -ra slots <<<"$(_respaldo_arguments "$key")"
      ((${#slots[@]})) || return
      [[ ${slots[-1]} == ... ]] && unset 'slots[-1]' && ((place >= ${#slots[@]})) && place=$((${#slots[@]} - 1))
      ((place < ${#slots[@]})) && _respaldo_offer "${slots[place]}"
    fi
  fi
  _respaldo_cut
}

# readline replaces only what follows the last colon.
_respaldo_cut() {
  [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] || return 0
  local before="${cur%:*}:"
  COMPREPLY=("${COMPREPLY[@]#"$before"}")
}

complete -F _respaldo respaldo
)BASH";

}  // namespace

std::string bash_completion(const CommandRow& program) {
  Tables tables;
  add(tables, program, "");
  std::string out =
      "# bash completion for respaldo(8), made by the build out of the program's own options.\n\n";
  out += "_respaldo_commands() {  # below a command\n  case \"$1\" in\n" + tables.commands + "  esac\n}\n\n";
  out += "_respaldo_options() {  # of a command\n  case \"$1\" in\n" + tables.options + "  esac\n}\n\n";
  out += "_respaldo_value() {  # COMMAND OPTION: what follows the option; nothing after a flag\n";
  out += "  local found\n  found=\"$(_respaldo_value_of \"$1:$2\")\"\n";
  out += "  [[ -n $found ]] || found=\"$(_respaldo_value_of \":$2\")\"\n  echo \"$found\"\n}\n\n";
  out += "_respaldo_value_of() {\n  case \"$1\" in\n" + tables.values + "  esac\n}\n\n";
  out += "_respaldo_arguments() {  # of a command, in order; ... repeats the last\n  case \"$1\" in\n" +
         tables.arguments + "  esac\n}\n";
  return out + kFunctions;
}

}  // namespace respaldo::manual
