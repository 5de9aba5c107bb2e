#include "block/write_count.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <sstream>

#include "os/file.h"

namespace respaldo::block {

WriteCount::WriteCount(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0 || !S_ISBLK(st.st_mode)) return;
  if (::fdatasync(fd) != 0) return;
  const auto text =
      os::try_read_text(fmt::format("/sys/dev/block/{}:{}/stat", ::major(st.st_rdev), ::minor(st.st_rdev)), 4096);
  std::istringstream words(text.value_or(""));
  std::array<std::uint64_t, 15> fields{};
  for (std::uint64_t& field : fields)
    if (!(words >> field)) break;  // older kernels count no discards
  constexpr std::size_t kWritten = 6, kDiscarded = 13;
  known_ = text.has_value();
  sectors_ = fields[kWritten] + fields[kDiscarded];
}

}  // namespace respaldo::block
