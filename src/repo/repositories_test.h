// Repositories of the tests, in a temporary folder.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "os/file.h"
#include "os/process.h"
#include "repo/blob_writer.h"
#include "repo/repository.h"

namespace respaldo::repo {

inline constexpr crypto::ScryptParameters kQuick{1024, 8, 1};

// What real restic says about a repository.
inline os::CommandResult restic(const os::Path& repository, const std::vector<std::string>& arguments) {
  const os::Path password = repository.parent_path() / "password";
  std::ofstream(password) << "respaldo";
  std::vector<std::string> argv = {"restic",          "-r",        repository.native(), "-p",
                                   password.native(), "--no-cache"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return os::run_command(argv);
}

class Repositories : public ::testing::Test {
 protected:
  os::Path path() const { return folder_.path() / "repo"; }
  std::unique_ptr<Repository> create(std::uint32_t version = 2) {
    return Repository::create(store::open_local(path().native()), "respaldo", {version, kQuick});
  }
  std::unique_ptr<Repository> open() {
    return Repository::open(store::open_local(path().native()), "respaldo");
  }
  static IndexedRepository indexed(Repository& repository) {
    SilentProgress silent;
    return IndexedRepository(repository, repository.load_index(silent));
  }
  // One file "f" of these parts.
  static SnapshotId back_up(Repository& repository, const std::vector<Bytes>& parts,
                            WriterOptions options = {}) {
    IndexedRepository known = indexed(repository);
    BlobWriter writer(known, options);
    auto lane = writer.open_lane();
    Node node;
    node.name = "f";
    node.mode = 0100644;
    for (const Bytes& part : parts) {
      node.content.push_back(lane->save(BlobType::data, part).id);
      node.size += part.size();
    }
    const std::string tree = to_json(Tree{{node}});
    Snapshot snapshot;
    snapshot.time = now();
    snapshot.tree = lane->save(BlobType::tree, as_bytes(tree)).id;
    snapshot.paths = {"/f"};
    lane->close();
    writer.finish();
    return save_snapshot(repository, snapshot);
  }
  static std::string contents(const IndexedRepository& repository, const SnapshotId& id) {
    const auto all = repository.repository().snapshots();
    const Tree tree = repository.load_tree(find_snapshot(all, id.hex()).snapshot.tree);
    std::string text;
    for (const BlobId& blob : tree.nodes.at(0).content)
      text += as_text(repository.load_blob(BlobType::data, blob));
    return text;
  }

  os::TemporaryFolder folder_;
};

}  // namespace respaldo::repo
