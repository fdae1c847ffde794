// SPDX-License-Identifier: Apache-2.0
//
// Connections over TLS that do not come about: each says which certificate it was, and why, or what
// else was seen.
#include "tls_fixture.h"

namespace gcs::test {
namespace {

using Kind = ConnectionError::Kind;

class TlsRefusalTest : public TlsTest {
 protected:
  void expect_tls(const ConnectionError& error, std::initializer_list<std::string_view> words) {
    EXPECT_EQ(error.kind, Kind::kTls) << error.message;
    EXPECT_TRUE(error.is_misconfiguration());
    for (const std::string_view word : words) EXPECT_TRUE(says(error, word)) << error.message;
    notes = Notes();
  }
  void expect_ready(const std::string& host) {
    ScriptedPeer peer(echoing());
    load();
    connect(peer.port(), host);
    ASSERT_TRUE(run_until([this] { return notes.ready + notes.closed > 0; }));
    EXPECT_EQ(notes.ready, 1) << notes.error.message;
    connection.reset();
    notes = Notes();
  }
};

// ---- The server's certificate -------------------------------------------------------------------

TEST_F(TlsRefusalTest, AnExpiredCertificateIsRefusedWithItsDate) {
  const Identity expired({.common_name = "old", .valid_from = -7200, .valid_until = -3600},
                         &authority);
  server.identity = &expired;
  expect_tls(tls_failure(), {"the server's certificate CN=old expired on 2", " UTC"});
}

TEST_F(TlsRefusalTest, ACertificateOfTheFutureIsRefusedWithItsDate) {
  const Identity early({.valid_from = 3600}, &authority);
  server.identity = &early;
  expect_tls(tls_failure(), {"the server's certificate CN=gcs is not valid before 2"});
}

TEST_F(TlsRefusalTest, AnExpiredAuthorityIsNamed) {
  const Identity old(
      {.common_name = "old CA", .valid_from = -7200, .valid_until = -3600, .is_authority = true});
  const Identity below({}, &old);
  settings.ca_file = folder.write("old.pem", old.certificate_pem());
  server.identity = &below;
  expect_tls(tls_failure(), {"the authority's certificate CN=old CA expired on"});
}

TEST_F(TlsRefusalTest, AnotherHostIsRefusedWithBothNames) {
  const Identity other({.subject_names = "DNS:one.example, DNS:two.example, IP:10.1.2.3"},
                       &authority);
  server.identity = &other;
  expect_tls(tls_failure(),
             {"CN=gcs is for one.example, two.example, 10.1.2.3, and not for 127.0.0.1"});
}

TEST_F(TlsRefusalTest, TheSubjectIsNoHost) {
  const Identity nameless({.common_name = "127.0.0.1", .subject_names = ""}, &authority);
  server.identity = &nameless;
  expect_tls(tls_failure(), {"names no host", "not for 127.0.0.1"});
}

TEST_F(TlsRefusalTest, AnotherAuthorityIsRefusedWithTheFile) {
  const Identity stranger({.common_name = "stranger", .is_authority = true});
  settings.ca_file = folder.write("stranger.pem", stranger.certificate_pem());
  expect_tls(tls_failure(),
             {"CN=gcs, issued by CN=test CA, was not signed by an authority in ", "/stranger.pem"});
}

TEST_F(TlsRefusalTest, ASelfSignedCertificateIsRefused) {
  const Identity alone;
  server.identity = &alone;
  expect_tls(tls_failure(), {"CN=gcs, issued by CN=gcs, was not signed by an authority in "});
}

TEST_F(TlsRefusalTest, TheSystemsAuthoritiesDoNotKnowATest) {
  settings.ca_file.clear();
  expect_tls(tls_failure(), {"that this system trusts (no CA file was given)"});
}

TEST_F(TlsRefusalTest, WhatACertificateSaysIsShortenedAndPrintable) {
  std::string names;
  for (int i = 0; i < 50; ++i)
    names += (i == 0 ? "DNS:" : ",DNS:") + std::to_string(i) + ".example";
  const Identity loud({.common_name = "a\nb\x1b[31m", .subject_names = names}, &authority);
  server.identity = &loud;
  const ConnectionError error = tls_failure();
  EXPECT_TRUE(says(error, "7.example and 42 more")) << error.message;
  EXPECT_LT(error.message.size(), 600u);
  for (const char c : error.message) EXPECT_TRUE(c >= ' ' && c <= '~');
}

TEST_F(TlsRefusalTest, TheNameMayBeAHostsOrAnAddressOrAnother) {
  expect_ready("127.0.0.1");
  expect_ready("localhost");
  const Identity named({.subject_names = "DNS:gcs.example"}, &authority);
  server.identity = &named;
  expect_tls(tls_failure(), {"not for 127.0.0.1"});
  settings.server_name = "gcs.example";
  expect_ready("127.0.0.1");
  const Identity addressed({.subject_names = "IP:10.1.2.3"}, &authority);
  server.identity = &addressed;
  settings.server_name = "10.1.2.3";
  expect_ready("127.0.0.1");
}

TEST_F(TlsRefusalTest, NamesAreAskedForAndAddressesAreNot) {
  for (const auto& [name, asked] : {std::pair{"", ""}, {"gcs.example", "gcs.example"}}) {
    std::string seen = "nothing";
    const Identity named({.subject_names = "DNS:gcs.example, IP:127.0.0.1"}, &authority);
    server.identity = &named;
    settings.server_name = name;
    load();
    {
      ScriptedPeer peer([&](PeerConnection& self) {
        if (!self.serve_tls(server)) return;
        seen = self.tls()->server_name();
        if (self.greet()) self.echo();
      });
      ASSERT_TRUE(connect_to(peer));
      connection.reset();
    }
    EXPECT_EQ(seen, asked);
    notes = Notes();
  }
}

TEST_F(TlsRefusalTest, AFileOfAnIntermediateAuthorityIsEnough) {
  const Identity between({.common_name = "between", .is_authority = true}, &authority);
  const Identity below({}, &between);
  settings.ca_file = folder.write("between.pem", between.certificate_pem());
  server.identity = &below;
  expect_ready("127.0.0.1");
}

// ---- The client's certificate -------------------------------------------------------------------

TEST_F(TlsRefusalTest, ACertificateThatIsWantedAndNotGivenIsAskedFor) {
  server.client_authority = &authority;
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    server.newest_version = version;
    expect_tls(tls_failure(), {"the server wants a client certificate, and none was given"});
  }
}

TEST_F(TlsRefusalTest, ACertificateThatIsWantedAndGivenIsTaken) {
  server.client_authority = &authority;
  show(client_identity);
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    server.newest_version = version;
    expect_ready("127.0.0.1");
  }
}

