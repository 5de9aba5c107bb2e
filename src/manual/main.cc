// Writes the manual pages and the bash completion; run by the build.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "manual/completion.h"
#include "manual/page.h"
#include "os/file.h"

namespace {

using respaldo::os::Path;

void write(const Path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) throw respaldo::Error(respaldo::ErrorKind::io, "cannot write " + file.native());
}

// A text that nobody wrote yet leaves its page without a description; the test docs.manual_pages says so.
std::string text_of(const Path& folder, const std::string& name) {
  return respaldo::os::try_read_text(folder / (name + ".md")).value_or("");
}

void generate(const Path& texts, const Path& target) {
  namespace manual = respaldo::manual;
  std::filesystem::create_directories(target / "man");
  std::filesystem::create_directories(target / "completion");
  const manual::CommandRow program = manual::program_table();
  write(target / "man/respaldo.8", manual::program_page(program, text_of(texts, "respaldo")));
  for (const manual::CommandRow& command : program.commands)
    write(target / "man" / ("respaldo-" + command.name + ".8"),
          manual::command_page(command, text_of(texts, command.name)));
  write(target / "man/respaldo.toml.5",
        manual::text_page("respaldo.toml", 5, "configuration of respaldo's jobs",
                          manual::manual_text(text_of(texts.parent_path(), "configuration"))));
  write(target / "completion/respaldo", manual::bash_completion(program));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: make_manual TEXTS TARGET\n");
    return 2;
  }
  try {
    generate(argv[1], argv[2]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_manual: %s\n", error.what());
    return 1;
  }
}
