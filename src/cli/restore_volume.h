// restore: an image onto a volume, one that is there or one that is made for it.
#pragma once

#include <string>

#include "app/context.h"
#include "block/device.h"
#include "restore/image_restore.h"
#include "view/volume_view.h"

namespace respaldo::cli {

struct VolumeRestoreOptions {
  std::string to, pv;  // "VG/LV"; where a new volume lies
  bool create = false, in_place = false, verify = false, yes = false;
  unsigned threads = 0;
};

app::ExitCode restore_to_volume(app::Context& context, const repo::NamedSnapshot& backup,
                                const view::StoredVolume& volume, const VolumeRestoreOptions& options);
// For people: "vg0/root of backup 4f2c8a01 (2026-11-23 18:40:34, host web)".
std::string title_of(const repo::NamedSnapshot& backup, const view::StoredVolume& volume);

// That an overwriting restore did not come to its end: the target is no use as it is.
void warn_half_written(app::Context& context, const std::string& target);

// The result, for people or as JSON.
struct RestoreReport {
  std::string target;
  restore::ImageRestoreResult result;
  bool created = false, verified = false;
};
void report_restore(app::Context& context, const repo::NamedSnapshot& backup, const view::StoredVolume& volume,
                    const RestoreReport& report);

// Reads the target again, past the page cache as far as it can be, and compares it with the backup. app::NotOnMedium
// when they differ.
void verify_restored(app::Context& context, const view::StoredVolume& volume, const block::Device& target,
                     unsigned threads);

}  // namespace respaldo::cli
