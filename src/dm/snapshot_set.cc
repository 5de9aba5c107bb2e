#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>

#include "base/error.h"
#include "base/units.h"
#include "dm/cow_store.h"
#include "dm/cow_writer.h"
#include "os/shared_mutex.h"

namespace respaldo::dm {

namespace {

constexpr std::uint64_t kBatch = 4 * kMiB;  // of origin bytes saved at once

struct Member {
  Member(std::string n, std::uint64_t s, block::WritableDevicePtr cow, std::uint64_t fallback_chunk)
      : name(std::move(n)), size(s), writer(std::move(cow), fallback_chunk) {}

  const std::string name;
  const std::uint64_t size;
  // Readers of the snapshot hold it shared while they look up and read. New exceptions are published under it
  // exclusively, before the origin is overwritten: so nobody is left reading the origin's old place.
  mutable os::WriterFirstMutex mutex;
  CowWriter writer;
  bool removed = false;

  void require_usable() const {
    if (removed) throw Error(ErrorKind::not_found, fmt::format("snapshot {} was removed", name));
    if (!writer.valid())
      throw Error(ErrorKind::overflow,
                  fmt::format("snapshot {} is invalid: its COW store overflowed or failed", name),
                  "its contents are lost; remove it, and give the next one a larger COW store");
  }
  // Chunks that a write to `range` of the origin, or of the snapshot, needs and the store lacks.
  std::vector<ChunkRun> missing(Extent range) const {
    const Extent inside = intersect(range, {0, size});
    std::vector<ChunkRun> result;
    if (inside.empty() || !writer.valid()) return result;
    const std::uint64_t last = (inside.end() - 1) / writer.chunk();
    for (std::uint64_t at = inside.offset / writer.chunk(); at <= last;) {
      const auto stretch = writer.map().stretch(at, last - at + 1);
      if (!stretch.new_chunk) result.push_back({at, stretch.count});
      at += stretch.count;
    }
    return result;
  }
};

using MemberPtr = std::shared_ptr<Member>;

// A range of the origin whose old contents a writer wants saved.
struct Request {
  Extent range;
  bool done = false;
  std::exception_ptr failure;
};

}  // namespace

struct SnapshotSet::Impl {
  block::WritableDevicePtr origin;
  // Shared while a write is under way, exclusive to change the members: a snapshot begins between two writes.
  mutable os::WriterFirstMutex gate;
  std::vector<MemberPtr> members;  // by gate
  std::mutex copying;              // one batch of new exceptions at a time

  // Writers that need copies at the same time share one batch, and so its two flushes.
  std::mutex queue_mutex;
  std::condition_variable queue_moved;
  std::vector<Request*> queue;
  bool leading = false;

  MemberPtr find(const std::string& name) const {
    for (const MemberPtr& member : members)
      if (member->name == name) return member;
    throw Error(ErrorKind::not_found, fmt::format("{} has no snapshot {}", origin->describe(), name));
  }

  bool needs_copies(Extent range) const {
    return std::any_of(members.begin(), members.end(), [&](const MemberPtr& member) {
      std::shared_lock lock(member->mutex);
      return !member->missing(range).empty();
    });
  }

