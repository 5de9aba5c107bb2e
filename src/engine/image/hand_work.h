// What the work of hands on images shares: an lvm verb's world in which nobody is asked and nothing is printed.
#pragma once

#include <string>
#include <string_view>

#include "engine/image/activation_client.h"
#include "engine/image/lvm_ops.h"

namespace respaldo::engine {

OpContext quiet_context(DiskSet& disks, std::string command);

// Error with what the activation's verb said, unless it succeeded.
void must(const ActivationClient::CommandReply& reply, std::string_view what);

}  // namespace respaldo::engine
