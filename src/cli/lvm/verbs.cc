// The table of verbs: names, syntax, options. An option that is listed here is obeyed.
#include "cli/lvm/verb.h"

namespace respaldo::cli {

namespace {

// Groups of options that several verbs share.
const std::vector<LvmOption> kReport = {
    {"all", 'a'},        {"options", 'o', true},
    {"sort", 'O', true}, {"units", 0, true},
    {"nosuffix"},        {"noheadings"},
    {"unbuffered"},      {"separator", 0, true},
    {"aligned"},         {"nameprefixes"},
    {"unquoted"},        {"select", 'S', true},
    {"segments"},        {"reportformat", 0, true},
    {"readonly"},        {"ignorelockingfailure"},
};
const std::vector<LvmOption> kDisplay = {{"columns", 'C'}, {"colon", 'c'}};
const std::vector<LvmOption> kPvFormat = {
    {"dataalignment", 0, true},      {"dataalignmentoffset", 0, true},
    {"metadatasize", 0, true},       {"pvmetadatacopies", 0, true},
    {"metadatacopies", 0, true},     {"labelsector", 0, true},
    {"bootloaderareasize", 0, true}, {"zero", 'Z', true},
    {"metadatatype", 'M', true},     {"force", 'f'},
};
const std::vector<LvmOption> kTags = {{"addtag", 0, true}, {"deltag", 0, true}};
// Words of lvm2 that ask for what happens here anyway.
const std::vector<LvmOption> kQuiet = {{"noudevsync"}, {"ignorelockingfailure"}, {"nohistory"}};
const std::vector<LvmOption> kSize = {
    {"size", 'L', true},    {"extents", 'l', true},
    {"stripes", 'i', true}, {"stripesize", 'I', true},
    {"alloc", 0, true},     {"nofsck"},
    {"force", 'f'},
};

std::vector<LvmOption> join(std::initializer_list<std::vector<LvmOption>> lists) {
  std::vector<LvmOption> result;
  for (const auto& list : lists) result.insert(result.end(), list.begin(), list.end());
  return result;
}

std::vector<LvmVerb> lv_verbs() {
  return {
      {"lvchange",
       "lvchange --addtag|--deltag Tag VG|LV ...\n  lvchange -p|--permission r|rw LV ...\n  lvchange --alloc "
       "Policy LV ...\n  lvchange -k|--setactivationskip y|n LV ...",
       "Change the attributes of logical volumes.",
       join({kTags,
             kQuiet,
             {{"permission", 'p', true},
              {"alloc", 0, true},
              {"contiguous", 'C', true},
              {"setactivationskip", 'k', true},
              {"activate", 'a', true},
              {"force", 'f'}}}),
       true, run_lvchange},
      {"lvconvert",
       "lvconvert --merge LV_snapshot ...\n  lvconvert -s|--snapshot LV LV_cow\n  lvconvert --splitsnapshot "
       "LV_snapshot",
       "Merge a snapshot into its origin; pair or split a snapshot.",
       join({kQuiet,
             {{"merge"},
              {"mergesnapshot"},
              {"snapshot", 's'},
              {"splitsnapshot"},
              {"chunksize", 'c', true},
              {"zero", 'Z', true},
              {"type", 0, true},
              {"background", 'b'},
              {"interval", 'i', true},
              {"force", 'f'}}}),
       true, run_lvconvert},
      {"lvcreate",
       "lvcreate -L|--size Size[m|UNIT] VG [PV ...]\n  lvcreate -l|--extents Number[PERCENT] VG [PV ...]\n  "
       "lvcreate -s|--snapshot -L|--size Size[m|UNIT] LV [PV ...]",
       "Create a logical volume, or a snapshot of one.",
       join({kQuiet,
             {{"size", 'L', true},
              {"extents", 'l', true},
              {"stripes", 'i', true},
              {"stripesize", 'I', true},
              {"alloc", 0, true},
              {"contiguous", 'C', true},
              {"type", 0, true},
              {"name", 'n', true},
              {"snapshot", 's'},
              {"chunksize", 'c', true},
              {"addtag", 0, true},
              {"permission", 'p', true},
              {"zero", 'Z', true},
              {"wipesignatures", 'W', true},
              {"setactivationskip", 'k', true},
              // Nothing is activated or monitored either way.
              {"activate", 'a', true},
              {"ignoreactivationskip", 'K'},
              {"monitor", 0, true},
              {"ignoremonitoring"}}}),
       true, run_lvcreate},
      {"lvdisplay", "lvdisplay [VG|LV ...]", "Show logical volumes, line by line.",
       join({kReport, kDisplay, {{"maps", 'm'}}}), false, run_lvdisplay},
      {"lvextend",
       "lvextend -L|--size [+]Size[m|UNIT] LV [PV ...]\n  lvextend -l|--extents [+]Number[PERCENT] LV [PV "
       "...]",
       "Add space to a logical volume.", join({kSize, kQuiet}), true, run_lvextend},
      {"lvreduce", "lvreduce -L|--size [-]Size[m|UNIT] LV", "Take space from a logical volume.",
       join({kSize, kQuiet}), true, run_lvreduce},
      {"lvremove", "lvremove VG|LV|Tag|Select ...", "Remove logical volumes.",
       join({kQuiet, {{"force", 'f'}}}), true, run_lvremove},
      {"lvrename", "lvrename VG LV LV_new\n  lvrename LV LV_new", "Rename a logical volume.", kQuiet, true,
       run_lvrename},
      {"lvresize",
       "lvresize -L|--size [+|-]Size[m|UNIT] LV [PV ...]\n  lvresize -l|--extents [+|-]Number[PERCENT] LV "
       "[PV "
       "...]",
       "Resize a logical volume.", join({kSize, kQuiet}), true, run_lvresize},
      {"lvs", "lvs [VG|LV ...]", "Report logical volumes.", kReport, false, run_lvs},
      {"lvscan", "lvscan", "List logical volumes.", {{"all", 'a'}, {"readonly"}}, false, run_lvscan},
  };
}

std::vector<LvmVerb> pv_verbs() {
  return {
      {"pvchange", "pvchange -x|--allocatable y|n PV ...\n  pvchange --addtag|--deltag Tag PV ...",
       "Change the attributes of physical volumes.",
       join({kTags, {{"allocatable", 'x', true}, {"all", 'a'}, {"force", 'f'}}}), true, run_pvchange},
      {"pvcreate", "pvcreate PV ...", "Make images or partitions ready for a volume group.",
       join({kPvFormat,
             {{"uuid", 'u', true},
              {"restorefile", 0, true},
              {"norestorefile"},
              {"setphysicalvolumesize", 0, true}}}),
       true, run_pvcreate},
      {"pvdisplay", "pvdisplay [PV ...]", "Show physical volumes, line by line.",
       join({kReport, kDisplay, {{"maps", 'm'}, {"short", 's'}}}), false, run_pvdisplay},
      {"pvmove",
       "pvmove PV [PV ...]\n  pvmove -n|--name LV PV [PV ...]",
       "Move extents to other physical volumes.",
       {{"name", 'n', true},
        {"alloc", 0, true},
        {"abort"},
        {"background", 'b'},
        {"interval", 'i', true},
        {"noudevsync"}},
       true,
       run_pvmove},
      {"pvremove",
       "pvremove PV ...",
       "Remove the label of a physical volume.",
       {{"force", 'f'}},
       true,
       run_pvremove},
      {"pvs", "pvs [PV ...]", "Report physical volumes.", kReport, false, run_pvs},
      {"pvscan",
       "pvscan",
       "List physical volumes.",
       {{"exported", 'e'}, {"novolumegroup", 'n'}, {"short", 's'}, {"uuid", 'u'}},
       false,
       run_pvscan},
  };
}

std::vector<LvmVerb> vg_verbs() {
  return {
      {"vgcfgbackup",
       "vgcfgbackup [-f FILE] [VG ...]",
       "Write a volume group's metadata to a file.",
       {{"file", 'f', true}, {"readonly"}, {"ignorelockingfailure"}},
       false,
       run_vgcfgbackup},
      {"vgcfgrestore",
       "vgcfgrestore -f|--file String VG\n  vgcfgrestore VG",
       "Bring a volume group's metadata back from a file.",
       {{"file", 'f', true}},
       true,
       run_vgcfgrestore},
      {"vgchange",
       "vgchange --addtag|--deltag Tag [VG ...]\n  vgchange -l|--logicalvolume Number [VG ...]\n  vgchange "
       "--alloc Policy [VG ...]",
       "Change the attributes of volume groups.",
       join({kTags,
             {{"logicalvolume", 'l', true},
              {"maxphysicalvolumes", 'p', true},
              {"alloc", 0, true},
              {"resizeable", 'x', true},
              {"activate", 'a', true},
              {"force", 'f'}}}),
       true, run_vgchange},
      {"vgck",
       "vgck [--updatemetadata] [VG ...]",
       "Check a volume group's metadata, and repair its copies.",
       {{"updatemetadata"}},
       true,
       run_vgck},
      {"vgcreate", "vgcreate VG_new PV ...", "Create a volume group.",
       join({kPvFormat,
             {{"physicalextentsize", 's', true},
              {"maxlogicalvolumes", 'l', true},
              {"maxphysicalvolumes", 'p', true},
              {"addtag", 0, true},
              {"alloc", 0, true},
              {"clustered", 'c', true},
              {"vgmetadatacopies", 0, true},
              {"shared"}}}),
       true, run_vgcreate},
      {"vgdisplay", "vgdisplay [VG ...]", "Show volume groups, line by line.",
       join({kReport, kDisplay, {{"short", 's'}}}), false, run_vgdisplay},
      {"vgextend", "vgextend VG PV ...", "Add physical volumes to a volume group.",
       join({kPvFormat, {{"restoremissing"}}}), true, run_vgextend},
      {"vgreduce",
       "vgreduce VG PV ...\n  vgreduce -a|--all VG\n  vgreduce --removemissing VG",
       "Remove physical volumes from a volume group.",
       {{"all", 'a'}, {"removemissing"}, {"force", 'f'}},
       true,
       run_vgreduce},
      {"vgremove",
       "vgremove VG|Tag|Select ...",
       "Remove a volume group.",
       {{"force", 'f'}, {"noudevsync"}},
       true,
       run_vgremove},
      {"vgrename",
       "vgrename VG VG_new\n  vgrename String VG_new",
       "Rename a volume group.",
       {{"force", 'f'}},
       true,
       run_vgrename},
      {"vgs", "vgs [VG ...]", "Report volume groups.", kReport, false, run_vgs},
      {"vgscan", "vgscan", "List volume groups.", {{"mknodes"}, {"notifydbus"}}, false, run_vgscan},
  };
}

}  // namespace

const std::vector<LvmVerb>& lvm_verbs() {
  static const std::vector<LvmVerb> verbs = [] {
    std::vector<LvmVerb> all;
    for (auto* make : {lv_verbs, pv_verbs, vg_verbs})
      for (LvmVerb& verb : make()) all.push_back(std::move(verb));
    return all;
  }();
  return verbs;
}

const std::vector<LvmOption>& common_lvm_options() {
  static const std::vector<LvmOption> options = {
      {"verbose", 'v'},
      {"quiet", 'q'},
      {"debug", 'd'},
      {"test", 't'},
      {"yes", 'y'},
      {"help", 'h'},
      {"longhelp"},
      {"version"},
      {"config", 0, true},
      {"profile", 0, true},
      {"commandprofile", 0, true},
      {"driverloaded", 0, true},
      {"autobackup", 'A', true},
      {"lockopt", 0, true},
      {"devices", 0, true},
      {"devicesfile", 0, true},
      {"nolocking"},
      {"nohints"},
      {"journal", 0, true},
  };
  return options;
}

}  // namespace respaldo::cli
