#include "verify/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "parity/parity_backend.h"
#include "parity/sidecar.h"
#include "repo/pack.h"
#include "store/forward.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "verify/findings.h"
#include "view/volume_view.h"

namespace respaldo::verify {
namespace {

using namespace respaldo::testing;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

auto Kind(const std::string& kind) { return Field(&Finding::kind, kind); }

std::string facts_for(std::uint64_t size) {
  view::VolumeFacts facts;
  facts.vg = "vg0";
  facts.lv = "root";
  facts.size = size;
  return facts.to_json();
}

class Check : public ::testing::Test {
 protected:
  static constexpr std::size_t kSize = 6U << 20;
  Check() : repository_(memory_repository()) {}

  repo::SnapshotId store(std::uint64_t seed = 1) {
    return store_image(*repository_, random_bytes(kSize, seed), facts_for(kSize), 256U << 10, small_packs());
  }
  void make_with_parity() {
    repo::Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    repository_ =
        repo::Repository::create(parity::with_parity(store::open_memory(), {50, 2, 1}), "secret", options);
  }
  CheckReport check(bool read_data, unsigned threads = 2) {
    return check_repository(*repository_, {read_data, threads}, progress_, {});
  }
  // Where the first data blob of the newest backup's image lies.
  repo::BlobLocation first_blob() { return location(repo::BlobType::data, 0); }
  repo::BlobLocation location(repo::BlobType type, std::size_t number) {
    const auto repo = indexed(*repository_);
    const auto backup = repository_->snapshots().back().snapshot;
    const repo::BlobId id = type == repo::BlobType::tree
                                ? *view::find_node(*repo, backup, "/vg0/root")->subtree
                                : view::stored_volumes(*repo, backup).at(0).parts.at(0).at(number);
    return *repo->index().find(type, id);
  }

