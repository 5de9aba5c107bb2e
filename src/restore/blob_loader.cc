#include "restore/blob_loader.h"

namespace respaldo::restore {

BlobLoader::BlobLoader(const repo::IndexedRepository& repository, unsigned threads, std::stop_token stop)
    : repository_(repository), workers_(std::move(stop)) {
  for (unsigned i = 0; i < threads; ++i)
    workers_.spawn([this](const std::stop_token& token) { work(token); });
}

BlobLoader::~BlobLoader() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

void BlobLoader::add(std::shared_ptr<BlobLoad> load) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(load));
  changed_.notify_all();
}

Bytes BlobLoader::take(BlobLoad& load) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait(lock, workers_.token(), [&] { return load.plain || load.failure; })) throw Cancelled();
  if (load.failure) std::rethrow_exception(load.failure);
  return std::move(*load.plain);
}

void BlobLoader::work(const std::stop_token& stop) {
  for (;;) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [&] { return ended_ || !waiting_.empty(); }) || waiting_.empty() ||
        stop.stop_requested())
      return;
    const std::shared_ptr<BlobLoad> load = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    std::optional<Bytes> plain;
    std::exception_ptr failure;
    try {
      plain = repository_.load_blob(repo::BlobType::data, load->id);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    load->plain = std::move(plain);
    load->failure = failure;
    changed_.notify_all();
  }
}

}  // namespace respaldo::restore
