#include "verify/medium_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/hex.h"
#include "parity/parity_backend.h"
#include "store/write_log.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"

namespace respaldo::verify {
namespace {

using store::FileType;
using store::Handle;

// A medium that keeps other bytes than it was given.
class BadMedium final : public store::Backend {
 public:
  // How an object is kept wrong: `forgetful`, the cache has it right until it is written again; `broken`,
  // everywhere, and nothing written helps.
  enum class Fault { none, forgetful, broken };
  std::map<Handle, Fault> faults;

  std::string location() const override { return "a bad medium"; }
  void create() override { below_->create(); }
  void save(const Handle& handle, std::span<const ByteView> parts, store::Durability durability) override {
    const Fault fault = fault_of(handle);
    if (durability == store::Durability::proven && fault == Fault::broken)
      throw Error(ErrorKind::io, "it did not read back");
    if (durability == store::Durability::proven) faults.erase(handle);
    below_->save(handle, parts, durability);
  }
  void sync() override {}
  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    return below_->load(handle, offset, length);
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    Bytes bytes = below_->load_all(handle, limit);
    if (fault_of(handle) == Fault::broken) bytes.data()[0] ^= 1;
    return bytes;
  }
  std::optional<store::FileInfo> stat(const Handle& handle) override { return below_->stat(handle); }
  std::vector<store::FileInfo> list(FileType type) override { return below_->list(type); }
  void remove(const Handle& handle) override { below_->remove(handle); }
  store::Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    Bytes bytes = below_->load_all(handle);
    if (fault_of(handle) != Fault::none) bytes.data()[bytes.size() / 2] ^= 1;
    piece(bytes);
    return store::Medium::direct;
  }
  bool is_permanent(const Error&) const override { return true; }

 private:
  Fault fault_of(const Handle& handle) const {
    const auto found = faults.find(handle);
    return found == faults.end() ? Fault::none : found->second;
  }
  std::unique_ptr<store::Backend> below_ = store::open_memory();
};

class MediumCheck : public ::testing::Test {
 protected:
  void make(bool with_parity) {
    auto medium = std::make_unique<BadMedium>();
    medium_ = medium.get();
    auto logged = store::with_write_log(std::move(medium), log_);
    std::unique_ptr<store::Backend> backend =
        with_parity ? parity::with_parity(std::move(logged), {}) : std::move(logged);
    repo::Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    repository_ = repo::Repository::create(std::move(backend), "secret", options);
    log_->take();
    testing::store_image(*repository_, testing::random_bytes(10 << 20, 1), {}, 64 << 10,
                         testing::small_packs());
    written_ = log_->take();
    for (const Handle& object : written_)
      if (object.type == FileType::pack) packs_.push_back(object);
  }
  MediumReport check() {
    SilentProgress silent;
    return check_on_medium(*repository_, written_, silent, {});
  }

  std::shared_ptr<store::WriteLog> log_ = std::make_shared<store::WriteLog>();
  BadMedium* medium_ = nullptr;
  std::unique_ptr<repo::Repository> repository_;
  std::vector<Handle> written_, packs_;
};

TEST_F(MediumCheck, what_is_as_it_was_written_is_counted) {
  make(false);
  const MediumReport report = check();
  EXPECT_TRUE(report.damaged.empty());
  EXPECT_EQ(report.objects, packs_.size() + 2);  // index and snapshot
  EXPECT_GT(report.bytes, 10U << 20);
  EXPECT_EQ(report.medium, store::Medium::direct);
}

TEST_F(MediumCheck, what_the_cache_still_has_is_written_again) {
  make(false);
  medium_->faults[packs_[1]] = BadMedium::Fault::forgetful;
  const MediumReport report = check();
  EXPECT_TRUE(report.damaged.empty());
  EXPECT_EQ(report.healed.size(), 1U);
  EXPECT_TRUE(check().healed.empty());
}

TEST_F(MediumCheck, what_cannot_be_saved_is_told_and_forgotten_by_the_index) {
  make(true);
  medium_->faults[packs_[1]] = BadMedium::Fault::broken;
  const MediumReport report = check();
  ASSERT_EQ(report.damaged, std::vector<Handle>{packs_[1]});
  EXPECT_NE(report.problems.front().find("does not read back"), std::string::npos);
  forget_damaged(*repository_, written_, report.damaged);
  const auto packs = testing::indexed(*repository_)->index().packs();
  EXPECT_EQ(packs.size(), packs_.size() - 1);
  EXPECT_EQ(std::ranges::count(packs, *repo::PackId::parse(packs_[1].name)), 0);
  EXPECT_EQ(repository_->backend().list(FileType::index).size(), 1U);
}

TEST_F(MediumCheck, parity_is_read_back_and_the_backup_is_whole_without) {
  make(true);
  const Handle sidecar{FileType::parity, packs_[0].name};
  medium_->faults[sidecar] = BadMedium::Fault::forgetful;
  EXPECT_EQ(check().healed.size(), 1U);
  EXPECT_TRUE(check().healed.empty());
  medium_->faults[sidecar] = BadMedium::Fault::broken;
  const MediumReport report = check();
  EXPECT_TRUE(report.damaged.empty());
  ASSERT_EQ(report.parity_problems.size(), 1U);
  EXPECT_NE(report.parity_problems.front().find(sidecar.str() + " does not read back"), std::string::npos);
}

TEST_F(MediumCheck, a_damaged_index_is_taken_away_so_that_its_packs_are_not_taken_for_stored) {
  make(false);
  const auto index = std::ranges::find(written_, FileType::index, &Handle::type);
  medium_->faults[*index] = BadMedium::Fault::broken;
  const MediumReport report = check();
  forget_damaged(*repository_, written_, report.damaged);
  EXPECT_TRUE(repository_->backend().list(FileType::index).empty());
}

}  // namespace
}  // namespace respaldo::verify
