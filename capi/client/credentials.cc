// SPDX-License-Identifier: Apache-2.0
#include "client/credentials.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "client/environment.h"
#include "client/small_file.h"

namespace gcs {
namespace {

constexpr char kServiceAccountToken[] = "/var/run/secrets/kubernetes.io/serviceaccount/token";

bool fits_in_a_header(std::string_view token) noexcept {
  return std::all_of(token.begin(), token.end(), [](char c) { return c >= ' ' && c < 127; });
}

Refusal unusable(const std::string& place) {
  return {Status::kInvalidArgument, kFlagLocal | kFlagAuth,
          "the token " + place +
              " has characters inside that are not printable ASCII; it cannot be sent"};
}

}  // namespace

Refusal Credentials::find(std::string* token) {
  token->clear();
  looked_.clear();
  if (given_) {
    *token = std::string(trimmed(*given_));
    looked_ = token->empty() ? "the token given is empty, so that none was sent"
                             : "the token given was sent";
    return fits_in_a_header(*token) ? Refusal{} : unusable("given");
  }
  if (disabled_) {
    looked_ = "RAY_AUTH_MODE is \"disabled\", so that none was sent";
    return {};
  }
  *token = std::string(trimmed(in_environment_));
  if (!token->empty()) {
    looked_ = "the token in RAY_AUTH_TOKEN was sent";
    return fits_in_a_header(*token) ? Refusal{} : unusable("in RAY_AUTH_TOKEN");
  }
  looked_ = "RAY_AUTH_TOKEN is not set";
  if (!named_file_.empty()) {
    if (const int error = read_first_line(named_file_, token); error != 0) {
      looked_ += ", " + named_file_ + " (RAY_AUTH_TOKEN_PATH) cannot be read";
      return {Status::kInvalidArgument, kFlagLocal | kFlagAuth,
              "the token file " + named_file_ +
                  ", which RAY_AUTH_TOKEN_PATH names, cannot be read: " + std::strerror(error)};
    }
    if (token->empty()) {
      // No reason to show another token instead: the file may just be being written.
      looked_ += ", " + named_file_ + " (RAY_AUTH_TOKEN_PATH) is empty";
      return {Status::kInvalidArgument, kFlagLocal | kFlagAuth,
              "the first line of the token file " + named_file_ +
                  ", which RAY_AUTH_TOKEN_PATH names, is empty"};
    }
    looked_ += ", the token in " + named_file_ + " (RAY_AUTH_TOKEN_PATH) was sent";
    return fits_in_a_header(*token) ? Refusal{} : unusable("in " + named_file_);
  } else {
    looked_ += ", RAY_AUTH_TOKEN_PATH is not set";
  }
  for (const std::string& place : usual_files_) {
    const int error = read_first_line(place, token);
    if (error == 0 && !token->empty()) {
      looked_ += ", the token in " + place + " was sent";
      return fits_in_a_header(*token) ? Refusal{} : unusable("in " + place);
    }
    looked_ += ", " + place +
               (error == 0        ? " is empty"
                : error == ENOENT ? " does not exist"
                                  : " cannot be read");
  }
  return {};
}

Refusal Credentials::load() {
  disabled_ = environment("RAY_AUTH_MODE") == "disabled";
  in_environment_ = environment("RAY_AUTH_TOKEN");
  named_file_ = environment("RAY_AUTH_TOKEN_PATH");
  usual_files_.clear();
  if (environment_is_true("RAY_ENABLE_K8S_TOKEN_AUTH")) {
    usual_files_.emplace_back(kServiceAccountToken);
  }
  if (const std::string home = environment("HOME"); !home.empty()) {
    usual_files_.push_back(home + "/.ray/auth_token");
  }
  return find(&token_);
}

bool Credentials::reload() {
  std::string found;
  if (find(&found) || found == token_) return false;
  token_ = std::move(found);
  return true;
}

}  // namespace gcs
