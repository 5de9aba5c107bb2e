#include "repo/index.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <iterator>
#include <numeric>
#include <optional>
#include <span>
#include <thread>
#include <tuple>
#include <unordered_map>

#include "base/endian.h"
#include "base/error.h"
#include "os/thread_group.h"
#include "repo/index_numbers.h"
#include "repo/json_stream.h"
#include "repo/pack.h"
#include "repo/references.h"

namespace respaldo::repo {

namespace {

constexpr std::size_t kSmallTable = 1U << 16;
constexpr unsigned kSorters = 8;

struct Entry {
  BlobId id;
  std::uint32_t pack = 0, offset = 0, length = 0, uncompressed_length = 0;
};
static_assert(sizeof(Entry) == 48);

// Entries of one type, sorted by ID; look-ups start in the bucket of the ID's first 16 bits.
struct Table {
  std::vector<Entry> entries;
  std::vector<std::uint32_t> buckets;  // first entry of each; one more at the end

  static std::size_t bucket(const BlobId& id) {
    return static_cast<std::size_t>(id.bytes[0]) << 8 | id.bytes[1];
  }

  // The order of IDs is that of their first eight bytes, but for one pair in 2^64.
  static std::uint64_t first_bytes(const BlobId& id) {
    Be<std::uint64_t> first;
    std::memcpy(first.bytes, id.bytes.data(), sizeof first.bytes);
    return first.get();
  }

  static bool before(const Entry& a, const Entry& b) {
    const std::uint64_t first = first_bytes(a.id), second = first_bytes(b.id);
    if (first != second) return first < second;
    return std::tie(a.id, a.pack, a.offset) < std::tie(b.id, b.pack, b.offset);
  }

  // Into parts by the first byte of the ID, in place; each part is then small enough for a processor's cache, and
  // none concerns another.
  void sort() {
    if (entries.size() < kSmallTable) return std::sort(entries.begin(), entries.end(), before);
    std::array<std::size_t, 257> begins{};
    for (const Entry& entry : entries) ++begins[entry.id.bytes[0] + 1U];
    std::partial_sum(begins.begin(), begins.end(), begins.begin());
    std::array<std::size_t, 256> next{};
    std::copy_n(begins.begin(), 256, next.begin());
    for (std::size_t part = 0; part < 256; ++part) {
      while (next[part] < begins[part + 1]) {
        Entry& entry = entries[next[part]];
        const std::size_t right = entry.id.bytes[0];
        if (right == part)
          ++next[part];
        else
          std::swap(entry, entries[next[right]++]);
      }
    }
    std::atomic<std::size_t> turn{0};
    os::ThreadGroup threads;
    for (unsigned i = 0; i < std::clamp(std::thread::hardware_concurrency(), 1U, kSorters); ++i) {
      threads.spawn([&](const std::stop_token&) {
        for (std::size_t part = turn++; part < 256; part = turn++)
          std::sort(entries.data() + begins[part], entries.data() + begins[part + 1], before);
      });
    }
    threads.join();
  }

  void freeze() {
    sort();
    // Identical entries of several index files are one.
    entries.erase(std::unique(entries.begin(), entries.end(),
                              [](const Entry& a, const Entry& b) {
                                return a.id == b.id && a.pack == b.pack && a.offset == b.offset;
                              }),
                  entries.end());
    buckets.assign(65537, 0);
    for (const Entry& entry : entries) ++buckets[bucket(entry.id) + 1];
    std::partial_sum(buckets.begin(), buckets.end(), buckets.begin());
  }
  std::span<const Entry> find(const BlobId& id) const {
    if (buckets.empty()) return {};
    const auto begin = entries.begin() + buckets[bucket(id)], end = entries.begin() + buckets[bucket(id) + 1];
    const auto first =
        std::lower_bound(begin, end, id, [](const Entry& e, const BlobId& i) { return e.id < i; });
    auto last = first;
    while (last != end && last->id == id) ++last;
    return {first, last};
  }
};

}  // namespace

struct Index::Impl {
  std::array<Table, 2> tables;
  std::vector<PackId> packs;
  std::unordered_map<PackId, std::uint32_t> pack_numbers;  // emptied by freeze()
  std::vector<PackId> repeated;

