// Stored files that are names of one file.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>

#include "repo/tree.h"

namespace respaldo::restore {

// One inode of the source.
struct LinkKey {
  std::uint64_t inode = 0, device = 0;
  friend bool operator==(const LinkKey&, const LinkKey&) = default;
};
struct LinkKeyHash {
  std::size_t operator()(const LinkKey& key) const {
    return key.inode * 0x9E3779B97F4A7C15U ^ key.device * 0xC2B2AE3D27D4EB4FU;
  }
};

// Absent when the node has one name only, or does not say of which inode it is.
std::optional<LinkKey> link_key(const repo::Node& node);

// Two nodes that claim one inode are one only when they hold the same: numbers of several filesystems may
// meet. This is of what a node holds.
std::uint64_t link_digest(const repo::Node& node);

// Where each inode has its first name, while further ones are still to come. One that finds the table full is
// not remembered.
template <class Source>
class LinkTable {
 public:
  struct First {
    Source source;
    std::uint64_t digest = 0;
    std::uint64_t left = 0;  // names that are still to come
  };

  // Null when there was none; valid until the next call.
  const First* find(const LinkKey& key) const {
    const auto at = firsts_.find(key);
    return at == firsts_.end() ? nullptr : &at->second;
  }
  // `links`: all names together, at least 2.
  void remember(const LinkKey& key, Source source, std::uint64_t digest, std::uint64_t links) {
    if (firsts_.size() < kMost) firsts_.try_emplace(key, First{std::move(source), digest, links - 1});
  }
  // One more name of what was found has come.
  void came(const LinkKey& key) {
    const auto at = firsts_.find(key);
    if (--at->second.left == 0) firsts_.erase(at);
  }

 private:
  static constexpr std::size_t kMost = 4U << 20;
  std::unordered_map<LinkKey, First, LinkKeyHash> firsts_;
};

}  // namespace respaldo::restore