  SilentProgress progress_;
  std::unique_ptr<repo::Repository> repository_;
};

TEST_F(Check, a_sound_repository_has_no_findings) {
  store(1);
  store(2);
  for (const unsigned threads : {1U, 4U}) {
    const CheckReport report = check(true, threads);
    EXPECT_THAT(report.findings, IsEmpty());
    EXPECT_TRUE(report.ok());
    EXPECT_EQ(report.snapshots, 2U);
    EXPECT_EQ(report.packs, pack_names(*repository_).size());
    std::uint64_t bytes = 0;
    for (const auto& file : repository_->backend().list(store::FileType::pack)) bytes += file.size;
    EXPECT_EQ(report.bytes_read, bytes);
  }
  EXPECT_EQ(check(false).bytes_read, 0U);
}

TEST_F(Check, an_empty_repository_is_sound) { EXPECT_TRUE(check(true).ok()); }

TEST_F(Check, a_missing_pack_is_found) {
  store();
  repository_->backend().remove({store::FileType::pack, first_blob().pack.hex()});
  for (const bool read_data : {false, true}) {
    const CheckReport report = check(read_data);
    EXPECT_FALSE(report.ok());
    EXPECT_THAT(report.findings, Contains(Kind("missing_pack")));
  }
}

TEST_F(Check, a_pack_that_was_cut_off_is_found) {
  store();
  const store::Handle handle{store::FileType::pack, first_blob().pack.hex()};
  const Bytes pack = repository_->backend().load_all(handle);
  repository_->backend().remove(handle);
  const ByteView half = pack.view(0, pack.size() / 2);
  repository_->backend().save(handle, {&half, 1}, store::Durability::now);
  EXPECT_THAT(check(false).findings, Contains(Kind("bad_pack_size")));
  const CheckReport report = check(true);
  EXPECT_THAT(report.findings, Contains(Kind("bad_pack_size")));
  EXPECT_THAT(report.findings, Contains(Kind("bad_pack_hash")));
  EXPECT_THAT(report.findings, Contains(Kind("bad_pack_header")));
  EXPECT_THAT(report.findings, Contains(Kind("bad_blob")));
}

TEST_F(Check, a_flipped_byte_anywhere_in_a_pack_is_found_by_reading_it) {
  store();
  const auto blob = first_blob();
  const store::Handle handle{store::FileType::pack, blob.pack.hex()};
  const std::uint64_t size = repository_->backend().stat(handle)->size;
  for (const std::uint64_t offset : std::vector<std::uint64_t>{
           blob.offset, blob.offset + blob.length / 2, blob.offset + blob.length - 1, size - 50, size - 1}) {
    flip(*repository_, handle, offset);
    EXPECT_TRUE(check(false).ok()) << offset;
    const CheckReport report = check(true);
    EXPECT_THAT(report.findings, Contains(Kind("bad_pack_hash"))) << offset;
    if (offset < blob.offset + blob.length) {
      EXPECT_THAT(report.findings, Contains(Kind("bad_blob"))) << offset;
      EXPECT_THAT(report.findings,
                  Each(AnyOf(Kind("lost"), Field(&Finding::message, HasSubstr(blob.pack.short_hex())))))
          << offset;
      EXPECT_THAT(
          report.findings,
          Contains(AllOf(Kind("lost"), Field(&Finding::message, HasSubstr("volume vg0/root, its image")))))
          << offset;
    } else {
      EXPECT_THAT(report.findings, Contains(Kind("bad_pack_header"))) << offset;
    }
    flip(*repository_, handle, offset);
  }
  EXPECT_TRUE(check(true).ok());
}

TEST_F(Check, a_damaged_key_is_found_before_it_is_needed) {
  for (const bool parity : {false, true}) {
    if (parity) make_with_parity();
    store();
    const store::Handle key{store::FileType::key,
                            repository_->add_key("another", crypto::ScryptParameters{1024, 1, 1}).hex()};
    ASSERT_TRUE(check(false).ok());
    Bytes bytes = repository_->backend().load_all(key);
    bytes.data()[bytes.size() - 20] ^= 1;  // still one, of nothing
    const ByteView whole = bytes;
    parity::plain(repository_->backend()).save(key, {&whole, 1}, store::Durability::now);
    const CheckReport report = check(false);
    EXPECT_FALSE(report.ok());
    EXPECT_THAT(report.findings, Contains(AllOf(Kind("bad_key"), Field(&Finding::message, HasSubstr(key.str())),
                                                Field(&Finding::advice, HasSubstr("key add")))));
    EXPECT_EQ(std::ranges::count(report.findings, "can_be_healed", &Finding::kind), parity ? 1 : 0);
  }
}

// A store that denies one file: a fault of the way, which says nothing of the file.
class DenyingStore final : public store::Forward {
 public:
  using Forward::Forward;
  std::string denied;
  Bytes load_all(const store::Handle& handle, std::uint64_t limit) override {
    if (handle.name == denied) throw Error(ErrorKind::io, "403 Forbidden");
    return below_->load_all(handle, limit);
  }
};

TEST_F(Check, a_key_that_the_store_denies_is_told_and_not_called_damaged) {
  repo::Repository::CreateOptions options;
  options.scrypt = crypto::ScryptParameters{1024, 1, 1};
  auto backend = std::make_unique<DenyingStore>(store::open_memory());
  DenyingStore& denying = *backend;
  repository_ = repo::Repository::create(std::move(backend), "secret", options);
  store();
  denying.denied = repository_->add_key("another", *options.scrypt).hex();
  const CheckReport report = check(false);
  EXPECT_TRUE(report.ok());
  EXPECT_THAT(report.findings,
              ElementsAre(AllOf(Kind("unread_key"), Field(&Finding::severity, Severity::warning),
                                Field(&Finding::message, AllOf(HasSubstr(denying.denied.substr(0, 8)), HasSubstr("403"))))));
}

TEST_F(Check, a_damaged_tree_is_found_without_reading_data) {
  store();
  const auto tree = location(repo::BlobType::tree, 0);
  flip(*repository_, {store::FileType::pack, tree.pack.hex()}, tree.offset + 20);
  const CheckReport report = check(false);
  EXPECT_THAT(report.findings, Contains(Kind("bad_tree")));
  EXPECT_THAT(report.findings, Contains(Kind("bad_backup")));
}

TEST_F(Check, one_lost_pack_is_one_warning_that_leads_to_healing) {
  make_with_parity();
  store();
  const store::Handle pack{store::FileType::pack, first_blob().pack.hex()};
  parity::plain(repository_->backend()).remove(pack);
  for (const bool read_data : {false, true}) {
    std::vector<Finding> warnings;
    for (const Finding& finding : check(read_data).findings) {
      if (finding.severity == Severity::warning) warnings.push_back(finding);
      if (finding.kind == "missing_pack" || finding.kind == "lost") {
        EXPECT_THAT(finding.advice, ::testing::StartsWith("`respaldo check --repair`")) << finding.message;
      }
    }
    EXPECT_THAT(warnings, ::testing::ElementsAre(AllOf(
                              Kind("can_be_healed"), Field(&Finding::advice, HasSubstr("check --repair")))));
  }
}

TEST_F(Check, a_pack_that_only_its_group_heals_is_told_even_when_another_must_be_healed_first) {
  make_with_parity();
  store();
  const store::Handle lost{store::FileType::pack, first_blob().pack.hex()};
  store::Backend& plain = parity::plain(repository_->backend());
  for (const std::string& name : pack_names(*repository_)) {
    const store::Handle pack{store::FileType::pack, name};
    if (pack == lost) continue;
    Bytes bytes = plain.load_all(pack);
    bytes.data()[100] ^= 1;
    const ByteView whole = bytes;
    plain.save(pack, {&whole, 1}, store::Durability::now);
  }
  plain.remove(lost);
  EXPECT_THAT(check(false).findings,
              AllOf(Contains(AllOf(Kind("can_be_healed"), Field(&Finding::message, HasSubstr(lost.str())))),
                    Not(Contains(Kind("cannot_be_healed")))));
}

TEST_F(Check, without_its_index_what_is_not_there_may_have_been_lost) {
  make_with_parity();
  store();
  parity::plain(repository_->backend()).remove({store::FileType::pack, first_blob().pack.hex()});
  flip(*repository_, {store::FileType::index, repository_->backend().list(store::FileType::index).at(0).name},
       40);
  for (const Finding& finding : check(false).findings) {
    EXPECT_THAT(finding.kind, Not("missing_pack"));
    if (finding.kind == "parity_stale" || finding.kind == "parity_group_stale" ||
        finding.kind == "bad_index") {
      EXPECT_THAT(finding.advice, HasSubstr("respaldo check --repair")) << finding.kind;
    }
  }
}

TEST_F(Check, parity_whose_settings_are_lost_is_told) {
  make_with_parity();
  store();
  store::Backend& plain = parity::plain(repository_->backend());
  const store::Handle settings{store::FileType::parity_settings, ""};
  plain.remove(settings);
  plain.remove(parity::sidecar_of(settings));
  std::unique_ptr<store::Backend> copy = store::open_memory();
  for (const store::FileType type :
       {store::FileType::config, store::FileType::key, store::FileType::snapshot, store::FileType::index,
        store::FileType::pack, store::FileType::parity, store::FileType::parity_group})
    for (const store::FileInfo& file : plain.list(type)) {
      const Bytes bytes = plain.load_all({type, file.name});
      const ByteView whole = bytes;
      copy->save({type, file.name}, {&whole, 1}, store::Durability::now);
    }
  repository_ = repo::Repository::open(parity::open_with_parity(std::move(copy)), "secret");
  const CheckReport report = check(true);
  EXPECT_THAT(report.findings, ::testing::ElementsAre(AllOf(Kind("parity_settings"),
                                                            Field(&Finding::advice, HasSubstr("`respaldo parity enable`")))));
  EXPECT_TRUE(report.ok());
}

TEST_F(Check, settings_of_parity_are_judged_as_they_are_now) {
  make_with_parity();
  store();
  store::Backend& plain = parity::plain(repository_->backend());
  plain.remove({store::FileType::parity_settings, ""});
  EXPECT_THAT(check(false).findings, ::testing::ElementsAre(Kind("parity_settings")));
  parity::save_settings(plain, {50, 2, 1});
  EXPECT_THAT(check(false).findings, IsEmpty());
}

TEST_F(Check, damaged_parity_is_told_when_it_is_read) {
  make_with_parity();
  store();
  EXPECT_THAT(check(true).findings, IsEmpty());
  store::Backend& plain = parity::plain(repository_->backend());
  for (const store::FileType type : {store::FileType::parity, store::FileType::parity_group}) {
    const store::Handle file{
        type, type == store::FileType::parity ? first_blob().pack.hex() : plain.list(type).at(0).name};
    const Bytes good = plain.load_all(file);
    Bytes bad = plain.load_all(file);
    bad.data()[bad.size() / 2] ^= 1;
    const ByteView whole = good, flipped = bad;
    plain.save(file, {&flipped, 1}, store::Durability::now);
    EXPECT_THAT(check(false).findings, IsEmpty());
    const CheckReport report = check(true);
    EXPECT_TRUE(report.ok());
    EXPECT_THAT(report.findings, ::testing::ElementsAre(AllOf(
                                     Kind("parity_damaged"), Field(&Finding::severity, Severity::warning),
                                     Field(&Finding::message, HasSubstr(file.str())),
                                     Field(&Finding::advice, HasSubstr("check --repair")))));
    plain.save(file, {&whole, 1}, store::Durability::now);
  }
}

TEST_F(Check, missing_index_files_make_missing_trees) {
  store();
  for (const auto& file : repository_->backend().list(store::FileType::index))
    repository_->backend().remove({store::FileType::index, file.name});
  const CheckReport report = check(false);
  EXPECT_THAT(report.findings, Contains(Kind("missing_tree")));
  EXPECT_THAT(report.findings,
              Contains(AllOf(Kind("unreferenced_pack"), Field(&Finding::severity, Severity::info))));
}

TEST_F(Check, a_damaged_index_file_is_found_and_the_rest_goes_on) {
  store(1);
  const std::string first = repository_->backend().list(store::FileType::index).at(0).name;
  store(2);
  flip(*repository_, {store::FileType::index, first}, 40);
  const CheckReport report = check(true);
  EXPECT_THAT(report.findings, Contains(Kind("bad_index")));
  EXPECT_THAT(report.findings, Contains(Kind("missing_tree")));
  EXPECT_GT(report.bytes_read, kSize);
}

TEST_F(Check, a_damaged_backup_object_is_found) {
  const auto id = store();
  flip(*repository_, {store::FileType::snapshot, id.hex()}, 20);
  EXPECT_THAT(check(false).findings, Contains(Kind("bad_backup")));
}

TEST_F(Check, packs_left_by_an_interrupted_run_are_no_error) {
  store();
  const Bytes stray = random_bytes(1000, 5);
  const ByteView view = stray;
  repository_->backend().save({store::FileType::pack, to_hex(crypto::sha256(view))}, {&view, 1},
                              store::Durability::now);
  const CheckReport report = check(true);
  EXPECT_TRUE(report.ok());
  EXPECT_THAT(report.findings, ElementsAre(Kind("unreferenced_pack")));
}

TEST_F(Check, an_index_that_tells_other_blobs_than_the_pack_is_found) {
  store();
  const std::string name = repository_->backend().list(store::FileType::index).at(0).name;
  auto packs = repo::parse_index(repository_->load_unpacked(store::FileType::index, name));
  const repo::BlobLocation blob = first_blob();
  for (repo::PackContents& pack : packs)
    if (pack.pack == blob.pack) pack.blobs.pop_back();
  repository_->backend().remove({store::FileType::index, name});
  repository_->save_unpacked(store::FileType::index, repo::to_json(packs), store::Durability::now);
  EXPECT_THAT(check(false).findings, Contains(Kind("bad_pack_size")));
  const CheckReport report = check(true);
  EXPECT_THAT(report.findings, Contains(Kind("index_mismatch")));
  EXPECT_THAT(report.findings, Contains(Kind("missing_blob")));
  EXPECT_THAT(report.findings, Contains(Kind("bad_image")));
  EXPECT_THAT(report.findings, Not(Contains(Kind("bad_pack_hash"))));
}

TEST_F(Check, a_pack_of_trees_and_data_is_told_and_sound) {
  const std::string tree = repo::to_json(repo::Tree{});
  const Bytes data = random_bytes(1000, 1);
  crypto::Cipher cipher(repository_->master_key());
  std::string bytes;
  repo::PackContents pack;
  for (const auto& [type, plain] :
       {std::pair(repo::BlobType::data, data.view()), std::pair(repo::BlobType::tree, as_bytes(tree))}) {
    const Bytes sealed = cipher.seal(plain);
    pack.blobs.push_back({type,
                          {crypto::sha256(plain)},
                          static_cast<std::uint32_t>(bytes.size()),
                          static_cast<std::uint32_t>(sealed.size()),
                          0});
    bytes += as_text(sealed);
  }
  const Bytes header = cipher.seal(repo::pack_header(pack.blobs));
  bytes += as_text(header);
  for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(header.size() >> shift);
  const ByteView whole = as_bytes(bytes);
  pack.pack.bytes = crypto::sha256(whole);
  repository_->backend().save({store::FileType::pack, pack.pack.hex()}, {&whole, 1}, store::Durability::now);
  repository_->save_unpacked(store::FileType::index, repo::to_json({pack}), store::Durability::now);
  const CheckReport report = check(true);
  EXPECT_TRUE(report.ok());
  EXPECT_THAT(report.findings, ElementsAre(Kind("mixed_pack")));
}

TEST_F(Check, blobs_that_no_index_knows_are_found_once) {
  HandMadeBackup backup(*repository_);
  repo::BlobId nowhere;
  nowhere.bytes[0] = 1;
  const auto folder = backup.tree({file_node("a", 5, {nowhere}), file_node("b", 5, {nowhere})});
  backup.save(backup.tree({folder_node("home", folder)}), "restic 0.14");
  const CheckReport report = check(false);
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].kind, "missing_blob");
  EXPECT_THAT(report.findings[0].message, HasSubstr("/home"));
}

