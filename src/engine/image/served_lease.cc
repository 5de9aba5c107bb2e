// Leases on snapshots inside a running activation.
#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "block/file_device.h"
#include "engine/image/base_client.h"
#include "engine/image/hand_snapshots.h"
#include "engine/image/leases.h"
#include "journal/names.h"

namespace respaldo::engine {

namespace {

class ServedBase final : public Base {
 public:
  ServedBase(ActivationClient client, VolumeName name, BaseIdentity identity)
      : client_(std::move(client)), name_(std::move(name)), identity_(std::move(identity)) {}
  std::string name() const override { return name_.str(); }
  const BaseIdentity& identity() const override { return identity_; }
  change::ChangeMap changes() const override {
    return {identity_.size, served_changes(client_, name_, identity_.snapshot_uuid), change::Source::thick,
            identity_.token};
  }
  void remove() override { client_.remove(name_); }

 private:
  ActivationClient client_;
  VolumeName name_;
  BaseIdentity identity_;
};

class ServedLease final : public SnapshotLease, public BaseKeeper {
 public:
  // `origin` is empty for a given snapshot; `tags` go when it becomes a base.
  ServedLease(ActivationClient client, VolumeName origin, VolumeName snapshot, std::vector<std::string> tags,
              std::optional<Amount> keep_free)
      : client_(std::move(client)),
        origin_(std::move(origin)),
        snapshot_(std::move(snapshot)),
        tags_(std::move(tags)),
        keep_free_(std::move(keep_free)),
        ours_(!origin_.lv.empty()),
        remove_(ours_) {
    try {
      device_ = std::make_unique<block::FileDevice>(client_.file_of(snapshot_),
                                                    block::FileDevice::Access::read_only);
    } catch (...) {
      drop();
      throw;
    }
  }
  ~ServedLease() override { drop(); }
  const block::Device& device() const override { return *device_; }
  std::string_view how() const override { return ours_ ? "snapshot" : "given"; }
  std::string snapshot_name() const override { return snapshot_.str(); }
  std::optional<CowFigures> cow() const override { return client_.status(snapshot_); }
  Growth grow(std::uint64_t bytes, const std::stop_token&) override {
    return extend_served_snapshot(client_, snapshot_, bytes, keep_free_);
  }
  void require_valid() const override {
    if (!client_.status(snapshot_).valid)
      throw Error(
          ErrorKind::overflow,
          fmt::format("snapshot {} is invalid: its COW store overflowed while it was read", snapshot_.str()),
          ours_ ? "nothing was saved; run again with a larger --cow"
                : "nothing was saved; make a new snapshot with a larger size");
  }
  void release() override {
    device_.reset();
    if (!remove_) return;
    remove_ = false;
    // FUSE tells the activation of our close a moment later.
    for (int tries = 50;; --tries) {
      try {
        client_.remove(snapshot_);
        return;
      } catch (const Error& error) {
        if (tries == 0 || error.kind() == ErrorKind::not_found) throw;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    }
  }

  std::vector<std::unique_ptr<Base>> bases() override {
    std::vector<std::unique_ptr<Base>> bases;
    if (!ours_) return bases;
    for (auto& [name, identity] : served_bases_of(client_, origin_))
      bases.push_back(std::make_unique<ServedBase>(client_, name, std::move(identity)));
    return bases;
  }
  std::optional<BaseIdentity> as_base() const override {
    if (!ours_) return std::nullopt;
    return served_as_base(client_, snapshot_);
  }
  std::string base_problem() const override { return "the snapshot was given"; }
  void keep_as_base(const std::string& token) override {
    std::vector<std::string> words = {"lvchange", "--addtag", std::string(kBaseTag), "--addtag",
                                      std::string(kBaseTokenTagPrefix) + token};
    for (const std::string& tag : tags_) words.insert(words.end(), {"--deltag", tag});
    words.push_back(snapshot_.str());
    const auto reply = client_.lvm(words);
    if (reply.exit_code != 0)
      throw Error(ErrorKind::io,
                  fmt::format("{} could not be made a base: {}", snapshot_.str(), printable(reply.err)));
    remove_ = false;
  }

 private:
  void drop() noexcept {
    try {
      release();
    } catch (...) {
      // The caller is already told of a failure; the snapshot carries our tag and can be found.
    }
  }

  ActivationClient client_;
  const VolumeName origin_, snapshot_;
  const std::vector<std::string> tags_;
  const std::optional<Amount> keep_free_;
  const bool ours_;
  bool remove_;
  std::unique_ptr<block::FileDevice> device_;
};

}  // namespace

std::unique_ptr<SnapshotLease> lease_of_own(const ActivationClient& client, const VolumeName& origin,
                                            std::optional<std::uint64_t> cow_size, const AcquireOptions& options) {
  // With the owner, so that `clean` finds it when we are killed.
  std::vector<std::string> tags = {options.run_tag, std::string(journal::kTag), journal::Owner::self().tag()};
  const VolumeName snapshot = client.snapshot(origin, cow_size, tags);
  return std::make_unique<ServedLease>(client, origin, snapshot, std::move(tags), options.keep_free);
}

std::unique_ptr<SnapshotLease> lease_of_given(const ActivationClient& client, const VolumeName& snapshot) {
  return std::make_unique<ServedLease>(client, VolumeName{}, snapshot, std::vector<std::string>(), std::nullopt);
}

}  // namespace respaldo::engine
