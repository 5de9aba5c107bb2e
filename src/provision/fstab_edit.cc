#include "provision/fstab_edit.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <vector>

#include "base/error.h"

namespace respaldo::provision {

namespace {

using machine::FstabEntry;

// As getmntent(3) undoes it; '#' would begin a comment in the first field.
std::string escaped(std::string_view field) {
  std::string text;
  for (const char c : field) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\' || c == '#')
      text += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    else
      text += c;
  }
  return text;
}

bool same_entry(const FstabEntry& a, const FstabEntry& b) {
  return a.source == b.source && a.target == b.target && a.type == b.type && a.options == b.options &&
         a.frequency == b.frequency && a.pass == b.pass;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size() - 1);
    lines.push_back(text.substr(at, end - at + 1));
    at = end + 1;
  }
  return lines;
}

// What libmount makes of one line; absent for comments, blank and bad ones.
std::optional<FstabEntry> entry_of(const std::string& line) {
  const os::TemporaryFolder folder("respaldo-fstab");
  os::AtomicFile file(folder.path() / "line", 0600);
  file.write(as_bytes(line));
  file.commit(os::AtomicFile::Durability::later);
  auto table = machine::read_fstab(folder.path() / "line");
  if (table.entries.size() != 1) return std::nullopt;
  return std::move(table.entries.front());
}

// A file with passwords (of cifs) is read by those alone who could read it before. Before the first byte.
void look_like(os::AtomicFile& file, const struct stat& facts, const os::Path& name) {
  if (::fchown(file.fd(), facts.st_uid, facts.st_gid) != 0) throw os::system_error(errno, "fchown", name);
  if (::fchmod(file.fd(), facts.st_mode & 07777) != 0) throw os::system_error(errno, "fchmod", name);
}

// Renames the new text over the old once `verify` agrees to the file that holds it.
void replace(const os::Path& fstab, const std::string& text,
             const std::function<void(const os::Path&)>& verify) {
  std::error_code ignored;
  const os::Path real = std::filesystem::exists(fstab, ignored) ? std::filesystem::canonical(fstab) : fstab;
  struct stat facts {};
  const bool existed = ::stat(real.c_str(), &facts) == 0;
  const os::Path trial = real.native() + ".respaldo-new";
  try {
    {
      os::AtomicFile file(trial, existed ? 0600 : 0644);
      if (existed) look_like(file, facts, trial);
      file.write(as_bytes(text));
      file.commit();
    }
    verify(trial);
    if (::rename(trial.c_str(), real.c_str()) != 0) throw os::system_error(errno, "rename", real);
  } catch (...) {
    ::unlink(trial.c_str());
    throw;
  }
  os::sync_folder(real.has_parent_path() ? real.parent_path() : ".");
}

os::Path keep_copy(const os::Path& fstab, const std::string& text) {
  const std::string stem =
      fmt::format("{}.before-respaldo-{:%Y%m%dT%H%M%SZ}", fstab.native(), fmt::gmtime(std::time(nullptr)));
  os::Path path = stem;
  std::error_code ignored;
  for (int i = 2; std::filesystem::exists(path, ignored); ++i) path = fmt::format("{}.{}", stem, i);
  struct stat facts {};
  if (::stat(fstab.c_str(), &facts) != 0) throw os::system_error(errno, "stat", fstab);
  os::AtomicFile file(path, 0600);
  look_like(file, facts, path);
  file.write(as_bytes(text));
  file.commit();
  return path;
}

void require_entries(const os::Path& trial, const std::vector<FstabEntry>& wanted) {
  const auto table = machine::read_fstab(trial);
  if (!std::equal(table.entries.begin(), table.entries.end(), wanted.begin(), wanted.end(), same_entry))
    throw Error(
        ErrorKind::refused, "libmount does not read the new fstab as it is meant; the old one was left",
        "this is a bug in respaldo, or the file has lines that only look like entries; please look at it");
}

