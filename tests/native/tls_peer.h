// SPDX-License-Identifier: Apache-2.0
//
// The other side of TLS for tests: certificates that are made when a test runs, and a server in
// memory, to which bytes are carried by whoever has it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "transport/openssl.h"

namespace gcs::test {

struct CertificateOptions {
  std::string common_name = "gcs";
  std::string subject_names = "DNS:localhost, IP:127.0.0.1";  // as OpenSSL's files have them
  std::int64_t valid_from = -3600;                            // seconds from now
  std::int64_t valid_until = 86400;
  bool is_authority = false;
};

// A certificate and its key; without an issuer it signs itself.
class Identity {
 public:
  explicit Identity(const CertificateOptions& options = {}, const Identity* issuer = nullptr);

  X509* certificate() const noexcept { return certificate_.get(); }
  EVP_PKEY* key() const noexcept { return key_.get(); }
  std::string certificate_pem() const;
  // With a passphrase it is encrypted.
  std::string key_pem(const std::string& passphrase = {}) const;

 private:
  transport::OpensslKey key_;
  transport::OpensslCertificate certificate_;
};

class ServerTls {
 public:
  struct Options {
    const Identity* identity = nullptr;
    const Identity* client_authority = nullptr;  // nullptr: no client certificate is wanted
    bool speaks_http2 = true;                    // chooses it by ALPN
    int newest_version = 0;                      // 0: OpenSSL's
  };
  explicit ServerTls(const Options& options);

  // Carries the handshake on, and appends what was decrypted to `plaintext`. False once it has
  // failed; what is to be sent then is an alert.
  bool take(std::string_view ciphertext);
  // False if the handshake is not over.
  bool write(std::string_view bytes);
  void send_close_notify();
  // What is to be sent, once.
  std::string output();
  bool shaken() const noexcept { return shaken_; }
  std::string server_name() const;  // the one that the client asked for
  SSL* session() const noexcept { return session_.get(); }

  std::string plaintext;

 private:
  transport::OpensslContext context_;
  transport::OpensslSession session_;
  bool shaken_ = false;
};

}  // namespace gcs::test
