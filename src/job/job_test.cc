// State, metrics and messages of jobs.
#include <gmock/gmock.h>

#include "base/bytes.h"
#include "job/metrics.h"
#include "job/notify.h"
#include "job/state.h"

namespace respaldo::job {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(StateFile, what_is_saved_is_loaded) {
  const os::TemporaryFolder folder;
  const StateFile file(folder.path() / "state", "nightly");
  EXPECT_FALSE(file.load().last_success);
  State state;
  state.last_success = 1790000000;
  state.last_check = 1780000000;
  file.save(state);
  EXPECT_EQ(file.load().last_success, 1790000000);
  EXPECT_FALSE(file.load().last_prune);
  EXPECT_EQ(file.load().last_check, 1780000000);
}

TEST(StateFile, damaged_state_is_none) {
  const os::TemporaryFolder folder;
  const StateFile file(folder.path(), "nightly");
  for (const char* text : {"", "{", "[]", R"({"last_success":"yesterday"})"}) {
    os::AtomicFile bad(folder.path() / "jobs/nightly.json", 0600);
    bad.write(as_bytes(std::string_view(text)));
    bad.commit();
    EXPECT_FALSE(file.load().last_success) << text;
  }
  std::filesystem::remove(folder.path() / "jobs/nightly.json");
  std::filesystem::create_directory(folder.path() / "jobs/nightly.json");
  EXPECT_FALSE(file.load().last_success);
}

TEST(StateFile, a_second_run_of_a_job_is_refused_and_another_job_is_not) {
  const os::TemporaryFolder folder;
  StateFile first(folder.path(), "nightly");
  first.lock();
  StateFile second(folder.path(), "nightly"), other(folder.path(), "weekly");
  try {
    second.lock();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::busy);
  }
  other.lock();
}

TEST(Metrics, have_names_types_and_escaped_labels) {
  Metrics metrics;
  metrics.job = "night\"ly";
  metrics.version = "1.2";
  metrics.run_time = 1790000000;
  metrics.seconds = 12.5;
  metrics.exit_code = 3;
  metrics.state.last_check = 1780000000;
  metrics.bytes_read = 42;
  metrics.cow_peak = {{"vg0/root", 0.25}};
  metrics.pool_data = {{"vg0/thin", 0.5}};
  const std::string text = metrics_text(metrics);
  EXPECT_THAT(
      text,
      HasSubstr("# TYPE respaldo_job_exit_code gauge\nrespaldo_job_exit_code{job=\"night\\\"ly\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("respaldo_job_last_run_timestamp_seconds{job=\"night\\\"ly\"} 1790000000\n"));
  EXPECT_THAT(text, HasSubstr("respaldo_job_duration_seconds{job=\"night\\\"ly\"} 12.5\n"));
  EXPECT_THAT(text, HasSubstr("respaldo_job_read_bytes{job=\"night\\\"ly\"} 42\n"));
  EXPECT_THAT(text, HasSubstr("respaldo_job_cow_peak_ratio{job=\"night\\\"ly\",volume=\"vg0/root\"} 0.25\n"));
  EXPECT_THAT(text, HasSubstr("respaldo_job_pool_data_ratio{job=\"night\\\"ly\",volume=\"vg0/thin\"} 0.5\n"));
  EXPECT_THAT(text, Not(HasSubstr("pool_metadata"))) << "what is not known is left out";
  EXPECT_THAT(text, Not(HasSubstr("last_success"))) << "a job that never went well has no such time";
}

TEST(Mail, headers_hold_one_line_each) {
  const std::string mail = mail_text("root, ana@example.org", {"it\nfailed: ñ", "body\n"});
  EXPECT_THAT(mail,
              HasSubstr("To: root, ana@example.org\nSubject: =?utf-8?q?it=5Cx0afailed=3A=20=C3=B1?=\n"));
  EXPECT_THAT(mail, HasSubstr("\n\nbody\n"));
}

}  // namespace
}  // namespace respaldo::job
