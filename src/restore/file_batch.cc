#include "restore/file_batch.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "base/error.h"
#include "base/units.h"
#include "os/file.h"
#include "os/thread_group.h"

namespace respaldo::restore {

namespace {

constexpr std::size_t kMostOpen = 256;           // files that wait open for more content
constexpr std::uint64_t kSparseUnit = 4 * kKiB;  // zeros of this size become holes

}  // namespace

FileBatch::FileBatch(const repo::IndexedRepository& repository, const TargetFolder& target,
                     RestoreTally& tally, Progress& progress, unsigned threads, std::stop_token stop)
    : repository_(repository),
      target_(target),
      tally_(tally),
      progress_(progress),
      threads_(threads),
      stop_(std::move(stop)) {}

FileBatch::~FileBatch() {
  for (FileWork& work : files_)
    if (!work.done) remove_made(work);
}

std::size_t FileBatch::memory_of(const repo::Node& node) {
  std::size_t bytes = sizeof(FileWork) + node.name.size() + node.link_target.size() +
                      node.content.size() * (sizeof(repo::BlobId) + sizeof(Piece));
  for (const auto& attribute : node.xattrs) bytes += attribute.name.size() + attribute.value.size() + 64;
  return bytes;
}

void FileBatch::write() {
  plan();
  run_workers();
  pieces_ = {};
  if (!tally_.is_full()) return;
  for (FileWork& work : files_)
    if (!work.done) give_up(work, true);
}

void FileBatch::plan() {
  pieces_.clear();
  std::unordered_map<repo::PackId, std::uint32_t> packs;
  for (std::uint32_t f = 0; f < files_.size(); ++f) {
    FileWork& work = files_[f];
    std::uint64_t at = 0;
    for (std::uint32_t i = 0; i < work.content.size(); ++i) {
      const repo::BlobLocation location = *repository_.index().find(repo::BlobType::data, work.content[i]);
      const std::uint32_t length = location.plain_length();
      if (zeros_.contains(work.content[i])) {
        tally_.zero(length);
      } else if (length > 0) {
        const auto pack = packs.try_emplace(location.pack, static_cast<std::uint32_t>(packs.size()));
        pieces_.push_back({pack.first->second, location.offset, f, i, at});
        ++work.left;
      }
      at += length;
    }
  }
  std::ranges::sort(pieces_, [](const Piece& a, const Piece& b) {
    return std::tie(a.pack, a.offset, a.file, a.number) < std::tie(b.pack, b.offset, b.file, b.number);
  });
  next_piece_ = next_file_ = 0;
}

std::optional<FileBatch::Job> FileBatch::next_job() {
  const std::lock_guard lock(jobs_mutex_);
  if (next_piece_ == pieces_.size() || tally_.is_full()) return std::nullopt;
  Job job;
  const Piece first = pieces_[next_piece_];
  for (; next_piece_ < pieces_.size() && pieces_[next_piece_].pack == first.pack; ++next_piece_) {
    const repo::BlobId& id = id_of(pieces_[next_piece_]);
    if (!job.blobs.empty() && job.blobs.back().id == id) continue;
    const repo::BlobLocation location = *repository_.index().find(repo::BlobType::data, id);
    if (!job.blobs.empty() && !same_stretch(job.blobs.back().location, location, first.offset)) break;
    job.blobs.push_back({id, location});
    job.first.push_back(next_piece_);
  }
  job.end = next_piece_;
  return job;
}

// Files that hold nothing but zeros, or nothing.
FileWork* FileBatch::next_empty() {
  const std::lock_guard lock(jobs_mutex_);
  while (next_file_ < files_.size() && !tally_.is_full()) {
    FileWork& work = files_[next_file_++];
    if (empty_of_data(work)) return &work;
  }
  return nullptr;
}

bool FileBatch::empty_of_data(const FileWork& work) const {
  return std::ranges::all_of(work.content, [&](const repo::BlobId& id) {
    return zeros_.contains(id) || repository_.index().find(repo::BlobType::data, id)->plain_length() == 0;
  });
}

void FileBatch::run_workers() {
  if (files_.empty()) return;
  os::ThreadGroup workers(stop_);
  for (unsigned i = 0; i < threads_; ++i)
    workers.spawn([&](const std::stop_token& stop) {
      BlobReader reader(repository_);
      OpenFolder folder;
      while (const auto job = next_job()) fetch(*job, reader, folder, stop);
      while (FileWork* work = next_empty()) {
        os::throw_if_stopped(stop);
        attempt(*work, [&] { finish(*work, *opened(*work, folder), folder); });
      }
    });
  workers.join();
}

void FileBatch::fetch(const Job& job, BlobReader& reader, OpenFolder& folder, const std::stop_token& stop) {
  std::size_t taken = 0;
  bool writing = false;
  const auto take = [&](const Bytes& plain) {
    writing = true;
    os::throw_if_stopped(stop);
    const std::size_t end = taken + 1 < job.blobs.size() ? job.first[taken + 1] : job.end;
    for (std::size_t i = job.first[taken]; i < end; ++i)
      write_piece(pieces_[i], job.blobs[taken], plain, folder);
    ++taken;
    writing = false;
  };
  std::size_t length = job.blobs.size();  // to read at once
  while (taken < job.blobs.size() && !tally_.is_full()) {
    os::throw_if_stopped(stop);
    try {
      reader.read(std::span(job.blobs).subspan(taken, std::min(length, job.blobs.size() - taken)),
                  [&](std::size_t, const Bytes& plain) { take(plain); });
    } catch (const Error& error) {
      if (writing) throw;
      // This one is lost; the rest one by one.
      const std::size_t end = taken + 1 < job.blobs.size() ? job.first[taken + 1] : job.end;
      for (std::size_t i = job.first[taken]; i < end; ++i) fail(files_[pieces_[i].file], error.what(), false);
      ++taken;
      length = 1;
    }
  }
}

// What goes wrong with one file is its problem.
template <class Body>
void FileBatch::attempt(FileWork& work, Body body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::no_space) {
      tally_.out_of_room(path_in(*work.folder, work.name), error.what());
      give_up(work, true);
      return;
    }
    fail(work, error.what(), true);
  }
}

