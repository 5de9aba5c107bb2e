// A repository in memory, and images stored in it by hand.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "repo/blob_writer.h"
#include "repo/repository.h"

namespace respaldo::testing {

inline std::unique_ptr<repo::Repository> memory_repository() {
  repo::Repository::CreateOptions options;
  options.scrypt = crypto::ScryptParameters{1024, 1, 1};
  return repo::Repository::create(store::open_memory(), "secret", options);
}

inline std::shared_ptr<const repo::IndexedRepository> indexed(repo::Repository& repository) {
  SilentProgress silent;
  return std::make_shared<repo::IndexedRepository>(repository, repository.load_index(silent));
}

inline repo::Node file_node(std::string name, std::uint64_t size, std::vector<repo::BlobId> content) {
  repo::Node node;
  node.name = std::move(name);
  node.type = repo::NodeType::file;
  node.mode = S_IFREG | 0600;
  node.size = size;
  node.links = 1;
  node.content = std::move(content);
  return node;
}

inline repo::Node folder_node(std::string name, repo::BlobId tree) {
  repo::Node node;
  node.name = std::move(name);
  node.type = repo::NodeType::dir;
  node.mode = S_IFDIR | 0700;
  node.subtree = tree;
  return node;
}

// Writes one backup by hand; save() ends it.
class HandMadeBackup {
 public:
  explicit HandMadeBackup(repo::Repository& repository, const repo::WriterOptions& options = {})
      : repository_(repository),
        indexed_(indexed(repository)),
        writer_(*indexed_, options),
        lane_(writer_.open_lane()) {}

  repo::BlobId data(ByteView plain) { return lane_->save(repo::BlobType::data, plain).id; }
  repo::BlobId tree(std::vector<repo::Node> nodes) {
    return lane_->save(repo::BlobType::tree, as_bytes(repo::to_json(repo::Tree{std::move(nodes)}))).id;
  }
  // As it is, whether it is a tree or not.
  repo::BlobId raw_tree(std::string_view json) { return lane_->save(repo::BlobType::tree, as_bytes(json)).id; }
  // A file whose bytes are cut every `chunk` bytes.
  repo::Node file(std::string name, ByteView bytes, std::size_t chunk = 64U << 10) {
    std::vector<repo::BlobId> content;
    for (std::size_t at = 0; at < bytes.size(); at += chunk)
      content.push_back(data(bytes.subspan(at, std::min(chunk, bytes.size() - at))));
    return file_node(std::move(name), bytes.size(), std::move(content));
  }
  repo::SnapshotId save(repo::BlobId root, std::string program_version = "respaldo test") {
    repo::Snapshot snapshot;
    snapshot.time = repo::now();
    snapshot.tree = root;
    snapshot.paths = {"/dev/vg0/root"};
    snapshot.hostname = "host";
    snapshot.program_version = std::move(program_version);
    lane_->close();
    writer_.finish();
    return repo::save_snapshot(repository_, snapshot);
  }

 private:
  repo::Repository& repository_;
  std::shared_ptr<const repo::IndexedRepository> indexed_;
  repo::BlobWriter writer_;
  std::unique_ptr<repo::BlobWriter::Lane> lane_;
};

// A backup of /vg0/root with an image and (when not empty) a volume.json.
inline repo::SnapshotId store_image(repo::Repository& repository, ByteView image, std::string_view facts = {},
                                    std::size_t chunk = 64U << 10, const repo::WriterOptions& options = {}) {
  HandMadeBackup backup(repository, options);
  std::vector<repo::Node> lv{backup.file("image.raw", image, chunk)};
  if (!facts.empty()) lv.push_back(backup.file("volume.json", as_bytes(facts)));
  std::vector<repo::Node> vg{folder_node("root", backup.tree(std::move(lv)))};
  std::vector<repo::Node> root{folder_node("vg0", backup.tree(std::move(vg)))};
  return backup.save(backup.tree(std::move(root)));
}

// Packs of 4 MiB, so that small images have several.
inline repo::WriterOptions small_packs() {
  repo::WriterOptions options;
  options.pack_size = 4U << 20;
  return options;
}

inline std::vector<std::string> pack_names(repo::Repository& repository) {
  std::vector<std::string> names;
  for (const auto& file : repository.backend().list(store::FileType::pack)) names.push_back(file.name);
  return names;
}

// Inverts one byte of an object.
inline void flip(repo::Repository& repository, const store::Handle& handle, std::uint64_t offset) {
  Bytes bytes = repository.backend().load_all(handle);
  bytes.data()[offset] ^= 0xff;
  repository.backend().remove(handle);
  const ByteView whole = bytes;
  repository.backend().save(handle, {&whole, 1}, store::Durability::now);
}

}  // namespace respaldo::testing
