// Byte buffers and views.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <utility>

namespace respaldo {

using ByteView = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

namespace buffers {

// Memory aligned to 4096 bytes, not initialised; `capacity` becomes what there is, at least what was asked for. Large
// ones are kept for the next who asks, up to 32 MiB for each processor: fresh memory costs a page fault for each 4 KiB, which
// is a good part of what hashing it costs. Thread-safe. Throws std::bad_alloc.
inline constexpr std::size_t kAlignment = 4096;
std::uint8_t* acquire(std::size_t& capacity);
void release(std::uint8_t* memory, std::size_t capacity) noexcept;

}  // namespace buffers

// Owns memory out of `buffers`: good for O_DIRECT and for hot buffers. Move-only; a copy is spelled clone(). A
// moved-from Bytes is empty.
class Bytes {
 public:
  static constexpr std::size_t kAlignment = buffers::kAlignment;

  Bytes() = default;
  explicit Bytes(std::size_t size) : data_(allocate(size)), size_(size) {}
  Bytes(Bytes&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  Bytes& operator=(Bytes&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  static Bytes zeroed(std::size_t size) {
    Bytes bytes(size);
    if (size > 0) std::memset(bytes.data(), 0, size);
    return bytes;
  }
  static Bytes copy_of(ByteView view) {
    Bytes bytes(view.size());
    if (!view.empty()) std::memcpy(bytes.data(), view.data(), view.size());
    return bytes;
  }
  Bytes clone() const { return copy_of(*this); }

  std::uint8_t* data() { return data_.get(); }
  const std::uint8_t* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return data_ ? data_.get_deleter().capacity : 0; }
  bool empty() const { return size_ == 0; }

  // Changes the size; contents are kept up to the smaller size, new bytes are not initialised.
  void resize(std::size_t size) {
    if (size > capacity()) {
      auto grown = allocate(size);
      if (size_ > 0) std::memcpy(grown.get(), data_.get(), size_);
      data_ = std::move(grown);
    }
    size_ = size;
  }

  operator ByteView() const { return {data_.get(), size_}; }
  operator MutableBytes() { return {data_.get(), size_}; }
  ByteView view() const { return {data_.get(), size_}; }
  ByteView view(std::size_t offset, std::size_t length) const { return view().subspan(offset, length); }
  MutableBytes span() { return {data_.get(), size_}; }

 private:
  struct Free {
    std::size_t capacity;
    void operator()(std::uint8_t* memory) const noexcept { buffers::release(memory, capacity); }
  };
  using Memory = std::unique_ptr<std::uint8_t[], Free>;
  static Memory allocate(std::size_t size) {
    if (size == 0) return Memory();
    std::size_t capacity = size;
    std::uint8_t* const memory = buffers::acquire(capacity);
    return Memory(memory, Free{capacity});
  }
  Memory data_;
  std::size_t size_ = 0;
};

// True when every byte is zero. Fast (wide loads); an empty view is all zero.
bool is_zero(ByteView bytes);

}  // namespace respaldo