void FileBatch::write_piece(const Piece& piece, const WantedBlob& blob, ByteView plain, OpenFolder& folder) {
  FileWork& work = files_[piece.file];
  if (tally_.is_full()) return;
  attempt(work, [&] {
    if (plain.size() != blob.location.plain_length())
      throw Error(ErrorKind::corrupt,
                  fmt::format("blob {} is {} bytes long, the index says {}", blob.id.short_hex(),
                              plain.size(), blob.location.plain_length()));
    std::shared_ptr<os::UniqueFd> fd;
    {
      const std::lock_guard lock(work.mutex);
      if (work.failed) return;
      fd = opened(work, folder);
    }
    write_sparse(fd->get(), piece.at, plain, work.name);
    progress_.advance(plain.size());
    bool last = false;
    {
      const std::lock_guard lock(work.mutex);
      last = --work.left == 0 && !work.failed;
    }
    if (last) finish(work, *fd, folder);
  });
}

// The file being written; made when it is not there yet. Under work.mutex, or alone.
std::shared_ptr<os::UniqueFd> FileBatch::opened(FileWork& work, OpenFolder& folder) {
  if (work.fd) return work.fd;
  const int in = target_.open(work.folder, folder);
  auto fd = std::make_shared<os::UniqueFd>();
  struct stat st {};
  if (work.made.empty()) {
    const std::string made = name_while_made();
    fd->reset(::openat(in, made.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!*fd || ::fstat(fd->get(), &st) != 0) throw os::system_error(errno, "create", work.name);
    work.made = made;
    work.place = place_of(st);
    if (work.size > INT64_MAX || ::ftruncate(fd->get(), static_cast<off_t>(work.size)) != 0)
      throw os::system_error(work.size > INT64_MAX ? EFBIG : errno, "ftruncate", work.name);
  } else {
    fd->reset(::openat(in, work.made.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!*fd || ::fstat(fd->get(), &st) != 0) throw os::system_error(errno, "open", work.name);
    if (place_of(st) != work.place) throw Error(ErrorKind::io, "it was replaced while it was written");
  }
  if (work.left > 1) {
    if (open_files_ < kMostOpen) {
      ++open_files_;
      work.fd = fd;
    }
  }
  return fd;
}

void FileBatch::write_sparse(int fd, std::uint64_t offset, ByteView plain, const std::string& name) {
  std::size_t pending = 0;  // bytes before `at` that wait to be written
  std::size_t at = 0;
  const auto write = [&] {
    if (pending == 0) return;
    os::write_all_at(fd, offset + at - pending, plain.subspan(at - pending, pending), name);
    tally_.written(pending);
    pending = 0;
  };
  while (at < plain.size()) {
    const std::size_t n = std::min<std::size_t>(plain.size() - at, kSparseUnit - (offset + at) % kSparseUnit);
    if (is_zero(plain.subspan(at, n))) {
      write();
      tally_.zero(n);
    } else {
      pending += n;
    }
    at += n;
  }
  write();
}

void FileBatch::finish(FileWork& work, const os::UniqueFd& fd, OpenFolder& folder) {
  const MetadataOutcome outcome = set_metadata(fd.get(), work.metadata);
  put_in_place(*work.folder, target_.open(work.folder, folder), work.made, work.name);
  if (!outcome.nothing_to_tell()) tally_.metadata(path_in(*work.folder, work.name), outcome);
  const std::lock_guard lock(work.mutex);
  close(work);
  work.done = true;
  tally_.count(&FileRestoreResult::files);
}

void FileBatch::close(FileWork& work) {
  if (!work.fd) return;
  work.fd.reset();
  --open_files_;
}

void FileBatch::fail(FileWork& work, const std::string& why, bool placing) {
  if (give_up(work, placing)) tally_.problem(path_in(*work.folder, work.name), why);
}

// False when it was given up before.
bool FileBatch::give_up(FileWork& work, bool placing) {
  const std::lock_guard lock(work.mutex);
  if (std::exchange(work.failed, true)) return false;
  work.placing_failed = placing;
  close(work);
  remove_made(work);
  return true;
}

void FileBatch::remove_made(FileWork& work) const {
  if (work.made.empty()) return;
  try {
    OpenFolder folder;
    const int in = target_.open(work.folder, folder);
    struct stat st {};
    if (::fstatat(in, work.made.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && place_of(st) == work.place)
      ::unlinkat(in, work.made.c_str(), 0);
  } catch (const Error&) {
    // It cannot be reached any more.
  }
  work.made.clear();
}

}  // namespace respaldo::restore
