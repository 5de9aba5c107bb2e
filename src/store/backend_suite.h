// The conformance suite: what every Backend promises, whatever stands behind it. backend_suite_test.cc has
// the tests; a backend's own test file makes them run over it:
//
//   INSTANTIATE_TEST_SUITE_P(sftp, BackendSuite, ::testing::Values(make_sftp_place));
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "store/backend.h"

namespace respaldo::store {

// One empty place for a repository. It outlives the backends on it, and is removed when destroyed.
class SuitePlace {
 public:
  virtual ~SuitePlace() = default;
  // A backend on the place: another one sees the same objects.
  virtual std::unique_ptr<Backend> open() = 0;

  // What this store cannot do; the suite then asks for the clear refusal instead.
  bool keeps_parity = true;  // objects of respaldo's own types
  bool replaces = true;      // another content under a name that exists
  bool checks_names = true;  // names that are no object names are refused before anything is touched
  // Puts a foreign file at `path` below the repository ("index/README"), beside the backend. False when the
  // place has no such way.
  virtual bool plant(const std::string& path, const std::string& contents) {
    static_cast<void>(path), static_cast<void>(contents);
    return false;
  }
};

using MakePlace = std::function<std::unique_ptr<SuitePlace>()>;

class BackendSuite : public ::testing::TestWithParam<MakePlace> {
 protected:
  void SetUp() override {
    place_ = GetParam()();
    ASSERT_NE(place_, nullptr);
    backend_ = place_->open();
    backend_->create();
  }
  void TearDown() override { backend_.reset(); }  // before its place

  std::unique_ptr<SuitePlace> place_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace respaldo::store
