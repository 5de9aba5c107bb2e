// Draws the document of `layout`.
#include "base/units.h"
#include "cli/layout.h"

namespace respaldo::cli {

namespace {

std::string text(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? printable(it->get<std::string>()) : std::string();
}
std::string size(const Json& json, const char* key) { return format_size(json.at(key).get<std::uint64_t>()); }
bool is_set(const Json& json, const char* key) { return json.value(key, false); }

void add(std::string& words, const std::string& more, const char* between = "  ") {
  if (!more.empty()) words += (words.empty() ? "" : between) + more;
}

std::string content(const Json& json) {
  std::string words;
  if (const auto pv = json.find("pv"); pv != json.end()) {
    const std::string vg = text(*pv, "vg");
    words += vg.empty() ? "PV of no group" : "PV of " + vg;
    if (pv->contains("free")) words += fmt::format(", {} free of {}", size(*pv, "free"), size(*pv, "size"));
  } else if (const std::string type = text(json, "content"); !type.empty()) {
    words += type;
    if (const std::string label = text(json, "label"); !label.empty()) words += fmt::format(" \"{}\"", label);
  }
  if (const auto mounts = json.find("mounts"); mounts != json.end())
    for (const Json& mount : *mounts) {
      std::string where = "on " + text(mount, "target");
      if (mount.contains("available"))
        where += fmt::format(" ({} of {} available)", size(mount, "available"), size(mount, "size"));
      add(words, where);
    }
  if (is_set(json, "swap")) add(words, "in use as swap");
  if (const std::string fstab = text(json, "fstab"); !fstab.empty())
    add(words, fmt::format("[fstab: {}]", fstab));
  if (const std::string why = text(json, "unreadable"); !why.empty()) add(words, "CANNOT BE READ: " + why);
  return words;
}

// What a disk is: "WD Elements, usb, can be unplugged, sectors of 512/4096".
std::string disk_facts(const Json& disk) {
  std::string words;
  add(words, text(disk, "model"), ", ");
  add(words, text(disk, "transport"), ", ");
  if (is_set(disk, "removable")) add(words, "removable", ", ");
  if (is_set(disk, "read_only")) add(words, "read-only", ", ");
  if (disk.contains("physical_sector"))
    add(words,
        fmt::format("sectors of {}/{}", disk.at("logical_sector").get<std::uint64_t>(),
                    disk.at("physical_sector").get<std::uint64_t>()),
        ", ");
  return words.empty() ? words : "(" + words + ")";
}

class Drawer {
 public:
  explicit Drawer(app::Context& context) : context_(context) {}

  void disk(const Json& disk) {
    std::string words = fmt::format("{} {}  {}", text(disk, "kind").empty() ? "disk" : text(disk, "kind"),
                                    text(disk, "path"), size(disk, "size"));
    add(words, disk_facts(disk));
    if (disk.contains("partition_table"))
      add(words, fmt::format("{} partition table", text(disk, "partition_table")));
    add(words, content(disk));
    line(0, false, words);
    if (!disk.contains("partitions")) return;
    const Json& partitions = disk.at("partitions");
    for (std::size_t i = 0; i < partitions.size(); ++i) {
      const Json& p = partitions[i];
      const std::string type = text(p, "type_name").empty()
                                   ? text(p, "type")
                                   : fmt::format("{} ({})", text(p, "type_name"), text(p, "type"));
      line(1, i + 1 == partitions.size(),
           fmt::format("partition {}  {}  {}  {}", p.at("number").get<unsigned>(), size(p, "size"), type,
                       content(p)));
    }
  }

  void layer(const Json& layer) {
    std::string below;
    for (const Json& name : layer.at("stands_on")) add(below, printable(name.get<std::string>()), ", ");
    std::string words = fmt::format("{} {}  {}  on {}", text(layer, "kind"), text(layer, "path"),
                                    size(layer, "size"), below.empty() ? "nothing" : below);
    add(words, text(layer, "detail"));
    add(words, content(layer));
    line(0, false, words);
  }

