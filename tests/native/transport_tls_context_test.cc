// SPDX-License-Identifier: Apache-2.0
//
// The files of TLS: what is refused and how it is said, and what happens when they change.
#include <sys/stat.h>

#include <filesystem>

#include "tls_fixture.h"

namespace gcs::test {
namespace {

using transport::TlsContext;

class TlsContextTest : public TlsTest {
 protected:
  // The text with which the settings are refused.
  std::string refused() {
    std::string error;
    const auto context = TlsContext::load(settings, &error);
    EXPECT_EQ(context, nullptr);
    EXPECT_NE(error, "");
    for (const Identity* secret : {&client_identity, &server_identity}) {
      EXPECT_EQ(error.find(secret->key_pem().substr(40, 16)), std::string::npos);
    }
    return error;
  }
  static void expect(const std::string& text, std::initializer_list<std::string_view> words) {
    for (const std::string_view word : words) {
      EXPECT_NE(text.find(word), std::string::npos) << text << " lacks " << word;
    }
  }
  // The common name of the certificate that is shown next.
  static std::string shown(TlsContext& context) { return context.current()->own_name(); }
};

TEST_F(TlsContextTest, FilesThatCannotBeReadAreNamedWithTheReason) {
  const std::string good = settings.ca_file;
  settings.ca_file = folder.path() + "/absent";
  expect(refused(), {"the CA file " + settings.ca_file, "cannot be read: no such file"});
  settings.ca_file = folder.path();
  expect(refused(), {"the CA file ", "is a directory"});
  settings.ca_file = good;
  show(client_identity);
  settings.cert_file = "/absent/cert.pem";
  expect(refused(), {"the certificate file /absent/cert.pem", "cannot be read: no such file"});
  show(client_identity);
  settings.key_file = "/absent/key.pem";
  expect(refused(), {"the key file /absent/key.pem", "cannot be read: no such file"});
}

TEST_F(TlsContextTest, FilesWithSomethingElseInThemAreRefused) {
  const std::string text = folder.write("text", "no certificate\n");
  const std::string broken = folder.write(
      "broken", "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmg\n-----END CERTIFICATE-----\n");
  const std::string broken_key = folder.write(
      "broken_key", "-----BEGIN PRIVATE KEY-----\nMIIBszCC\n-----END PRIVATE KEY-----\n");
  const std::string good = settings.ca_file;
  settings.ca_file = text;
  expect(refused(), {"the CA file " + text, "has no certificate in PEM form"});
  settings.ca_file = broken;
  expect(refused(), {"the CA file " + broken, "broken"});
  settings.ca_file = folder.write("empty", "");
  expect(refused(), {"has no certificate in PEM form"});
  settings.ca_file = good;
  show(client_identity);
  const std::string key = settings.key_file;
  settings.cert_file = text;
  expect(refused(), {"the certificate file " + text, "has no certificate in PEM form"});
  settings.cert_file = broken;
  expect(refused(), {"the certificate file " + broken, "broken"});
  show(client_identity);
  settings.key_file = text;
  expect(refused(), {"the key file " + text, "has no private key in PEM form"});
  settings.key_file = broken_key;
  expect(refused(), {"the key file " + broken_key, "cannot be read"});
}

TEST_F(TlsContextTest, AKeyOfAnotherCertificateIsRefused) {
  show(client_identity);
  settings.key_file = folder.write("other.pem", server_identity.key_pem());
  expect(refused(),
         {"the key file ", "/other.pem does not belong to the certificate in ", "/cert.pem"});
}

TEST_F(TlsContextTest, AnEncryptedKeyIsRefusedAndNobodyIsAsked) {
  show(client_identity);
  settings.key_file = folder.write("locked.pem", client_identity.key_pem("secret"));
  expect(refused(), {"the key file ", "/locked.pem is encrypted"});
}

TEST_F(TlsContextTest, ACertificateAndItsKeyBelongTogether) {
  show(client_identity);
  const std::string cert = std::exchange(settings.cert_file, {});
  expect(refused(), {"/key.pem was given without a certificate"});
  settings.cert_file = cert;
  settings.key_file.clear();
  expect(refused(), {"/cert.pem was given without its key"});
}

TEST_F(TlsContextTest, AFifoDoesNotHangIt) {
  settings.ca_file = folder.path() + "/fifo";
  ASSERT_EQ(::mkfifo(settings.ca_file.c_str(), 0600), 0);
  expect(refused(), {"has no certificate in PEM form"});
}

TEST_F(TlsContextTest, CertificateAndKeyMayBeInOneFile) {
  settings.cert_file = settings.key_file =
      folder.write("both.pem", client_identity.key_pem() + client_identity.certificate_pem());
  load();
  EXPECT_TRUE(options.tls->current()->has_own_certificate());
}

TEST_F(TlsContextTest, TextAroundTheCertificatesIsSkipped) {
  settings.ca_file = folder.write("bundle.pem", "# ours\n" + client_identity.certificate_pem() +
                                                    "# theirs\n" + authority.certificate_pem());
  load();
  ScriptedPeer peer(echoing());
  EXPECT_TRUE(connect_to(peer));
}

TEST_F(TlsContextTest, WhatLiesAboveTheCertificateIsSentWithIt) {
  const Identity between({.common_name = "between", .is_authority = true}, &authority);
  const Identity below({.common_name = "below"}, &between);
  show(below);
  folder.write("cert.pem", below.certificate_pem() + between.certificate_pem());
  server.client_authority = &authority;
  load();
  ScriptedPeer peer(echoing());
  EXPECT_TRUE(connect_to(peer));
}

TEST_F(TlsContextTest, ChangedFilesAreUsedByTheNextConnection) {
  show(client_identity);
  load();
  const auto before = options.tls->current();
  EXPECT_EQ(options.tls->current(), before) << "nothing has changed";
  const Identity next({.common_name = "next"}, &authority);
  show(next);
  EXPECT_NE(shown(*options.tls).find("CN=next"), std::string::npos);
  EXPECT_NE(before->own_name().find("CN=client"), std::string::npos) << "what is in use stays";
}

TEST_F(TlsContextTest, HalfARotationChangesNothingUntilTheOtherHalfIsThere) {
  show(client_identity);
  load();
  const Identity next({.common_name = "next"}, &authority);
  folder.write("cert.pem", next.certificate_pem());
  EXPECT_NE(shown(*options.tls).find("CN=client"), std::string::npos);
  EXPECT_NE(options.tls->problem(), "");
  folder.write("key.pem", next.key_pem());
  EXPECT_NE(shown(*options.tls).find("CN=next"), std::string::npos);
  EXPECT_EQ(options.tls->problem(), "");
}

TEST_F(TlsContextTest, AFileThatCannotBeReadAnyMoreKeepsWhatWasRead) {
  show(client_identity);
  load();
  EXPECT_EQ(options.tls->problem(), "");
  std::filesystem::remove(settings.key_file);
  EXPECT_NE(shown(*options.tls).find("CN=client"), std::string::npos);
  EXPECT_NE(options.tls->problem().find(settings.key_file), std::string::npos)
      << options.tls->problem();
  folder.write("ca.pem", "gone");
  EXPECT_NE(shown(*options.tls).find("CN=client"), std::string::npos);
  ScriptedPeer peer(echoing());
  EXPECT_TRUE(connect_to(peer));
}

TEST_F(TlsContextTest, ARotatedAuthorityIsTrustedAtTheNextConnection) {
  load();
  const Identity next_authority({.common_name = "next CA", .is_authority = true});
  const Identity next_server({}, &next_authority);
  server.identity = &next_server;
  EXPECT_EQ(failure_of(echoing()).kind, ConnectionError::Kind::kTls);
  notes = Notes();
  folder.write("ca.pem", next_authority.certificate_pem());
  ScriptedPeer peer(echoing());
  EXPECT_TRUE(connect_to(peer));
}

TEST_F(TlsContextTest, WithoutACaFileTheSystemsStayTheSameWhenTheRestIsReadAgain) {
  settings.ca_file.clear();
  show(client_identity);
  load();
  const auto before = options.tls->current();
  const Identity next({.common_name = "next"}, &authority);
  show(next);
  const auto after = options.tls->current();
  EXPECT_NE(before, after);
  EXPECT_EQ(SSL_CTX_get_cert_store(before->context()), SSL_CTX_get_cert_store(after->context()));
}

TEST_F(TlsContextTest, AfterAFailedHandshakeEverythingIsReadAgain) {
  load();
  const auto before = options.tls->current();
  EXPECT_EQ(options.tls->current(), before);
  const Identity stranger{{.common_name = "gcs"}};
  ServerTls::Options good = std::exchange(server, {.identity = &stranger});
  EXPECT_EQ(failure_of(echoing()).kind, ConnectionError::Kind::kTls);
  notes = Notes();
  server = good;
  EXPECT_NE(options.tls->current(), before);
  ScriptedPeer peer(echoing());
  EXPECT_TRUE(connect_to(peer));
}

TEST_F(TlsContextTest, TheSystemsAuthoritiesAreReadAgainWithoutTheEnvironment) {
  ScopedEnvironment environment;
  environment.set("SSL_CERT_FILE", std::exchange(settings.ca_file, {}));
  load();
  environment.set("SSL_CERT_FILE", "/absent");
  const auto before = options.tls->current();
  before->doubt();
  EXPECT_NE(options.tls->current(), before);
  ScriptedPeer peer(echoing());
  EXPECT_TRUE(connect_to(peer));
}

}  // namespace
}  // namespace gcs::test
