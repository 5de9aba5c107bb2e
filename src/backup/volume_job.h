// A volume on its way into the backup.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backup/base_choice.h"
#include "backup/cut_plan.h"
#include "backup/file_view.h"
#include "backup/image_list.h"
#include "backup/pipeline.h"
#include "engine/volume_engine.h"
#include "repo/tree.h"
#include "view/base_facts.h"
#include "view/volume_view.h"

namespace respaldo::backup {

struct Job {
  engine::VolumeName name;  // as it will be stored
  bool is_snapshot = false;
  view::VolumeFacts facts;
  std::unique_ptr<engine::SnapshotLease> lease;      // null once released
  std::vector<std::unique_ptr<engine::Base>> bases;  // that the lease found
  BaseChoice base;                                   // the one that is used
  view::BaseRecord record;
  std::optional<std::string> token;  // the lease's snapshot shall become a base with it
  std::string cuts;                  // then: the contents of cuts.json
  bool base_kept = false;
  FileViews files;
  VolumeMap map;
  CutPlan plan;
  PassResult read;
  std::vector<std::pair<std::string, repo::Node>> file_roots;  // folder, root node
  std::vector<ImageList::Part> parts;
  bool parts_are_long = false;
};

}  // namespace respaldo::backup
