#include "job/metrics.h"

#include <fmt/format.h>

namespace respaldo::job {

namespace {

std::string label(const std::string& value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

class Text {
 public:
  explicit Text(const std::string& job) : job_(label(job)) {}
  void family(const char* name, const char* help) {
    name_ = name;
    out_ += fmt::format("# HELP {0} {1}\n# TYPE {0} gauge\n", name, help);
  }
  template <class Number>
  void value(Number number, const std::string& labels = {}) {
    out_ += fmt::format("{}{{job=\"{}\"{}}} {}\n", name_, job_, labels, number);
  }
  template <class Number>
  void one(const char* name, const char* help, const std::optional<Number>& number) {
    if (!number) return;
    family(name, help);
    value(*number);
  }
  void ratios(const char* name, const char* help, const std::vector<std::pair<std::string, double>>& list) {
    if (list.empty()) return;
    family(name, help);
    for (const auto& [volume, ratio] : list) value(ratio, fmt::format(",volume=\"{}\"", label(volume)));
  }
  std::string take() { return std::move(out_); }

 private:
  const std::string job_;
  std::string name_, out_;
};

}  // namespace

std::string metrics_text(const Metrics& metrics) {
  Text text(metrics.job);
  text.family("respaldo_job_info", "Version of respaldo that ran the job.");
  text.value(1, fmt::format(",version=\"{}\"", label(metrics.version)));
  text.one("respaldo_job_last_run_timestamp_seconds", "When the job ended last.",
           std::optional(metrics.run_time));
  text.one("respaldo_job_last_success_timestamp_seconds", "When the job ended well last.",
           metrics.state.last_success);
  text.one("respaldo_job_last_prune_timestamp_seconds", "When the repository was pruned last.",
           metrics.state.last_prune);
  text.one("respaldo_job_last_check_timestamp_seconds", "When the repository was found sound last.",
           metrics.state.last_check);
  text.one("respaldo_job_duration_seconds", "How long the last run took.", std::optional(metrics.seconds));
  text.one("respaldo_job_exit_code", "Exit code of the last run; 0: all went well.",
           std::optional(metrics.exit_code));
  text.one("respaldo_job_read_bytes", "Read from the volumes by the last backup.", metrics.bytes_read);
  text.one("respaldo_job_new_bytes", "Not stored before, in the last backup.", metrics.bytes_new);
  text.one("respaldo_job_stored_bytes", "Added to the repository by the last backup.", metrics.bytes_stored);
  text.ratios("respaldo_job_cow_peak_ratio", "Use of the snapshot's COW store at the end of the last backup.",
              metrics.cow_peak);
  text.ratios("respaldo_job_pool_data_ratio", "Use of the volume's thin pool at the end of the last backup.",
              metrics.pool_data);
  text.ratios("respaldo_job_pool_metadata_ratio",
              "Use of the metadata of the volume's thin pool at the end of the last backup.", metrics.pool_metadata);
  return text.take();
}

}  // namespace respaldo::job
