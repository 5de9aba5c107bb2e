// Files over one connection: many requests on their way at once. Errors carry the server's words; `path` is
// theirs.
#pragma once

#include <functional>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "store/sftp_session.h"

namespace respaldo::store::sftp {

// The Error for a status that is not ok. not_found, refused, unsupported, io; ConnectionLost for the server's
// own loss.
Error status_error(const StatusAnswer& answer, std::string_view what, const std::string& path);
void require_ok(const Answer& answer, std::string_view what, const std::string& path);

// Made anew with the mode 0600; Error(not_found) when its folder is not there.
std::string open_new(Session& session, const std::string& path);
// The same in two steps: nobody waits in the first.
std::future<Answer> begin_open_new(Session& session, const std::string& path);
std::string end_open_new(const Answer& answer, const std::string& path);
std::string open_to_read(Session& session, const std::string& path);
// The same, with the answers for its first bytes, up to `length`, and for its attributes (see size_in) under way.
struct Opened {
  std::string handle;
  std::future<Answer> start, attributes;
};
Opened open_to_read(Session& session, const std::string& path, std::uint32_t length);
void close_quietly(Session& session, const std::string& handle);

// Writes all, makes the file read-only, flushes it, and closes it. False when the server cannot flush;
// Error(no_space) when the filesystem there says that it is full.
bool write_and_close(Session& session, const std::string& handle, const std::string& path,
                     std::span<const ByteView> parts);
// Fills `out` from `offset`; less only at the end of the file: how much.
std::size_t read_range(Session& session, const std::string& handle, const std::string& path,
                       std::uint64_t offset, MutableBytes out);
std::uint64_t size_of_open(Session& session, const std::string& handle, const std::string& path);
std::uint64_t size_in(const Answer& attributes, const std::string& path);
std::optional<Attributes> stat_path(Session& session, const std::string& path);
// All entries of the folders, side by side; those that are not there have none. The folders of a group may be listed
// when those of the groups before it are: returns how many groups, one at least, were listed each after the one
// before was whole. What was visited of further ones is older, and to be asked for again.
std::size_t list_folders(
    Session& session, std::span<const std::vector<std::string>> groups,
    const std::function<void(std::size_t group, const std::string& folder, const Name& entry)>& visit);
// A folder that is about to be changed: opened ahead, so that its flush follows the change without a wait.
class FolderFlush {
 public:
  FolderFlush(Session& session, const std::string& folder);  // `session` outlives it
  ~FolderFlush();
  FolderFlush(const FolderFlush&) = delete;
  // What was sent over the session before is flushed with it.
  void begin();
  // end() does not wait.
  bool may_end() const;
  // Its entries are on the medium. False and errors as flush_folders. REQUIRES begin().
  bool end();

 private:
  Session& session_;
  const std::string folder_;
  std::future<Answer> answer_;  // to the opening, then to the flush; not valid: the server cannot flush
  std::optional<StatusAnswer> cannot_open_;
  bool begun_ = false;
};
// The folders' entries are on the medium. False when the server, or the filesystem there, has no way to do
// that; Error(io) when it failed.
bool flush_folders(Session& session, std::span<const std::string> folders);
// Absent is success.
void remove_paths(Session& session, std::span<const std::string> paths);
// With what is missing above it. There already is success.
void make_folder(Session& session, const std::string& path);
// `to` is replaced, and the flush of its folder begun. False when that could not be done in one step, and was done
// in two.
bool rename_over(Session& session, const std::string& from, const std::string& to, FolderFlush& flush);

}  // namespace respaldo::store::sftp