  BlobLocation location(const Entry& entry) const {
    return {packs[entry.pack], entry.offset, entry.length, entry.uncompressed_length};
  }
  const Table& table(BlobType type) const { return tables[static_cast<std::size_t>(type)]; }

  static const Impl& of(const Index& index) { return *index.impl_; }
  // Only what is inside may look into an index; a function defined here is inline, and nobody here calls it.
  [[gnu::used]] friend std::optional<BlobNumber> blob_number(const Index& index, BlobType type,
                                                             const BlobId& id) {
    const Table& table = of(index).table(type);
    const auto entries = table.find(id);
    if (entries.empty()) return std::nullopt;
    const std::uint64_t before = type == BlobType::tree ? of(index).tables[0].entries.size() : 0;
    return BlobNumber{before + static_cast<std::uint64_t>(entries.data() - table.entries.data()),
                      static_cast<std::uint32_t>(entries.size())};
  }
  [[gnu::used]] friend std::vector<PackId> repeated_packs(const Index& index) { return of(index).repeated; }
};

Index::Index() : impl_(std::make_unique<Impl>()) {}
Index::~Index() = default;
Index::Index(Index&&) noexcept = default;
Index& Index::operator=(Index&&) noexcept = default;

void Index::reserve(std::uint64_t blobs) { impl_->tables[0].entries.reserve(blobs); }

void Index::add(const PackContents& pack) {
  const auto [it, fresh] =
      impl_->pack_numbers.emplace(pack.pack, static_cast<std::uint32_t>(impl_->packs.size()));
  (fresh ? impl_->packs : impl_->repeated).push_back(pack.pack);
  for (const PackedBlob& blob : pack.blobs)
    impl_->tables[static_cast<std::size_t>(blob.type)].entries.push_back(
        {blob.id, it->second, blob.offset, blob.length, blob.uncompressed_length});
}

void Index::freeze() {
  for (Table& table : impl_->tables) table.freeze();
  impl_->pack_numbers = {};
}

std::optional<BlobLocation> Index::find(BlobType type, const BlobId& id) const {
  const auto entries = impl_->table(type).find(id);
  if (entries.empty()) return std::nullopt;
  return impl_->location(entries.front());
}

std::vector<BlobLocation> Index::find_all(BlobType type, const BlobId& id) const {
  std::vector<BlobLocation> all;
  for (const Entry& entry : impl_->table(type).find(id)) all.push_back(impl_->location(entry));
  return all;
}

bool Index::contains(BlobType type, const BlobId& id) const { return !impl_->table(type).find(id).empty(); }

std::uint64_t Index::blob_count() const {
  return impl_->tables[0].entries.size() + impl_->tables[1].entries.size();
}
std::uint64_t Index::pack_count() const { return impl_->packs.size(); }
std::vector<PackId> Index::packs() const { return impl_->packs; }

void Index::for_each_pack(const std::function<void(const PackContents&)>& visit) const {
  // Entries by pack, as a counting sort has them: four bytes for each blob, for repositories with millions.
  const auto& data = impl_->table(BlobType::data).entries;
  const auto& trees = impl_->table(BlobType::tree).entries;
  std::vector<std::size_t> ends(impl_->packs.size() + 1);  // of each pack's part of `order`, once it is filled
  for (const auto* entries : {&data, &trees})
    for (const Entry& entry : *entries) ++ends[entry.pack + 1];
  for (std::size_t i = 1; i < ends.size(); ++i) ends[i] += ends[i - 1];
  std::vector<std::uint32_t> order(data.size() + trees.size());  // trees after all data
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Entry& entry = i < data.size() ? data[i] : trees[i - data.size()];
    order[ends[entry.pack]++] = static_cast<std::uint32_t>(i);
  }
  std::size_t next = 0;
  for (std::uint32_t number = 0; number < impl_->packs.size(); ++number) {
    PackContents pack{impl_->packs[number], {}};
    pack.blobs.reserve(ends[number] - next);
    for (; next < ends[number]; ++next) {
      const bool is_tree = order[next] >= data.size();
      const Entry& entry = is_tree ? trees[order[next] - data.size()] : data[order[next]];
      pack.blobs.push_back({is_tree ? BlobType::tree : BlobType::data, entry.id, entry.offset, entry.length,
                            entry.uncompressed_length});
    }
    std::ranges::sort(pack.blobs, {}, &PackedBlob::offset);
    visit(pack);
  }
}

