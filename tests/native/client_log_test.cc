// SPDX-License-Identifier: Apache-2.0
//
// The log: levels, the records that are kept, and those that go to a target.
#include "client/log.h"
#include "client_fixture.h"

namespace gcs::test {
namespace {

class ClientLog : public ClientTest {
 protected:
  std::vector<std::string> kept() {
    std::vector<std::string> texts;
    EventList records = log::take(SIZE_MAX);
    while (const auto record = records.pop_front()) texts.emplace_back(record->message());
    return texts;
  }
};

TEST_F(ClientLog, RecordsBelowTheLevelAreNotMade) {
  EXPECT_FALSE(log::enabled(log::Level::kInfo));
  EXPECT_TRUE(log::enabled(log::Level::kWarning));
  log::write(log::Level::kInfo, "unheard");
  log::write(log::Level::kWarning, "heard");
  EXPECT_EQ(kept(), std::vector<std::string>{"heard"});
  log::set_level(log::Level::kOff);
  log::write(log::Level::kError, "unheard");
  EXPECT_TRUE(kept().empty());
}

TEST_F(ClientLog, WithoutATargetTheLast256AreKeptInOrder) {
  EXPECT_FALSE(log::waiting());
  for (int i = 0; i < 300; ++i) log::write(log::Level::kError, std::to_string(i));
  EXPECT_TRUE(log::waiting());
  EventList first = log::take(1);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first.front()->message(), "44");
  EXPECT_EQ(first.front()->kind, EventKind::kLog);
  EXPECT_EQ(first.front()->number, 40);
  EXPECT_TRUE(log::waiting());
  const auto rest = kept();
  ASSERT_EQ(rest.size(), 255u);
  EXPECT_EQ(rest.front(), "45");
  EXPECT_EQ(rest.back(), "299");
  EXPECT_FALSE(log::waiting());
}

TEST_F(ClientLog, ATargetGetsWhatWasKeptFirstAndThenTheRest) {
  log::write(log::Level::kWarning, "before");
  int user = 0;
  log::set_target(SinkReference(&sink), nullptr, &user);
  log::write(log::Level::kError, "after");
  ASSERT_EQ(sink.size(), 2u);
  EXPECT_EQ(sink.events()[0]->message(), "before");
  EXPECT_EQ(sink.events()[1]->message(), "after");
  for (const auto& event : sink.events()) EXPECT_EQ(event->target_user, &user);
  EXPECT_FALSE(log::waiting());
  log::set_target({}, nullptr, nullptr);
  log::write(log::Level::kError, "kept again");
  EXPECT_EQ(sink.size(), 2u);
  EXPECT_EQ(kept(), std::vector<std::string>{"kept again"});
}

TEST_F(ClientLog, ATargetMayWriteAndChangeTheTarget) {
  sink.on_event = [](const Event& event) {
    if (event.message() != "first") return;
    log::write(log::Level::kError, "second");
    log::set_target({}, nullptr, nullptr);
    log::write(log::Level::kError, "third");
  };
  log::set_target(SinkReference(&sink), nullptr, nullptr);
  log::write(log::Level::kError, "first");
  EXPECT_EQ(sink.size(), 2u);
  EXPECT_EQ(kept(), std::vector<std::string>{"third"});
}

TEST_F(ClientLog, ALostConnectionIsAWarningThatNamesTheServer) {
  make_ready();
  peer().lose(ConnectionError::Kind::kLost, "connection reset by peer");
  const auto records = kept();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_NE(records[0].find(kAddress), std::string::npos) << records[0];
  EXPECT_NE(records[0].find("connection reset by peer"), std::string::npos) << records[0];
}

TEST_F(ClientLog, ALossAndTheReturnAreBothSaidHoweverSoonTheReturnIs) {
  make_ready();
  peer().lose();
  loop().advance(kSecond / 10);
  accept();
  EXPECT_EQ(kept().size(), 1u) << "at most one record a second";
  loop().advance(kSecond);
  const auto records = kept();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_NE(records[0].find("connected again to"), std::string::npos) << records[0];
  EXPECT_NE(records[0].find("1 attempt"), std::string::npos) << records[0];
  loop().advance(100 * kSecond);
  EXPECT_TRUE(kept().empty());
}

TEST_F(ClientLog, WhatGivesWayIsCounted) {
  make_ready();
  for (int i = 0; i < 3; ++i) {
    peer().lose();
    loop().advance(kSecond / 4);
    accept();
  }
  client->close();
  loop().run();
  const auto records = kept();
  ASSERT_EQ(records.size(), 2u) << "the first at once, the last at the latest with the client";
  EXPECT_NE(records[1].find("connected again"), std::string::npos) << records[1];
  EXPECT_NE(records[1].find("4 more records"), std::string::npos) << records[1];
}

TEST_F(ClientLog, AnOutageIsAWarningOnceForEachReason) {
  make_ready();
  for (int i = 0; i < 10; ++i) {
    peer().lose(ConnectionError::Kind::kConnect, "connection refused");
    loop().advance(3 * kSecond);
  }
  EXPECT_EQ(kept().size(), 1u) << "the loss; the same reason again is not news";
  peer().lose(ConnectionError::Kind::kTls, "the certificate has expired");
  loop().advance(3 * kSecond);
  EXPECT_EQ(kept().size(), 1u);
}

TEST_F(ClientLog, AClientThatGoesAboutItsBusinessIsQuiet) {
  make_ready();
  const std::uint64_t id = get("key");
  loop().run();
  peer().reply(stream_of(peer(), "key"), value_reply("v"));
  EXPECT_EQ(ended(id).status, Status::kOk);
  client->close();
  loop().run();
  EXPECT_TRUE(kept().empty());
}

}  // namespace
}  // namespace gcs::test
