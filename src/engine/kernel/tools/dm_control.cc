#include "engine/kernel/tools/dm_control.h"

#include <fmt/format.h>
#include <libdevmapper.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::engine {

namespace {

// What libdevmapper would print. Set under the lock of KernelDeviceMapper.
std::string& last_words() {
  static std::string words;
  return words;
}

__attribute__((format(printf, 5, 6))) void listen(int level, const char*, int, int, const char* form, ...) {
  constexpr int kError = 3;  // as _LOG_ERR; the bits above say where to
  if ((level & 7) > kError) return;
  char text[512];
  va_list list;
  va_start(list, form);
  std::vsnprintf(text, sizeof text, form, list);
  va_end(list);
  last_words() = text;
}

struct TaskEnd {
  void operator()(dm_task* task) const { dm_task_destroy(task); }
};
using Task = std::unique_ptr<dm_task, TaskEnd>;

class KernelDeviceMapper final : public DmControl {
 public:
  std::optional<DmInfo> info(const DmRef& device) override {
    std::lock_guard lock(mutex());
    const Task task = run(DM_DEVICE_INFO, device);
    if (!task) return std::nullopt;
    dm_info found{};
    if (dm_task_get_info(task.get(), &found) == 0) throw failure(device);
    if (found.exists == 0) return std::nullopt;
    DmInfo info;
    info.name = dm_task_get_name(task.get());
    info.uuid = dm_task_get_uuid(task.get());
    info.major = found.major;
    info.minor = found.minor;
    info.open_count = static_cast<std::uint32_t>(std::max(found.open_count, 0));
    info.event = found.event_nr;
    info.suspended = found.suspended != 0;
    info.live_table = found.live_table != 0;
    info.read_only = found.read_only != 0;
    return info;
  }
  std::optional<std::vector<DmLine>> table(const DmRef& device) override {
    return lines(DM_DEVICE_TABLE, device);
  }
  std::optional<std::vector<DmLine>> status(const DmRef& device) override {
    return lines(DM_DEVICE_STATUS, device);
  }
  void message(const DmRef& device, std::string_view text) override {
    std::lock_guard lock(mutex());
    const std::string words(text);
    const Task task = run(DM_DEVICE_TARGET_MSG, device, [&](dm_task* one) {
      return dm_task_set_sector(one, 0) != 0 && dm_task_set_message(one, words.c_str()) != 0;
    });
    if (!task)
      throw Error(ErrorKind::not_found,
                  fmt::format("there is no device-mapper device {}", printable(device.str())));
  }
  std::vector<std::string> names() override {
    std::lock_guard lock(mutex());
    std::vector<std::string> all;
    const Task task = run(DM_DEVICE_LIST, {});
    const dm_names* at = task ? dm_task_get_names(task.get()) : nullptr;
    if (at == nullptr || at->dev == 0) return all;
    for (;;) {
      all.emplace_back(at->name);
      if (at->next == 0) return all;
      at = reinterpret_cast<const dm_names*>(reinterpret_cast<const char*>(at) + at->next);
    }
  }

 private:
  // libdevmapper keeps its descriptor of /dev/mapper/control, and more, in globals.
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }

  static Error failure(const DmRef& device, int number = 0) {
    ErrorKind kind = ErrorKind::io;
    std::string hint;
    if (number == EACCES || number == EPERM) kind = ErrorKind::refused, hint = "run respaldo as root";
    if (number == ENOENT || number == ENODEV)
      kind = ErrorKind::unsupported, hint = "this kernel has no device-mapper (`modprobe dm-mod`)";
    std::string said = last_words();
    if (said.empty()) said = number != 0 ? std::strerror(number) : "no answer";
    Error error(kind,
                device.str().empty()
                    ? fmt::format("device-mapper: {}", printable(said))
                    : fmt::format("device-mapper: {}: {}", printable(device.str()), printable(said)),
                hint);
    error.set_error_number(number);
    return error;
  }

  // Null when there is no such device.
  template <class Prepare>
  static Task run(int type, const DmRef& device, Prepare prepare) {
    dm_log_with_errno_init(listen);
    last_words().clear();
    errno = 0;
    Task task(dm_task_create(type));
    // Without a control node the version check of the first task fails.
    if (!task) throw failure(device, errno != 0 ? errno : ENODEV);
    if ((!device.name.empty() && dm_task_set_name(task.get(), device.name.c_str()) == 0) ||
        (!device.uuid.empty() && dm_task_set_uuid(task.get(), device.uuid.c_str()) == 0) ||
        !prepare(task.get()))
      throw failure(device);
    dm_task_no_flush(task.get());
    if (dm_task_run(task.get()) != 0) return task;
    const int number = dm_task_get_errno(task.get());
    if (number == ENXIO) return nullptr;
    throw failure(device, number);
  }
  static Task run(int type, const DmRef& device) {
    return run(type, device, [](dm_task*) { return true; });
  }

  static std::optional<std::vector<DmLine>> lines(int type, const DmRef& device) {
    std::lock_guard lock(mutex());
    const Task task = run(type, device);
    if (!task) return std::nullopt;
    dm_info found{};
    if (dm_task_get_info(task.get(), &found) == 0) throw failure(device);
    if (found.exists == 0) return std::nullopt;
    std::vector<DmLine> all;
    void* next = nullptr;
    do {
      std::uint64_t start = 0, length = 0;
      char *target = nullptr, *words = nullptr;
      next = dm_get_next_target(task.get(), next, &start, &length, &target, &words);
      if (target != nullptr) all.push_back({start, length, target, words != nullptr ? words : ""});
    } while (next != nullptr);
    return all;
  }
};

}  // namespace

std::string dm_uuid(std::string_view vg_uuid, std::string_view lv_uuid, std::string_view layer) {
  std::string uuid = "LVM-";
  for (std::string_view part : {vg_uuid, lv_uuid})
    for (char c : part)
      if (c != '-') uuid += c;
  if (!layer.empty()) uuid.append("-").append(layer);
  return uuid;
}

std::unique_ptr<DmControl> kernel_device_mapper() { return std::make_unique<KernelDeviceMapper>(); }

}  // namespace respaldo::engine
