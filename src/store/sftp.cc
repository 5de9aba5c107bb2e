#include "store/sftp.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>
#include <random>
#include <set>

#include "base/printable.h"
#include "base/words.h"
#include "store/compare.h"
#include "store/layout.h"
#include "store/sftp_files.h"
#include "store/sftp_pool.h"

namespace respaldo::store {

namespace {

using namespace sftp;

constexpr std::uint64_t kUnquestioned = 1U << 20;  // bytes to read without a look at the size
constexpr std::uint64_t kBulk = 1U << 20;          // bytes worth a connection of their own
// Of a whole object, together with the question for its size. Nobody waits for the server's bounds for that: one that
// gives less is asked again.
constexpr std::uint32_t kFirstRead = 32U << 10;
constexpr std::size_t kMostAbandoned = 1000;
constexpr std::uint32_t kDead = 3600;  // seconds

std::uint64_t random_number() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

class SftpBackend final : public Backend {
 public:
  SftpBackend(const std::string& rest, const StoreOptions& options)
      : place_(parse_sftp_place(rest)),
        location_(display_location("sftp:" + rest)),
        options_(options),
        pool_(
            static_cast<std::size_t>(std::max(options.connections, 1)),
            [this](std::size_t number, std::stop_token stop) { return connect(number, std::move(stop)); },
            // A password that was typed opens one alone.
            options.stop, options.will_write && !options.interactive) {}

  ~SftpBackend() override {
    for (const auto& [type, begun] : begun_)
      if (begun) abandon(begun->temporary);
    begun_.clear();
    if (!options_.will_write) {  // who only looks leaves what others left
      std::lock_guard lock(mutex_);
      strays_.clear();
      has_remains_ = !abandoned_.empty();
    }
    try {
      tidy();
    } catch (const std::exception&) {
      // The next run finds it.
    }
  }

  std::string location() const override { return location_; }

  void create() override {
    if (stat({FileType::config, ""}) || !list(FileType::key).empty() || !list(FileType::snapshot).empty())
      throw Error(ErrorKind::refused, fmt::format("{} holds a repository already", location_),
                  "use it as it is, or choose another folder");
    const auto session = pool_.lease();
    make_folder(*session, place_.path);
    std::vector<std::string> folders;
    for (const FileType type :
         {FileType::pack, FileType::index, FileType::key, FileType::lock, FileType::snapshot})
      folders.push_back(path_to(folder_of(type)));
    make_folders(*session, folders);
    folders.clear();
    for (int shard = 0; shard < 256; ++shard) folders.push_back(path_to(fmt::format("data/{:02x}", shard)));
    make_folders(*session, folders);
    const std::string parents[] = {path_to("data"), place_.path};
    tell_if_weak(flush_folders(*session, parents));
  }

  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    tidy();
    if (const auto begun = taken(handle.type)) try {
        const std::string file = end_open_new(begun->opened.get(), begun->temporary);
        save_over(begun->session, file, begun->temporary, std::move(begun->flush), handle, parts, durability);
        return;
      } catch (const Error& error) {
        abandon(begun->temporary);
        // From the start when it was not made, or somebody took it away. What failed otherwise must not be asked twice:
        // a kernel tells once that it lost what was written.
        if (error.kind() != ErrorKind::not_found || stat_path(*begun->session, begun->temporary)) throw;
      } catch (const Cancelled&) {
        abandon(begun->temporary);
        flush_at_sync(handle);
        throw;
      } catch (...) {
        abandon(begun->temporary);
        throw;
      }
    const std::string temporary = temporary_name(path_of(handle));
    try {
      const auto session = pool_.lease(work_of(size_of(parts)));
      std::unique_ptr<FolderFlush> flush;
      const std::string file = open_in_folder(*session, temporary, flush);
      save_over(session, file, temporary, std::move(flush), handle, parts, durability);
    } catch (const Cancelled&) {
      abandon(temporary);
      flush_at_sync(handle);
      throw;
    } catch (...) {
      abandon(temporary);
      throw;
    }
  }

