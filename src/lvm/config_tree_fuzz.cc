// Any text: it is refused with an Error, or what is printed of it is the same tree again, in either style.
#include "lvm/config_tree.h"

#include "base/error.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lvm::ConfigSection tree;
  try {
    tree = lvm::parse_config({reinterpret_cast<const char*>(data), size});
  } catch (const Error&) {
    return 0;
  }
  for (const lvm::TextStyle style : {lvm::TextStyle::on_disk, lvm::TextStyle::file})
    if (lvm::parse_config(lvm::print_config(tree, style)) != tree) __builtin_trap();
  return 0;
}
