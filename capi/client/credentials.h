// SPDX-License-Identifier: Apache-2.0
//
// The token that a cluster asks for, found where Ray looks for it: RAY_AUTH_TOKEN, the file that
// RAY_AUTH_TOKEN_PATH names, the Kubernetes service account (if RAY_ENABLE_K8S_TOKEN_AUTH),
// ~/.ray/auth_token; none if RAY_AUTH_MODE is "disabled". The token never leaves this class but as
// metadata of a call.
//
// Threads: one at a time; load() on the thread that makes the client, then in the loop's turn.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "client/status.h"

namespace gcs {

class Credentials {
 public:
  // A token given by the application is taken as it is, and never looked for; empty: none is sent.
  explicit Credentials(std::optional<std::string> given) : given_(std::move(given)) {}

  // Reads the environment, and looks for the token. Refuses a RAY_AUTH_TOKEN_PATH that cannot be
  // read or is empty, and a token that no header can carry.
  Refusal load();
  // Looks again, where load() did; true if the token is another one now. A place that has become
  // unreadable changes nothing.
  bool reload();

  const std::string& token() const noexcept { return token_; }
  // For an error message: every place, and what was found there.
  const std::string& where_looked() const noexcept { return looked_; }

 private:
  Refusal find(std::string* token);

  std::optional<std::string> given_;
  bool disabled_ = false;
  std::string in_environment_;
  std::string named_file_;
  std::vector<std::string> usual_files_;
  std::string token_;
  std::string looked_;
};

}  // namespace gcs
