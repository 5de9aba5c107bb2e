#include "restore/pax_header.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace respaldo::restore {

namespace {

constexpr std::size_t kBlock = 512, kSizeAt = 124, kSizeDigits = 11, kSumAt = 148, kSumLength = 8,
                      kTypeAt = 156;
constexpr std::string_view kAttribute = "SCHILY.xattr.", kCharset = "hdrcharset";
constexpr std::string_view kAclAttribute = "SCHILY.xattr.system.posix_acl_", kAcl = "SCHILY.acl.";

struct Record {
  std::string key, value;
};

[[noreturn]] void fail() {
  throw Error(ErrorKind::internal, "libarchive wrote a header that cannot be read");
}

std::size_t padded(std::size_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

std::vector<Record> parse(std::string_view body) {
  std::vector<Record> records;
  while (!body.empty()) {
    std::size_t length = 0;
    const auto [end, failed] = std::from_chars(body.data(), body.data() + body.size(), length);
    const auto start = static_cast<std::size_t>(end - body.data()) + 1;
    if (failed != std::errc() || length > body.size() || length <= start || body[start - 1] != ' ') fail();
    const std::string_view text = body.substr(start, length - start - 1);  // without the newline
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) fail();
    records.push_back({std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))});
    body.remove_prefix(length);
  }
  return records;
}

std::string unquoted(std::string_view name) {
  std::string plain;
  for (std::size_t at = 0; at < name.size(); ++at) {
    unsigned value = 0;
    const std::string_view digits = name.substr(std::min(at + 1, name.size()), 2);
    if (name[at] == '%' && digits.size() == 2 &&
        std::from_chars(digits.data(), digits.data() + 2, value, 16).ptr == digits.data() + 2 &&
        value != '%' && value != '=') {
      plain += static_cast<char>(value);
      at += 2;
    } else {
      plain += name[at];
    }
  }
  return plain;
}

// libarchive adds the fraction to the seconds, also where they are negative: "-5.75" for what is 4.25 before
// 1970.
std::string readable_time(const std::string& value) {
  constexpr std::uint64_t kNanoseconds = 1'000'000'000;
  const std::size_t point = value.find('.');
  if (!value.starts_with('-') || point == std::string::npos || value.size() - point > 10) return value;
  std::uint64_t seconds = 0, fraction = 0;
  std::from_chars(value.data() + 1, value.data() + point, seconds);
  const std::string digits = fmt::format("{:0<9}", value.substr(point + 1));
  std::from_chars(digits.data(), digits.data() + digits.size(), fraction);
  if (seconds == 0 || fraction == 0) return value;
  return fmt::format("-{}.{:09}", seconds - 1, kNanoseconds - fraction);
}

// Its length counts itself.
std::string record_text(const Record& record) {
  const std::size_t rest = record.key.size() + record.value.size() + 3;
  std::size_t length = rest + 1;
  while (rest + std::to_string(length).size() != length) length = rest + std::to_string(length).size();
  return fmt::format("{} {}={}\n", length, record.key, record.value);
}

void set_size(std::string& block, std::size_t size) {
  block.replace(kSizeAt, kSizeDigits, fmt::format("{:011o}", size));
  block.replace(kSumAt, kSumLength, kSumLength, ' ');
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<std::uint8_t>(c);
  block.replace(kSumAt, kSumLength - 1, fmt::format("{:06o}", sum) + '\0');
}

}  // namespace

std::string plain_pax_header(std::string head) {
  if (head.size() < 2 * kBlock || head[kTypeAt] != 'x') return head;
  std::size_t size = 0;
  std::from_chars(head.data() + kSizeAt, head.data() + kSizeAt + kSizeDigits, size, 8);
  if (size > head.size() - kBlock || padded(size) > head.size() - kBlock) fail();
  const std::vector<Record> records = parse(std::string_view(head).substr(kBlock, size));
  bool binary = false, changed = false;
  for (const Record& record : records) binary |= !record.key.starts_with("SCHILY.") && !is_utf8(record.value);
  std::string body;
  for (const Record& record : records) {
    if (record.key == kCharset && !binary) {
      changed = true;
      continue;
    }
    Record plain = record;
    if (plain.key.starts_with(kAclAttribute))
      plain.key.replace(0, kAclAttribute.size(), kAcl);
    else if (plain.key.starts_with(kAttribute))
      plain.key = std::string(kAttribute) + unquoted(plain.key.substr(kAttribute.size()));
    if (plain.key == "mtime" || plain.key == "atime") plain.value = readable_time(record.value);
    changed |= plain.key != record.key || plain.value != record.value;
    body += record_text(plain);
  }
  if (!changed) return head;
  std::string block = head.substr(0, kBlock);
  set_size(block, body.size());
  body.resize(padded(body.size()));
  return block + body + head.substr(kBlock + padded(size));
}

}  // namespace respaldo::restore
