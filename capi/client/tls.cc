// SPDX-License-Identifier: Apache-2.0
#include "client/tls.h"

#include <utility>

#include "client/environment.h"
#include "transport/tls_context.h"

namespace gcs {
namespace {

Refusal invalid(std::string message) {
  return {Status::kInvalidArgument, kFlagLocal, std::move(message)};
}

}  // namespace

Refusal make_tls(const TlsOptions& options, std::shared_ptr<transport::TlsContext>* tls) {
  const bool has_files = options.ca_file || options.cert_file || options.key_file;
  const bool has_more = has_files || options.server_name;
  if (options.enabled == false && has_more) {
    return invalid("files or a server name for TLS were given, and TLS is off");
  }
  const bool enabled =
      options.enabled ? *options.enabled : has_more || environment_is_true("RAY_USE_TLS");
  if (!enabled) return {};
  for (const auto* given :
       {&options.ca_file, &options.cert_file, &options.key_file, &options.server_name}) {
    if (*given && (*given)->empty()) {
      return invalid("a file or a server name for TLS is an empty text");
    }
  }
  transport::TlsSettings settings;
  settings.server_name = options.server_name.value_or(std::string());
  std::string source;
  if (has_files) {
    settings.ca_file = options.ca_file.value_or(std::string());
    settings.cert_file = options.cert_file.value_or(std::string());
    settings.key_file = options.key_file.value_or(std::string());
  } else {
    settings.ca_file = environment("RAY_TLS_CA_CERT");
    settings.cert_file = environment("RAY_TLS_SERVER_CERT");
    settings.key_file = environment("RAY_TLS_SERVER_KEY");
    source =
        " (the files are those of RAY_TLS_CA_CERT, RAY_TLS_SERVER_CERT and RAY_TLS_SERVER_KEY)";
  }
  std::string error;
  *tls = transport::TlsContext::load(std::move(settings), &error);
  if (*tls == nullptr) return invalid("TLS cannot be used: " + error + source);
  return {};
}

}  // namespace gcs
