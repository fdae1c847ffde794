// SPDX-License-Identifier: Apache-2.0
//
// Connections over TLS to a scripted peer, and the certificates of both.
#pragma once

#include <string>
#include <utility>

#include "environment.h"
#include "tls_peer.h"
#include "transport/tls_context.h"
#include "transport_fixture.h"

namespace gcs::test {

class TlsTest : public TransportTest {
 protected:
  TlsTest() {
    settings.ca_file = folder.write("ca.pem", authority.certificate_pem());
    server.identity = &server_identity;
  }

  // Loads the settings; the test fails if they cannot be.
  void load() {
    std::string error;
    options.tls = transport::TlsContext::load(settings, &error);
    ASSERT_NE(options.tls, nullptr) << error;
  }
  // Gives the client a certificate.
  void show(const Identity& identity) {
    settings.cert_file = folder.write("cert.pem", identity.certificate_pem());
    settings.key_file = folder.write("key.pem", identity.key_pem());
  }
  ScriptedPeer::Script echoing() {
    return [this](PeerConnection& self) {
      if (!self.serve_tls(server)) return;
      if (self.greet()) self.echo();
    };
  }
  // Connects to a peer that runs `script`, and expects the connection to fail.
  ConnectionError tls_failure_of(ScriptedPeer::Script script) {
    load();
    return failure_of(std::move(script));
  }
  // Connects to an echoing peer, and expects the connection to fail.
  ConnectionError tls_failure() { return tls_failure_of(echoing()); }

  static bool says(const ConnectionError& error, std::string_view text) {
    return error.message.find(text) != std::string::npos;
  }

  TemporaryFolder folder;
  const Identity authority{{.common_name = "test CA", .is_authority = true}};
  const Identity server_identity{{.common_name = "gcs"}, &authority};
  const Identity client_identity{{.common_name = "client", .subject_names = ""}, &authority};
  ServerTls::Options server;
  transport::TlsSettings settings;
};

}  // namespace gcs::test
