// SPDX-License-Identifier: Apache-2.0
//
// What went wrong with TLS, as halves of sentences: which certificate, and why. Pure functions;
// they throw std::bad_alloc.
#pragma once

#include <string>

#include "transport/openssl.h"

namespace gcs::transport {

// "CN=gcs,O=ray", as far as it is not too long.
std::string certificate_name(const X509* certificate);
// "expired on 2024-01-31 12:00:00 UTC", "is not valid before ..."; empty when it is valid now.
std::string validity_problem(const X509* certificate);
// OpenSSL's words for an error, begun with a small letter.
std::string openssl_reason(unsigned long error);

// Inside a verification that has just failed. `expected` is the name or the IP address that the
// certificate should have; `authorities` stands behind "was not signed by".
std::string verification_failure(X509_STORE_CTX* verification, const std::string& expected,
                                 const std::string& authorities);

// The number of the alert that the peer has sent, if that is what the error is; else -1.
int alert_of(unsigned long error) noexcept;
// Whether the alert is about a certificate of ours, or the lack of it.
bool is_about_certificate(int alert) noexcept;
// "unknown CA", in OpenSSL's words.
std::string alert_text(int alert);
// A handshake that ended with this error on this side, or with another alert.
std::string handshake_failure(unsigned long error);

}  // namespace gcs::transport