FstabChange change(const os::Path& fstab, const std::string& after, const std::vector<FstabEntry>& wanted) {
  FstabChange done;
  const auto before = os::try_read_text(fstab);
  done.existed = before.has_value();
  done.before = before.value_or("");
  done.after = after;
  if (done.existed) done.backup = keep_copy(fstab, done.before);
  try {
    replace(fstab, after, [&](const os::Path& trial) { require_entries(trial, wanted); });
  } catch (...) {
    if (done.backup) ::unlink(done.backup->c_str());
    throw;
  }
  return done;
}

// Whether the file was as the change had left it, and so is now as it was before.
bool put_back(const os::Path& fstab, const FstabChange& change) {
  const auto now = os::try_read_text(fstab);
  if (now && *now != change.after) return false;
  if (change.existed)
    replace(fstab, change.before, [](const os::Path&) {});
  else if (now && ::unlink(fstab.c_str()) != 0)
    throw os::system_error(errno, "unlink", fstab);
  return true;
}

}  // namespace

std::string fstab_line(const FstabEntry& entry) {
  return fmt::format("{} {} {} {} {} {}\n", escaped(entry.source), escaped(entry.target), escaped(entry.type),
                     escaped(entry.options), entry.frequency, entry.pass);
}

FstabChange add_to_fstab(const os::Path& fstab, const FstabEntry& entry) {
  auto entries = machine::read_fstab(fstab).entries;
  for (const FstabEntry& other : entries) {
    if (other.target == entry.target)
      throw Error(
          ErrorKind::refused,
          fmt::format("{} has a line for {} already ({})", fstab.native(), other.target, other.source),
          "choose another mount point with --mount, or remove that line");
    if (other.source == entry.source)
      throw Error(ErrorKind::refused,
                  fmt::format("{} mounts {} at {} already", fstab.native(), other.source, other.target));
  }
  std::string text = os::try_read_text(fstab).value_or("");
  if (!text.empty() && text.back() != '\n') text += '\n';
  text += fstab_line(entry);
  entries.push_back(entry);
  return change(fstab, text, entries);
}

FstabChange remove_from_fstab(const os::Path& fstab, const FstabEntry& entry) {
  const auto meant = [&](const FstabEntry& other) {
    return other.target == entry.target && other.source == entry.source;
  };
  auto entries = machine::read_fstab(fstab).entries;
  if (std::erase_if(entries, meant) == 0)
    throw Error(ErrorKind::not_found,
                fmt::format("{} has no line for {} at {}", fstab.native(), entry.source, entry.target));
  std::string text;
  for (const std::string& line : lines_of(os::read_text(fstab)))
    if (const auto found = entry_of(line); !found || !meant(*found)) text += line;
  return change(fstab, text, entries);
}

void undo_fstab(const os::Path& fstab, const FstabChange& change, const machine::FstabEntry& added) {
  if (!put_back(fstab, change)) {
    const auto entries = machine::read_fstab(fstab).entries;
    if (std::any_of(entries.begin(), entries.end(),
                    [&](const FstabEntry& e) { return same_entry(e, added); })) {
      const FstabChange removed = remove_from_fstab(fstab, added);
      if (removed.backup) ::unlink(removed.backup->c_str());
    }
  }
  if (change.backup) ::unlink(change.backup->c_str());
}

void undo_removal_from_fstab(const os::Path& fstab, const FstabChange& change,
                             const machine::FstabEntry& removed) {
  if (!put_back(fstab, change)) {
    const auto entries = machine::read_fstab(fstab).entries;
    if (std::none_of(entries.begin(), entries.end(),
                     [&](const FstabEntry& e) { return same_entry(e, removed); })) {
      const FstabChange added = add_to_fstab(fstab, removed);
      if (added.backup) ::unlink(added.backup->c_str());
    }
  }
  if (change.backup) ::unlink(change.backup->c_str());
}

}  // namespace respaldo::provision
