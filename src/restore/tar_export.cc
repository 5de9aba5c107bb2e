#include "restore/tar_export.h"

#include <fmt/format.h>
#include <locale.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/extent.h"
#include "base/printable.h"
#include "base/units.h"
#include "os/thread_group.h"
#include "restore/archive_library.h"
#include "restore/beneath.h"
#include "restore/blob_loader.h"
#include "restore/link_table.h"
#include "restore/path_selection.h"
#include "restore/pax_header.h"
#include "restore/stored_packs.h"
#include "restore/tar_acl.h"
#include "view/tree_walk.h"
#include "view/zero_blob.h"

namespace respaldo::restore {

namespace {

constexpr std::uint64_t kBytesAhead = 64 * kMiB;  // loaded, or on their way, and not yet written
constexpr std::size_t kStepsAhead = 8192;
constexpr std::size_t kBlock = 64 * kKiB;
constexpr std::size_t kMostRanges = 8;  // of one file that are told

// What goes into the archive next: an entry's head, zeros, or a blob.
struct Step : BlobLoad {
  archive_entry* head = nullptr;            // owned by the queue's user
  std::shared_ptr<const std::string> path;  // one for all steps of a file
  std::uint64_t at = 0, length = 0;  // in the file
  bool zeros = false;
};
using StepPtr = std::shared_ptr<Step>;

// libarchive takes names for text in the thread's locale.
class Utf8Locale {
 public:
  Utf8Locale() : own_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (own_ != nullptr) before_ = ::uselocale(own_);
  }
  ~Utf8Locale() {
    if (own_ == nullptr) return;
    ::uselocale(before_);
    ::freelocale(own_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  const locale_t own_;
  locale_t before_ = nullptr;
};

struct FreeArchive {
  void operator()(archive* a) const { libarchive().write_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* e) const { libarchive().entry_free(e); }
};
using EntryPtr = std::unique_ptr<archive_entry, FreeEntry>;

unsigned hardware_threads() { return std::max(1U, std::thread::hardware_concurrency()); }

class Exporter {
 public:
  Exporter(const repo::IndexedRepository& repository, const repo::Node& root, const TarOptions& options,
           const std::function<void(ByteView)>& sink, Progress& progress, const std::stop_token& stop)
      : repository_(repository),
        options_(options),
        selection_(options.paths),
        sink_(sink),
        progress_(progress),
        stop_(stop),
        root_(root),
        walk_(repository, root, "."),
        loader_(repository, options.threads != 0 ? options.threads : hardware_threads(), stop) {}
  ~Exporter() {
    for (const StepPtr& step : steps_) libarchive().entry_free(step->head);
    // What failed does not end like an archive that is whole.
    if (!whole_) abandon();
  }

  TarResult run() {
    selection_.require(repository_, root_);
    packs_.emplace(repository_);
    open();
    if (root_.mode != 0 && selection_.all()) push_entry(root_, ".");
    while (fill() || !steps_.empty()) {
      os::throw_if_stopped(stop_);
      const StepPtr step = steps_.front();
      steps_.pop_front();
      write(*step);
    }
    tell_lost();
    require(libarchive().write_close(archive_.get()));
    put_buffer();
    if (packed_) require_packed(libarchive().write_close(packed_.get()));
    whole_ = true;
    return std::move(result_);
  }

 private:
  void open() {
    archive_.reset(libarchive().write_new());
    if (!archive_) throw Error(ErrorKind::internal, "out of memory");
    require(libarchive().write_set_format_pax(archive_.get()));
    require(libarchive().write_set_format_option(archive_.get(), "pax", "xattrheader", "SCHILY"));
    require(
        libarchive().write_set_format_option(archive_.get(), "pax", "hdrcharset", "BINARY"));  // names as they are
    // Unbuffered, so that it is known which bytes belong to a header.
    libarchive().write_set_bytes_per_block(archive_.get(), 0);
    open_on(archive_.get(), [](archive* a, void* self, const void* bytes, std::size_t length) -> la_ssize_t {
      return static_cast<Exporter*>(self)->guarded(a, length, [&](Exporter& exporter) {
        const auto* text = static_cast<const char*>(bytes);
        if (exporter.in_header_)
          exporter.header_.append(text, length);
        else
          exporter.put(as_bytes(std::string_view(text, length)));
      });
    });
    if (options_.compression != TarCompression::none) open_packed();
  }

  // What compresses: an archive of one stream.
  void open_packed() {
    packed_.reset(libarchive().write_new());
    if (!packed_) throw Error(ErrorKind::internal, "out of memory");
    require_packed(libarchive().write_set_format_raw(packed_.get()));
    switch (options_.compression) {
      case TarCompression::none:
        break;
      case TarCompression::gzip:
        require_packed(libarchive().write_add_filter_gzip(packed_.get()));
        break;
      case TarCompression::zstd:
        require_packed(libarchive().write_add_filter_zstd(packed_.get()));
        break;
      case TarCompression::xz:
        require_packed(libarchive().write_add_filter_xz(packed_.get()));
        // Where it can; each thread takes some 100 MiB.
        libarchive().write_set_filter_option(packed_.get(), "xz", "threads", hardware_threads() > 3 ? "4" : "2");
        break;
    }
    libarchive().write_set_bytes_per_block(packed_.get(), kBlock);
    libarchive().write_set_bytes_in_last_block(packed_.get(), 1);
    open_on(packed_.get(), [](archive* a, void* self, const void* bytes, std::size_t length) -> la_ssize_t {
      return static_cast<Exporter*>(self)->guarded(a, length, [&](Exporter& exporter) {
        exporter.sink_({static_cast<const std::uint8_t*>(bytes), length});
      });
    });
    const EntryPtr stream(libarchive().entry_new());
    if (!stream) throw Error(ErrorKind::internal, "out of memory");
    libarchive().entry_set_filetype(stream.get(), AE_IFREG);
    require_packed(libarchive().write_header(packed_.get(), stream.get()));
  }

  void open_on(archive* a, archive_write_callback* take) {
    const int code = libarchive().write_open2(a, this, nullptr, take, nullptr, nullptr);
    if (code != ARCHIVE_OK) throw Error(ErrorKind::internal, "libarchive does not open its output");
  }

  // Nothing more is written, not even zeros for the rest of an entry. Closed all the same: of an archive that
  // failed archive_write_free() frees all but the output's own buffer.
  void abandon() {
    abandoned_ = true;
    for (archive* a : {archive_.get(), packed_.get()}) {
      if (a == nullptr) continue;
      libarchive().write_fail(a);
      libarchive().write_close(a);
    }
  }

  // Exceptions do not pass through C code.
  template <class Body>
  la_ssize_t guarded(archive* a, std::size_t length, const Body& body) {
    if (abandoned_) return -1;
    try {
      body(*this);
      return static_cast<la_ssize_t>(length);
    } catch (...) {
      if (!failure_) failure_ = std::current_exception();
      libarchive().set_error(a, EIO, "cannot write");
      return -1;
    }
  }

  // The archive's bytes, on their way out.
  void put(ByteView bytes) {
    if (packed_) {
      while (!bytes.empty()) {
        const la_ssize_t n = libarchive().write_data(packed_.get(), bytes.data(), bytes.size());
        if (n <= 0) require_packed(n < 0 ? static_cast<int>(n) : ARCHIVE_FATAL);
        bytes = bytes.subspan(static_cast<std::size_t>(std::max<la_ssize_t>(n, 0)));
      }
      return;
    }
    if (buffer_.size() + bytes.size() > kBlock) put_buffer();
    if (bytes.size() >= kBlock)
      sink_(bytes);
    else
      buffer_ += as_text(bytes);
  }
  void put_buffer() {
    if (!buffer_.empty()) sink_(as_bytes(buffer_));
    buffer_.clear();
  }

  void require_packed(int code) {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    if (code == ARCHIVE_OK || code == ARCHIVE_WARN) return;
    const char* why = libarchive().error_string(packed_.get());
    throw Error(ErrorKind::io,
                fmt::format("the archive cannot be compressed: {}", why == nullptr ? "unknown" : why));
  }

  void write_head(archive_entry* head) {
    require(libarchive().write_finish_entry(archive_.get()));
    header_.clear();
    in_header_ = true;
    const int code = libarchive().write_header(archive_.get(), head);
    in_header_ = false;
    require(code);
    put(as_bytes(plain_pax_header(std::move(header_))));
  }

  void require(int code) {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    if (code == ARCHIVE_OK) return;
    const char* why = libarchive().error_string(archive_.get());
    if (code == ARCHIVE_WARN) {
      // A name that is not UTF-8 is stored as it is, and marked so ("hdrcharset=BINARY").
      if (why == nullptr || !std::string_view(why).starts_with("Can't translate"))
        problem(current_, why == nullptr ? "libarchive warns" : why);
      return;
    }
    throw Error(ErrorKind::io,
                fmt::format("the archive cannot be written: {}", why == nullptr ? "unknown" : why));
  }

  // Walks on until enough is on its way. False at the end of the walk.
  bool fill() {
    load_ahead();
    while (!walked_ && to_load_.empty() && bytes_ahead_ < kBytesAhead && steps_.size() < kStepsAhead) {
      os::throw_if_stopped(stop_);
      bool more = true;
      try {
        more = walk_.next();
      } catch (Error& error) {
        const std::string& folder = walk_.entry().path;
        if (!is_lost(error)) {
          error.add_context(printable(folder));
          throw;
        }
        problem(folder, error.what());
        continue;
      }
      if (!more) {
        walked_ = true;
        break;
      }
      take_entry();
      load_ahead();
    }
    return !walked_;
  }

  // One file may hold more than memory does: its blobs, too, are loaded only so far ahead.
  void load_ahead() {
    while (!to_load_.empty() && bytes_ahead_ < kBytesAhead) {
      bytes_ahead_ += to_load_.front()->length;
      loader_.add(std::move(to_load_.front()));
      to_load_.pop_front();
    }
  }

  void take_entry() {
    const view::TreeWalk::Entry& entry = walk_.entry();
    if (selection_.part(entry.node, std::string_view(entry.path).substr(2), entry.depth) == PathSelection::Part::none) {
      walk_.skip();
      return;
    }
    if (const char* why = name_problem(entry.node.name)) {
      problem(entry.path, why);
      walk_.skip();
      return;
    }
    if (entry.node.type == repo::NodeType::socket) {
      ++result_.sockets;
    } else if (entry.node.type == repo::NodeType::unknown) {
      problem(entry.path, "it is of an unknown kind");
    } else if (const auto why = content_problem(entry.node)) {
      problem(entry.path, *why);
    } else {
      push_entry(entry.node, entry.path);
    }
  }

  void push_entry(const repo::Node& node, const std::string& path) {
    EntryPtr head(libarchive().entry_new());
    if (!head) throw Error(ErrorKind::internal, "out of memory");
    archive_entry* e = head.get();
    libarchive().entry_set_pathname(e, path.c_str());
    libarchive().entry_set_mode(e, static_cast<mode_t>(node.mode));
    libarchive().entry_set_uid(e, node.uid);
    libarchive().entry_set_gid(e, node.gid);
    if (!node.user.empty()) libarchive().entry_set_uname(e, node.user.c_str());
    if (!node.group.empty()) libarchive().entry_set_gname(e, node.group.c_str());
    libarchive().entry_set_mtime(e, node.mtime.seconds, node.mtime.nanoseconds);
    libarchive().entry_set_atime(e, node.atime.seconds, node.atime.nanoseconds);
    for (const repo::ExtendedAttribute& xattr : node.xattrs) add_xattr(e, xattr, path);
    bool has_content = false;
    switch (node.type) {
      case repo::NodeType::dir:
        libarchive().entry_set_filetype(e, AE_IFDIR);
        break;
      case repo::NodeType::symlink:
        libarchive().entry_set_filetype(e, AE_IFLNK);
        libarchive().entry_set_symlink(e, node.link_target.c_str());
        break;
      case repo::NodeType::dev:
      case repo::NodeType::chardev:
        libarchive().entry_set_filetype(e, node.type == repo::NodeType::dev ? AE_IFBLK : AE_IFCHR);
        libarchive().entry_set_rdev(e, node.device);
        break;
      case repo::NodeType::fifo:
        libarchive().entry_set_filetype(e, AE_IFIFO);
        break;
      default:
        libarchive().entry_set_filetype(e, AE_IFREG);
        has_content = true;
        break;
    }
    if (node.type != repo::NodeType::dir && name_again(e, node, path)) has_content = false;
    auto step = std::make_shared<Step>();
    step->path = std::make_shared<const std::string>(path);
    std::vector<StepPtr> content;
    if (has_content) {
      content = content_steps(node, step->path);
      libarchive().entry_set_size(e, static_cast<la_int64_t>(node.size));
      mark_holes(e, content, node.size);
    }
    step->head = head.release();
    steps_.push_back(std::move(step));
    for (StepPtr& piece : content) {
      if (!piece->zeros) to_load_.push_back(piece);
      steps_.push_back(std::move(piece));
    }
  }

  // A further name of something that has its place in the archive, when it is one.
  bool name_again(archive_entry* e, const repo::Node& node, const std::string& path) {
    const auto key = link_key(node);
    if (!key) return false;
    const std::uint64_t digest = link_digest(node);
    const auto* first = first_names_.find(*key);
    if (first == nullptr) {
      first_names_.remember(*key, path, digest, node.links);
      return false;
    }
    if (first->digest != digest) {
      problem(path, "it claims to be a hard link, with other content: stored as a file of its own");
      return false;
    }
    libarchive().entry_set_hardlink(e, first->source.c_str());
    libarchive().entry_set_size(e, 0);
    first_names_.came(*key);
    return true;
  }

  void add_xattr(archive_entry* e, const repo::ExtendedAttribute& xattr, const std::string& path) {
    if (is_acl(xattr)) {
      if (!add_acl(e, xattr)) problem(path, "its access control list is damaged");
      return;
    }
    libarchive().entry_xattr_add_entry(e, xattr.name.c_str(), xattr.value.data(), xattr.value.size());
  }

  // Why there is no content to be had, as far as index and packs tell: once the head is written it is too late.
  std::optional<std::string> content_problem(const repo::Node& node) {
    if (node.type != repo::NodeType::file) return std::nullopt;
    std::uint64_t total = 0;
    for (const repo::BlobId& id : node.content) {
      const auto location = repository_.index().find(repo::BlobType::data, id);
      if (!location) return fmt::format("its blob {} is in no index", id.short_hex());
      total += location->plain_length();
      if (is_hole(node, id, location->plain_length())) continue;
      const StoredPacks::State state = packs_->state(id, *location);
      if (state != StoredPacks::State::whole)
        return fmt::format("its blob {} is lost: pack {} is {}", id.short_hex(), location->pack.short_hex(),
                           state == StoredPacks::State::cut ? "too short" : "missing");
    }
    if (total != node.size)
      return fmt::format("its blobs add up to {} bytes, but its size is {}", total, node.size);
    return std::nullopt;
  }

  // REQUIRES that it has no content_problem.
  std::vector<StepPtr> content_steps(const repo::Node& node, const std::shared_ptr<const std::string>& path) {
    std::vector<StepPtr> result;
    std::uint64_t at = 0;
    for (const repo::BlobId& id : node.content) {
      const std::uint32_t length = repository_.index().find(repo::BlobType::data, id)->plain_length();
      const bool zeros = is_hole(node, id, length);
      const std::uint64_t begin = std::exchange(at, at + length);
      if (zeros && !result.empty() && result.back()->zeros) {
        result.back()->length += length;
        continue;
      }
      auto step = std::make_shared<Step>();
      step->path = path;
      step->id = id;
      step->at = begin;
      step->length = length;
      step->zeros = zeros;
      result.push_back(std::move(step));
    }
    return result;
  }

  // A short file of zeros is written out.
  bool is_hole(const repo::Node& node, const repo::BlobId& id, std::uint32_t length) {
    return node.content.size() > 1 ? is_zero_blob(id, length) : known_zeros_.contains(id);
  }

  bool is_zero_blob(const repo::BlobId& id, std::uint32_t length) {
    if (length > view::kZeroBlobLength) return known_zeros_.contains(id);
    const auto [at, is_new] = zero_ids_.try_emplace(length);
    if (is_new) at->second = view::zero_blob_id(length);
    return at->second == id;
  }

  static void mark_holes(archive_entry* e, const std::vector<StepPtr>& content, std::uint64_t size) {
    if (std::ranges::none_of(content, [](const StepPtr& step) { return step->zeros; })) return;
    std::uint64_t at = 0, data = 0, last_data_end = 0;
    for (const StepPtr& step : content) {
      if (step->zeros) {
        if (at > data)
          libarchive().entry_sparse_add_entry(e, static_cast<la_int64_t>(data),
                                         static_cast<la_int64_t>(at - data));
        at += step->length;
        data = at;
      } else {
        at += step->length;
        last_data_end = at;
      }
    }
    if (at > data)
      libarchive().entry_sparse_add_entry(e, static_cast<la_int64_t>(data), static_cast<la_int64_t>(at - data));
    // A hole at the end needs its border told.
    if (last_data_end < size) libarchive().entry_sparse_add_entry(e, static_cast<la_int64_t>(size), 0);
  }

  void write(Step& step) {
    if (step.head != nullptr) {
      const EntryPtr head(std::exchange(step.head, nullptr));
      tell_lost();
      current_ = *step.path;
      write_head(head.get());
      ++result_.entries;
      if (const char* first = libarchive().entry_hardlink(head.get()); first != nullptr && not_whole_.contains(first))
        problem(current_, fmt::format("it is a hard link to {}, which is not whole", printable(first)));
      return;
    }
    result_.bytes += step.length;
    if (step.zeros) {
      write_zeros(step.length);
    } else {
      const std::optional<Bytes> plain = taken(step);
      bytes_ahead_ -= step.length;
      if (plain)
        write_data(*plain);
      else
        write_zeros(step.length);
    }
    progress_.advance(step.length);
  }

  // What cannot be had any more, however often it is tried: as opposed to a store that is out of reach.
  bool is_lost(const Error& error) {
    const bool sector = error.error_number() == EIO || error.error_number() == EUCLEAN || error.error_number() == EBADMSG;
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::not_found && !sector) return false;
    // A disk that was pulled out has lost everything; nobody wants an archive of zeros.
    return repository_.repository().backend().stat({store::FileType::config, ""}).has_value();
  }

  // Absent, and noted, when it is lost: its head is in the archive, the rest of the files is still to come.
  std::optional<Bytes> taken(Step& step) {
    std::string why;
    try {
      Bytes plain = loader_.take(step);
      if (plain.size() == step.length) return plain;
      why = fmt::format("blob {} is {} bytes long, the index says {}", step.id.short_hex(), plain.size(), step.length);
    } catch (Error& error) {
      if (!is_lost(error)) {
        error.add_context(printable(*step.path));
        throw;
      }
      why = error.what();
    }
    if (lost_.empty()) why_lost_ = std::move(why);
    if (!lost_.empty() && lost_.back().end() == step.at)
      lost_.back().length += step.length;
    else
      lost_.push_back({step.at, step.length});
    return std::nullopt;
  }

  // Of the file that ends here.
  void tell_lost() {
    if (lost_.empty()) return;
    std::string ranges;
    for (std::size_t i = 0; i < std::min(lost_.size(), kMostRanges); ++i)
      ranges += fmt::format("{}{} to {}", i == 0 ? "" : ", ", lost_[i].offset, lost_[i].end() - 1);
    if (lost_.size() > kMostRanges) ranges += fmt::format(" and {} more ranges", lost_.size() - kMostRanges);
    problem(current_, fmt::format("bytes {} are lost, and are zeros in the archive: {}", ranges, why_lost_));
    not_whole_.insert(current_);
    lost_.clear();
  }

  void write_zeros(std::uint64_t length) {
    while (length > 0) {
      const auto n = std::min<std::uint64_t>(length, view::zero_blob().size());
      write_data(view::zero_blob().first(n));
      length -= n;
    }
  }

  void write_data(ByteView bytes) {
    while (!bytes.empty()) {
      const la_ssize_t n = libarchive().write_data(archive_.get(), bytes.data(), bytes.size());
      if (n <= 0) require(n < 0 ? static_cast<int>(n) : ARCHIVE_FATAL);
      bytes = bytes.subspan(static_cast<std::size_t>(std::max<la_ssize_t>(n, 0)));
    }
  }

  void problem(const std::string& path, std::string why) {
    if (++result_.problem_count <= kMostProblems) result_.problems.push_back({path, std::move(why)});
  }

  const repo::IndexedRepository& repository_;
  const TarOptions& options_;
  PathSelection selection_;
  const std::function<void(ByteView)>& sink_;
  Progress& progress_;
  const std::stop_token& stop_;
  const repo::Node& root_;
  view::TreeWalk walk_;
  std::deque<StepPtr> steps_, to_load_;
  std::uint64_t bytes_ahead_ = 0;
  bool walked_ = false;
  LinkTable<std::string> first_names_;
  const view::ZeroBlobs known_zeros_;
  std::optional<StoredPacks> packs_;
  std::unordered_map<std::uint32_t, repo::BlobId> zero_ids_;
  std::exception_ptr failure_;
  std::string current_, why_lost_;               // the entry that is begun
  std::vector<Extent> lost_;                     // of its content
  std::unordered_set<std::string> not_whole_;    // other names may come
  TarResult result_;
  std::string header_, buffer_;  // of the entry that is begun; bytes for the sink
  bool in_header_ = false, whole_ = false, abandoned_ = false;
  std::unique_ptr<archive, FreeArchive> packed_, archive_;  // archive_ writes to packed_ when it ends
  BlobLoader loader_;
};

}  // namespace

TarCompression tar_compression(std::string_view file_name) {
  if (file_name.ends_with(".gz") || file_name.ends_with(".tgz")) return TarCompression::gzip;
  if (file_name.ends_with(".zst") || file_name.ends_with(".tzst")) return TarCompression::zstd;
  if (file_name.ends_with(".xz") || file_name.ends_with(".txz")) return TarCompression::xz;
  const std::string_view name = file_name.substr(file_name.rfind('/') + 1);
  constexpr std::string_view kOthers[] = {".bz2", ".tbz",  ".tbz2", ".tb2", ".tz2", ".lz4", ".tlz4", ".lz",
                                          ".tlz", ".lzma", ".lzo",  ".tzo", ".br",  ".Z",   ".zip",  ".7z"};
  const auto has_end = [&](std::string_view end) { return name.ends_with(end); };
  if (std::ranges::any_of(kOthers, has_end))
    throw Error(ErrorKind::usage,
                fmt::format("{}: this end of a name is of a compression that is not known", printable(name)),
                "known are .tar, .tar.gz (.tgz), .tar.zst (.tzst) and .tar.xz (.txz); `--tar -` writes to another program");
  return TarCompression::none;
}

TarResult export_tar(const repo::IndexedRepository& repository, const repo::Node& root,
                     const TarOptions& options, const std::function<void(ByteView)>& sink, Progress& progress,
                     std::stop_token stop) {
  const Utf8Locale utf8;
  const ProgressPhase phase(progress, "export", 0);
  return Exporter(repository, root, options, sink, progress, stop).run();
}

}  // namespace respaldo::restore
