#include "backup/chunk_savers.h"

#include <mutex>
#include <unordered_set>

#include "crypto/crypto.h"

namespace respaldo::backup {

namespace {

class RepositorySavers final : public ChunkSavers {
 public:
  RepositorySavers(const repo::IndexedRepository& repository, const repo::WriterOptions& options,
                   unsigned count)
      : writer_(repository, options) {
    for (unsigned i = 0; i < count; ++i) {
      lanes_.push_back(std::make_unique<Saver>(writer_.open_lane()));
      pointers_.push_back(lanes_.back().get());
    }
  }
  using ChunkSavers::save;
  repo::BlobId save(unsigned worker, repo::BlobType type, ByteView plain) override {
    return lanes_.at(worker)->lane->save(type, plain).id;
  }
  void finish() override {
    for (const auto& saver : lanes_) saver->lane->close();
    writer_.finish();
  }
  repo::WriterTotals totals() const override { return writer_.totals(); }

 private:
  struct Saver final : ChunkSaver {
    explicit Saver(std::unique_ptr<repo::BlobWriter::Lane> open) : lane(std::move(open)) {}
    void save(const repo::BlobId& id, ByteView plain) override {
      lane->save(repo::BlobType::data, id, plain);
    }
    std::unique_ptr<repo::BlobWriter::Lane> lane;
  };
  repo::BlobWriter writer_;  // outlives its lanes
  std::vector<std::unique_ptr<Saver>> lanes_;
};

class DrySavers final : public ChunkSavers {
 public:
  DrySavers(const repo::IndexedRepository& repository, unsigned count)
      : index_(repository.index()), saver_(*this), count_(count) {
    pointers_.assign(count_, &saver_);
  }
  using ChunkSavers::save;
  repo::BlobId save(unsigned, repo::BlobType type, ByteView plain) override {
    const repo::BlobId id{crypto::sha256(plain)};
    count(type, id, plain.size());
    return id;
  }
  void finish() override {}
  repo::WriterTotals totals() const override {
    std::lock_guard lock(mutex_);
    return totals_;
  }

 private:
  struct Saver final : ChunkSaver {
    explicit Saver(DrySavers& savers) : savers_(savers) {}
    void save(const repo::BlobId& id, ByteView plain) override {
      savers_.count(repo::BlobType::data, id, plain.size());
    }
    DrySavers& savers_;
  };
  void count(repo::BlobType type, const repo::BlobId& id, std::size_t size) {
    const bool stored = index_.contains(type, id);
    std::lock_guard lock(mutex_);
    if (stored || !seen_.insert(id).second) {
      ++totals_.known_blobs;
      totals_.known_bytes += size;
      return;
    }
    ++(type == repo::BlobType::tree ? totals_.tree_blobs : totals_.data_blobs);
    totals_.new_bytes += size;
  }

  const repo::Index& index_;
  Saver saver_;
  const unsigned count_;
  mutable std::mutex mutex_;
  std::unordered_set<repo::BlobId> seen_;
  repo::WriterTotals totals_;
};

}  // namespace

std::unique_ptr<ChunkSavers> make_repository_savers(const repo::IndexedRepository& repository,
                                                    const repo::WriterOptions& options, unsigned count) {
  return std::make_unique<RepositorySavers>(repository, options, count);
}

std::unique_ptr<ChunkSavers> make_dry_savers(const repo::IndexedRepository& repository, unsigned count) {
  return std::make_unique<DrySavers>(repository, count);
}

}  // namespace respaldo::backup
