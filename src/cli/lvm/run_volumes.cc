// Verbs that make, resize, remove, rename and convert LVs.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "cli/lvm/verb.h"
#include "engine/image/vg_edit.h"

namespace respaldo::cli {

namespace {

using engine::DiskSet;

void require_stripes(const LvmArguments& a, unsigned stripes) {
  if (stripes == 0) throw Error(ErrorKind::usage, "--stripes may not be zero.");
  if (stripes > 128)
    throw Error(ErrorKind::usage,
                fmt::format("Number of stripes ({}) must be between 1 and 128.", a.value("stripes")));
}

engine::LvRequest lv_request(const Call& call, std::size_t first_pv) {
  engine::LvRequest request;
  const LvmArguments& a = call.arguments;
  request.size = size_of(call, true, false);
  if (a.has("stripesize") && !a.has("stripes"))
    throw SyntaxError(
        fmt::format("  Command does not accept option: --stripesize {}.", printable(a.value("stripesize"))));
  if (a.has("name")) request.name = new_lv_name(a.value("name"));
  request.stripes = static_cast<unsigned>(count_option(a, "stripes", 1, 1000000));
  require_stripes(a, request.stripes);
  request.stripe_bytes = size_option(a, "stripesize", kKiB, 0);
  request.policy = policy_of(a);
  request.pvs = words_from(a, first_pv);
  request.tags = tags_option(a, "addtag");
  const std::string permission = a.value("permission", "rw");
  if (permission != "rw" && permission != "r")
    throw Error(ErrorKind::usage,
                fmt::format("Invalid argument for --permission: {}", printable(permission)));
  request.writable = permission == "rw";
  request.zero = yes_option(a, "zero", request.writable);
  request.wipe_signatures = yes_option(a, "wipesignatures", request.zero);
  request.activation_skip = yes_option(a, "setactivationskip", false);
  const std::string type = a.value("type", "striped");
  if (type == "error" || type == "zero")
    request.type = type;
  else if (type != "linear" && type != "striped" && type != "snapshot")
    throw Error(ErrorKind::unsupported,
                fmt::format("Volumes of type {} are read here, but not made.", printable(type)),
                "make it with lvm2");
  return request;
}

void resize(const Call& call, bool extend, bool reduce) {
  const LvmArguments& a = call.arguments;
  engine::ResizeRequest request;
  word(call, 0);
  request.size = size_of(call, extend, reduce);
  const std::string bare = without_dev(word(call, 0));
  if (!word(call, 0).starts_with("/dev/mapper/") && bare.find('/') == std::string::npos)
    throw Error(ErrorKind::usage, "Please specify a logical volume path.");
  request.name = engine::parse_lv_argument(word(call, 0));
  if (a.has("stripes")) {
    request.stripes = static_cast<unsigned>(count_option(a, "stripes", 1, 1000000));
    require_stripes(a, *request.stripes);
  }
  request.stripe_bytes = size_option(a, "stripesize", kKiB, 0);
  request.policy = policy_of(a);
  request.pvs = words_from(a, 1);
  request.may_extend = extend;
  request.may_reduce = reduce;
  engine::resize_lv(call.op, request);
}

}  // namespace

void run_lvcreate(const Call& call) {
  const LvmArguments& a = call.arguments;
  if (!a.has("snapshot") && a.value("type") != "snapshot") {
    engine::LvRequest request = lv_request(call, 1);
    const std::string given = without_dev(a.value("name"));
    // "-n VG/name" names the group too.
    if (a.positional().empty() && given.find('/') != std::string::npos)
      request.vg = given.substr(0, given.find('/'));
    else
      request.vg = without_dev(word(call, 0));
    engine::create_lv(call.op, request);
    return;
  }
  engine::SnapshotRequest request;
  request.store = lv_request(call, 1);
  const engine::VolumeName origin = engine::parse_lv_argument(word(call, 0));
  request.store.vg = origin.vg;
  request.origin = origin.lv;
  request.chunk_bytes = size_option(a, "chunksize", kKiB, 4 * kKiB);
  engine::create_snapshot(call.op, request);
}

void run_lvextend(const Call& call) { resize(call, true, false); }
void run_lvreduce(const Call& call) { resize(call, false, true); }
void run_lvresize(const Call& call) { resize(call, true, true); }

void run_lvremove(const Call& call) {
  word(call, 0);
  // In the order of each group, as lvm2 walks it.
  std::vector<engine::VolumeName> wanted;
  std::vector<std::string> vgs;
  const auto want = [&](engine::VolumeName volume) {
    if (std::find(vgs.begin(), vgs.end(), volume.vg) == vgs.end()) vgs.push_back(volume.vg);
    wanted.push_back(std::move(volume));
  };
  for (const std::string& name : call.arguments.positional()) {
    const std::string bare = without_dev(name);
    if (name.starts_with("/dev/mapper/") || bare.find('/') != std::string::npos) {
      want(engine::parse_lv_argument(name));
      continue;
    }
    const lvm::VolumeGroup& vg = engine::require_group(call.op.disks, bare).vg;
    for (const lvm::LogicalVolume& lv : vg.lvs)
      if ((lv.visible() || vg.snapshot_binding(lv)) && !engine::is_snapshot_pseudo(lv))
        want({vg.name, lv.name});
  }
  for (const engine::VolumeName& volume : wanted)
    if (engine::require_group(call.op.disks, volume.vg).vg.find_lv(volume.lv) == nullptr)
      throw Error(ErrorKind::not_found,
                  fmt::format("Failed to find logical volume \"{}\"", printable(volume.str())));
  for (const std::string& vg : vgs) {
    std::vector<std::string> order;
    for (const lvm::LogicalVolume& lv : engine::require_group(call.op.disks, vg).vg.lvs)
      for (const engine::VolumeName& volume : wanted)
        if (volume.vg == vg && volume.lv == lv.name &&
            std::find(order.begin(), order.end(), lv.name) == order.end())
          order.push_back(lv.name);
    for (const std::string& lv : order)
      // A snapshot may have gone with its origin.
      if (engine::require_group(call.op.disks, vg).vg.find_lv(lv) != nullptr)
        engine::remove_lv(call.op, {vg, lv});
  }
}

void run_lvrename(const Call& call) {
  const auto& words = call.arguments.positional();
  if (words.size() == 3)
    return engine::rename_lv(call.op, {without_dev(words[0]), new_lv_name(words[1])}, new_lv_name(words[2]));
  if (words.size() != 2) throw no_matching_syntax(call.verb);
  const engine::VolumeName from = engine::parse_lv_argument(words[0]);
  const std::string to = without_dev(words[1]);
  if (to.find('/') != std::string::npos && to.substr(0, to.find('/')) != from.vg)
    throw Error(ErrorKind::usage, "Logical volume names must have the same volume group.");
  engine::rename_lv(call.op, from, new_lv_name(words[1]));
}

void run_lvconvert(const Call& call) {
  const LvmArguments& a = call.arguments;
  if (a.has("merge") || a.has("mergesnapshot")) {
    word(call, 0);
    for (const std::string& name : a.positional())
      engine::merge_snapshot(call.op, engine::parse_lv_argument(name));
  } else if (a.has("splitsnapshot")) {
    engine::split_snapshot(call.op, engine::parse_lv_argument(word(call, 0)));
  } else if (a.has("snapshot") || a.value("type") == "snapshot") {
    const engine::VolumeName origin = engine::parse_lv_argument(word(call, 0));
    const std::string store = without_dev(word(call, 1));
    if (store.find('/') != std::string::npos && store.substr(0, store.find('/')) != origin.vg)
      throw Error(ErrorKind::usage, "Origin and store must be in the same volume group.");
    engine::pair_existing(call.op, origin, new_lv_name(store), size_option(a, "chunksize", kKiB, 4 * kKiB),
                          yes_option(a, "zero", true));
  } else if (a.positional().empty()) {
    throw no_matching_syntax(call.verb);
  } else {
    throw Error(ErrorKind::unsupported, "Only --merge, --splitsnapshot and --snapshot are known here.");
  }
}

}  // namespace respaldo::cli