  // REQUIRES the gate, shared, and range.length <= kBatch.
  void save(Extent range) {
    if (!needs_copies(range)) return;
    Request request{.range = range, .done = false, .failure = nullptr};
    std::unique_lock lock(queue_mutex);
    queue.push_back(&request);
    queue_moved.wait(lock, [&] { return request.done || !leading; });
    if (!request.done) {
      leading = true;
      const std::vector<Request*> together = std::exchange(queue, {});
      lock.unlock();
      std::exception_ptr failure;
      try {
        ExtentSet ranges;
        for (const Request* one : together) ranges.add(one->range);
        const std::lock_guard copy_lock(copying);
        copy_out(ranges);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      leading = false;
      for (Request* one : together) {
        one->done = true;
        one->failure = failure;
      }
      queue_moved.notify_all();
    }
    if (request.failure) std::rethrow_exception(request.failure);
  }

  struct Job {
    Member* member;
    CowWriter::Batch batch;
  };

  // Runs f on every job; a job whose store fails is invalidated and dropped.
  template <class F>
  void each_job(std::vector<Job>& jobs, F f) {
    std::erase_if(jobs, [&](Job& job) {
      try {
        f(job);
        return false;
      } catch (const Error&) {
        invalidate(*job.member);
        return true;
      }
    });
  }

  // The kernel's order: data, flush, areas, flush. The caller writes the origin afterwards.
  void copy_out(const ExtentSet& ranges) {
    std::vector<Job> jobs;
    for (const MemberPtr& member : members) {
      std::vector<ChunkRun> missing;
      for (const Extent& range : ranges.extents())
        for (const ChunkRun& run : member->missing(range)) {
          // Two ranges may touch the same chunk.
          const std::uint64_t end = missing.empty() ? 0 : missing.back().first + missing.back().count;
          const std::uint64_t first = std::max(run.first, end);
          if (first < run.first + run.count) missing.push_back({first, run.first + run.count - first});
        }
      if (missing.empty()) continue;
      if (auto batch = member->writer.allocate(missing))
        jobs.push_back({member.get(), std::move(*batch)});
      else
        invalidate(*member);
    }
    each_job(jobs, [&](Job& job) { copy_data(job); });
    finish(jobs);
  }

  void finish(std::vector<Job>& jobs) {
    each_job(jobs, [](Job& job) { job.member->writer.prepare(job.batch); });
    each_job(jobs, [](Job& job) { job.member->writer.device().flush(); });
    each_job(jobs, [](Job& job) { job.member->writer.expose(job.batch); });
    each_job(jobs, [](Job& job) { job.member->writer.device().flush(); });
    for (Job& job : jobs) {
      const std::unique_lock lock(job.member->mutex);
      job.member->writer.publish(std::move(job.batch));
    }
  }

  static void invalidate(Member& member) {
    const std::unique_lock lock(member.mutex);
    member.writer.invalidate();  // whether it is durable is for require_marked() to see
  }

  // REQUIRES the gate, shared. Whatever is written to the origin from now on, a dead snapshot does not see: it must not
  // come back as a good one.
  void require_marked() {
    for (const MemberPtr& member : members) {
      {
        const std::shared_lock lock(member->mutex);
        if (member->writer.marked()) continue;
      }
      const std::unique_lock lock(member->mutex);
      if (member->writer.invalidate()) continue;
      throw Error(ErrorKind::overflow,
                  fmt::format("{} is not written: its snapshot {} has died, and its COW store cannot be marked invalid",
                              origin->describe(), member->name),
                  "remove the snapshot");
    }
  }

  void copy_data(Job& job) {
    const std::uint64_t chunk = job.member->writer.chunk();
    Bytes buffer;
    for (const CowWriter::Placement& placement : job.batch.placements) {
      const std::uint64_t begin = placement.old_chunk * chunk;
      const std::uint64_t end = std::min(begin + placement.count * chunk, origin->size());
      if (begin >= end) continue;  // past the origin's end there is nothing to save
      buffer.resize(end - begin);
      origin->read_at(begin, buffer);
      job.member->writer.device().write_at(placement.new_chunk * chunk, buffer);
    }
  }

  void write_origin(std::uint64_t offset, ByteView bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const std::size_t n = std::min<std::size_t>(bytes.size() - done, kBatch);
      const std::shared_lock lock(gate);
      save({offset + done, n});
      require_marked();
      origin->write_at(offset + done, bytes.subspan(done, n));
      done += n;
    }
  }
  void zero_origin(Extent range) {
    for (std::uint64_t at = range.offset; at < range.end();) {
      const std::uint64_t n = std::min<std::uint64_t>(range.end() - at, 16 * kBatch);
      const std::shared_lock lock(gate);
      for (std::uint64_t piece = at; piece < at + n; piece += kBatch)
        save({piece, std::min<std::uint64_t>(kBatch, at + n - piece)});
      require_marked();
      origin->zero({at, n});
      at += n;
    }
  }

  void write_snapshot(Member& member, std::uint64_t offset, ByteView bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const std::size_t n = std::min<std::size_t>(bytes.size() - done, kBatch);
      const std::shared_lock lock(gate);
      write_piece(member, offset + done, bytes.subspan(done, n));
      done += n;
    }
  }

  void write_piece(Member& member, std::uint64_t offset, ByteView bytes) {
    const Extent range{offset, bytes.size()};
    ExtentSet in_place{range};
    bool complete = false;
    {
      const std::shared_lock lock(member.mutex);
      member.require_usable();
      complete = member.missing(range).empty();
    }
    if (!complete) {
      const std::lock_guard lock(copying);
      const std::vector<ChunkRun> missing = member.missing(range);
      const std::uint64_t chunk = member.writer.chunk();
      for (const ChunkRun& run : missing) in_place.remove({run.first * chunk, run.count * chunk});
      add_written(member, missing, range, bytes);
    }
    const std::shared_lock lock(member.mutex);
    member.require_usable();
    for (const Extent& extent : in_place.extents()) {
      for (std::uint64_t at = extent.offset; at < extent.end();) {
        const std::uint64_t chunk = member.writer.chunk(), within = at % chunk;
        const auto stretch =
            member.writer.map().stretch(at / chunk, (extent.end() - 1) / chunk - at / chunk + 1);
        const std::uint64_t n = std::min(extent.end() - at, stretch.count * chunk - within);
        member.writer.device().write_at(*stretch.new_chunk * chunk + within, bytes.subspan(at - offset, n));
        at += n;
      }
    }
  }

