#include "backup/cut_recorder.h"

#include <fmt/format.h>

#include "base/endian.h"
#include "base/hex.h"
#include "crypto/crypto.h"

namespace respaldo::backup {

namespace {

// To be raised whenever the same bytes would be cut in another way: by Cutter, ContentCutter or the plan.
constexpr int kRules = 2;

}  // namespace

CutRecorder::CutRecorder(const CutPlan& plan, bool free_dropped, std::string cutter) : plan_(plan) {
  record_.cutter = std::move(cutter);
  record_.free_dropped = free_dropped;
  record_.complete_to = plan.size;
  for (const Span& span : plan.spans) {
    if (span.kind != SpanKind::read || span.cut != CutKind::content) continue;
    if (record_.content.size() == view::CutRecord::kMostEntries) {
      record_.complete_to = span.extent.offset;
      break;
    }
    record_.content.push_back(span.extent);
  }
}

void CutRecorder::take(const StoredChunk& chunk) {
  if (!record_.free_dropped || !zeros_.is_zero(chunk.length, chunk.id)) return;
  // A run of zero chunks may reach from what was read into what was not.
  const Extent all{chunk.offset, std::uint64_t{chunk.length} * chunk.repeat};
  while (span_ < plan_.spans.size() && plan_.spans[span_].extent.end() <= all.offset) ++span_;
  for (std::size_t i = span_; i < plan_.spans.size() && plan_.spans[i].extent.offset < all.end(); ++i)
    if (plan_.spans[i].kind == SpanKind::read) add_zeros(intersect(plan_.spans[i].extent, all));
}

void CutRecorder::add_zeros(Extent extent) {
  if (record_.zeros.extents().size() < view::CutRecord::kMostEntries)
    record_.zeros.add(extent);
  else
    record_.complete_to = std::min(record_.complete_to, extent.offset);
}

view::CutRecord CutRecorder::take_record() { return std::move(record_); }

std::string cutter_name(std::uint64_t cut_key) {
  std::array<std::uint8_t, 8> key{};
  store_le64(key.data(), cut_key);
  const auto hash = crypto::sha256(as_bytes("respaldo name of a cutter " + to_hex(key)));
  return fmt::format("{} {}", kRules, to_hex(ByteView(hash).first(8)));
}

}  // namespace respaldo::backup
