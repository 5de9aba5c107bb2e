// ls and cat: the trees of a backup.
#include <optional>

#include "base/printable.h"
#include "cli/command.h"
#include "cli/long_output.h"
#include "cli/path_fields.h"
#include "cli/shared.h"
#include "os/thread_group.h"
#include "view/shown_path.h"
#include "view/tree_walk.h"

namespace respaldo::cli {

namespace {

struct LsOptions {
  std::string backup = "latest", path = "/";
  bool flat = false, long_form = false;
};

class Lister {
 public:
  Lister(app::Context& context, const LsOptions& options)
      : context_(context), options_(options), indexed_(context.indexed()), out_(context) {}

  // What lies at `path`, and below. False when a folder below could not be read: it is told, the rest is
  // listed.
  bool list(const repo::Node& node, const std::string& path) {
    std::optional<view::TreeWalk> walk;
    const auto ahead = options_.flat ? view::ReadAhead::no : view::ReadAhead::yes;
    if (node.type == repo::NodeType::dir) walk.emplace(*indexed_, node, path, view::kToLook, ahead);
    if (context_.options().json) out_.write("[");
    bool whole = true;
    if (walk)
      whole = list(*walk);
    else
      print(node, path);
    if (context_.options().json) out_.write("]\n");
    out_.flush();
    return whole;
  }

 private:
  bool list(view::TreeWalk& walk) {
    bool whole = true;
    while (true) {
      os::throw_if_stopped(context_.stop());
      try {
        if (!walk.next()) return whole;
      } catch (const Error& error) {
        out_.warn(fmt::format("{}: {}", printable(walk.entry().path.substr(0, 1000)), error.what()));
        whole = false;
        continue;
      }
      print(walk.entry().node, walk.entry().path);
      if (options_.flat) walk.skip();
    }
  }
  void print(const repo::Node& node, const std::string& path) {
    if (context_.options().json) {
      out_.write((first_ ? "" : ",") + dump(entry_json(path, node)));
      first_ = false;
    } else {
      out_.line(options_.long_form ? long_line(node, path) : printable(path));
    }
  }
  app::Context& context_;
  const LsOptions& options_;
  std::shared_ptr<const repo::IndexedRepository> indexed_;
  LongOutput out_;
  bool first_ = true;
};

using Place = view::FoundPath;

// A path from the top of the backup; or, where a volume was named, from its folder or the top of its files.
Place find_place(app::Context& context, const FoundBackup& found, const std::string& path) {
  std::vector<std::string> paths = {path};
  if (found.volume) {
    const std::string volume = "/" + engine::VolumeName::parse(*found.volume).str();
    const std::string below = path.starts_with('/') ? path : "/" + path;
    paths.push_back(volume + below);
    paths.push_back(fmt::format("{}/{}{}", volume, view::kFilesName, below));
  }
  std::vector<Place> places;
  for (const std::string& one : paths) {
    auto place = view::find_shown(*context.indexed(), found.backup.snapshot, one);
    if (!place) continue;
    if (path.starts_with('/')) return std::move(*place);
    places.push_back(std::move(*place));
  }
  if (places.empty())
    throw Error(ErrorKind::not_found,
                fmt::format("backup {} holds no {}", found.backup.id.short_hex(), printable(path)),
                "`respaldo ls` shows what there is");
  if (places.size() > 1)
    throw Error(ErrorKind::usage,
                fmt::format("{} may be {} or {}", printable(path), printable(places[0].path), printable(places[1].path)),
                "write the whole path, with a / before it");
  return std::move(places.front());
}

app::ExitCode ls(app::Context& context, const LsOptions& options) {
  context.look_ahead(true);
  const FoundBackup found = find_backup(context, options.backup, Latest::of_readable);
  std::string path = options.path;
  if (found.volume && path == "/") path = "/" + engine::VolumeName::parse(*found.volume).str();
  Lister lister(context, options);
  const Place place = find_place(context, found, path);
  return lister.list(place.node, place.path) ? app::ExitCode::ok : app::ExitCode::failed;
}

// Error(corrupt) unless the blobs of a file add up to its size.
void require_size(const repo::Index& index, const repo::Node& node, const std::string& path) {
  std::uint64_t total = 0;
  for (const repo::BlobId& id : node.content) {
    const auto location = index.find(repo::BlobType::data, id);
    if (!location)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: blob {} is in no index", printable(path), id.short_hex()),
                  "run: respaldo check");
    total += location->plain_length();
  }
  if (total != node.size)
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: its blobs add up to {} bytes, but its size is {}", printable(path), total,
                            node.size),
                "run: respaldo check");
}

struct CatOptions {
  std::string backup, host, path;
};

app::ExitCode cat(app::Context& context, const CatOptions& options) {
  context.look_ahead(true);
  const FoundBackup found = find_backup(context, options.backup, Latest::certain, options.host);
  const std::string& path = options.path;
  const repo::Node node = find_place(context, found, path).node;
  if (node.type != repo::NodeType::file)
    throw Error(ErrorKind::usage,
                fmt::format("{} is not a file but a {}", printable(path),
                            node.type == repo::NodeType::dir ? "folder" : type_name(node.type)));
  const auto indexed = context.indexed();
  require_size(indexed->index(), node, path);
  for (const repo::BlobId& id : node.content) {
    os::throw_if_stopped(context.stop());
    write_out(context, indexed->load_blob(repo::BlobType::data, id));
  }
  return app::ExitCode::ok;
}

}  // namespace

Action configure_ls(CLI::App& app) {
  auto options = std::make_shared<LsOptions>();
  app.add_option("backup", options->backup, "an ID, the beginning of one, latest, or latest:VG/LV")
      ->type_name("BACKUP")
      ->capture_default_str();
  app.add_option("path", options->path, "a folder or file inside the backup")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_flag("-l,--long", options->long_form, "with mode, owner, size and time");
  app.add_flag("--flat", options->flat, "this folder only, not what lies below");
  return [options](app::Context& context) { return ls(context, *options); };
}

Action configure_cat(CLI::App& app) {
  auto options = std::make_shared<CatOptions>();
  app.add_option("backup", options->backup, "an ID, the beginning of one, latest, or latest:VG/LV")
      ->required()
      ->type_name("BACKUP");
  app.add_option("path", options->path, "a file inside the backup")->required()->type_name("PATH");
  add_host_option(app, options->host);
  return [options](app::Context& context) { return cat(context, *options); };
}

}  // namespace respaldo::cli