TEST_F(Check, an_image_whose_blobs_do_not_add_up_is_found) {
  HandMadeBackup backup(*repository_);
  repo::Node image = backup.file("image.raw", random_bytes(1000, 1));
  image.size = 999;
  const auto lv = backup.tree({image, backup.file("volume.json", as_bytes(facts_for(999)))});
  backup.save(backup.tree({folder_node("vg0", backup.tree({folder_node("root", lv)}))}));
  EXPECT_THAT(
      check(false).findings,
      UnorderedElementsAre(AllOf(Kind("bad_image"), Field(&Finding::message, HasSubstr("vg0/root"))),
                           AllOf(Kind("bad_size"), Field(&Finding::message, HasSubstr("image.raw")))));
}

TEST_F(Check, facts_that_disagree_or_are_damaged_are_found) {
  store_image(*repository_, random_bytes(1000, 1), facts_for(1001));
  EXPECT_THAT(check(false).findings, ElementsAre(Kind("facts_disagree")));
  repository_ = memory_repository();
  store_image(*repository_, random_bytes(1000, 1), "nonsense");
  EXPECT_THAT(check(false).findings, ElementsAre(Kind("bad_facts")));
  repository_ = memory_repository();
  store_image(*repository_, random_bytes(1000, 1));
  EXPECT_THAT(check(false).findings, ElementsAre(Kind("bad_facts")));
}

