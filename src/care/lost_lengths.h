// How long were the blobs that are lost?
#pragma once

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "repo/repository.h"

namespace respaldo::care {

// Works it out from files whose size is known and whose other blobs are: a file with one unknown blob tells
// its length, which may make another file tell one more.
class LostLengths {
 public:
  using Length = std::function<std::optional<std::uint64_t>(const repo::BlobId&)>;

  // `known`: length of a blob that the index tells.
  explicit LostLengths(Length known) : known_(std::move(known)) {}
  void learn_from(std::uint64_t size, const std::vector<repo::BlobId>& content);
  void solve();
  std::optional<std::uint64_t> find(const repo::BlobId& id) const;

 private:
  struct Equation {
    std::uint64_t size = 0;                                   // of all unknown blobs together
    std::unordered_map<repo::BlobId, std::uint64_t> unknown;  // how often each occurs
  };
  bool simplify(Equation& equation);

  Length known_;
  std::vector<Equation> equations_;
  std::unordered_map<repo::BlobId, std::uint64_t> found_;
};

}  // namespace respaldo::care
