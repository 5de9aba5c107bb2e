// The contents of many files, fetched pack by pack.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repo/repository.h"
#include "restore/blob_reader.h"
#include "restore/file_metadata.h"
#include "restore/link_table.h"
#include "restore/restore_tally.h"
#include "restore/target_folder.h"
#include "view/zero_blob.h"

namespace respaldo::restore {

// A file whose content is to be fetched. Its blobs are in the index.
struct FileWork {
  FolderPtr folder;
  std::string name;
  Metadata metadata;
  std::uint64_t size = 0;
  std::vector<repo::BlobId> content;
  std::optional<LinkKey> key;
  std::uint64_t digest = 0, links = 0;

  std::mutex mutex;  // of what follows
  std::string made;  // the name it has while it is written; empty: not made, or removed again
  Place place;       // of what was made
  std::shared_ptr<os::UniqueFd> fd;
  std::uint64_t left = 0;  // blobs that are not written yet
  bool failed = false, done = false;
  bool placing_failed = false;  // the content was fine, this name was not
};

// Files are added, written all together, looked at, and cleared.
class FileBatch {
 public:
  // All must outlive it.
  FileBatch(const repo::IndexedRepository& repository, const TargetFolder& target, RestoreTally& tally,
            Progress& progress, unsigned threads, std::stop_token stop);
  // Interrupted: what is not whole goes.
  ~FileBatch();
  FileBatch(const FileBatch&) = delete;
  FileBatch& operator=(const FileBatch&) = delete;

  // What a node takes here, at most about.
  static std::size_t memory_of(const repo::Node& node);
  std::deque<FileWork>& files() { return files_; }

  // Content and metadata; each file is counted when it has its name. What goes wrong with one is its problem.
  // Without room the tally is full then, and what is not whole is gone. Throws Cancelled on stop.
  void write();

 private:
  struct Piece {
    std::uint32_t pack = 0;    // in order of first need
    std::uint32_t offset = 0;  // in the pack
    std::uint32_t file = 0, number = 0;
    std::uint64_t at = 0;  // in the file
  };
  // Blobs of one stretch of a pack, and the pieces each one is.
  struct Job {
    std::vector<WantedBlob> blobs;
    std::vector<std::size_t> first;  // for each blob: its first piece
    std::size_t end = 0;
  };

  void plan();
  const repo::BlobId& id_of(const Piece& piece) const { return files_[piece.file].content[piece.number]; }
  std::optional<Job> next_job();
  FileWork* next_empty();
  bool empty_of_data(const FileWork& work) const;
  void run_workers();
  void fetch(const Job& job, BlobReader& reader, OpenFolder& folder, const std::stop_token& stop);
  template <class Body>
  void attempt(FileWork& work, Body body);
  void write_piece(const Piece& piece, const WantedBlob& blob, ByteView plain, OpenFolder& folder);
  std::shared_ptr<os::UniqueFd> opened(FileWork& work, OpenFolder& folder);
  void write_sparse(int fd, std::uint64_t offset, ByteView plain, const std::string& name);
  void finish(FileWork& work, const os::UniqueFd& fd, OpenFolder& folder);
  void close(FileWork& work);
  void fail(FileWork& work, const std::string& why, bool placing);
  bool give_up(FileWork& work, bool placing);
  void remove_made(FileWork& work) const;

  const repo::IndexedRepository& repository_;
  const TargetFolder& target_;
  RestoreTally& tally_;
  Progress& progress_;
  const unsigned threads_;
  const std::stop_token stop_;
  const view::ZeroBlobs zeros_;

  std::deque<FileWork> files_;
  std::vector<Piece> pieces_;
  std::mutex jobs_mutex_;
  std::size_t next_piece_ = 0, next_file_ = 0;
  std::atomic<std::size_t> open_files_ = 0;
};

}  // namespace respaldo::restore