  // New exceptions for chunks that the snapshot's own writer touches: what it does not cover is copied.
  void add_written(Member& member, const std::vector<ChunkRun>& missing, Extent range, ByteView bytes) {
    std::vector<Job> jobs;
    if (missing.empty()) return;
    if (auto batch = member.writer.allocate(missing))
      jobs.push_back({&member, std::move(*batch)});
    else
      invalidate(member);
    each_job(jobs, [&](Job& job) {
      const std::uint64_t chunk = member.writer.chunk();
      Bytes buffer;
      for (const CowWriter::Placement& placement : job.batch.placements) {
        const Extent whole{placement.old_chunk * chunk, placement.count * chunk};
        const Extent written = intersect(whole, range);
        buffer.resize(whole.length);
        if (written != whole) {
          const Extent old = intersect(whole, {0, origin->size()});
          if (!old.empty()) origin->read_at(old.offset, buffer.span().first(old.length));
          std::fill(buffer.data() + old.length, buffer.data() + whole.length, std::uint8_t{0});
        }
        std::memcpy(buffer.data() + (written.offset - whole.offset),
                    bytes.data() + (written.offset - range.offset), written.length);
        member.writer.device().write_at(placement.new_chunk * chunk, buffer);
      }
    });
    finish(jobs);
  }

  class OriginDevice;
  class SnapshotDevice;
};

class SnapshotSet::Impl::OriginDevice final : public block::WritableDevice {
 public:
  explicit OriginDevice(std::shared_ptr<Impl> set) : set_(std::move(set)) {}
  std::uint64_t size() const override { return set_->origin->size(); }
  std::string describe() const override { return set_->origin->describe(); }
  void read_at(std::uint64_t offset, MutableBytes out) const override { set_->origin->read_at(offset, out); }
  std::vector<block::Run> runs(Extent range) const override { return set_->origin->runs(range); }
  void write_at(std::uint64_t offset, ByteView bytes) override {
    block::require_within(*this, offset, bytes.size());
    set_->write_origin(offset, bytes);
  }
  void zero(Extent range) override {
    block::require_within(*this, range.offset, range.length);
    set_->zero_origin(range);
  }
  void flush() override {
    set_->origin->flush();
    const std::shared_lock lock(set_->gate);
    set_->require_marked();
  }

 private:
  std::shared_ptr<Impl> set_;
};

class SnapshotSet::Impl::SnapshotDevice final : public block::WritableDevice {
 public:
  SnapshotDevice(std::shared_ptr<Impl> set, MemberPtr member)
      : set_(std::move(set)), member_(std::move(member)) {}
  std::uint64_t size() const override { return member_->size; }
  std::string describe() const override { return member_->name; }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    const std::shared_lock lock(member_->mutex);
    member_->require_usable();
    const CowWriter& writer = member_->writer;
    read_snapshot(writer.map(), writer.chunk(), *set_->origin, writer.device(), offset, out, member_->name);
  }
  std::vector<block::Run> runs(Extent range) const override {
    const std::shared_lock lock(member_->mutex);
    member_->require_usable();
    const Extent inside = intersect(range, {0, size()});
    if (inside.empty()) return {};
    const CowWriter& writer = member_->writer;
    return snapshot_runs(writer.map(), writer.chunk(), *set_->origin, writer.device(), inside);
  }
  void write_at(std::uint64_t offset, ByteView bytes) override {
    block::require_within(*this, offset, bytes.size());
    set_->write_snapshot(*member_, offset, bytes);
  }
  void flush() override {
    const std::shared_lock lock(member_->mutex);
    member_->require_usable();
    member_->writer.device().flush();
  }

 private:
  std::shared_ptr<Impl> set_;
  MemberPtr member_;
};

SnapshotSet::SnapshotSet(block::WritableDevicePtr origin_real) : impl_(std::make_shared<Impl>()) {
  impl_->origin = std::move(origin_real);
}
SnapshotSet::~SnapshotSet() = default;

void SnapshotSet::add(const std::string& name, block::WritableDevicePtr cow, std::uint64_t size,
                      std::uint64_t fallback_chunk) {
  auto member = std::make_shared<Member>(name, size, std::move(cow), fallback_chunk);
  const std::unique_lock lock(impl_->gate);
  for (const MemberPtr& other : impl_->members)
    if (other->name == name)
      throw Error(ErrorKind::internal,
                  fmt::format("{} has a snapshot {} already", impl_->origin->describe(), name));
  impl_->members.push_back(std::move(member));
}

void SnapshotSet::remove(const std::string& name) {
  const std::unique_lock lock(impl_->gate);
  const MemberPtr member = impl_->find(name);
  std::erase(impl_->members, member);
  const std::unique_lock member_lock(member->mutex);
  member->removed = true;
}

void SnapshotSet::grow(const std::string& name, block::WritableDevicePtr cow) {
  const std::unique_lock lock(impl_->gate);
  const MemberPtr member = impl_->find(name);
  const std::unique_lock member_lock(member->mutex);
  member->writer.grow(std::move(cow));
}

CowStatus SnapshotSet::status(const std::string& name) const {
  const std::shared_lock lock(impl_->gate);
  const MemberPtr member = impl_->find(name);
  const std::shared_lock member_lock(member->mutex);
  return member->writer.status();
}

block::WritableDevicePtr SnapshotSet::origin_device() { return std::make_shared<Impl::OriginDevice>(impl_); }

block::WritableDevicePtr SnapshotSet::snapshot_device(const std::string& name) {
  const std::shared_lock lock(impl_->gate);
  return std::make_shared<Impl::SnapshotDevice>(impl_, impl_->find(name));
}

}  // namespace respaldo::dm
