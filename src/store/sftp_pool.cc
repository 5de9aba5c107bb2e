#include "store/sftp_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace respaldo::store::sftp {

SessionPool::Lease SessionPool::lease(Work work) { return Lease(*this, take(work)); }

std::shared_ptr<Session> SessionPool::take(Work work) {
  std::vector<std::shared_ptr<Session>> dead;  // ended outside of the lock
  std::unique_lock lock(mutex_);
  if (stop_.stop_requested()) cut_off();
  const bool tidying = stopped_;
  for (;;) {
    if (stopped_ && !tidying) throw Cancelled();
    for (Entry& entry : entries_)
      if (!entry.session->alive()) dead.push_back(std::move(entry.session));
    std::erase_if(entries_, [](const Entry& entry) { return !entry.session; });
    const auto least = std::ranges::min_element(entries_, {}, &Entry::users);
    const bool there = least != entries_.end();
    const bool wants = !there || work == Work::bulk;
    const bool may_open = wants && entries_.size() + opening_ < most_ && (there || opening_ == 0);
    if (there && (least->users == 0 || !may_open)) {
      ++least->users;
      return least->session;
    }
    if (may_open) break;
    opened_.wait(lock);
  }
  const std::size_t number = entries_.size();
  ++opening_;
  lock.unlock();
  dead.clear();
  std::shared_ptr<Session> fresh;
  std::exception_ptr failure;
  try {
    fresh = connect_(number, stop_);
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  --opening_;
  opened_.notify_all();
  if (stopped_ && !tidying) {
    lock.unlock();  // `fresh` ends outside of it
    throw Cancelled();
  }
  if (fresh) {
    entries_.push_back({fresh, 1});
    if (std::exchange(eager_, false)) open_the_others(fresh);
    return fresh;
  }
  // The server may allow no more, or would have asked for a password again.
  if (number > 0) most_ = number;
  const auto other =
      std::ranges::find_if(entries_, [](const Entry& entry) { return entry.session->alive(); });
  if (number == 0 || other == entries_.end()) std::rethrow_exception(failure);
  ++other->users;
  return other->session;
}

SessionPool::~SessionPool() {
  over_.request_stop();
  {
    std::lock_guard lock(mutex_);
    for (const Entry& entry : entries_) entry.session->bid_farewell();
  }
  for (std::thread& opener : openers_) opener.join();
}

void SessionPool::open_the_others(const std::shared_ptr<Session>& first) {
  for (std::size_t number = entries_.size() + opening_; number < most_; ++number) {
    try {
      openers_.emplace_back([this, number, first] {
        std::shared_ptr<Session> fresh;
        bool tried = false;
        try {
          first->abilities();  // it is to stand as soon as it can
          tried = true;
          fresh = connect_(number, over_.get_token());
        } catch (const std::exception&) {
          // Those that stand do the work.
        }
        std::lock_guard lock(mutex_);
        --opening_;
        if (fresh && !stopped_)
          entries_.push_back({fresh, 0});
        else if (!tried)
          eager_ = true;  // behind the next first one
        else if (!fresh)  // what was refused once is not tried again: servers count that
          most_ = std::max<std::size_t>(1, std::min(most_, entries_.size() + opening_));
        opened_.notify_all();
      });
      ++opening_;
    } catch (const std::system_error&) {
      return;  // no room for threads: they are opened when they are needed
    }
  }
}

// Once: whoever comes later knows of the stop.
void SessionPool::cut_off() {
  if (std::exchange(stopped_, true)) return;
  for (const Entry& entry : entries_)
    if (entry.users > 0) entry.session->cancel();
  std::erase_if(entries_, [](const Entry& entry) { return entry.users > 0; });  // their users own them, too
  opened_.notify_all();
}

void SessionPool::give_back(const Session* session) {
  std::lock_guard lock(mutex_);
  for (Entry& entry : entries_)
    if (entry.session.get() == session) --entry.users;
}

}  // namespace respaldo::store::sftp
