#include "store/write_log.h"

#include <utility>

#include "store/forward.h"

namespace respaldo::store {

namespace {

class Logging final : public Forward {
 public:
  Logging(std::unique_ptr<Backend> below, std::shared_ptr<WriteLog> log)
      : Forward(std::move(below)), log_(std::move(log)) {}

  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    below_->save(handle, parts, durability);
    log_->add(handle);
  }

 private:
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