TEST_F(TlsRefusalTest, AnExpiredClientCertificateIsNamedWithFileAndDate) {
  const Identity expired({.common_name = "old client", .valid_from = -7200, .valid_until = -3600},
                         &authority);
  server.client_authority = &authority;
  show(expired);
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    server.newest_version = version;
    expect_tls(tls_failure(), {"the server refuses the client certificate CN=old client (",
                               "/cert.pem), which expired on 2", "certificate expired"});
  }
}

TEST_F(TlsRefusalTest, AClientCertificateOfAnotherAuthorityIsNamed) {
  const Identity stranger({.common_name = "stranger", .is_authority = true});
  const Identity unknown({.common_name = "unknown"}, &stranger);
  server.client_authority = &authority;
  show(unknown);
  expect_tls(tls_failure(),
             {"the server refuses the client certificate CN=unknown (", "/cert.pem): unknown CA"});
}

TEST_F(TlsRefusalTest, AServerThatOnlyHangsUpWithoutACertificateIsUnderstood) {
  server.client_authority = &authority;
  load();
  // As far as the client's last flight, and no word about it.
  const ConnectionError error = failure_of([this](PeerConnection& self) {
    ServerTls tls(server);
    while (tls.take(self.read_some())) self.write(tls.output());
  });
  expect_tls(error, {"the server wants a client certificate, and none was given"});
}

TEST_F(TlsRefusalTest, AServerThatOnlyHangsUpOnAValidCertificateMayHaveOtherReasons) {
  server.client_authority = &authority;
  show(client_identity);
  load();
  const ConnectionError error = failure_of([this](PeerConnection& self) {
    if (self.serve_tls(server)) self.read_some();
  });
  EXPECT_EQ(error.kind, Kind::kEndOfFile);
  EXPECT_TRUE(says(error, "after it was shown the client certificate CN=client ("))
      << error.message;
  EXPECT_TRUE(says(error, "closed the connection before it sent HTTP/2 SETTINGS"));
}

// ---- Other peers --------------------------------------------------------------------------------

TEST_F(TlsRefusalTest, APlaintextGcsIsRecognised) {
  const ConnectionError error = tls_failure_of([](PeerConnection& self) {
    self.send(NGHTTP2_SETTINGS, 0, 0, {});
    self.wait_for_end();
  });
  expect_tls(error, {"the peer speaks HTTP/2 without TLS"});
}

