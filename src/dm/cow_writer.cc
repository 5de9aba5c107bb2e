#include "dm/cow_writer.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "base/units.h"

namespace respaldo::dm {

CowWriter::CowWriter(block::WritableDevicePtr cow, std::uint64_t fallback_chunk) : cow_(std::move(cow)) {
  CowStore store = CowStore::load(*cow_, fallback_chunk);
  if (store.fresh()) format_cow_store(*cow_, fallback_chunk);
  const CowStatus& status = store.status();
  geometry_ = {status.chunk, cow_->size() / status.chunk};
  valid_ = status.valid;
  marked_ = !valid_;
  if (!valid_) return;
  map_ = store.map();
  next_free_ = status.used / status.chunk;
  area_ = status.metadata / status.chunk - 2;
  committed_ = status.exceptions - area_ * geometry_.entries();
  entries_ = Bytes::zeroed(geometry_.chunk);
  // What lies behind the end of the list (an interrupted merge leaves such) must not come back to life.
  if (committed_ > 0)
    cow_->read_at(geometry_.area_chunk(area_) * geometry_.chunk,
                  entries_.span().first(committed_ * sizeof(CowEntry)));
}

CowStatus CowWriter::status() const {
  CowStatus status;
  status.valid = valid_;
  status.chunk = geometry_.chunk;
  status.total = cow_->size();
  status.used = valid_ ? next_free_ * geometry_.chunk : status.total;
  status.metadata = valid_ ? (area_ + 2) * geometry_.chunk : 0;
  status.exceptions = map_.size();
  return status;
}

std::optional<CowWriter::Batch> CowWriter::allocate(const std::vector<ChunkRun>& old_chunks) const {
  Batch batch;
  batch.first_area = area_;
  batch.first_entry = batch.committed = committed_;
  batch.next_free = next_free_;
  batch.areas.push_back(entries_.clone());
  for (const ChunkRun& run : old_chunks) {
    for (std::uint64_t old_chunk = run.first; old_chunk < run.first + run.count; ++old_chunk) {
      const std::uint64_t new_chunk = batch.next_free;
      if (new_chunk >= geometry_.chunks) return std::nullopt;
      batch.next_free = geometry_.skip_area(new_chunk + 1);
      CowEntry entry;
      entry.old_chunk.set(old_chunk);
      entry.new_chunk.set(new_chunk);
      std::memcpy(batch.areas.back().data() + batch.committed * sizeof(entry), &entry, sizeof(entry));
      if (++batch.committed == geometry_.entries()) {
        // A full area must be followed by another one, empty as yet.
        if (geometry_.area_chunk(area_ + batch.areas.size()) >= geometry_.chunks) return std::nullopt;
        batch.areas.push_back(Bytes::zeroed(geometry_.chunk));
        batch.committed = 0;
      }
      Placement* last = batch.placements.empty() ? nullptr : &batch.placements.back();
      if (last != nullptr && last->old_chunk + last->count == old_chunk &&
          last->new_chunk + last->count == new_chunk) {
        ++last->count;
      } else {
        batch.placements.push_back({old_chunk, new_chunk, 1});
      }
    }
  }
  return batch;
}

void CowWriter::prepare(const Batch& batch) {
  for (std::size_t i = 1; i < batch.areas.size(); ++i)
    cow_->write_at(geometry_.area_chunk(batch.first_area + i) * geometry_.chunk, batch.areas[i]);
}

void CowWriter::expose(const Batch& batch) {
  // Only what changed of the area, in pages: an area can be 512 KiB for one entry.
  constexpr std::uint64_t kPage = 4 * kKiB;
  const std::uint64_t begin = batch.first_entry * sizeof(CowEntry) / kPage * kPage;
  const std::uint64_t last = batch.areas.size() > 1 ? geometry_.chunk : batch.committed * sizeof(CowEntry);
  const std::uint64_t end = std::min((last + kPage - 1) / kPage * kPage, geometry_.chunk);
  cow_->write_at(geometry_.area_chunk(batch.first_area) * geometry_.chunk + begin,
                 batch.areas[0].view(begin, end - begin));
}

void CowWriter::publish(Batch batch) {
  for (const Placement& placement : batch.placements)
    for (std::uint64_t i = 0; i < placement.count; ++i)
      map_.insert(placement.old_chunk + i, placement.new_chunk + i);
  area_ = batch.first_area + batch.areas.size() - 1;
  entries_ = std::move(batch.areas.back());
  committed_ = batch.committed;
  next_free_ = batch.next_free;
}

bool CowWriter::invalidate() noexcept {
  if (valid_) valid_ = false;  // others read it: it is written once
  if (marked_) return true;
  try {
    map_.clear();
    Bytes sector = block::read(*cow_, 0, kSector);
    store_le32(sector.data() + offsetof(CowHeader, valid), 0);
    cow_->write_at(0, sector);
    cow_->flush();
    marked_ = true;
  } catch (const std::exception&) {
    // The caller is told, and tries again.
  }
  return marked_;
}

void CowWriter::grow(block::WritableDevicePtr cow) {
  if (cow->size() < geometry_.chunks * geometry_.chunk)
    throw Error(ErrorKind::internal, "a COW store cannot become smaller");
  cow_ = std::move(cow);
  geometry_.chunks = cow_->size() / geometry_.chunk;
}

}  // namespace respaldo::dm
