// Repositories for the tests of their care, made quickly. The password is "endtoend".
//
//   care_tool init REPO                            an empty repository whose key costs no time
//   care_tool backups REPO SEED COUNT [SPAN_DAYS]  COUNT backups of nothing: random times, zones, hosts, paths, tags
//   care_tool blobs REPO COUNT                     COUNT tiny blobs in eight images; two backups: `first` names all
//                                                  of them, `second` seven of ten
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "base/error.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"

using namespace respaldo;

namespace {

std::unique_ptr<repo::Repository> create(const std::string& folder) {
  repo::Repository::CreateOptions options;
  options.scrypt = crypto::ScryptParameters{1024, 1, 1};
  return repo::Repository::create(store::open_local(folder), "endtoend", options);
}

void make_backups(repo::Repository& repository, std::uint64_t seed, int count, std::int64_t days) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  const auto index = testing::indexed(repository);
  repo::BlobWriter writer(*index, {});
  const auto lane = writer.open_lane();
  const repo::BlobId root = lane->save(repo::BlobType::tree, as_bytes(repo::to_json(repo::Tree{}))).id;
  lane->close();
  writer.finish();
  for (int i = 0; i < count; ++i) {
    repo::Snapshot snapshot;
    snapshot.time = repo::now();
    // Never two at one time: their order would be anybody's.
    snapshot.time.seconds -= static_cast<std::int64_t>(below(static_cast<std::uint64_t>(days) * 86400)) + 3600;
    snapshot.time.nanoseconds = static_cast<std::uint32_t>(i);
    constexpr std::int32_t kZones[] = {0, 0, 3600, -18000, 20700, 46800, -36000};
    snapshot.time.zone_seconds = kZones[below(std::size(kZones))];
    snapshot.tree = root;
    snapshot.hostname = below(3) == 0 ? "west" : "east";
    snapshot.paths = {below(4) == 0 ? "/dev/vg0/home" : "/dev/vg0/root"};
    if (below(6) == 0) snapshot.paths.emplace_back("/dev/vg0/extra");
    for (const char* tag : {"a", "b", "c"})
      if (below(3) == 0) snapshot.tags.emplace_back(tag);
    snapshot.program_version = "restic 0.18.0";  // older than respaldo, some of them: their dates are believed
    repo::save_snapshot(repository, snapshot);
  }
}

void make_blobs(repo::Repository& repository, std::uint64_t count) {
  constexpr std::uint64_t kImages = 8;
  constexpr std::size_t kBlob = 64;
  const auto index = testing::indexed(repository);
  repo::WriterOptions options;
  options.pack_size = 64U << 10;
  repo::BlobWriter writer(*index, options);
  const auto lane = writer.open_lane();
  std::vector<std::vector<repo::BlobId>> images(kImages);
  for (std::uint64_t i = 0; i < count; ++i)
    images[i * kImages / count].push_back(
        lane->save(repo::BlobType::data, testing::random_bytes(kBlob, i)).id);
  std::vector<repo::Snapshot> snapshots;
  std::mt19937_64 random(1);
  for (const char* tag : {"first", "second"}) {
    std::vector<repo::Node> volumes;
    for (std::uint64_t i = 0; i < kImages; ++i) {
      const auto image = testing::file_node("image.raw", images[i].size() * kBlob, images[i]);
      const repo::BlobId lv = lane->save(repo::BlobType::tree, as_bytes(repo::to_json(repo::Tree{{image}}))).id;
      volumes.push_back(testing::folder_node(fmt::format("lv{}", i), lv));
      std::erase_if(images[i], [&](const repo::BlobId&) { return random() % 10 >= 7; });
    }
    const repo::BlobId vg = lane->save(repo::BlobType::tree, as_bytes(repo::to_json(repo::Tree{volumes}))).id;
    repo::Snapshot snapshot;
    snapshot.time = repo::now();
    snapshot.tree = lane->save(repo::BlobType::tree,
                               as_bytes(repo::to_json(repo::Tree{{testing::folder_node("vg0", vg)}})))
                        .id;
    snapshot.paths = {"/dev/vg0/all"};
    snapshot.hostname = "host";
    snapshot.tags = {tag};
    snapshots.push_back(snapshot);
  }
  lane->close();
  writer.finish();
  for (const repo::Snapshot& snapshot : snapshots) repo::save_snapshot(repository, snapshot);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() >= 4 && words[0] == "backups") {
    make_backups(*create(words[1]), std::stoull(words[2]), std::stoi(words[3]),
                 words.size() > 4 ? std::stoll(words[4]) : 900);
  } else if (words.size() == 3 && words[0] == "blobs") {
    make_blobs(*create(words[1]), std::stoull(words[2]));
  } else if (words.size() == 2 && words[0] == "init") {
    create(words[1]);
  } else {
    std::fputs("care_tool init REPO | backups REPO SEED COUNT [DAYS] | blobs REPO COUNT\n", stderr);
    return 2;
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