std::uint64_t Index::expected_pack_size(const PackContents& pack) {
  std::uint64_t size = crypto::kOverhead + 4;
  for (const PackedBlob& blob : pack.blobs) size += blob.length + header_entry_size(blob);
  return size;
}

std::string to_json(const std::vector<PackContents>& packs) {
  constexpr std::size_t kLongestBlob = 176, kLongestPack = 100;
  std::size_t most = 16;
  for (const PackContents& pack : packs) most += kLongestPack + kLongestBlob * pack.blobs.size();
  std::string json;
  json.reserve(most);  // tens of MB: growing would take twice as much
  json += "{\"packs\":[";
  const auto out = std::back_inserter(json);
  for (std::size_t p = 0; p < packs.size(); ++p) {
    fmt::format_to(out, "{}{{\"id\":\"{}\",\"blobs\":[", p == 0 ? "" : ",", packs[p].pack.hex());
    const auto& blobs = packs[p].blobs;
    for (std::size_t b = 0; b < blobs.size(); ++b) {
      fmt::format_to(out, "{}{{\"id\":\"{}\",\"type\":\"{}\",\"offset\":{},\"length\":{}", b == 0 ? "" : ",",
                     blobs[b].id.hex(), blobs[b].type == BlobType::tree ? "tree" : "data", blobs[b].offset,
                     blobs[b].length);
      if (blobs[b].uncompressed_length != 0)
        fmt::format_to(out, ",\"uncompressed_length\":{}", blobs[b].uncompressed_length);
      json += '}';
    }
    json += "]}";
  }
  return json + "]}\n";
}

namespace {

using Stream = JsonStream;

std::uint32_t small_number(Stream& stream, Stream::Value value, std::string_view name) {
  return static_cast<std::uint32_t>(stream.number(value, name, UINT32_MAX).value_or(0));
}

PackedBlob read_packed_blob(Stream& stream, Stream::Value value) {
  PackedBlob blob;
  bool has_id = false, has_type = false;
  stream.for_each_member(value, "blobs", [&](std::string_view key, Stream::Value field) {
    if (key == "id") {
      const auto id = stream.id<BlobId>(field, "id");
      has_id = id.has_value();
      blob.id = id.value_or(BlobId());
    } else if (key == "type") {
      const std::string_view type = stream.text(field, "type").value_or(std::string_view());
      if (type != "data" && type != "tree") bad_field("type", "data or tree");
      blob.type = type == "tree" ? BlobType::tree : BlobType::data;
      has_type = true;
    } else if (key == "offset") {
      blob.offset = small_number(stream, field, "offset");
    } else if (key == "length") {
      blob.length = small_number(stream, field, "length");
    } else if (key == "uncompressed_length") {
      blob.uncompressed_length = small_number(stream, field, "uncompressed_length");
    }
  });
  if (!has_id) bad_field("id", "there");
  if (!has_type) bad_field("type", "data or tree");
  if (blob.length < crypto::kOverhead) bad_field("length", "the length of a sealed blob");
  return blob;
}

PackContents read_pack(Stream& stream, Stream::Value value) {
  PackContents pack;
  bool has_id = false;
  stream.for_each_member(value, "packs", [&](std::string_view key, Stream::Value field) {
    if (key == "id") {
      const auto id = stream.id<PackId>(field, "id");
      has_id = id.has_value();
      pack.pack = id.value_or(PackId());
    } else if (key == "blobs") {
      stream.for_each_element(
          field, "blobs", [&](Stream::Value item) { pack.blobs.push_back(read_packed_blob(stream, item)); });
    }
  });
  if (!has_id) bad_field("id", "there");
  return pack;
}

}  // namespace

std::vector<PackContents> parse_index(Bytes json) {
  JsonStream stream(std::move(json), "index file");
  std::vector<PackContents> packs;
  stream.for_each_member([&](std::string_view key, Stream::Value value) {
    if (key != "packs") return;
    packs.clear();  // of two lists the last counts, as for restic
    stream.for_each_element(value, "packs",
                            [&](Stream::Value item) { packs.push_back(read_pack(stream, item)); });
  });
  return packs;
}

std::vector<PackContents> parse_index(ByteView json) { return parse_index(Bytes::copy_of(json)); }

}  // namespace respaldo::repo
