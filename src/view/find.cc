#include "view/find.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <locale.h>

#include <algorithm>

#include "base/printable.h"
#include "base/units.h"
#include "os/thread_group.h"
#include "view/tree_walk.h"

namespace respaldo::view {

namespace {

constexpr std::uint64_t kEntryCost = 64;  // of an allocation and a place in a table, about

// Patterns see characters, not bytes, whatever the user's locale.
class CharactersAreUtf8 {
 public:
  CharactersAreUtf8() {
    static const locale_t utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (utf8 != nullptr) before_ = ::uselocale(utf8);
  }
  ~CharactersAreUtf8() {
    if (before_ != nullptr) ::uselocale(before_);
  }
  CharactersAreUtf8(const CharactersAreUtf8&) = delete;
  CharactersAreUtf8& operator=(const CharactersAreUtf8&) = delete;

 private:
  locale_t before_ = nullptr;
};

bool holds_slash(const std::string& pattern) { return pattern.find('/') != std::string::npos; }

}  // namespace

SizeTest SizeTest::parse(std::string_view text) {
  const char sign = text.empty() ? '\0' : text.front();
  const std::string_view number = sign == '+' || sign == '-' ? text.substr(1) : text;
  const std::uint64_t size = parse_size(number, "size");
  if (sign == '+') return {size + 1, UINT64_MAX};
  if (sign != '-') return {size, size};
  if (size == 0)
    throw Error(ErrorKind::usage, "no file is smaller than 0 bytes", "for empty files: --size 0");
  return {0, size - 1};
}

FindMatcher::FindMatcher(FindQuery query) : query_(std::move(query)) {
  for (std::string& pattern : query_.patterns) {
    if (!holds_slash(pattern)) continue;
    looks_at_paths_ = true;
    if (pattern.front() != '/' && pattern.front() != '*') pattern.insert(0, "*/");
  }
}

bool FindMatcher::name_fits(const std::string& name, const std::string& path) const {
  if (query_.patterns.empty()) return true;
  const CharactersAreUtf8 characters;
  const int flags = query_.ignore_case ? FNM_CASEFOLD : 0;
  return std::ranges::any_of(query_.patterns, [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), holds_slash(pattern) ? path.c_str() : name.c_str(), flags) == 0;
  });
}

bool FindMatcher::matches(const repo::Node& node, std::string_view path) const {
  if (!query_.types.empty() && std::ranges::find(query_.types, node.type) == query_.types.end()) return false;
  if (query_.size && (node.type != repo::NodeType::file || node.size < query_.size->at_least ||
                      node.size > query_.size->at_most))
    return false;
  if (query_.newer && node.mtime.seconds < *query_.newer) return false;
  if (query_.older && node.mtime.seconds >= *query_.older) return false;
  return name_fits(node.name, looks_at_paths_ ? std::string(path) : std::string());
}

namespace {

FoundEntry entry_of(repo::Node&& node) {
  return {std::move(node.name),       node.type, node.mode, node.uid, node.gid, node.size, node.mtime,
          std::move(node.link_target)};
}

}  // namespace

Finder::Finder(const repo::IndexedRepository& repository, FindMatcher matcher, std::uint64_t memory_bytes)
    : repository_(repository), matcher_(std::move(matcher)), memory_(memory_bytes) {}

std::string Finder::key_of(const repo::BlobId& id, const std::string& path) const {
  std::string key(id.bytes.begin(), id.bytes.end());
  if (matcher_.looks_at_paths()) key += path;
  return key;
}

std::shared_ptr<Finder::Items> Finder::read(const repo::BlobId& id, const std::string& path) {
  repo::Tree tree = repository_.load_tree(id);
  ++trees_read_;
  auto items = std::make_shared<Items>();
  std::string below = path + '/';
  for (repo::Node& node : tree.nodes) {
    below.resize(path.size() + 1);
    below += node.name;
    Item item;
    item.fits = matcher_.matches(node, below);
    if (node.type == repo::NodeType::dir) item.subtree = node.subtree;
    if (!item.fits && !item.subtree) continue;
    item.entry = entry_of(std::move(node));
    items->push_back(std::move(item));
  }
  return items;
}

Finder::Level Finder::enter(const repo::BlobId& id, const std::string& path, const Problem& problem) {
  Level level;
  level.path_length = path.size();
  level.key = key_of(id, path);
  if (const auto known = known_.find(level.key); known != known_.end()) {
    level.items = known->second;
    level.nothing = false;
    return level;
  }
  try {
    level.items = read(id, path);
    level.fresh = true;
  } catch (const Error& error) {
    problem(path, error);
    level.fresh = true;
    level.items = std::make_shared<Items>();
  }
  return level;
}

void Finder::remember(Level& level) {
  std::uint64_t cost = level.key.size() + kEntryCost;
  if (!level.nothing)
    for (const Item& item : *level.items)
      cost += sizeof(Item) + item.entry.name.size() + item.entry.link_target.size();
  if (cost > memory_ - used_) return;
  used_ += cost;
  if (!level.nothing) level.items->shrink_to_fit();
  known_.emplace(std::move(level.key), level.nothing ? nullptr : std::move(level.items));
}

void Finder::find(const repo::Node& start, const std::string& path, const Take& take, const Problem& problem,
                  const std::stop_token& stop) {
  std::string here = path;
  while (here.ends_with('/')) here.pop_back();
  if (!start.name.empty() && matcher_.matches(start, here)) take(here, entry_of(repo::Node(start)));
  if (start.type != repo::NodeType::dir || !start.subtree) return;
  std::vector<Level> levels{enter(*start.subtree, here, problem)};
  while (!levels.empty()) {
    os::throw_if_stopped(stop);
    Level& level = levels.back();
    here.resize(level.path_length);
    if (!level.items || level.next == level.items->size()) {
      const bool nothing = !level.items || level.nothing;
      if (level.fresh) {
        // Folders below which nothing fits need not be looked at again.
        std::erase_if(*level.items, [](const Item& item) { return !item.fits && !item.subtree; });
        remember(level);
      }
      levels.pop_back();
      if (levels.empty()) break;
      Level& parent = levels.back();
      if (!nothing)
        parent.nothing = false;
      else if (parent.fresh)
        (*parent.items)[parent.next - 1].subtree.reset();
      continue;
    }
    const Item& item = (*level.items)[level.next++];
    here += '/';
    here += item.entry.name;
    if (item.fits) {
      level.nothing = false;
      take(here, item.entry);
    }
    if (!item.subtree) continue;
    if (levels.size() >= kToLook.deepest || here.size() > kToLook.longest_path) {
      problem(here, Error(ErrorKind::corrupt, fmt::format("{} lies too deep", printable(here.substr(0, 200))),
                          "start farther down"));
      level.nothing = false;
      continue;
    }
    const repo::BlobId below = *item.subtree;
    levels.push_back(enter(below, here, problem));
  }
}

}  // namespace respaldo::view
