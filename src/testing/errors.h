// What a test's own code throws.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace respaldo::testing {

// The error that `body` throws. The test fails when it throws none.
template <class Body>
Error error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorKind::internal, "nothing was thrown");
}

template <class Body>
std::string message_of(Body&& body) {
  return error_of(body).what();
}

}  // namespace respaldo::testing
