// Writes down how a pass cuts, for the backup that will follow this one.
#pragma once

#include "backup/pipeline.h"
#include "backup/reuse.h"

namespace respaldo::backup {

// Takes the chunks of a pass over `plan`, which must outlive it. `free_dropped`: the plan stores free space
// as zeros. `cutter`: see cutter_name().
class CutRecorder final : public ChunkSink {
 public:
  CutRecorder(const CutPlan& plan, bool free_dropped, std::string cutter);
  void take(const StoredChunk& chunk) override;
  view::CutRecord take_record();

 private:
  void add_zeros(Extent extent);

  const CutPlan& plan_;
  view::CutRecord record_;
  ZeroChunkIds zeros_;
  std::size_t span_ = 0;  // the first that ends behind what was taken
};

// Tells the rules of the cuts and, without giving it away, the key of the content cuts: chunks cut under
// another name do not fit.
std::string cutter_name(std::uint64_t cut_key);

}  // namespace respaldo::backup
