// Named objects somewhere: what holds a repository. Knows nothing of what is inside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace respaldo::store {

// The last three are respaldo's own (docs/formats/parity.md); restic looks at none of them.
enum class FileType { config, key, lock, snapshot, index, pack, parity, parity_group, parity_settings };
std::string_view to_string(FileType type);

struct Handle {
  FileType type = FileType::config;
  std::string name;  // 64 lower-case hex digits; empty for config and parity_settings
  std::string str() const;  // "pack 0aadcd3c", for messages
  friend auto operator<=>(const Handle&, const Handle&) = default;
};

struct FileInfo {
  std::string name;
  std::uint64_t size = 0;
};

// When a saved object must have reached the medium.
enum class Durability {
  now,      // before save returns
  at_sync,  // at the latest when sync() returns
  proven,   // now, and read back from the medium before it takes the name; Error(io) when it differs
};

// Where read_from_medium had its bytes from.
enum class Medium {
  direct,   // past the page cache (O_DIRECT)
  dropped,  // through the page cache, which was told to forget the file before
  unknown,  // the store cannot tell
};

// All methods are thread-safe. Objects appear whole or not at all, and are never changed afterwards.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string location() const = 0;
  // Makes the empty structure (folders). Error(refused) when a repository is there already.
  virtual void create() = 0;
  // `parts` are written one after the other. An object of that name is replaced (config, and what is
  // damaged), or is known to be equal (names are hashes of contents).
  virtual void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) = 0;
  // Everything saved before is durable when this returns.
  virtual void sync() = 0;
  // `length` bytes at `offset`; Error(corrupt) when the object is shorter, Error(not_found) when absent.
  virtual Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) = 0;
  // The whole object, at most `limit` bytes.
  virtual Bytes load_all(const Handle& handle, std::uint64_t limit = std::uint64_t{1} << 31) = 0;
  virtual std::optional<FileInfo> stat(const Handle& handle) = 0;
  // Only names of 64 hex digits, each once, in no order.
  virtual std::vector<FileInfo> list(FileType type) = 0;
  // What list() would tell of each of them, asked one after the other; for stores that have it in fewer round trips.
  // Nothing where that is no cheaper.
  virtual std::optional<std::vector<std::vector<FileInfo>>> list_together(std::span<const FileType>) {
    return std::nullopt;
  }
  // A hint: an object of that type is saved soon, and what that needs can be had beside other things. Never throws.
  virtual void will_save(FileType) {}
  virtual void remove(const Handle& handle) = 0;  // absent is success
  // The same for many at once: cheaper where removing one costs work on others.
  virtual void remove_many(std::span<const Handle> handles);
  // The whole object, in pieces and in order, read from where it will be read after the next boot, as far as
  // that can be had. REQUIRES that it is durable. Errors as load_all.
  virtual Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece);
  // False: such files are never there and cannot be saved; nobody needs to be asked.
  virtual bool keeps(FileType) const { return true; }
  // True when trying again cannot help.
  virtual bool is_permanent(const Error& error) const = 0;
};

// What a foreign store or folder listed, each name once, in the order of the names: a repeated line must not count twice.
std::vector<FileInfo> each_once(std::vector<FileInfo> listed);

// restic's default layout in a folder. docs/formats/restic.md section "layout".
std::unique_ptr<Backend> open_local(const std::string& folder);
// In memory, for tests.
std::unique_ptr<Backend> open_memory();
// By restic's location syntax, with the usual options: store/open.h.
std::unique_ptr<Backend> open_location(const std::string& location);

}  // namespace respaldo::store
