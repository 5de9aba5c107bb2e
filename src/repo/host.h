// Who we are, for keys, locks and snapshots.
#pragma once

#include <string>

namespace respaldo::repo {

std::string this_host();  // the kernel's name of this machine
std::string this_user();  // the effective user's name, or number

}  // namespace respaldo::repo
