// Reading what may be failing.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "backup/backup.h"
#include "block/device.h"
#include "view/volume_view.h"

namespace respaldo::backup {

inline constexpr std::uint64_t kRetryUnit = 4096;  // the smallest thing that is given up

// Reads a volume in large pieces. A piece that fails is read again in kRetryUnit steps: what a second reading
// gives is good; what it does not give ends the run (OnReadError::fail), or becomes zeros and a lost range
// (skip). Const methods are thread-safe. Everything given must outlive it.
class SourceReader {
 public:
  // `require_valid` is asked before an error is believed: a snapshot that died fails every read.
  SourceReader(const block::Device& device, std::string volume, OnReadError on_error,
               const std::function<void()>& require_valid,
               std::function<std::string(std::uint64_t)> file_at = {})
      : device_(device),
        volume_(std::move(volume)),
        on_error_(on_error),
        require_valid_(require_valid),
        file_at_(std::move(file_at)) {}

  // Fills `out` from `offset`; ranges that are lost are appended to `lost`, in order.
  void read(std::uint64_t offset, MutableBytes out, std::vector<view::LostRange>& lost,
            const std::stop_token& stop) const;

 private:
  const block::Device& device_;
  const std::string volume_;
  const OnReadError on_error_;
  const std::function<void()>& require_valid_;
  const std::function<std::string(std::uint64_t)> file_at_;
};

// Appends in disk order, joining ranges that touch. Past 65536 ranges gaps are swallowed: the list stays
// bounded and never claims less than what is lost.
void append_lost(std::vector<view::LostRange>& lost, view::LostRange range);

}  // namespace respaldo::backup
