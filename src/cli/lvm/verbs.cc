// The table of verbs: names, syntax, options.
#include "cli/lvm/options.h"

namespace respaldo::cli {

namespace {

// Groups of options that several verbs share.
const std::vector<LvmOption> kReport = {
    {"all", 'a'},
    {"options", 'o', true},
    {"sort", 'O', true},
    {"units", 0, true},
    {"nosuffix"},
    {"noheadings"},
    {"separator", 0, true},
    {"aligned"},
    {"nameprefixes"},
    {"unquoted"},
    {"select", 'S', true},
    {"segments"},
    {"reportformat", 0, true},
    {"readonly"},
};
const std::vector<LvmOption> kDisplay = {
    {"columns", 'C'},
};
const std::vector<LvmOption> kPvFormat = {
    {"dataalignment", 0, true},
    {"dataalignmentoffset", 0, true},
    {"metadatasize", 0, true},
    {"pvmetadatacopies", 0, true},
    {"metadatacopies", 0, true},
    {"labelsector", 0, true},
    {"bootloaderareasize", 0, true},
    {"zero", 'Z', true},
    {"metadatatype", 'M', true},
    {"metadataignore", 0, true},
    {"force", 'f'},
};
const std::vector<LvmOption> kAllocation = {
    {"size", 'L', true},
    {"extents", 'l', true},
    {"stripes", 'i', true},
    {"stripesize", 'I', true},
    {"alloc", 0, true},
    {"type", 0, true},
    {"nofsck"},
    {"force", 'f'},
    {"noudevsync"},
    {"ignorelockingfailure"},
};

std::vector<LvmOption> join(std::initializer_list<std::vector<LvmOption>> lists) {
  std::vector<LvmOption> result;
  for (const auto& list : lists) result.insert(result.end(), list.begin(), list.end());
  return result;
}

std::vector<LvmVerb> make_verbs() {
  return {
      {"lvconvert",
       "lvconvert --merge LV_snapshot ...\n  lvconvert -s|--snapshot LV LV_cow\n  lvconvert --splitsnapshot "
       "LV_snapshot",
       "Merge a snapshot into its origin; pair or split a snapshot.",
       {{"merge"},
        {"mergesnapshot"},
        {"snapshot", 's'},
        {"splitsnapshot"},
        {"chunksize", 'c', true},
        {"zero", 'Z', true},
        {"type", 0, true},
        {"background", 'b'},
        {"interval", 'i', true},
        {"force", 'f'},
        {"alloc", 0, true},
        {"noudevsync"}},
       true},
      {"lvcreate", "lvcreate -L|--size Size[m|UNIT] VG\n  lvcreate -s|--snapshot -L|--size Size[m|UNIT] LV",
       "Create a logical volume, or a snapshot of one.",
       join({{
           {"size", 'L', true},
           {"extents", 'l', true},
           {"stripes", 'i', true},
           {"stripesize", 'I', true},
           {"alloc", 0, true},
           {"type", 0, true},
           {"name", 'n', true},
           {"snapshot", 's'},
           {"chunksize", 'c', true},
           {"addtag", 0, true},
           {"permission", 'p', true},
           {"zero", 'Z', true},
           {"wipesignatures", 'W', true},
           {"activate", 'a', true},
           {"setactivationskip", 'k', true},
           {"ignoreactivationskip", 'K'},
           {"contiguous", 'C', true},
           {"readahead", 'r', true},

           {"noudevsync"},
           {"monitor", 0, true},
           {"ignoremonitoring"},

       }}),
       true},
      {"lvdisplay", "lvdisplay", "Show logical volumes, line by line.", join({kReport, kDisplay}), false},
      {"lvextend", "lvextend -L|--size [+]Size[m|UNIT] LV", "Add space to a logical volume.", kAllocation,
       true},
      {"lvreduce", "lvreduce -L|--size [-]Size[m|UNIT] LV", "Take space from a logical volume.", kAllocation,
       true},
      {"lvremove",
       "lvremove VG|LV|Tag|Select ...",
       "Remove logical volumes.",
       {{"force", 'f'}, {"select", 'S', true}, {"noudevsync"}, {"nohistory"}},
       true},
      {"lvrename",
       "lvrename VG LV LV_new\n  lvrename LV LV_new",
       "Rename a logical volume.",
       {{"noudevsync"}},
       true},
      {"lvs", "lvs", "Report logical volumes.", kReport, false},
      {"lvscan",
       "lvscan",
       "List logical volumes.",
       {{"all", 'a'}, {"blockdevice", 'b'}, {"partial", 'P'}, {"readonly"}},
       false},
      {"pvcreate", "pvcreate PV ...", "Make images or partitions ready for a volume group.",
       join({kPvFormat,
             {{"uuid", 'u', true},
              {"restorefile", 0, true},
              {"norestorefile"},
              {"setphysicalvolumesize", 0, true}}}),
       true},
      {"pvdisplay", "pvdisplay", "Show physical volumes, line by line.", join({kReport, kDisplay}), false},
      {"pvmove",
       "pvmove PV",
       "Move extents to other physical volumes.",
       {{"name", 'n', true},
        {"alloc", 0, true},
        {"abort"},
        {"background", 'b'},
        {"interval", 'i', true},
        {"atomic"},
        {"noudevsync"}},
       true},
      {"pvremove", "pvremove PV ...", "Remove the label of a physical volume.", {{"force", 'f'}}, true},
      {"pvs", "pvs", "Report physical volumes.", kReport, false},
      {"pvscan",
       "pvscan",
       "List physical volumes.",
       {{"exported", 'e'}, {"novolumegroup", 'n'}, {"short", 's'}, {"uuid", 'u'}},
       false},
      {"vgcfgbackup",
       "vgcfgbackup",
       "Write a volume group's metadata to a file.",
       {{"file", 'f', true}, {"foreign"}, {"readonly"}, {"partial", 'P'}, {"ignorelockingfailure"}},
       false},
      {"vgcfgrestore",
       "vgcfgrestore VG",
       "Bring a volume group's metadata back from a file.",
       {{"file", 'f', true}, {"list", 'l'}, {"force", 0}, {"metadatatype", 'M', true}},
       true},
      {"vgck", "vgck", "Check a volume group's metadata, and repair its copies.", {{"updatemetadata"}}, true},
      {"vgcreate", "vgcreate VG_new PV ...", "Create a volume group.",
       join({kPvFormat,
             {{"physicalextentsize", 's', true},
              {"maxlogicalvolumes", 'l', true},
              {"maxphysicalvolumes", 'p', true},
              {"addtag", 0, true},
              {"alloc", 0, true},
              {"clustered", 'c', true},
              {"vgmetadatacopies", 0, true},
              {"systemid", 0, true},
              {"shared"},
              {"setautoactivation", 0, true}}}),
       true},
      {"vgdisplay", "vgdisplay", "Show volume groups, line by line.",
       join({kReport, kDisplay, {{"activevolumegroups", 'A'}}}), false},
      {"vgextend", "vgextend VG PV ...", "Add physical volumes to a volume group.",
       join({kPvFormat, {{"restoremissing"}}}), true},
      {"vgreduce",
       "vgreduce VG PV ...",
       "Remove physical volumes from a volume group.",
       {{"all", 'a'}, {"removemissing"}, {"force", 'f'}, {"mirrorsonly"}},
       true},
      {"vgremove",
       "vgremove VG|Tag|Select ...",
       "Remove a volume group.",
       {{"force", 'f'}, {"select", 'S', true}, {"noudevsync"}},
       true},
      {"vgs", "vgs", "Report volume groups.", kReport, false},
      {"vgscan", "vgscan", "List volume groups.", {{"mknodes"}, {"notifydbus"}}, false},
  };
}

}  // namespace

const std::vector<LvmVerb>& lvm_verbs() {
  static const std::vector<LvmVerb> verbs = make_verbs();
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
