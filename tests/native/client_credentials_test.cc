// SPDX-License-Identifier: Apache-2.0
//
// Where tokens come from, which place wins, and that none is ever shown.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "client/credentials.h"
#include "environment.h"

namespace gcs {
namespace {

class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsTest() { environment.set("HOME", folder.path()); }

  // The token found; "" if none is.
  std::string found(std::optional<std::string> given = std::nullopt) {
    Credentials credentials(std::move(given));
    const Refusal refusal = credentials.load();
    EXPECT_EQ(refusal.status, Status::kOk) << refusal.message;
    where = credentials.where_looked();
    if (!credentials.token().empty()) {
      EXPECT_EQ(where.find(credentials.token()), std::string::npos)
          << "it shows the token: " << where;
    }
    return credentials.token();
  }
  std::string refused(std::optional<std::string> given = std::nullopt) {
    Credentials credentials(std::move(given));
    const Refusal refusal = credentials.load();
    EXPECT_EQ(refusal.status, Status::kInvalidArgument);
    EXPECT_EQ(refusal.flags, kFlagLocal | kFlagAuth);
    return refusal.message;
  }

  test::ScopedEnvironment environment;
  test::TemporaryFolder folder;
  std::string where;
};

TEST_F(CredentialsTest, WithoutAnyPlaceThereIsNoneAndEveryPlaceIsNamed) {
  EXPECT_EQ(found(), "");
  for (const char* place :
       {"RAY_AUTH_TOKEN ", "RAY_AUTH_TOKEN_PATH", "/.ray/auth_token does not exist"}) {
    EXPECT_NE(where.find(place), std::string::npos) << place << " in: " << where;
  }
}

TEST_F(CredentialsTest, TheFileInHomeIsTheLastPlace) {
  folder.write(".ray/auth_token", "from-home\n");
  EXPECT_EQ(found(), "from-home");
  EXPECT_NE(where.find(folder.path() + "/.ray/auth_token"), std::string::npos) << where;
}

TEST_F(CredentialsTest, WithoutHomeThereIsNoFileInIt) {
  environment.unset("HOME");
  EXPECT_EQ(found(), "");
  environment.set("HOME", "");
  EXPECT_EQ(found(), "");
}

TEST_F(CredentialsTest, ThePathComesBeforeHome) {
  folder.write(".ray/auth_token", "from-home");
  environment.set("RAY_AUTH_TOKEN_PATH", folder.write("token", "from-path"));
  EXPECT_EQ(found(), "from-path");
  EXPECT_NE(where.find("RAY_AUTH_TOKEN_PATH"), std::string::npos) << where;
}

TEST_F(CredentialsTest, TheVariableComesBeforeThePath) {
  folder.write(".ray/auth_token", "from-home");
  environment.set("RAY_AUTH_TOKEN_PATH", folder.write("token", "from-path"));
  environment.set("RAY_AUTH_TOKEN", "from-variable");
  EXPECT_EQ(found(), "from-variable");
  environment.set("RAY_AUTH_TOKEN_PATH", "/does/not/exist");
  EXPECT_EQ(found(), "from-variable") << "a place that is not needed is not read";
}

TEST_F(CredentialsTest, TheGivenOneComesBeforeAll) {
  environment.set("RAY_AUTH_TOKEN", "from-variable");
  EXPECT_EQ(found("given-by-hand"), "given-by-hand");
  environment.set("RAY_AUTH_MODE", "disabled");
  EXPECT_EQ(found("given-by-hand"), "given-by-hand");
  EXPECT_EQ(found(""), "") << "an empty one means none";
  EXPECT_NE(where.find("empty"), std::string::npos) << where;
}

TEST_F(CredentialsTest, DisabledMeansNone) {
  environment.set("RAY_AUTH_TOKEN", "from-variable");
  folder.write(".ray/auth_token", "from-home");
  environment.set("RAY_AUTH_MODE", "disabled");
  EXPECT_EQ(found(), "");
  EXPECT_NE(where.find("RAY_AUTH_MODE"), std::string::npos) << where;
  environment.set("RAY_AUTH_MODE", "token");
  EXPECT_EQ(found(), "from-variable");
}

TEST_F(CredentialsTest, WhiteSpaceAroundATokenIsNotPartOfIt) {
  environment.set("RAY_AUTH_TOKEN", " \t from-variable\r\n");
  EXPECT_EQ(found(), "from-variable");
  environment.unset("RAY_AUTH_TOKEN");
  environment.set("RAY_AUTH_TOKEN_PATH", folder.write("token", "  from-path \r\nsecond line\n"));
  EXPECT_EQ(found(), "from-path");
  EXPECT_EQ(found(" by-hand "), "by-hand");
}

TEST_F(CredentialsTest, APlaceThatHoldsOnlyWhiteSpaceHoldsNone) {
  environment.set("RAY_AUTH_TOKEN", "  ");
  folder.write(".ray/auth_token", "from-home");
  EXPECT_EQ(found(), "from-home");
  folder.write(".ray/auth_token", " \n");
  EXPECT_EQ(found(), "");
  EXPECT_NE(where.find("is empty"), std::string::npos) << where;
}

TEST_F(CredentialsTest, ANamedFileThatIsEmptyIsRefusedAndNoOtherTokenIsShown) {
  environment.set("RAY_AUTH_TOKEN_PATH", folder.write("token", " \nsecond line"));
  folder.write(".ray/auth_token", "from-home");
  const std::string message = refused();
  EXPECT_NE(message.find(folder.path() + "/token"), std::string::npos) << message;
  EXPECT_NE(message.find("is empty"), std::string::npos) << message;
}

TEST_F(CredentialsTest, ANamedFileThatIsEmptyForAMomentChangesNothing) {
  environment.set("RAY_AUTH_TOKEN_PATH", folder.write("token", "from-path"));
  folder.write(".ray/auth_token", "from-home");
  Credentials credentials{std::nullopt};
  ASSERT_FALSE(credentials.load());
  folder.write("token", "");
  EXPECT_FALSE(credentials.reload());
  EXPECT_EQ(credentials.token(), "from-path");
  EXPECT_NE(credentials.where_looked().find("is empty"), std::string::npos);
}

TEST_F(CredentialsTest, ANamedFileThatCannotBeReadIsRefused) {
  environment.set("RAY_AUTH_TOKEN_PATH", folder.path() + "/absent");
  const std::string message = refused();
  EXPECT_NE(message.find(folder.path() + "/absent"), std::string::npos) << message;
  EXPECT_NE(message.find("RAY_AUTH_TOKEN_PATH"), std::string::npos) << message;
  EXPECT_NE(message.find("No such file"), std::string::npos) << message;
  environment.set("RAY_AUTH_TOKEN_PATH", folder.path());
  EXPECT_NE(refused().find("directory"), std::string::npos);
}

TEST_F(CredentialsTest, AFileInHomeThatCannotBeReadIsNoHindrance) {
  std::filesystem::create_directories(folder.path() + "/.ray/auth_token");
  EXPECT_EQ(found(), "");
  EXPECT_NE(where.find("cannot be read"), std::string::npos) << where;
}

TEST_F(CredentialsTest, AFifoDoesNotHangIt) {
  const std::string path = folder.path() + "/fifo";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  environment.set("RAY_AUTH_TOKEN_PATH", path);
  EXPECT_NE(refused().find("is empty"), std::string::npos);
}

TEST_F(CredentialsTest, ATokenThatNoHeaderCanCarryIsRefusedAndNotShown) {
  for (const char* bad : {"secr\x01t",
                          "s\xc3\xa9"
                          "cret",
                          "a\tb", "secr\x7ft"}) {
    EXPECT_EQ(refused(bad).find(bad), std::string::npos);
    environment.set("RAY_AUTH_TOKEN", bad);
    const std::string message = refused();
    EXPECT_EQ(message.find(bad), std::string::npos);
    EXPECT_NE(message.find("RAY_AUTH_TOKEN"), std::string::npos) << message;
    environment.unset("RAY_AUTH_TOKEN");
    folder.write(".ray/auth_token", bad);
    EXPECT_NE(refused().find("/.ray/auth_token"), std::string::npos);
    folder.write(".ray/auth_token", "");
  }
}

TEST_F(CredentialsTest, ATokenMayHaveSpacesInside) {
  EXPECT_EQ(found("se cret"), "se cret");
}

TEST_F(CredentialsTest, TheServiceAccountIsAPlaceOnlyWhenAskedFor) {
  const std::string place = "/var/run/secrets/kubernetes.io/serviceaccount/token";
  folder.write(".ray/auth_token", "from-home");
  EXPECT_EQ(found(), "from-home");
  EXPECT_EQ(where.find(place), std::string::npos) << where;
  for (const char* yes : {"1", "true", "True", "TRUE"}) {
    environment.set("RAY_ENABLE_K8S_TOKEN_AUTH", yes);
    Credentials credentials(std::nullopt);
    ASSERT_FALSE(credentials.load());
    EXPECT_NE(credentials.where_looked().find(place), std::string::npos) << yes;
    EXPECT_EQ(credentials.token() == "from-home", !std::filesystem::exists(place));
  }
  for (const char* no : {"", "0", "false", "no"}) {
    environment.set("RAY_ENABLE_K8S_TOKEN_AUTH", no);
    EXPECT_EQ(found(), "from-home");
    EXPECT_EQ(where.find(place), std::string::npos) << no;
  }
}

TEST_F(CredentialsTest, AReloadFindsATokenThatWasRotated) {
  environment.set("RAY_AUTH_TOKEN_PATH", folder.write("token", "old"));
  Credentials credentials(std::nullopt);
  ASSERT_FALSE(credentials.load());
  EXPECT_FALSE(credentials.reload()) << "nothing has changed";
  folder.write("token", "new");
  EXPECT_TRUE(credentials.reload());
  EXPECT_EQ(credentials.token(), "new");
  EXPECT_FALSE(credentials.reload());
}

TEST_F(CredentialsTest, AReloadFindsATokenThatAppears) {
  Credentials credentials(std::nullopt);
  ASSERT_FALSE(credentials.load());
  folder.write(".ray/auth_token", "new");
  EXPECT_TRUE(credentials.reload());
  EXPECT_EQ(credentials.token(), "new");
}

TEST_F(CredentialsTest, AReloadDoesNotReadTheEnvironmentWhichAnotherThreadMayBeChanging) {
  Credentials credentials(std::nullopt);
  ASSERT_FALSE(credentials.load());
  environment.set("RAY_AUTH_TOKEN", "from-variable");
  EXPECT_FALSE(credentials.reload());
  EXPECT_EQ(credentials.token(), "");
}

TEST_F(CredentialsTest, AGivenTokenIsNotLookedForAgain) {
  Credentials credentials("given-by-hand");
  ASSERT_FALSE(credentials.load());
  folder.write(".ray/auth_token", "from-home");
  environment.set("RAY_AUTH_TOKEN", "from-variable");
  EXPECT_FALSE(credentials.reload());
  EXPECT_EQ(credentials.token(), "given-by-hand");
}

TEST_F(CredentialsTest, APlaceThatHasBecomeUnreadableKeepsTheTokenAndIsNamed) {
  const std::string path = folder.write("token", "old");
  environment.set("RAY_AUTH_TOKEN_PATH", path);
  Credentials credentials(std::nullopt);
  ASSERT_FALSE(credentials.load());
  std::filesystem::remove(path);
  EXPECT_FALSE(credentials.reload());
  EXPECT_EQ(credentials.token(), "old");
  EXPECT_NE(credentials.where_looked().find(path), std::string::npos) << credentials.where_looked();
  folder.write("token", "not\tusable");
  EXPECT_FALSE(credentials.reload());
  EXPECT_EQ(credentials.token(), "old");
  EXPECT_NE(credentials.where_looked().find(path), std::string::npos) << credentials.where_looked();
}

}  // namespace
}  // namespace gcs
