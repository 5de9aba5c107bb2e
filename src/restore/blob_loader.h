// Blobs loaded ahead, by several threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include "base/bytes.h"
#include "os/thread_group.h"
#include "repo/repository.h"

namespace respaldo::restore {

// A blob, and what became of loading it.
struct BlobLoad {
  repo::BlobId id;
  std::optional<Bytes> plain;
  std::exception_ptr failure;
};

// Loads in the order of add(); how much lies ahead is up to who adds. The repository must outlive it.
class BlobLoader {
 public:
  BlobLoader(const repo::IndexedRepository& repository, unsigned threads, std::stop_token stop);
  ~BlobLoader();
  BlobLoader(const BlobLoader&) = delete;
  BlobLoader& operator=(const BlobLoader&) = delete;

  void add(std::shared_ptr<BlobLoad> load);
  // Waits for the bytes. Rethrows what loading them threw; Cancelled on stop.
  Bytes take(BlobLoad& load);

 private:
  void work(const std::stop_token& stop);

  const repo::IndexedRepository& repository_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::shared_ptr<BlobLoad>> waiting_;
  bool ended_ = false;
  os::ThreadGroup workers_;  // the last member: its threads end before what they use goes
};

}  // namespace respaldo::restore
