#include "store/sftp_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <iterator>

#include "base/printable.h"
#include "base/units.h"

namespace respaldo::store::sftp {

namespace {

constexpr std::uint32_t kWritingMode = 0600, kFinalMode = 0400, kFolderMode = 0700;
constexpr std::uint64_t kReadWindow = 4U << 20;    // bytes of one file on their way to us: they lie in memory
constexpr std::size_t kFoldersAtOnce = 128;  // open on the server, when it does not tell how many may be
constexpr std::size_t kMostFoldersAtOnce = 320;  // all of a repository
constexpr std::size_t kPages = 2, kPagesOfLeading = 4, kPagesOfLong = 16;  // of a folder, asked for at once
constexpr std::size_t kRequestsAtOnce = 256;
constexpr std::uint64_t kMostEntries = 50'000'000;  // in a folder: a server may not fill our memory for ever

Request on_path(PacketType type, const std::string& path) {
  Request request(type);
  request.text(path);
  return request;
}
Request on_handle(PacketType type, const std::string& handle) { return on_path(type, handle); }

Request opening(const std::string& path, std::uint32_t flags) {
  Request request = on_path(PacketType::open, path);
  request.u32(flags);
  if (flags & kWrite)
    request.permissions(kWritingMode);
  else
    request.no_attributes();
  return request;
}
std::future<Answer> begin_open(Session& session, const std::string& path, std::uint32_t flags) {
  return session.send(opening(path, flags));
}
std::string end_open(const Answer& answer, std::string_view what, const std::string& path) {
  if (answer.type == PacketType::status) throw status_error(parse_status(answer), what, path);
  return parse_handle(answer);
}

// "Failure" is all that version 3 has for a full disk, a quota, and a broken disk.
Error write_error(Session& session, const StatusAnswer& answer, const std::string& path, std::uint64_t size) {
  Error error = status_error(answer, "writing", path);
  if (answer.status != Status::failure) return error;
  error.set_hint("the disk there may be full, over its quota, or broken: look there with `df` and `dmesg`");
  if (!session.abilities().free_space) return error;
  const std::string folder = std::filesystem::path(path).parent_path().native();
  Request request = Request::extended("statvfs@openssh.com");
  request.text(folder.empty() ? "." : folder);
  const Answer space = session.ask(std::move(request));
  if (space.type != PacketType::extended_reply) return error;
  const std::uint64_t free = parse_free_space(space);
  if (free >= size) return error;
  return Error(ErrorKind::no_space,
               fmt::format("the filesystem there has no room for {} ({} left): {}", printable(path),
                           format_size(free), error.message()),
               "free space there, or forget and prune backups");
}

}  // namespace

Error status_error(const StatusAnswer& answer, std::string_view what, const std::string& path) {
  const std::string said = answer.message.empty()
                               ? fmt::format("status {}", static_cast<unsigned>(answer.status))
                               : answer.message;
  const std::string message = fmt::format("{} {}: the server says \"{}\"", what, printable(path), said);
  switch (answer.status) {
    case Status::no_such_file:
      return Error(ErrorKind::not_found, message);
    case Status::permission_denied:
      return Error(ErrorKind::refused, message,
                   "give the user write access to the repository's folder there");
    case Status::unsupported:
      return Error(ErrorKind::unsupported, message);
    case Status::no_connection:
    case Status::connection_lost:
      return ConnectionLost(message);
    default: {
      Error error(ErrorKind::io, message);
      return error.set_error_number(EIO);  // not the connection's: another attempt fails, too
    }
  }
}

void require_ok(const Answer& answer, std::string_view what, const std::string& path) {
  if (const StatusAnswer status = parse_status(answer); status.status != Status::ok)
    throw status_error(status, what, path);
}

std::future<Answer> begin_open_new(Session& session, const std::string& path) {
  return begin_open(session, path, kWrite | kCreate | kExclusive);
}
std::string end_open_new(const Answer& answer, const std::string& path) {
  return end_open(answer, "making", path);
}
std::string open_new(Session& session, const std::string& path) {
  return end_open_new(begin_open_new(session, path).get(), path);
}
std::string open_to_read(Session& session, const std::string& path) {
  return end_open(begin_open(session, path, kRead).get(), "opening", path);
}
Opened open_to_read(Session& session, const std::string& path, std::uint32_t length) {
  const auto first = [length](const std::string& handle) {
    std::vector<Request> requests;
    requests.push_back(std::move(on_handle(PacketType::read, handle).u64(0).u32(length)));
    requests.push_back(on_handle(PacketType::fstat, handle));
    return requests;
  };
  Opening begun = session.open(opening(path, kRead), first);
  const Answer answer = begun.answer.get();
  Opened opened{end_open(answer, "opening", path), {}, {}};
  if (begun.next.empty() || opened.handle != begun.expected) {
    begun.next.clear();
    for (Request& request : first(opened.handle)) begun.next.push_back(session.send(std::move(request)));
  }
  opened.start = std::move(begun.next[0]);
  opened.attributes = std::move(begun.next[1]);
  return opened;
}
void close_quietly(Session& session, const std::string& handle) {
  static_cast<void>(session.send(on_handle(PacketType::close, handle)));
}

bool write_and_close(Session& session, const std::string& handle, const std::string& path,
                     std::span<const ByteView> parts) {
  struct Write {
    std::future<Answer> answer;
    std::size_t length;
    std::uint64_t under_way;  // with itself
    bool may_settle() const { return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }
  };
  std::deque<Write> sent;
  std::uint64_t under_way = 0, offset = 0, total = 0;
  for (const ByteView part : parts) total += part.size();
  std::optional<StatusAnswer> failed;
  const auto settle_one = [&] {
    const Answer answer = sent.front().answer.get();
    const StatusAnswer status = parse_status(answer);
    if (status.status != Status::ok && !failed) failed = status;
    if (status.status == Status::ok) session.pace().wrote(sent.front().length, sent.front().under_way, answer.latency);
    under_way -= sent.front().length;
    sent.pop_front();
  };
  // Who works on several requests at once gets all of them.
  const bool paced = session.abilities().in_order;
  for (ByteView part : parts)
    while (!part.empty() && !failed) {
      while (!sent.empty() && sent.front().may_settle()) settle_one();
      const std::size_t length = std::min<std::size_t>(part.size(), session.bounds().write);
      Request request = on_handle(PacketType::write, handle);
      request.u64(offset).text(as_text(part.first(length)));
      under_way += length;
      sent.push_back({session.send(std::move(request)), length, under_way});
      offset += length;
      part = part.subspan(length);
      while (under_way > (paced ? session.pace().window() : Pace::kMost)) settle_one();
    }
  // The server takes requests in order: these wait for nobody.
  Request mode = on_handle(PacketType::fsetstat, handle);
  mode.permissions(kFinalMode);
  std::future<Answer> moded = session.send(std::move(mode)), flushed;
  if (session.abilities().flush) {
    Request request = Request::extended("fsync@openssh.com");
    request.text(handle);
    flushed = session.send(std::move(request));
  }
  std::future<Answer> closed = session.send(on_handle(PacketType::close, handle));
  while (!sent.empty()) settle_one();
  moded.get();  // a server without modes is a server all the same
  const std::optional<StatusAnswer> flush_status =
      flushed.valid() ? std::optional(parse_status(flushed.get())) : std::nullopt;
  const StatusAnswer close_status = parse_status(closed.get());
  const bool can_flush = flush_status && flush_status->status != Status::unsupported;
  if (!failed && can_flush && flush_status->status != Status::ok) failed = flush_status;
  if (!failed && close_status.status != Status::ok) failed = close_status;
  if (failed) throw write_error(session, *failed, path, total);
  return can_flush;
}

std::size_t read_range(Session& session, const std::string& handle, const std::string& path,
                       std::uint64_t offset, MutableBytes out) {
  struct Piece {
    std::future<Answer> answer;
    std::size_t at, length;
  };
  std::deque<Piece> sent;
  std::size_t asked = 0, under_way = 0, end = out.size();
  const auto ask = [&](std::size_t at, std::size_t length) {
    Request request = on_handle(PacketType::read, handle);
    request.u64(offset + at).u32(static_cast<std::uint32_t>(length));
    under_way += length;
    return Piece{session.send(std::move(request)), at, length};
  };
  while (asked < out.size() || !sent.empty()) {
    while (asked < end && under_way < kReadWindow) {
      const std::size_t length = std::min<std::size_t>(end - asked, session.bounds().read);
      sent.push_back(ask(asked, length));
      asked += length;
    }
    if (sent.empty()) break;
    Piece piece = std::move(sent.front());
    sent.pop_front();
    const Answer answer = piece.answer.get();
    under_way -= piece.length;
    if (answer.type == PacketType::status) {
      const StatusAnswer status = parse_status(answer);
      if (status.status != Status::eof) throw status_error(status, "reading", path);
      end = std::min(end, piece.at);
      continue;
    }
    const ByteView data = parse_data(answer);
    if (data.empty() || data.size() > piece.length)
      throw Error(ErrorKind::corrupt, "the SFTP server sent data that cannot be right");
    std::memcpy(out.data() + piece.at, data.data(), data.size());
    // A server may give less than was asked for.
    if (data.size() < piece.length) sent.push_front(ask(piece.at + data.size(), piece.length - data.size()));
  }
  return end;
}

std::uint64_t size_of_open(Session& session, const std::string& handle, const std::string& path) {
  return size_in(session.ask(on_handle(PacketType::fstat, handle)), path);
}

std::uint64_t size_in(const Answer& answer, const std::string& path) {
  if (answer.type == PacketType::status) throw status_error(parse_status(answer), "looking at", path);
  const Attributes attributes = parse_attributes(answer);
  if (!attributes.size)
    throw Error(ErrorKind::unsupported,
                fmt::format("the SFTP server does not tell the size of {}", printable(path)));
  return *attributes.size;
}

std::optional<Attributes> stat_path(Session& session, const std::string& path) {
  const Answer answer = session.ask(on_path(PacketType::stat, path));
  if (answer.type != PacketType::status) return parse_attributes(answer);
  const StatusAnswer status = parse_status(answer);
  if (status.status == Status::no_such_file) return std::nullopt;
  throw status_error(status, "looking at", path);
}

std::size_t list_folders(
    Session& session, std::span<const std::vector<std::string>> groups,
    const std::function<void(std::size_t group, const std::string& folder, const Name& entry)>& visit) {
  struct Task {
    std::size_t group;
    const std::string* folder;
    Opening opening{};
    std::deque<std::future<Answer>> asked{};  // once it is open: its next pages
    std::string handle{};
    bool is_long = false, is_expected = false;  // the next answer was asked for before the handle was known
  };
  std::vector<std::pair<std::size_t, const std::string*>> folders;
  for (std::size_t group = 0; group < groups.size(); ++group)
    for (const std::string& folder : groups[group]) folders.emplace_back(group, &folder);
  std::deque<Task> tasks;  // in the order in which they were asked for: the answers come so
  const auto leads = [&](const Task& task) { return task.group + 1 < groups.size(); };
  // What is read first of a folder lies behind what was read first of those before it.
  const auto first_pages = [&](const Task& task) { return leads(task) ? kPagesOfLeading : kPages; };
  const auto open_folder = [&](Task& task) {
    task.opening = session.open(on_path(PacketType::opendir, *task.folder), [&](const std::string& handle) {
      return std::vector<Request>(first_pages(task), on_handle(PacketType::readdir, handle));
    });
  };
  const auto ask_for_pages = [&](Task& task, std::size_t count) {
    while (task.asked.size() < count)
      task.asked.push_back(session.send(on_handle(PacketType::readdir, task.handle)));
  };
  std::size_t next = 0, at_once = kFoldersAtOnce, in_order = groups.size();
  if (folders.size() > at_once)
    if (const std::uint64_t handles = session.bounds().handles; handles != 0)
      at_once = std::clamp<std::uint64_t>(handles / 2, 1, kMostFoldersAtOnce);
  std::uint64_t entries = 0;
  // Nothing is expected any more then: something was closed.
  const auto open_anew = [&](Task task) {
    close_quietly(session, task.handle);
    in_order = std::min(in_order, task.group + 1);
    tasks.push_back({task.group, task.folder});
    open_folder(tasks.back());
  };
  while (next < folders.size() || !tasks.empty()) {
    for (; next < folders.size() && tasks.size() < at_once; ++next) {
      tasks.push_back({folders[next].first, folders[next].second});
      open_folder(tasks.back());
    }
    Task task = std::move(tasks.front());
    tasks.pop_front();
    const Answer answer = task.handle.empty() ? task.opening.answer.get() : task.asked.front().get();
    if (!task.handle.empty()) task.asked.pop_front();
    const bool was_expected = std::exchange(task.is_expected, false);
    if (answer.type == PacketType::status && was_expected) {
      // It may have been asked before it was open.
      open_anew(std::move(task));
      continue;
    }
    if (answer.type == PacketType::status) {
      if (!task.handle.empty()) close_quietly(session, task.handle);
      const StatusAnswer status = parse_status(answer);
      if (status.status != (task.handle.empty() ? Status::no_such_file : Status::eof))
        throw status_error(status, "listing", *task.folder);
      continue;
    }
    if (task.handle.empty()) {
      task.handle = parse_handle(answer);
      task.is_expected = !task.opening.next.empty() && task.handle == task.opening.expected;
      if (!task.is_expected) task.opening.next.clear();
      if (!task.is_expected && session.was_expected(task.handle) && !task.opening.expected.empty()) {
        open_anew(std::move(task));
        continue;
      }
      std::ranges::move(task.opening.next, std::back_inserter(task.asked));
      ask_for_pages(task, first_pages(task));
    } else {
      const std::vector<Name> names = parse_names(answer);
      if ((entries += names.size() + 1) > kMostEntries)
        throw Error(ErrorKind::corrupt, fmt::format("{} has no end", printable(*task.folder)));
      for (const Name& name : names) visit(task.group, *task.folder, name);
      // Behind the first page most have an end, which was asked for with it.
      if ((std::exchange(task.is_long, true) && !leads(task)) || task.asked.empty()) {
        ask_for_pages(task, kPagesOfLong);
        in_order = std::min(in_order, task.group + 1);
      }
    }
    tasks.push_back(std::move(task));
  }
  if (groups.size() > 1 && !session.abilities().in_order) in_order = 1;
  return in_order;
}

namespace {

Error flush_error(const StatusAnswer& answer, const std::string& folder) {
  Error error = status_error(answer, "flushing", folder);
  if (error.kind() == ErrorKind::io && error.error_number() == 0) return error;  // the connection's
  // A folder that has gone is no missing object.
  return Error(ErrorKind::io, error.message(),
               "what was saved last may be lost when that machine loses power: look there with `df` and "
               "`dmesg`")
      .set_error_number(EIO);
}

}  // namespace

FolderFlush::FolderFlush(Session& session, const std::string& folder) : session_(session), folder_(folder) {
  if (!session.abilities().flush) return;
  answer_ = begin_open(session, folder, kRead);
}

FolderFlush::~FolderFlush() {
  if (!answer_.valid() || begun_) return;
  try {
    const Answer answer = answer_.get();
    if (answer.type == PacketType::handle) close_quietly(session_, parse_handle(answer));
  } catch (const std::exception&) {
    // The connection is gone, and with it the handle.
  }
}

void FolderFlush::begin() {
  if (!answer_.valid()) return;
  Answer opened = answer_.get();
  // It was made since by somebody else, who had not found it either.
  if (opened.type == PacketType::status && parse_status(opened).status == Status::no_such_file) {
    opened = begin_open(session_, folder_, kRead).get();
  }
  if (opened.type == PacketType::status) {
    cannot_open_ = parse_status(opened);
    return;
  }
  const std::string handle = parse_handle(opened);
  Request request = Request::extended("fsync@openssh.com");
  answer_ = session_.send(std::move(request.text(handle)));
  begun_ = true;
  close_quietly(session_, handle);
}

bool FolderFlush::may_end() const {
  return !answer_.valid() || answer_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

bool FolderFlush::end() {
  if (cannot_open_) {
    // Not every server opens a folder, nor may every user.
    const Status status = cannot_open_->status;
    if (status == Status::failure || status == Status::permission_denied || status == Status::unsupported ||
        status == Status::bad_message)
      return false;
    throw flush_error(*cannot_open_, folder_);
  }
  if (!answer_.valid()) return false;
  const StatusAnswer flushed = parse_status(answer_.get());
  if (flushed.status == Status::ok) return true;
  // EINVAL is "bad message": a filesystem that flushes no folders.
  if (flushed.status == Status::unsupported || flushed.status == Status::bad_message) return false;
  throw flush_error(flushed, folder_);
}

bool flush_folders(Session& session, std::span<const std::string> folders) {
  std::deque<FolderFlush> flushes;
  for (const std::string& folder : folders) flushes.emplace_back(session, folder);
  for (FolderFlush& flush : flushes) flush.begin();
  bool all = true;
  std::exception_ptr failed;
  for (FolderFlush& flush : flushes) {
    try {
      all &= flush.end();
    } catch (const Error&) {
      if (!failed) failed = std::current_exception();
    }
  }
  if (failed) std::rethrow_exception(failed);
  return all;
}

void remove_paths(Session& session, std::span<const std::string> paths) {
  std::deque<std::pair<std::future<Answer>, const std::string*>> sent;
  const auto settle_one = [&] {
    const StatusAnswer status = parse_status(sent.front().first.get());
    if (status.status != Status::ok && status.status != Status::no_such_file)
      throw status_error(status, "removing", *sent.front().second);
    sent.pop_front();
  };
  for (const std::string& path : paths) {
    sent.emplace_back(session.send(on_path(PacketType::remove, path)), &path);
    if (sent.size() >= kRequestsAtOnce) settle_one();
  }
  while (!sent.empty()) settle_one();
}

void make_folder(Session& session, const std::string& path) {
  const auto make = [&] {
    Request request = on_path(PacketType::mkdir, path);
    return parse_status(session.ask(std::move(request.permissions(kFolderMode))));
  };
  StatusAnswer status = make();
  const std::string parent = std::filesystem::path(path).parent_path().native();
  if (status.status == Status::no_such_file && !parent.empty() && parent != path) {
    make_folder(session, parent);
    status = make();
  }
  if (status.status == Status::ok) return;
  // "Failure" is said of one that is there, too.
  const auto there = stat_path(session, path);
  if (!there || !there->may_be_folder()) throw status_error(status, "making the folder", path);
}

bool rename_over(Session& session, const std::string& from, const std::string& to, FolderFlush& flush) {
  if (session.abilities().posix_rename) {
    Request request = Request::extended("posix-rename@openssh.com");
    std::future<Answer> renamed = session.send(std::move(request.text(from).text(to)));
    flush.begin();  // the server takes requests in order
    require_ok(renamed.get(), "renaming to", to);
    return true;
  }
  const auto rename = [&] {
    Request request = on_path(PacketType::rename, from);
    return parse_status(session.ask(std::move(request.text(to))));
  };
  StatusAnswer status = rename();
  if (status.status == Status::ok) {
    flush.begin();
    return true;
  }
  // Version 3 has no rename over what is there.
  if (status.status != Status::failure || !stat_path(session, to))
    throw status_error(status, "renaming to", to);
  const std::string old[] = {to};
  remove_paths(session, old);
  status = rename();
  if (status.status != Status::ok) throw status_error(status, "renaming to", to);
  flush.begin();
  return false;
}

}  // namespace respaldo::store::sftp
