// SPDX-License-Identifier: Apache-2.0
//
// Whether a client uses TLS, and with which files: what the application says, else Ray's variables.
//
// The files are all the application's, or all Ray's: a certificate of one cluster is not shown to
// another one because a variable happened to be set.
//
// Threads: the one that makes a client, since the environment is read.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "client/status.h"

namespace gcs {

namespace transport {
class TlsContext;
}

struct TlsOptions {
  std::optional<bool> enabled;  // none: if anything below is given, or RAY_USE_TLS says so
  std::optional<std::string> ca_file;
  std::optional<std::string> cert_file;
  std::optional<std::string> key_file;
  std::optional<std::string> server_name;
};

// Loads the files; *tls stays null where no TLS is wanted. kInvalidArgument, with the file's name
// and the reason, for what cannot be used. Throws std::bad_alloc.
Refusal make_tls(const TlsOptions& options, std::shared_ptr<transport::TlsContext>* tls);

}  // namespace gcs