TEST_F(Check, lost_ranges_are_a_warning) {
  view::VolumeFacts facts = view::VolumeFacts::parse(facts_for(1000));
  facts.lost = {{{0, 512}, "Input/output error"}};
  store_image(*repository_, random_bytes(1000, 1), facts.to_json());
  const CheckReport report = check(false);
  EXPECT_TRUE(report.ok());
  ASSERT_THAT(report.findings, ElementsAre(Kind("lost_ranges")));
  EXPECT_THAT(report.findings[0].message, HasSubstr("512 B in 1 range are lost"));
  EXPECT_THAT(report.findings[0].message, HasSubstr("Input/output error"));
}

TEST_F(Check, a_subset_of_the_data_is_read) {
  store(1);
  const std::uint64_t all = check(true).bytes_read;
  std::uint64_t parts = 0;
  for (const char* part : {"1/3", "2/3", "3/3"})
    parts += check_repository(*repository_, {true, 2, ReadSubset::parse(part)}, progress_, {}).bytes_read;
  EXPECT_EQ(parts, all);
  EXPECT_EQ(check_repository(*repository_, {true, 2, ReadSubset::parse("100%")}, progress_, {}).bytes_read,
            all);
  const std::uint64_t some =
      check_repository(*repository_, {true, 2, ReadSubset::parse("1b")}, progress_, {}).bytes_read;
  EXPECT_GT(some, 0U);
  EXPECT_LT(some, all);
  EXPECT_EQ(ReadSubset::parse("1").bytes, 1U << 20) << "as all sizes";
  for (const char* bad : {"", "0/3", "4/3", "1/", "1/300", "0%", "101%", "x"})
    EXPECT_THROW(ReadSubset::parse(bad), Error) << bad;
}