  void group(const Json& vg) {
    context_.print("");
    line(0, false,
         fmt::format("volume group {}  {}, {} free, extents of {}, {} PV{}", text(vg, "name"),
                     size(vg, "size"), size(vg, "free"), size(vg, "extent_size"), vg.at("pvs").size(),
                     vg.at("pvs").size() == 1 ? "" : "s"));
    for (const Json& pv : vg.at("pvs"))
      if (pv.at("missing").get<bool>())
        line(1, false, fmt::format("MISSING PV {}  {}", text(pv, "uuid"), size(pv, "size")));
    std::vector<const Json*> tops;
    for (const Json& lv : vg.at("volumes"))
      if (!lv.contains("cow") && text(lv, "kind") != "snapshot") tops.push_back(&lv);
    for (std::size_t i = 0; i < tops.size(); ++i) {
      const auto snapshots = snapshots_of(vg, *tops[i]);
      const bool last = i + 1 == tops.size();
      volume(*tops[i], last, !snapshots.empty());
      for (const Json* one : snapshots) snapshot(*one, *tops[i], one == snapshots.back(), last);
    }
  }

 private:
  // `under_last`: the line above it in the tree was the last of its own.
  void line(int depth, bool last, const std::string& words, bool under_last = false) {
    std::string lead;
    for (int i = 1; i < depth; ++i) lead += under_last ? "   " : "│  ";
    if (depth > 0) lead += last ? "└─ " : "├─ ";
    std::string all = lead + words;
    all.erase(all.find_last_not_of(' ') + 1);
    context_.print(all);
  }

  void volume(const Json& lv, bool last, bool has_snapshots) {
    std::string words = fmt::format("{}  {}  {}", text(lv, "name"), size(lv, "size"), text(lv, "kind"));
    if (lv.contains("data_percent"))
      words += fmt::format(" {:.2f}% used", lv.at("data_percent").get<double>());
    if (lv.contains("metadata_percent"))
      words += fmt::format(", metadata {:.2f}%", lv.at("metadata_percent").get<double>());
    if (const std::string pool = text(lv, "pool"); !pool.empty()) words += " in " + pool;
    if (const std::string origin = text(lv, "origin"); !origin.empty()) words += ", snapshot of " + origin;
    if (lv.contains("active") && !is_set(lv, "active")) words += ", not active";
    add(words, content(lv));
    line(1, last, words);
    if (!lv.contains("names") || lv.at("names").size() < 2) return;
    std::string names;
    for (const Json& name : lv.at("names")) add(names, printable(name.get<std::string>()), " = ");
    line(2, !has_snapshots, names, last);
  }

  static std::vector<const Json*> snapshots_of(const Json& vg, const Json& lv) {
    std::vector<const Json*> found;
    for (const Json& other : vg.at("volumes"))
      if (text(other, "kind") == "snapshot" && text(other, "origin") == text(lv, "name"))
        found.push_back(&other);
    return found;
  }

  void snapshot(const Json& snapshot, const Json& lv, bool last, bool under_last) {
    std::string words = fmt::format("{}  snapshot of {}", text(snapshot, "name"), text(lv, "name"));
    if (snapshot.contains("cow")) {
      const Json& cow = snapshot.at("cow");
      words += !cow.at("valid").get<bool>()
                   ? fmt::format("  INVALID: its COW store of {} overflowed", size(cow, "size"))
               : !cow.contains("percent")
                   ? fmt::format("  COW store {}", size(cow, "size"))
                   : fmt::format("  COW store {}, {:.2f}% used ({})", size(cow, "size"),
                                 cow.at("percent").get<double>(), size(cow, "used"));
    }
    if (snapshot.contains("active") && !is_set(snapshot, "active")) words += "  not active";
    // The filesystem is the origin's; where it is mounted is not.
    Json own = snapshot;
    own.erase("content");
    add(words, content(own));
    line(2, last, words, under_last);
  }

  app::Context& context_;
};

}  // namespace

void draw_layout(app::Context& context, const Json& all) {
  Drawer drawer(context);
  for (const Json& disk : all.at("disks")) drawer.disk(disk);
  if (const auto layers = all.find("layers"); layers != all.end())
    for (const Json& layer : *layers) drawer.layer(layer);
  for (const Json& vg : all.at("volume_groups")) drawer.group(vg);
}

void draw_findings(app::Context& context, const machine::Findings& findings) {
  for (const machine::Finding& finding : findings) {
    context.print(fmt::format("{}: {}", to_string(finding.severity), printable(finding.message)));
    if (!finding.advice.empty()) context.print(fmt::format("  -> {}", printable(finding.advice)));
  }
}

}  // namespace respaldo::cli
