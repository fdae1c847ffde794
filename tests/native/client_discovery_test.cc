// SPDX-License-Identifier: Apache-2.0
//
// Which address a client takes, and what it says when there is none.
#include <gtest/gtest.h>

#include <string>

#include "client/discovery.h"
#include "client/small_file.h"
#include "environment.h"

namespace gcs {
namespace {

class Discovery : public ::testing::Test {
 protected:
  Discovery() { environment.set("RAY_TMPDIR", folder.path()); }

  std::string found(const std::optional<std::string>& given = std::nullopt) {
    transport::Address address;
    const Refusal refusal = find_address(given, &address);
    EXPECT_EQ(refusal.status, Status::kOk) << refusal.message;
    return refusal ? std::string() : address.text();
  }
  std::string refused(Status status, const std::optional<std::string>& given = std::nullopt) {
    transport::Address address;
    const Refusal refusal = find_address(given, &address);
    EXPECT_EQ(refusal.status, status) << refusal.message;
    EXPECT_EQ(refusal.flags, kFlagLocal);
    return refusal.message;
  }
  void write_file(const std::string& text) { folder.write("ray/ray_current_cluster", text); }

  test::ScopedEnvironment environment;
  test::TemporaryFolder folder;
};

TEST_F(Discovery, TheGivenAddressWins) {
  environment.set("RAY_ADDRESS", "10.0.0.1:1");
  write_file("10.0.0.2:2");
  EXPECT_EQ(found("10.0.0.3:3"), "10.0.0.3:3");
  EXPECT_EQ(found("head.example:6379"), "head.example:6379");
  EXPECT_EQ(found("[::1]:6379"), "[::1]:6379");
}

TEST_F(Discovery, RayAddressComesNext) {
  environment.set("RAY_ADDRESS", "10.0.0.1:1");
  write_file("10.0.0.2:2");
  EXPECT_EQ(found(), "10.0.0.1:1");
}

TEST_F(Discovery, TheFileOfRayStartComesLast) {
  write_file("10.0.0.2:2\n");
  EXPECT_EQ(found(), "10.0.0.2:2");
  environment.set("RAY_ADDRESS", "");
  EXPECT_EQ(found(), "10.0.0.2:2");
}

TEST_F(Discovery, AutoMeansTheFile) {
  write_file("10.0.0.2:2");
  environment.set("RAY_ADDRESS", "auto");
  EXPECT_EQ(found(), "10.0.0.2:2");
  environment.set("RAY_ADDRESS", "10.0.0.1:1");
  EXPECT_EQ(found("auto"), "10.0.0.2:2");
}

TEST_F(Discovery, TheFileLiesWhereRayPutsIt) {
  environment.unset("RAY_TMPDIR");
  environment.set("TMPDIR", folder.path());
  write_file("10.0.0.2:2");
  EXPECT_EQ(found(), "10.0.0.2:2");
}

TEST_F(Discovery, WithNoneItSaysWhereItLooked) {
  const std::string path = folder.path() + "/ray/ray_current_cluster";
  std::string message = refused(Status::kNotFound);
  EXPECT_NE(message.find("RAY_ADDRESS is not set"), std::string::npos) << message;
  EXPECT_NE(message.find(path), std::string::npos) << message;
  EXPECT_NE(message.find("No such file"), std::string::npos) << message;
  environment.set("RAY_ADDRESS", "auto");
  message = refused(Status::kNotFound);
  EXPECT_NE(message.find("\"auto\""), std::string::npos) << message;
  write_file("\n");
  message = refused(Status::kNotFound);
  EXPECT_NE(message.find(path), std::string::npos) << message;
  EXPECT_NE(message.find("empty"), std::string::npos) << message;
}

TEST_F(Discovery, LocalAndRayClientAddressesAreRefusedWithAReason) {
  EXPECT_NE(refused(Status::kInvalidArgument, "local").find("host:port"), std::string::npos);
  EXPECT_NE(refused(Status::kInvalidArgument, "ray://head:10001").find("Ray Client"),
            std::string::npos);
  environment.set("RAY_ADDRESS", "local");
  EXPECT_NE(refused(Status::kInvalidArgument).find("RAY_ADDRESS"), std::string::npos);
  environment.set("RAY_ADDRESS", "ray://head:10001");
  EXPECT_NE(refused(Status::kInvalidArgument).find("RAY_ADDRESS"), std::string::npos);
}

TEST_F(Discovery, WhatCannotBeAnAddressIsRefusedAndItsSourceNamed) {
  for (const char* bad : {"", "host", "host:", ":1", "host:0", "host:65536", "host:x",
                          "http://host:1", "::1:6379", "a b:1", "1.2.3.4.5:1"}) {
    refused(Status::kInvalidArgument, bad);
  }
  environment.set("RAY_ADDRESS", "nonsense");
  EXPECT_NE(refused(Status::kInvalidArgument).find("RAY_ADDRESS"), std::string::npos);
  environment.unset("RAY_ADDRESS");
  write_file("nonsense");
  EXPECT_NE(refused(Status::kInvalidArgument).find("ray_current_cluster"), std::string::npos);
}

TEST(SmallFile, TrimsWhiteSpaceAtBothEndsOnly) {
  EXPECT_EQ(trimmed(" \t\r\n\v\fa b \n"), "a b");
  EXPECT_EQ(trimmed(""), "");
  EXPECT_EQ(trimmed(" \n "), "");
}

TEST(SmallFile, ReadsTheFirstLineAndNoMoreThanItShould) {
  const test::TemporaryFolder folder;
  std::string line = "before";
  EXPECT_EQ(read_first_line(folder.path() + "/absent", &line), ENOENT);
  EXPECT_EQ(line, "");
  EXPECT_EQ(read_first_line(folder.write("lines", " one \ntwo\n"), &line), 0);
  EXPECT_EQ(line, "one");
  EXPECT_EQ(read_first_line(folder.write("open", "no end of line"), &line), 0);
  EXPECT_EQ(line, "no end of line");
  EXPECT_EQ(read_first_line(folder.write("long", std::string(10'000, 'x') + "\nrest"), &line), 0);
  EXPECT_EQ(line, std::string(10'000, 'x'));
  EXPECT_EQ(read_first_line("/dev/zero", &line), 0);
  EXPECT_LE(line.size(), 80u << 10);
}

}  // namespace
}  // namespace gcs