TEST_F(Check, packs_that_several_index_files_tell_are_found) {
  store();
  const std::string name = repository_->backend().list(store::FileType::index).at(0).name;
  auto packs = repo::parse_index(repository_->load_unpacked(store::FileType::index, name));
  packs.resize(1);
  repository_->save_unpacked(store::FileType::index, repo::to_json(packs), store::Durability::now);
  EXPECT_THAT(check(true).findings,
              ElementsAre(AllOf(Kind("repeated_pack"), Field(&Finding::severity, Severity::info))));
}

TEST_F(Check, what_is_lost_is_told_in_the_words_of_users) {
  HandMadeBackup backup(*repository_);
  const Bytes bytes = random_bytes(100000, 3);
  const auto etc = backup.tree({backup.file("passwd", bytes)});
  const auto files = backup.tree({folder_node("etc", etc)});
  const auto lv = backup.tree({folder_node("files", files)});
  backup.save(backup.tree({folder_node("vg0", backup.tree({folder_node("root", lv)}))}), "restic 0.14");
  const auto blob =
      *indexed(*repository_)->index().find(repo::BlobType::data, {crypto::sha256(bytes.view(0, 64U << 10))});
  repository_->backend().remove({store::FileType::pack, blob.pack.hex()});
  EXPECT_THAT(
      check(false).findings,
      Contains(AllOf(Kind("lost"), Field(&Finding::message, HasSubstr("volume vg0/root, file etc/passwd")))));
}

TEST_F(Check, a_stop_request_ends_it) {
  store();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(check_repository(*repository_, {true, 2}, progress_, stop.get_token()), Cancelled);
}

TEST(Findings, are_bounded_and_in_order) {
  Findings findings;
  for (int i = 0; i < 1500; ++i) findings.add(Severity::error, "b", "x" + std::to_string(i % 10));
  findings.add(Severity::info, "a", "small");
  const auto all = findings.take();
  ASSERT_EQ(all.size(), kMostOfAKind + 2);
  EXPECT_EQ(all.front().message, "x0");
  EXPECT_EQ(all[kMostOfAKind].message, "and 500 more of this kind");
  EXPECT_EQ(all.back().message, "small");
  EXPECT_THAT(findings.take(), IsEmpty());
}

}  // namespace
}  // namespace respaldo::verify
