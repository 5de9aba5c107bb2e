#include "parity/sidecar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/hex.h"
#include "base/printable.h"

namespace respaldo::parity {

namespace {

constexpr std::size_t kHeader = sizeof(DiskSidecarHeader);

std::optional<SidecarHeader> header_at(ByteView file, std::uint64_t offset) {
  if (offset > file.size() || file.size() - offset < kHeader) return std::nullopt;
  DiskSidecarHeader disk;
  std::memcpy(&disk, file.data() + offset, kHeader);
  return unpack(disk);
}

// The slices of one object, by codeword and column; what lies behind its end is zeros.
class Slices {
 public:
  explicit Slices(const Geometry& geometry)
      : geometry_(geometry),
        zeros_(Bytes::zeroed(geometry.slice_size)),
        last_(Bytes::zeroed(geometry.slice_size)) {}

  // `object` has its full size. The last slice is kept as a copy that is filled up.
  void collect(const std::uint8_t* object, std::uint32_t codeword,
               std::vector<const std::uint8_t*>& columns) {
    columns.assign(geometry_.columns(), zeros_.data());
    for (std::uint64_t column = 0, slice = codeword; slice < geometry_.data_slices();
         ++column, slice += geometry_.codewords) {
      const std::uint8_t* at = object + slice * geometry_.slice_size;
      if (const std::uint64_t length = geometry_.length_of(slice); length < geometry_.slice_size) {
        std::memcpy(last_.data(), at, length);
        at = last_.data();
      }
      columns[column] = at;
    }
  }

 private:
  const Geometry geometry_;
  Bytes zeros_, last_;
};

}  // namespace

Bytes make_sidecar(const store::Handle& handle, ByteView object, const Settings& settings) {
  SidecarHeader header{
      *object_type_of(handle.type), {}, choose_geometry(handle.type, object.size(), settings)};
  if (!is_named_by_hash(handle.type))
    header.sha256 = crypto::sha256(object);
  else if (!from_hex(handle.name, header.sha256))
    throw Error(ErrorKind::internal, fmt::format("'{}' is no object's name", printable(handle.name)));
  const Geometry& geometry = header.geometry;
  if (!geometry.valid())
    throw Error(ErrorKind::internal, fmt::format("no parity for an object of {} bytes", object.size()));
  Bytes file(geometry.sidecar_size());

  const ErasureCode code(static_cast<unsigned>(geometry.columns()), geometry.rows);
  Slices slices(geometry);
  std::vector<const std::uint8_t*> columns;
  std::vector<std::uint8_t*> rows(geometry.rows);
  for (std::uint32_t codeword = 0; codeword < geometry.codewords; ++codeword) {
    slices.collect(object.data(), codeword, columns);
    for (std::uint64_t row = 0; row < geometry.rows; ++row)
      rows[row] = file.data() + geometry.parity_offset() +
                  (row * geometry.codewords + codeword) * geometry.slice_size;
    code.encode(columns, rows, geometry.slice_size);
  }

  const DiskSidecarHeader disk = pack(header);
  std::memcpy(file.data(), &disk, kHeader);
  std::uint8_t* table = file.data() + kHeader;
  for (std::uint64_t i = 0; i < geometry.data_slices(); ++i, table += 8)
    store_le64(table, slice_crc(object.subspan(i * geometry.slice_size, geometry.length_of(i)),
                                geometry.slice_size));
  for (std::uint64_t p = 0; p < geometry.parity_slices(); ++p, table += 8)
    store_le64(table,
               crc64(file.view(geometry.parity_offset() + p * geometry.slice_size, geometry.slice_size)));
  std::memcpy(file.data() + geometry.second_table_offset(), file.data() + kHeader, geometry.table_size());
  std::memcpy(file.data() + file.size() - kHeader, &disk, kHeader);
  return file;
}

std::optional<SidecarHeader> Sidecar::parse_header(ByteView start) { return header_at(start, 0); }

std::optional<Sidecar> Sidecar::parse(Bytes file) {
  auto first = header_at(file, 0);
  const auto second = file.size() < kHeader ? std::nullopt : header_at(file, file.size() - kHeader);
  // The one at the end counts only where its own numbers put it.
  if (!first && second && second->geometry.sidecar_size() == file.size()) first = second;
  if (!first) return std::nullopt;
  // Nobody is given memory for more than the parity here could stand for.
  if (first->geometry.object_size / kMostShards > file.size()) return std::nullopt;
  Sidecar sidecar;
  sidecar.file_ = std::move(file);
  sidecar.header_ = *first;
  sidecar.intact_ = sidecar.check_all();
  return sidecar;
}

bool Sidecar::check_all() const {
  if (file_.size() != geometry().sidecar_size()) return false;
  const ByteView file = file_;
  if (std::memcmp(file.data(), file.data() + file.size() - kHeader, kHeader) != 0 ||
      std::memcmp(file.data() + kHeader, file.data() + geometry().second_table_offset(),
                  geometry().table_size()) != 0)
    return false;
  for (std::uint64_t p = 0; p < geometry().parity_slices(); ++p)
    if (!parity(p)) return false;
  return true;
}

std::optional<std::uint64_t> Sidecar::crc_at(std::uint64_t table_offset, std::uint64_t slice_number) const {
  const std::uint64_t at = table_offset + 8 * slice_number;
  if (at > file_.size() || file_.size() - at < 8) return std::nullopt;
  return load_le64(file_.data() + at);
}

bool Sidecar::crc_matches(std::uint64_t slice_number, std::uint64_t crc) const {
  return crc_at(kHeader, slice_number) == crc ||
         crc_at(geometry().second_table_offset(), slice_number) == crc;
}

bool Sidecar::data_matches(std::uint64_t slice_number, ByteView slice) const {
  return slice_number < geometry().data_slices() && slice.size() == geometry().length_of(slice_number) &&
         crc_matches(slice_number, slice_crc(slice, geometry().slice_size));
}

std::optional<ByteView> Sidecar::parity(std::uint64_t slice_number) const {
  const std::uint64_t at = geometry().parity_offset() + slice_number * geometry().slice_size;
  if (at > file_.size() || file_.size() - at < geometry().slice_size) return std::nullopt;
  const ByteView slice = file_.view(at, geometry().slice_size);
  if (!crc_matches(geometry().data_slices() + slice_number, crc64(slice))) return std::nullopt;
  return slice;
}

bool Sidecar::describes(ByteView object, const crypto::Digest& sha256) const {
  if (object.size() != geometry().object_size || sha256 != header_.sha256) return false;
  for (std::uint64_t i = 0; i < geometry().data_slices(); ++i)
    if (!data_matches(i, object.subspan(i * geometry().slice_size, geometry().length_of(i)))) return false;
  return true;
}

namespace {

// One object on its way back, codeword by codeword.
class Healing {
 public:
  Healing(const Sidecar& sidecar, const Reading& object)
      : sidecar_(sidecar),
        geometry_(sidecar.geometry()),
        object_(object),
        code_(static_cast<unsigned>(geometry_.columns()), geometry_.rows),
        // Slice by slice, the last one filled up: a buffer of whole slices.
        whole_(Bytes::zeroed(geometry_.data_slices() * geometry_.slice_size)),
        zeros_(Bytes::zeroed(geometry_.slice_size)) {}