TEST_F(TlsRefusalTest, PeersOfOtherProtocolsAreNoTls) {
  for (const std::string_view hello :
       {"HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-x\r\n", "\x16x"}) {
    const ConnectionError error = tls_failure_of([hello](PeerConnection& self) {
      self.read_some();
      self.write(hello);
      self.wait_for_end();
    });
    expect_tls(error, {"the peer does not speak TLS"});
  }
}

TEST_F(TlsRefusalTest, GarbageInsideARecordFailsTheHandshake) {
  const ConnectionError error = tls_failure_of([](PeerConnection& self) {
    self.read_some();
    self.write(std::string("\x16\x03\x03\x00\x10", 5) + std::string(16, '\xee'));
    self.wait_for_end();
  });
  expect_tls(error, {"the TLS handshake failed: "});
}

TEST_F(TlsRefusalTest, APeerWithoutHttp2IsRefused) {
  server.speaks_http2 = false;
  expect_tls(tls_failure(), {"did not choose HTTP/2 (ALPN)"});
}

TEST_F(TlsRefusalTest, APeerOfOldVersionsOnlyIsRefused) {
  server.newest_version = TLS1_1_VERSION;
  expect_tls(tls_failure(), {"the peer speaks neither TLS 1.2 nor TLS 1.3"});
}

TEST_F(TlsRefusalTest, AnyOtherAlertIsQuoted) {
  const ConnectionError error = tls_failure_of([](PeerConnection& self) {
    self.read_some();
    self.write(std::string_view("\x15\x03\x03\x00\x02\x02\x50", 7));  // internal_error
    self.wait_for_end();
  });
  expect_tls(error, {"the TLS handshake with the alert \"internal error\""});
}

TEST_F(TlsRefusalTest, AnAlertAfterTheHandshakeAndBeforeSettingsIsOneOfTls) {
  const ConnectionError error = tls_failure_of([this](PeerConnection& self) {
    if (!self.serve_tls(server)) return;
    self.read_some();
    // Only OpenSSL itself can encrypt an alert: an illegal record makes it send one.
    self.tls()->take(std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, '\xee'));
    self.flush_tls();
    self.end_tls();
    self.wait_for_end();
  });
  expect_tls(error, {"with the alert \"bad record mac\""});
}

TEST_F(TlsRefusalTest, APeerThatClosesInTheHandshakeIsTriedAgain) {
  for (const std::size_t part : {0u, 3u, 500u}) {
    const ConnectionError error = tls_failure_of([this, part](PeerConnection& self) {
      ServerTls tls(server);
      tls.take(self.read_some());
      self.write(tls.output().substr(0, part));
    });
    EXPECT_EQ(error.kind, Kind::kEndOfFile);
    EXPECT_FALSE(error.is_misconfiguration());
    EXPECT_EQ(error.message, "the peer closed the connection during the TLS handshake");
    notes = Notes();
  }
}

TEST_F(TlsRefusalTest, APeerThatResetsInTheHandshakeIsTriedAgain) {
  const ConnectionError error = tls_failure_of([](PeerConnection& self) {
    self.read_some();
    self.reset();
  });
  EXPECT_EQ(error.kind, Kind::kLost);
  EXPECT_EQ(error.message, "the peer reset the connection during the TLS handshake");
}

TEST_F(TlsRefusalTest, TheConnectTimeoutSaysHowFarTheHandshakeCame) {
  options.connect_timeout = 300'000'000;
  ConnectionError error = tls_failure_of([](PeerConnection& self) { self.wait_for_end(); });
  EXPECT_EQ(error.kind, Kind::kTimeout);
  EXPECT_EQ(error.message,
            "the peer accepted the connection but said nothing to the TLS handshake within 0.3 s");
  notes = Notes();
  error = tls_failure_of([this](PeerConnection& self) {
    ServerTls tls(server);
    tls.take(self.read_some());
    self.write(tls.output().substr(0, 100));
    self.wait_for_end();
  });
  EXPECT_EQ(error.message, "the peer did not finish the TLS handshake within 0.3 s");
  notes = Notes();
  error = tls_failure_of([this](PeerConnection& self) {
    if (self.serve_tls(server)) self.wait_for_end();
  });
  EXPECT_TRUE(says(error, "sent no HTTP/2 SETTINGS within 0.3 s")) << error.message;
}

TEST_F(TlsRefusalTest, NothingListens) {
  load();
  connect(free_port());
  ASSERT_TRUE(run_until([this] { return notes.closed == 1; }));
  EXPECT_EQ(notes.error.kind, Kind::kConnect);
  EXPECT_EQ(notes.error.message, "connection refused");
}

}  // namespace
}  // namespace gcs::test
