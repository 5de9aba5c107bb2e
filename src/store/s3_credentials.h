// Where Amazon's tools keep credentials: the environment, and ~/.aws.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "store/sigv4.h"

namespace respaldo::store {

using Environment = std::function<std::optional<std::string>(const char*)>;

// $AWS_ACCESS_KEY_ID, $AWS_SECRET_ACCESS_KEY and $AWS_SESSION_TOKEN; else the profile $AWS_PROFILE (else
// "default") in $AWS_SHARED_CREDENTIALS_FILE (else ~/.aws/credentials). Error(usage) when there are none.
S3Credentials find_s3_credentials(const Environment& environment);

// $AWS_DEFAULT_REGION, $AWS_REGION, or the profile's in $AWS_CONFIG_FILE (else ~/.aws/config).
std::optional<std::string> find_s3_region(const Environment& environment);

// The keys of one section of a text such as ~/.aws/credentials; absent when it has no such section.
std::optional<std::map<std::string, std::string>> profile_section(std::string_view text,
                                                                  std::string_view section);

}  // namespace respaldo::store
