#include "engine/kernel/tools/dm_status.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/units.h"

namespace respaldo::engine {

namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

bool number(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// "16/24576".
bool fraction(std::string_view text, std::uint64_t& above, std::uint64_t& below) {
  const std::size_t slash = text.find('/');
  return slash != text.npos && number(text.substr(0, slash), above) && number(text.substr(slash + 1), below);
}

bool to_bytes(std::uint64_t& sectors) {
  if (sectors > UINT64_MAX / kSector) return false;
  sectors *= kSector;
  return true;
}

}  // namespace

std::uint32_t SnapshotStatus::percent_x100() const {
  if (state != SnapshotState::valid || total == 0) return 10000;
  if (used <= metadata) return 0;
  if (used >= total) return 10000;
  const auto share =
      static_cast<std::uint32_t>(static_cast<double>(used) * 10000.0 / static_cast<double>(total));
  return std::clamp<std::uint32_t>(share, 1, 9999);
}

std::optional<SnapshotStatus> parse_snapshot_status(std::string_view text) {
  SnapshotStatus status;
  const auto words = words_of(text);
  if (words.empty()) return std::nullopt;
  if (words[0] == "Invalid") {
    status.state = SnapshotState::invalid;
  } else if (words[0] == "Overflow") {
    status.state = SnapshotState::overflow;
  } else if (words[0] == "Merge") {
    status.state = SnapshotState::merge_failed;
  } else if (words[0] == "Unknown") {
    status.state = SnapshotState::unknown;
  } else {
    status.state = SnapshotState::valid;
    // Before target version 1.8 the metadata sectors were not told.
    if (!fraction(words[0], status.used, status.total) ||
        (words.size() > 1 && !number(words[1], status.metadata)) || !to_bytes(status.used) ||
        !to_bytes(status.total) || !to_bytes(status.metadata))
      return std::nullopt;
  }
  return status;
}

std::optional<PoolStatus> parse_pool_status(std::string_view text) {
  PoolStatus status;
  const auto words = words_of(text);
  if (words.empty()) return std::nullopt;
  if (words[0] == "Fail" || words[0] == "Error") {
    status.mode = PoolMode::failed;
    return status;
  }
  if (words.size() < 5 || !number(words[0], status.transaction) ||
      !fraction(words[1], status.used_metadata_blocks, status.total_metadata_blocks) ||
      !fraction(words[2], status.used_data_blocks, status.total_data_blocks))
    return std::nullopt;
  if (std::uint64_t root = 0; number(words[3], root)) status.held_root = root;
  if (words[4] == "ro") status.mode = PoolMode::read_only;
  if (words[4] == "out_of_data_space") status.mode = PoolMode::out_of_data_space;
  for (std::string_view word : words) {
    status.needs_check |= word == "needs_check";
    status.error_if_no_space |= word == "error_if_no_space";
  }
  return status;
}

std::optional<ThinStatus> parse_thin_status(std::string_view text) {
  ThinStatus status;
  const auto words = words_of(text);
  if (words.empty()) return std::nullopt;
  if (words[0] == "Fail" || words[0] == "Error") {
    status.failed = true;
    return status;
  }
  if (!number(words[0], status.mapped) || !to_bytes(status.mapped)) return std::nullopt;
  return status;
}

std::optional<MirrorStatus> parse_mirror_status(std::string_view text) {
  MirrorStatus status;
  const auto words = words_of(text);
  std::uint64_t sides = 0;
  if (words.empty() || !number(words[0], sides) || sides == 0 || sides > words.size()) return std::nullopt;
  // After the sides: the fraction, how many words of health follow, and one letter for each side.
  if (words.size() < sides + 4 || !fraction(words[sides + 1], status.done, status.total)) return std::nullopt;
  const std::string_view health = words[sides + 3];
  if (status.total == 0 || status.done > status.total || health.size() != sides) return std::nullopt;
  status.failed = std::ranges::any_of(health, [](char c) { return c != 'A'; });
  return status;
}

}  // namespace respaldo::engine
