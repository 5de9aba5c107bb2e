#include "store/write_log.h"

#include <utility>

namespace respaldo::store {

namespace {

class Logging final : public Backend {
 public:
  Logging(std::unique_ptr<Backend> below, std::shared_ptr<WriteLog> log)
      : below_(std::move(below)), log_(std::move(log)) {}

  std::string location() const override { return below_->location(); }
  void create() override { below_->create(); }
  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    below_->save(handle, parts, durability);
    log_->add(handle);
  }
  void sync() override { below_->sync(); }
  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    return below_->load(handle, offset, length);
  }
  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    return below_->load_all(handle, limit);
  }
  std::optional<FileInfo> stat(const Handle& handle) override { return below_->stat(handle); }
  std::vector<FileInfo> list(FileType type) override { return below_->list(type); }
  void remove(const Handle& handle) override { below_->remove(handle); }
  void remove_many(std::span<const Handle> handles) override { below_->remove_many(handles); }
  Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    return below_->read_from_medium(handle, piece);
  }
  bool is_permanent(const Error& error) const override { return below_->is_permanent(error); }

 private:
  const std::unique_ptr<Backend> below_;
  const std::shared_ptr<WriteLog> log_;
};

}  // namespace

void WriteLog::add(const Handle& handle) {
  if (handle.type == FileType::lock) return;
  std::lock_guard lock(mutex_);
  saved_.push_back(handle);
}

std::vector<Handle> WriteLog::take() {
  std::lock_guard lock(mutex_);
  return std::exchange(saved_, {});
}

std::unique_ptr<Backend> with_write_log(std::unique_ptr<Backend> backend, std::shared_ptr<WriteLog> log) {
  return std::make_unique<Logging>(std::move(backend), std::move(log));
}

}  // namespace respaldo::store