  void will_save(FileType type) override {
    if (is_sharded(type) || only_name_of(type) != nullptr) return;
    try {
      const std::string folder = path_to(folder_of(type));
      auto begun = std::make_unique<Begun>(pool_, temporary_name(folder + "/" + std::string(64, '0')));
      begun->flush = std::make_unique<FolderFlush>(*begun->session, folder);
      begun->opened = begin_open_new(*begun->session, begun->temporary);
      {
        std::lock_guard lock(mutex_);
        std::swap(begun_[type], begun);
      }
      if (begun) abandon(begun->temporary);
    } catch (const std::exception&) {
      // Whoever saves it is told.
    }
  }

  void sync() override {
    std::lock_guard one(syncing_);  // what another one has taken must be there, too
    end_flushes();
    std::set<std::string> taken;
    std::map<std::string, std::uint64_t> doubtful;
    {
      std::lock_guard lock(mutex_);
      taken.swap(unflushed_);
      doubtful.swap(doubtful_);
    }
    if (taken.empty() && doubtful.empty()) return;
    try {
      const auto session = pool_.lease();
      for (const auto& [path, size] : doubtful) {
        require_still_there(*session, path, size);
        taken.insert(folder_above(path));
      }
      const std::vector<std::string> folders(taken.begin(), taken.end());
      tell_if_weak(flush_folders(*session, folders));
    } catch (...) {
      std::lock_guard lock(mutex_);
      unflushed_.merge(taken);
      doubtful_.merge(doubtful);
      throw;
    }
  }

  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    const std::string path = path_of(handle);
    require_possible(handle, offset, length);
    const auto session = pool_.lease(work_of(length));
    const OpenFile file(*session, handle, path);
    // An index may claim anything: memory is taken for what is there. Nothing is asked for past 2^63.
    if (length > kUnquestioned || offset > std::uint64_t{1} << 62)
      if (const std::uint64_t size = size_of_open(*session, file.handle, path);
          offset > size || length > size - offset)
        throw too_short(handle, size, offset, length);
    Bytes bytes(length);
    const std::size_t got = read_range(*session, file.handle, path, offset, bytes);
    if (got != length || length == 0)
      if (const std::uint64_t size = size_of_open(*session, file.handle, path);
          got != length || offset > size)
        throw too_short(handle, size, offset, length);
    return bytes;
  }

  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    const std::string path = path_of(handle);
    const auto session = pool_.lease();
    // Most repositories have none, and what cannot be opened costs others a round trip: Session::open.
    if (handle.type == FileType::parity_settings && !stat_path(*session, path)) throw missing(handle, path);
    OpenFile file(*session, handle, path, kFirstRead);
    if (handle.type == FileType::config) has_seen_config_ = true;
    return whole(file, path, handle, limit);
  }

  std::optional<FileInfo> stat(const Handle& handle) override {
    const std::string path = path_of(handle);
    const auto session = pool_.lease();
    const auto attributes = stat_path(*session, path);
    if (!attributes || !attributes->may_be_file()) return std::nullopt;
    if (handle.type == FileType::config) has_seen_config_ = true;
    return FileInfo{handle.name, attributes->size.value_or(0)};
  }

  std::vector<FileInfo> list(FileType type) override {
    if (only_name_of(type) != nullptr) {
      std::vector<FileInfo> found;
      if (auto only = stat({type, ""})) found.push_back(*only);
      return found;
    }
    const auto session = pool_.lease();
    return std::move(listed(*session, {&type, 1}).front());
  }
  std::optional<std::vector<std::vector<FileInfo>>> list_together(std::span<const FileType> types) override {
    if (std::ranges::any_of(types, [](FileType type) { return only_name_of(type) != nullptr; })) return std::nullopt;
    const auto session = pool_.lease();
    std::vector<std::vector<FileInfo>> all;
    while (all.size() < types.size())
      std::ranges::move(listed(*session, types.subspan(all.size())), std::back_inserter(all));
    return all;
  }

  void remove(const Handle& handle) override { remove_many({&handle, 1}); }
  void remove_many(std::span<const Handle> handles) override {
    std::vector<std::string> paths;
    for (const Handle& handle : handles) {
      paths.push_back(path_of(handle));
      if (handle.type == FileType::config) has_seen_config_ = false;
    }
    if (paths.empty()) return;
    {
      const auto session = pool_.lease();
      remove_paths(*session, paths);
      std::lock_guard lock(mutex_);
      for (const std::string& path : paths) {
        unflushed_.insert(folder_above(path));
        doubtful_.erase(path);
        std::erase_if(renamed_, [&](const Renamed& renamed) { return renamed.path == path; });
      }
    }
    tidy();
  }

  bool is_permanent(const Error& error) const override {
    // A lost connection has no number of its own; what a server or the machine fails in has.
    return error.kind() != ErrorKind::io || error.error_number() != 0;
  }

 private:
  // The file for an object that is saved soon.
  struct Begun {
    Begun(SessionPool& pool, std::string name) : session(pool.lease()), temporary(std::move(name)) {}
    const SessionPool::Lease session;  // outlives `flush`
    const std::string temporary;
    std::future<Answer> opened{};
    std::unique_ptr<FolderFlush> flush{};
  };
  std::unique_ptr<Begun> taken(FileType type) {
    std::lock_guard lock(mutex_);
    const auto found = begun_.find(type);
    return found == begun_.end() ? nullptr : std::move(found->second);
  }
  // It may have its name, and nobody waited for the flush of its folder.
  void flush_at_sync(const Handle& handle) {
    std::lock_guard lock(mutex_);
    unflushed_.insert(folder_above(path_of(handle)));
  }
  static std::string temporary_name(const std::string& path) {
    return fmt::format("{}.respaldo-{:016x}", path, random_number());
  }
  // From the open file to the object's own name.
  void save_over(const SessionPool::Lease& session, const std::string& file, const std::string& temporary,
                 std::unique_ptr<FolderFlush> flush, const Handle& handle, std::span<const ByteView> parts,
                 Durability durability) {
    const std::string path = path_of(handle);
    tell_if_weak(write_and_close(*session, file, temporary, parts));
    if (durability == Durability::proven) require_read_back(*session, temporary, handle, parts);
    if (!rename_over(*session, temporary, path, *flush))
      tell_once(told_rename_, "it cannot replace a file in one step (no posix-rename@openssh.com)");
    if (durability == Durability::at_sync)
      end_later({path, size_of(parts), session.session(), std::move(flush)});
    else
      tell_if_weak(flush->end());
    if (handle.type == FileType::config) has_seen_config_ = true;
  }

  // An object that is renamed, and whose folder's flush is under way.
  struct Renamed {
    std::string path;
    std::uint64_t size;
    std::shared_ptr<Session> session;  // outlives `flush`
    std::unique_ptr<FolderFlush> flush;
  };
  // The next object need not wait for that: sync() does.
  void end_later(Renamed renamed) {
    std::lock_guard one(ending_);
    std::deque<Renamed> ended;
    {
      std::lock_guard lock(mutex_);
      renamed_.push_back(std::move(renamed));
      while (!renamed_.empty() && renamed_.front().flush->may_end()) {
        ended.push_back(std::move(renamed_.front()));
        renamed_.pop_front();
      }
    }
    end_all(ended);
  }
  void end_flushes() {
    std::lock_guard one(ending_);  // what a save() has taken must have ended, too
    std::deque<Renamed> taken;
    {
      std::lock_guard lock(mutex_);
      taken.swap(renamed_);
    }
    end_all(taken);
  }
  // When the connection was lost before the answer, sync() looks whether that host, too, went down: the object
  // itself was flushed before it got its name.
  void end_all(std::deque<Renamed>& all) {
    for (; !all.empty(); all.pop_front()) try {
        tell_if_weak(all.front().flush->end());
      } catch (const std::exception& error) {
        std::lock_guard lock(mutex_);
        doubtful_[all.front().path] = all.front().size;
        // The kernel there tells it once: no later flush may pass for a good one.
        const auto* const known = dynamic_cast<const Error*>(&error);
        if (known != nullptr && is_permanent(*known) && !flush_failure_) flush_failure_ = *known;
      }
    std::lock_guard lock(mutex_);
    if (flush_failure_) throw Error(*flush_failure_);
  }
  static void require_still_there(Session& session, const std::string& path, std::uint64_t size) {
    if (const auto found = stat_path(session, path); found && found->size.value_or(size) == size) return;
    throw Error(ErrorKind::io,
                fmt::format("{} was saved, and is there no more: that host lost it when it went down", printable(path)),
                "run it again: what was saved and is there is used")
        .set_error_number(EIO);
  }

  // The first of them at least.
  std::vector<std::vector<FileInfo>> listed(Session& session, std::span<const FileType> types) {
    std::vector<std::vector<std::string>> groups(types.size());
    for (std::size_t i = 0; i < types.size(); ++i)
      if (is_sharded(types[i]))  // those that are there: asking for all costs less time than asking which
        for (int shard = 0; shard < 256; ++shard)
          groups[i].push_back(path_to(fmt::format("{}/{:02x}", folder_of(types[i]), shard)));
      else
        groups[i].push_back(path_to(folder_of(types[i])));
    std::vector<std::vector<FileInfo>> found(types.size());
    std::vector<std::vector<std::string>> unsized(types.size());
    std::vector<std::pair<std::string, std::uint32_t>> unfinished;
    const std::size_t whole =
        list_folders(session, groups, [&](std::size_t group, const std::string& folder, const Name& entry) {
          if (!entry.attributes.may_be_file()) return;
          if (const auto changed = entry.attributes.changed) {
            newest_ = std::max(newest_.load(), *changed);
            if (is_temporary(entry.name)) unfinished.emplace_back(folder + "/" + entry.name, *changed);
          }
          if (!is_object_name(entry.name)) return;
          if (entry.attributes.size)
            found[group].push_back({entry.name, *entry.attributes.size});
          else
            unsized[group].push_back(entry.name);
        });
    found.resize(whole);
    for (std::size_t group = 0; group < whole; ++group)
      for (const std::string& name : unsized[group])
        if (auto info = stat({types[group], name})) found[group].push_back(*info);
    keep_strays(unfinished);
    return found;
  }

  static SessionPool::Work work_of(std::uint64_t bytes) {
    return bytes >= kBulk ? SessionPool::Work::bulk : SessionPool::Work::small;
  }

  struct OpenFile {
    // With so many of its first bytes on their way.
    OpenFile(Session& s, const Handle& object, const std::string& path, std::uint32_t first = 0) : session(s) {
      try {
        if (first == 0)
          handle = open_to_read(s, path);
        else
          opened(open_to_read(s, path, first));
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::not_found) throw;
        throw missing(object, path);
      }
    }
    ~OpenFile() {
      try {
        close_quietly(session, handle);
      } catch (const std::exception&) {
        // The connection is gone, and with it the handle.
      }
    }
    OpenFile(const OpenFile&) = delete;
    void opened(Opened with) {
      handle = std::move(with.handle);
      start = std::move(with.start);
      attributes = std::move(with.attributes);
    }
    Session& session;
    std::string handle;
    std::future<Answer> start, attributes;
  };
  static Error missing(const Handle& object, const std::string& path) {
    return Error(ErrorKind::not_found, fmt::format("{} is missing ({})", object.str(), printable(path)));
  }

  std::unique_ptr<Session> connect(std::size_t number, std::stop_token stop) {
    const bool may_ask = options_.interactive && number == 0 && !options_.stop.stop_requested();
    SessionOptions options;
    const auto given = [this](const char* key) {
      const auto found = options_.extended.find(key);
      return found == options_.extended.end() ? std::vector<std::string>() : split_words(found->second, key);
    };
    options.command = options_.extended.contains("sftp.command")
                          ? given("sftp.command")
                          : ssh_command(place_, may_ask, given("sftp.args"));
    if (options.command.empty()) throw Error(ErrorKind::usage, "sftp.command is empty");
    options.place = printable(place_.host);
    options.may_ask = may_ask;
    options.stall = options_.stall;
    options.stop = std::move(stop);
    options.reached = &reached_;
    options.ends_by_itself = !options_.extended.contains("sftp.command");
    // Once: a server that cannot take that is met in the usual way then.
    options.ahead = number == 0 && !may_ask && !went_ahead_.exchange(true);
    auto session = std::make_unique<Session>(std::move(options));
    if (number == 0 && has_seen_config_) require_repository(*session);
    return session;
  }
  // A host that comes back without its disks has a bare folder there: nothing is to be made in it anew.
  void require_repository(Session& session) {
    const auto gone = [&](std::string_view why) {
      return ConnectionLost(fmt::format("the repository is not at {} any more: {}", location_, why),
                            "is its disk mounted there?");
    };
    try {
      if (stat_path(session, path_of({FileType::config, ""}))) return;
    } catch (const Error& error) {
      throw gone(error.message());
    }
    throw gone("its config is missing");
  }

  std::string path_to(const std::string& below) const {
    if (below == ".") return place_.path;
    return place_.path.ends_with('/') ? place_.path + below : place_.path + "/" + below;
  }
  std::string path_of(const Handle& handle) const {
    const std::string folder = path_to(folder_of(handle.type));
    if (const char* only = only_name_of(handle.type)) return folder + "/" + only;
    require_object_name(handle);
    return is_sharded(handle.type) ? folder + "/" + handle.name.substr(0, 2) + "/" + handle.name
                                   : folder + "/" + handle.name;
  }
  static std::string folder_above(const std::string& path) { return path.substr(0, path.rfind('/')); }

  // restic makes all folders of a repository; those of parity are made when they are needed.
  static std::string open_in_folder(Session& session, const std::string& path,
                                    std::unique_ptr<FolderFlush>& flush) {
    const std::string folder = folder_above(path);
    try {
      flush = std::make_unique<FolderFlush>(session, folder);
      return open_new(session, path);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
    }
    make_folder(session, folder);
    const std::string changed[] = {folder_above(folder)};
    flush_folders(session, changed);
    flush = std::make_unique<FolderFlush>(session, folder);
    return open_new(session, path);
  }
  static void make_folders(Session& session, std::span<const std::string> paths) {
    std::vector<std::future<Answer>> made;
    for (const std::string& path : paths) {
      Request request(PacketType::mkdir);
      made.push_back(session.send(std::move(request.text(path).permissions(0700))));
    }
    for (std::size_t i = 0; i < paths.size(); ++i)
      if (parse_status(made[i].get()).status != Status::ok) make_folder(session, paths[i]);
  }

  static Bytes whole(OpenFile& file, const std::string& path, const Handle& handle, std::uint64_t limit) {
    // Most objects are small: their bytes come with their size.
    const Answer attributes = file.attributes.get();
    // They may have been asked for before it was open.
    const std::uint64_t size = attributes.type == PacketType::status ? size_of_open(file.session, file.handle, path)
                                                                     : size_in(attributes, path);
    if (size > limit)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{} has {} bytes, more than can be right", handle.str(), size));
    Bytes bytes(size);
    std::size_t got = 0;
    const Answer answer = file.start.get();
    if (answer.type == PacketType::data) {
      const ByteView data = parse_data(answer);
      got = std::min<std::size_t>(data.size(), size);
      if (got > 0) std::memcpy(bytes.data(), data.data(), got);
    }
    if (got < size) got += read_range(file.session, file.handle, path, got, bytes.span().subspan(got));
    if (got != size) throw too_short(handle, got, 0, size);
    return bytes;
  }
  static Error too_short(const Handle& handle, std::uint64_t size, std::uint64_t offset,
                         std::uint64_t length) {
    return Error(ErrorKind::corrupt, fmt::format("{} ends at byte {}: there are no {} bytes at byte {}",
                                                 handle.str(), size, length, offset));
  }
  static void require_read_back(Session& session, const std::string& path, const Handle& handle,
                                std::span<const ByteView> parts) {
    OpenFile file(session, handle, path, kFirstRead);
    if (!equals(whole(file, path, handle, size_of(parts) + 1), parts))
      throw Error(ErrorKind::io, fmt::format("{} did not read back as it was written", handle.str()),
                  "the disk there, or the way to it, fails: copy the repository to another one");
  }

  // What was begun and not ended, removed at the next opportunity.
  void abandon(const std::string& temporary) {
    std::lock_guard lock(mutex_);
    if (abandoned_.size() < kMostAbandoned) abandoned_.push_back(temporary);
    has_remains_ = true;
  }
  static bool is_temporary(std::string_view name) {
    constexpr std::string_view kMark = ".respaldo-";
    return name.size() == 64 + kMark.size() + 16 && is_object_name(name.substr(0, 64)) &&
           name.substr(64).starts_with(kMark) && is_hex(name.substr(64 + kMark.size()));
  }
  // Of runs that were interrupted or killed. A file that is written changes all the time, or its writer gives
  // it up: no writer has one that is older than the newest thing seen there by kDead, and by our own clock,
  // too.
  void keep_strays(std::span<const std::pair<std::string, std::uint32_t>> unfinished) {
    const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    std::lock_guard lock(mutex_);
    for (const auto& [path, changed] : unfinished)
      if (newest_ > changed && newest_ - changed > kDead && now - std::time_t{changed} > kDead &&
          strays_.size() < kMostAbandoned && strays_.insert(path).second)
        has_remains_ = true;
  }
  void tidy() {
    if (!has_remains_) return;
    std::vector<std::string> own;
    std::set<std::string> strays;
    {
      std::lock_guard lock(mutex_);
      own.swap(abandoned_);
      strays.swap(strays_);
      has_remains_ = false;
    }
    try {
      const auto session = pool_.lease();
      remove_paths(*session, own);
      own.clear();
      remove_paths(*session, std::vector<std::string>(strays.begin(), strays.end()));
      if (!strays.empty() && options_.tell)
        options_.tell(fmt::format("{}: removed {} unfinished files that interrupted runs had left",
                                  printable(place_.host), strays.size()));
    } catch (const std::exception& error) {
      // Strays are found again by the next run that lists them.
      {
        std::lock_guard lock(mutex_);
        abandoned_.insert(abandoned_.end(), own.begin(), own.end());
        has_remains_ = !abandoned_.empty() || !strays_.empty();
      }
      if (dynamic_cast<const Error*>(&error) == nullptr) throw;
    }
  }

  void tell_if_weak(bool flushed) {
    if (!flushed)
      tell_once(
          told_flush_,
          "it cannot flush to its disk (no fsync@openssh.com): when that machine loses power, what was saved "
          "last may be lost or damaged; `respaldo check --read-data` tells");
  }
  void tell_once(std::atomic<bool>& told, std::string_view what) {
    if (!told.exchange(true) && options_.tell)
      options_.tell(fmt::format("{}: {}", printable(place_.host), what));
  }

  const SftpPlace place_;
  const std::string location_;
  const StoreOptions options_;
  std::mutex syncing_, ending_, mutex_;  // in this order
  std::map<std::string, std::uint64_t> doubtful_;  // and their sizes: renamed when the connection was lost, perhaps not flushed
  std::set<std::string> unflushed_;     // folders whose entries may not be on the medium
  std::vector<std::string> abandoned_;  // temporary files of this run
  std::set<std::string> strays_;        // and of others
  std::atomic<std::uint32_t> newest_ = 0;  // when something was changed last, of all that was listed
  std::atomic<bool> reached_ = false, went_ahead_ = false, has_seen_config_ = false;
  std::deque<Renamed> renamed_;
  std::optional<Error> flush_failure_;
  std::atomic<bool> has_remains_ = false, told_flush_ = false, told_rename_ = false;
  SessionPool pool_;  // goes before them: its threads use the others
  std::map<FileType, std::unique_ptr<Begun>> begun_;
};

}  // namespace

std::unique_ptr<Backend> open_sftp(const std::string& rest, const StoreOptions& options) {
  return std::make_unique<SftpBackend>(rest, options);
}

}  // namespace respaldo::store