  HealResult run() {
    const std::uint64_t kept = std::min<std::uint64_t>(object_.bytes.size(), geometry_.object_size);
    if (kept > 0) std::memcpy(whole_.data(), object_.bytes.data(), kept);
    for (std::uint32_t codeword = 0; codeword < geometry_.codewords; ++codeword)
      heal_codeword(codeword, kept);
    if (object_.bytes.size() > geometry_.object_size)
      result_.damaged.add({geometry_.object_size, object_.bytes.size() - geometry_.object_size});
    if (beyond_ > 0) {
      result_.why_not = fmt::format(
          "{} of {} codewords have more damaged slices than the {} that their parity can bring back", beyond_,
          geometry_.codewords, geometry_.rows);
      return std::move(result_);
    }
    whole_.resize(geometry_.object_size);
    if (crypto::sha256(whole_) == sidecar_.header().sha256)
      result_.healed = std::move(whole_);
    else
      result_.why_not = "what the parity gives does not have the right SHA-256";
    return std::move(result_);
  }

 private:
  void heal_codeword(std::uint32_t codeword, std::uint64_t kept) {
    std::vector<std::uint8_t*> columns(geometry_.columns(), zeros_.data());
    std::vector<unsigned> lost;
    for (std::uint64_t slice = codeword; slice < geometry_.data_slices(); slice += geometry_.codewords) {
      const auto column = static_cast<unsigned>(slice / geometry_.codewords);
      const Extent extent{slice * geometry_.slice_size, geometry_.length_of(slice)};
      columns[column] = whole_.data() + extent.offset;
      if (extent.end() <= kept && !object_.unreadable.intersects(extent) &&
          sidecar_.data_matches(slice, whole_.view(extent.offset, extent.length)))
        continue;
      lost.push_back(column);
      result_.damaged.add(extent);
    }
    if (lost.empty()) return;
    std::vector<const std::uint8_t*> parity(geometry_.rows, nullptr);
    std::vector<unsigned> rows;
    for (std::uint32_t row = 0; row < geometry_.rows; ++row)
      if (const auto slice = sidecar_.parity(std::uint64_t{row} * geometry_.codewords + codeword)) {
        parity[row] = slice->data();
        rows.push_back(row);
      }
    const auto rebuild = Rebuild::plan(code_, std::move(lost), std::move(rows));
    if (rebuild)
      rebuild->run(columns, parity, geometry_.slice_size);
    else
      ++beyond_;
  }

  const Sidecar& sidecar_;
  const Geometry geometry_;
  const Reading& object_;
  const ErasureCode code_;
  Bytes whole_, zeros_;
  HealResult result_;
  std::uint64_t beyond_ = 0;
};

}  // namespace

HealResult heal(const Sidecar& sidecar, const Reading& object) { return Healing(sidecar, object).run(); }

}  // namespace respaldo::parity
