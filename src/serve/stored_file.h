// Contents of a backup's files: any byte, by blobs, with a cache and reading ahead.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "repo/repository.h"
#include "view/blob_cache.h"

namespace respaldo::serve {

// Where each blob of a file lies in it. Thread-safe.
class StoredFile {
 public:
  // `name` is for messages. Error(corrupt) when a blob is in no index: what follows it has no place.
  StoredFile(const repo::Index& index, const repo::Node& node, std::string name);

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }
  std::uint64_t content_size() const { return starts_.back(); }  // equal to size() in sound backups
  std::size_t chunks() const { return ids_.size(); }
  const repo::BlobId& id(std::size_t chunk) const { return ids_[chunk]; }
  std::uint64_t start(std::size_t chunk) const { return starts_[chunk]; }
  std::uint64_t length(std::size_t chunk) const { return starts_[chunk + 1] - starts_[chunk]; }
  bool is_zero(std::size_t chunk) const { return zeros_[chunk]; }
  // REQUIRES offset < content_size().
  std::size_t chunk_at(std::uint64_t offset) const;

  // The first byte from `offset` on that may be data; size() when only zeros follow.
  std::uint64_t next_data(std::uint64_t offset) const;
  // The first byte from `offset` on that is known to be zero; size() when there is none.
  std::uint64_t next_zero(std::uint64_t offset) const;

 private:
  friend class FileReader;
  std::uint64_t next(std::uint64_t offset, bool zero) const;

  const std::string name_;
  const std::uint64_t size_;
  std::vector<repo::BlobId> ids_;
  std::vector<std::uint64_t> starts_;  // one more than ids_
  std::vector<bool> zeros_;            // known without reading
  // What readers did last, for reading ahead; a guess, shared by all of them.
  std::atomic<std::uint64_t> read_to_{0}, in_a_row_{0};
  std::atomic<std::size_t> ahead_to_{0};
};

// Reads of files. Thread-safe.
class FileReader {
 public:
  using Repository = std::function<std::shared_ptr<const repo::IndexedRepository>()>;
  FileReader(Repository repository, std::uint64_t cache_bytes);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  // Fills `out`. REQUIRES that it ends within size(). Error(corrupt, not_found or io) naming file and blob.
  void read(const std::shared_ptr<StoredFile>& file, std::uint64_t offset, MutableBytes out);
  std::uint64_t blobs_loaded() const { return loaded_; }

 private:
  struct Wish {
    std::shared_ptr<StoredFile> file;
    std::size_t chunk;
  };
  view::BlobCache::Blob load(const StoredFile& file, std::size_t chunk);
  void read_ahead(const std::shared_ptr<StoredFile>& file, std::uint64_t offset, std::uint64_t end);
  void fulfil_wishes(std::stop_token stop);

  const Repository repository_;
  const std::uint64_t window_;
  view::BlobCache cache_;
  std::atomic<std::uint64_t> loaded_{0};
  std::mutex mutex_;
  std::condition_variable_any wished_;
  std::deque<Wish> wishes_;
  std::vector<std::jthread> threads_;  // last: they end first
};

}  // namespace respaldo::serve
