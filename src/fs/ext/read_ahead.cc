#include "fs/ext/read_ahead.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>

#include "base/error.h"
#include "os/thread_group.h"

namespace respaldo::fs::ext {

namespace {

constexpr std::uint64_t kRequest = 1U << 20;  // largest request that joins several pieces
constexpr std::uint64_t kGap = 64U << 10;     // read through what is not wanted rather than seek over it
constexpr std::size_t kAhead = 8;             // requests read and not yet handled

// Pieces [first, end) read in one request; failed: bytes is empty.
struct Request {
  std::size_t first = 0, end = 0;
  std::uint64_t offset = 0, length = 0;
  Bytes bytes;
};

class Requests {
 public:
  Requests(const block::Device& device, std::span<const Piece> pieces) : device_(device), pieces_(pieces) {}

  // The request that begins with piece `first`, not yet read.
  Request plan(std::size_t first) const {
    Request request{first, first + 1, pieces_[first].offset, pieces_[first].length, {}};
    for (; request.end < pieces_.size(); ++request.end) {
      const Piece& next = pieces_[request.end];
      const std::uint64_t end = request.offset + request.length;
      if (next.offset > end + kGap || next.offset + next.length > request.offset + kRequest) break;
      request.length = std::max(end, next.offset + next.length) - request.offset;
    }
    return request;
  }

  void fill(Request& request) const {
    Bytes bytes(request.length);
    try {
      device_.read_at(request.offset, bytes);
    } catch (const Error&) {
      return;
    }
    request.bytes = std::move(bytes);
  }

  void hand_over(const Request& request, const PieceHandler& handle) const {
    static const std::string no_error;
    for (std::size_t i = request.first; i < request.end; ++i) {
      const Piece& piece = pieces_[i];
      if (!request.bytes.empty()) {
        handle(piece, request.bytes.view(piece.offset - request.offset, piece.length), no_error);
        continue;
      }
      Bytes alone(piece.length);
      std::string error;
      try {
        device_.read_at(piece.offset, alone);
      } catch (const Error& failure) {
        error = failure.what();
        alone = {};
      }
      handle(piece, alone, error);
    }
  }

 private:
  const block::Device& device_;
  std::span<const Piece> pieces_;
};

}  // namespace

void for_each_piece(const block::Device& device, std::span<const Piece> pieces, unsigned readers,
                    const std::stop_token& stop, const PieceHandler& handle) {
  if (pieces.empty()) return;
  const Requests requests(device, pieces);
  if (Request only = requests.plan(0); only.end == pieces.size()) {  // not worth a thread
    os::throw_if_stopped(stop);
    requests.fill(only);
    requests.hand_over(only, handle);
    return;
  }

  std::mutex mutex;
  std::condition_variable_any changed;
  std::size_t next_piece = 0, planned = 0, handled = 0;
  std::map<std::size_t, Request> ready;  // by number

  os::ThreadGroup group(stop);
  for (unsigned i = 0; i < std::max(1U, readers); ++i) {
    group.spawn([&](const std::stop_token& token) {
      for (;;) {
        std::unique_lock lock(mutex);
        const bool go = changed.wait(
            lock, token, [&] { return planned < handled + kAhead || next_piece == pieces.size(); });
        if (!go || next_piece == pieces.size()) return;
        Request request = requests.plan(next_piece);
        next_piece = request.end;
        const std::size_t number = planned++;
        lock.unlock();
        requests.fill(request);
        lock.lock();
        ready.emplace(number, std::move(request));
        changed.notify_all();
      }
    });
  }
  for (std::size_t done = 0; done < pieces.size();) {
    std::unique_lock lock(mutex);
    if (!changed.wait(lock, group.token(), [&] { return ready.contains(handled); })) break;
    Request request = std::move(ready.extract(handled).mapped());
    ++handled;
    changed.notify_all();
    lock.unlock();
    requests.hand_over(request, handle);
    done = request.end;
  }
  group.join();  // throws what stopped it
}

}  // namespace respaldo::fs::ext
