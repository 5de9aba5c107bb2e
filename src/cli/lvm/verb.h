// What the verbs' code shares: the call, and option values as lvm2 reads them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/lvm/lvm_command.h"
#include "cli/lvm/options.h"
#include "engine/image/lvm_ops.h"

namespace respaldo::cli {

// One run of a verb.
struct Call {
  engine::OpContext& op;
  const LvmVerb& verb;
  const LvmArguments& arguments;
  const LvmWorld& world;
};

// Prints a block of lines.
void print_block(const LvmWorld& world, std::string_view text);

// --- Values. Bad ones are SyntaxErrors.
// Bytes; `unit`: of a number without a letter.
std::uint64_t size_option(const LvmArguments& arguments, std::string_view option, std::uint64_t unit,
                          std::uint64_t otherwise);
std::uint64_t count_option(const LvmArguments& arguments, std::string_view option, std::uint64_t otherwise,
                           std::uint64_t most);
bool yes_option(const LvmArguments& arguments, std::string_view option, bool otherwise);
std::vector<std::string> tags_option(const LvmArguments& arguments, std::string_view option);
// --alloc and --contiguous; absent: inherit, or not given.
std::optional<engine::AllocationPolicy> policy_of(const LvmArguments& arguments);
// -L or -l, exactly one; which signs the verb takes.
engine::SizeSpec size_of(const Call& call, bool plus, bool minus);
// Refuses -M1.
void require_lvm2_format(const LvmArguments& arguments);

// The positional word, or lvm2's complaint about the syntax.
const std::string& word(const Call& call, std::size_t index);
std::vector<std::string> words_from(const LvmArguments& arguments, std::size_t first);
// "/dev/vg0" -> "vg0".
std::string without_dev(std::string name);
// lvm2's words for a command line that fits no syntax of the verb.
SyntaxError no_matching_syntax(const LvmVerb& verb);
// The name given with -n: "name" or "VG/name".
std::string new_lv_name(const std::string& given);

// --- The verbs
// Verbs that show.
void run_lvs(const Call& call);
void run_vgs(const Call& call);
void run_pvs(const Call& call);
void run_lvdisplay(const Call& call);
void run_vgdisplay(const Call& call);
void run_pvdisplay(const Call& call);
void run_lvscan(const Call& call);
void run_vgscan(const Call& call);
void run_pvscan(const Call& call);
// Verbs that change PVs and groups.
void run_pvcreate(const Call& call);
void run_pvremove(const Call& call);
void run_pvmove(const Call& call);
void run_pvchange(const Call& call);
void run_vgcreate(const Call& call);
void run_vgextend(const Call& call);
void run_vgreduce(const Call& call);
void run_vgremove(const Call& call);
void run_vgrename(const Call& call);
void run_vgchange(const Call& call);
void run_vgcfgbackup(const Call& call);
void run_vgcfgrestore(const Call& call);
void run_vgck(const Call& call);
// Verbs that change LVs.
void run_lvcreate(const Call& call);
void run_lvextend(const Call& call);
void run_lvreduce(const Call& call);
void run_lvresize(const Call& call);
void run_lvremove(const Call& call);
void run_lvrename(const Call& call);
void run_lvchange(const Call& call);
void run_lvconvert(const Call& call);

}  // namespace respaldo::cli
