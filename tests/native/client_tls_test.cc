// SPDX-License-Identifier: Apache-2.0
//
// When a client uses TLS, and where its files come from.
#include <gtest/gtest.h>

#include "client/tls.h"
#include "environment.h"
#include "tls_peer.h"
#include "transport/tls_context.h"

namespace gcs::test {
namespace {

class ClientTlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ca = folder.write("ca.pem", authority.certificate_pem());
    cert = folder.write("cert.pem", identity.certificate_pem());
    key = folder.write("key.pem", identity.key_pem());
  }
  void use_rays_variables() {
    environment.set("RAY_USE_TLS", "1");
    environment.set("RAY_TLS_CA_CERT", ca);
    environment.set("RAY_TLS_SERVER_CERT", cert);
    environment.set("RAY_TLS_SERVER_KEY", key);
  }
  // Null where none is wanted.
  std::shared_ptr<const transport::TlsMaterial> made() {
    std::shared_ptr<transport::TlsContext> tls;
    const Refusal refusal = make_tls(options, &tls);
    EXPECT_FALSE(refusal) << refusal.message;
    return tls == nullptr ? nullptr : tls->current();
  }
  std::string refused() {
    std::shared_ptr<transport::TlsContext> tls;
    const Refusal refusal = make_tls(options, &tls);
    EXPECT_EQ(refusal.status, Status::kInvalidArgument);
    EXPECT_EQ(tls, nullptr);
    return refusal.message;
  }

  ScopedEnvironment environment;
  TemporaryFolder folder;
  const Identity authority{{.is_authority = true}};
  const Identity identity{{.common_name = "client"}, &authority};
  std::string ca, cert, key;
  TlsOptions options;
};

TEST_F(ClientTlsTest, WithoutAnythingThereIsNone) {
  EXPECT_EQ(made(), nullptr);
  environment.set("RAY_TLS_CA_CERT", ca);
  EXPECT_EQ(made(), nullptr) << "RAY_USE_TLS is what says so";
  for (const char* no : {"", "0", "false", "no"}) {
    environment.set("RAY_USE_TLS", no);
    EXPECT_EQ(made(), nullptr);
  }
}

TEST_F(ClientTlsTest, RaysVariablesTurnItOn) {
  use_rays_variables();
  for (const char* yes : {"1", "true", "True"}) {
    environment.set("RAY_USE_TLS", yes);
    const auto material = made();
    ASSERT_NE(material, nullptr);
    EXPECT_TRUE(material->has_own_certificate());
    EXPECT_NE(material->authorities().find(ca), std::string::npos);
  }
}

TEST_F(ClientTlsTest, OffIsOffWhateverTheVariablesSay) {
  use_rays_variables();
  options.enabled = false;
  EXPECT_EQ(made(), nullptr);
}

TEST_F(ClientTlsTest, OnTakesTheFilesOfTheVariables) {
  use_rays_variables();
  environment.unset("RAY_USE_TLS");
  options.enabled = true;
  const auto material = made();
  ASSERT_NE(material, nullptr);
  EXPECT_TRUE(material->has_own_certificate());
}

TEST_F(ClientTlsTest, OnWithoutAnyFileTrustsTheSystem) {
  options.enabled = true;
  const auto material = made();
  ASSERT_NE(material, nullptr);
  EXPECT_FALSE(material->has_own_certificate());
  EXPECT_NE(material->authorities().find("this system"), std::string::npos);
}

TEST_F(ClientTlsTest, AGivenFileTurnsItOnAndNoneIsTakenFromTheVariables) {
  use_rays_variables();
  environment.unset("RAY_USE_TLS");
  options.ca_file = ca;
  const auto material = made();
  ASSERT_NE(material, nullptr);
  EXPECT_FALSE(material->has_own_certificate());
}

TEST_F(ClientTlsTest, AGivenNameTurnsItOnWithTheFilesOfTheVariables) {
  use_rays_variables();
  environment.unset("RAY_USE_TLS");
  options.server_name = "gcs.example";
  const auto material = made();
  ASSERT_NE(material, nullptr);
  EXPECT_EQ(material->server_name(), "gcs.example");
  EXPECT_TRUE(material->has_own_certificate());
}

TEST_F(ClientTlsTest, FilesAndOffContradictEachOther) {
  options.enabled = false;
  options.ca_file = ca;
  EXPECT_NE(refused().find("TLS is off"), std::string::npos);
}

TEST_F(ClientTlsTest, AnEmptyTextIsNoFile) {
  options.ca_file = "";
  EXPECT_NE(refused().find("empty"), std::string::npos);
}

TEST_F(ClientTlsTest, AFileOfTheVariablesThatCannotBeUsedIsNamedWithThem) {
  use_rays_variables();
  environment.set("RAY_TLS_SERVER_KEY", "/absent/key.pem");
  const std::string message = refused();
  EXPECT_NE(message.find("/absent/key.pem"), std::string::npos) << message;
  EXPECT_NE(message.find("RAY_TLS_SERVER_KEY"), std::string::npos) << message;
}

}  // namespace
}  // namespace gcs::test
