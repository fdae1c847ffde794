// SPDX-License-Identifier: Apache-2.0
//
// One subscription between what is published and its consumer: credit, and what becomes of the
// messages for which there is none.
#include <deque>
#include <random>

#include "random_seed.h"
#include "subscription_fixture.h"

namespace gcs::test {
namespace {

// What leaves, and when; the messages are their own sequence ids.
class SubscriptionPolicy : public ::testing::Test {
 protected:
  SubscriptionPolicy() : listener_(EventKind::kSubscriptionEnd) { listener_.id = kId; }

  void make(Policy policy, std::uint64_t credit_messages, std::uint64_t credit_bytes,
            std::uint64_t max_messages = 0, std::uint64_t max_bytes = 0) {
    subscription = std::make_unique<Subscription>(SubscriptionOptions{
        kErrors, {}, policy, credit_messages, credit_bytes, max_messages, max_bytes});
  }
  void take(std::string_view payload, std::string_view key = {}, std::int64_t sequence_id = 1) {
    subscription->take(listener_, bytes_of(key), bytes_of(payload), sequence_id, out);
  }
  void resync(ResyncReason reason, std::uint64_t lost = 0) {
    subscription->resync(listener_, reason, lost, out);
  }
  void grant(std::uint64_t messages, std::uint64_t bytes) {
    subscription->grant(listener_, messages, bytes, out);
  }
  // What has left since the last time.
  Story left() {
    Story lines;
    while (const auto event = out.pop_front()) {
      EXPECT_EQ(event->id, kId);
      lines.push_back(line_of(*event));
    }
    return lines;
  }

  static constexpr std::uint64_t kId = 4711;
  std::unique_ptr<Subscription> subscription;
  EventList out;

 private:
  Event listener_;
};

TEST_F(SubscriptionPolicy, TheAnnouncementLeavesOnceAndNeedsNoCredit) {
  make(Policy::kWait, 0, 0);
  EXPECT_FALSE(subscription->announced());
  Event listener(EventKind::kSubscriptionEnd);
  listener.id = kId;
  subscription->announce(listener, out);
  subscription->announce(listener, out);
  EXPECT_TRUE(subscription->announced());
  EXPECT_EQ(left(), Story{"subscribed"});
}

TEST_F(SubscriptionPolicy, AMessageHasItsKeyItsBytesAndItsNumber) {
  make(Policy::kWait, 5, kUnlimitedCredit);
  // What fits into the event, and what does not.
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{180}, std::size_t{190}, std::size_t{100'000}}) {
    const std::string payload(size, 'x');
    take(payload, "the key", 42);
    const auto event = out.pop_front();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->kind, EventKind::kMessage);
    EXPECT_EQ(text_of(event->body()), payload);
    EXPECT_EQ(text_of(event->key()), "the key");
    EXPECT_EQ(event->number, 42);
  }
}

TEST_F(SubscriptionPolicy, EachMessageTakesOneOfTheCreditInMessages) {
  make(Policy::kDropOldest, 2, kUnlimitedCredit, 10, 1000);
  for (const char* message : {"a", "b", "c", "d"}) take(message);
  EXPECT_EQ(left(), (Story{"a", "b"}));
  grant(1, 0);
  EXPECT_EQ(left(), Story{"c"});
  grant(5, 0);
  EXPECT_EQ(left(), Story{"d"});
  for (const char* message : {"e", "f", "g", "h", "i"}) take(message);
  EXPECT_EQ(left(), (Story{"e", "f", "g", "h"})) << "what was granted and not used is left";
}

TEST_F(SubscriptionPolicy, AMessageTakesItsSizeAndThatOfItsKeyOfTheCreditInBytes) {
  make(Policy::kDropOldest, kUnlimitedCredit, 10, 10, 1000);
  take("12345", "key");  // 8
  take("12", "");        // 10
  take("x");
  EXPECT_EQ(left(), (Story{"12345", "12"}));
  grant(0, 1);
  EXPECT_EQ(left(), Story{"x"});
}

TEST_F(SubscriptionPolicy, OneLargeMessageMayOverdrawTheCreditWhichIsPaidBackFirst) {
  make(Policy::kDropOldest, kUnlimitedCredit, 1, 10, 1000);
  const std::string large(100, 'l');
  take(large);
  take("next");
  EXPECT_EQ(left(), Story{large});
  grant(0, 99);  // the balance is 0 then
  EXPECT_EQ(left(), Story{});
  grant(0, 1);
  EXPECT_EQ(left(), Story{"next"});
}

TEST_F(SubscriptionPolicy, UnlimitedCreditStaysSoWhateverIsTakenOrGranted) {
  make(Policy::kDropOldest, kUnlimitedCredit, kUnlimitedCredit, 1, 1);
  for (int i = 0; i < 1000; ++i) {
    take("message");
    if (i % 10 == 0) grant(1, 1);
  }
  EXPECT_EQ(left(), Story(1000, "message"));
}

TEST_F(SubscriptionPolicy, GrantsBecomeUnlimitedAndDoNotOverflow) {
  make(Policy::kDropOldest, 0, 0, 10, 1000);
  take("a");
  for (int i = 0; i < 3; ++i) grant(kUnlimitedCredit - 1, kUnlimitedCredit / 2);
  EXPECT_EQ(left(), Story{"a"});
  grant(kUnlimitedCredit, kUnlimitedCredit);
  for (int i = 0; i < 100; ++i) take("b");
  EXPECT_EQ(left().size(), 100u);
}

TEST_F(SubscriptionPolicy, UnderWaitNothingMayBeTakenWithoutCredit) {
  make(Policy::kWait, 2, 10);
  EXPECT_TRUE(subscription->can_take());
  take("12345");
  EXPECT_TRUE(subscription->can_take());
  take("1234567");
  EXPECT_FALSE(subscription->can_take());
  grant(1, 0);
  EXPECT_FALSE(subscription->can_take()) << "the bytes are overdrawn";
  grant(0, 3);
  EXPECT_TRUE(subscription->can_take());
}

TEST_F(SubscriptionPolicy, UnderWaitAResyncThatCouldNotLeaveGoesBeforeWhatComes) {
  make(Policy::kWait, 0, kUnlimitedCredit);
  resync(ResyncReason::kReconnected);
  EXPECT_EQ(left(), Story{});
  EXPECT_FALSE(subscription->can_take());
  grant(1, 0);
  EXPECT_EQ(left(), Story{"resync reconnected"});
  EXPECT_FALSE(subscription->can_take()) << "it took the credit";
  grant(1, 0);
  EXPECT_TRUE(subscription->can_take());
}

TEST_F(SubscriptionPolicy, AResyncTakesOneMessageOfCreditAndNoBytes) {
  make(Policy::kDropOldest, 2, 1, 10, 1000);
  resync(ResyncReason::kReconnected);
  take("a");
  EXPECT_EQ(left(), (Story{"resync reconnected", "a"}));
}

TEST_F(SubscriptionPolicy, OfSeveralResyncsBetweenTwoMessagesOneLeavesWithTheLargestReason) {
  make(Policy::kDropOldest, 1, kUnlimitedCredit, 10, 1000);
  take("a");
  resync(ResyncReason::kDropped, 2);
  resync(ResyncReason::kRestarted);
  resync(ResyncReason::kReconnected);
  resync(ResyncReason::kDropped, 3);
  take("b");
  grant(10, 0);
  EXPECT_EQ(left(), (Story{"a", "resync restarted 5", "b"}));
}

TEST_F(SubscriptionPolicy, AResyncStandsWhereItHappened) {
  make(Policy::kDropOldest, 0, kUnlimitedCredit, 10, 1000);
  take("a");
  resync(ResyncReason::kReconnected);
  take("b");
  take("c");
  resync(ResyncReason::kExpired);
  grant(10, 0);
  EXPECT_EQ(left(), (Story{"a", "resync reconnected", "b", "c", "resync expired"}));
}

TEST_F(SubscriptionPolicy, DropOldestKeepsTheNewestAndCountsTheOthersBeforeThem) {
  make(Policy::kDropOldest, 0, kUnlimitedCredit, 3, 1000);
  for (const char* message : {"a", "b", "c", "d", "e"}) take(message);
  EXPECT_EQ(left(), Story{});
  grant(10, 0);
  EXPECT_EQ(left(), (Story{"resync dropped 2", "c", "d", "e"}));
}

TEST_F(SubscriptionPolicy, DropNewestKeepsTheOldestAndCountsTheOthersBehindThem) {
  make(Policy::kDropNewest, 0, kUnlimitedCredit, 3, 1000);
  for (const char* message : {"a", "b", "c", "d", "e"}) take(message);
  grant(10, 0);
  EXPECT_EQ(left(), (Story{"a", "b", "c", "resync dropped 2"}));
}

TEST_F(SubscriptionPolicy, DropNewestCountsAtTheirPlaceThoseBetweenTwoThatAreKept) {
  make(Policy::kDropNewest, 0, kUnlimitedCredit, 2, 1000);
  for (const char* message : {"a", "b", "c", "d"}) take(message);
  grant(1, 0);
  EXPECT_EQ(left(), Story{"a"});
  take("e");
  take("f");
  grant(10, 0);
  EXPECT_EQ(left(), (Story{"b", "resync dropped 2", "e", "resync dropped 1"}));
}

TEST_F(SubscriptionPolicy, DropOldestMergesTheResyncsThatItPasses) {
  make(Policy::kDropOldest, 0, kUnlimitedCredit, 2, 1000);
  take("a");
  resync(ResyncReason::kRestarted);
  take("b");
  resync(ResyncReason::kReconnected);
  take("c");
  take("d");  // a and b are gone, with the resyncs around b
  grant(10, 0);
  EXPECT_EQ(left(), (Story{"resync restarted 2", "c", "d"}));
}

TEST_F(SubscriptionPolicy, BytesBoundWhatIsKeptAsMessagesDo) {
  make(Policy::kDropOldest, 0, kUnlimitedCredit, 100, 10);
  take("12345");
  take("1234", "k");
  take("x");
  grant(10, 0);
  EXPECT_EQ(left(), (Story{"resync dropped 1", "1234", "x"}));
  make(Policy::kDropNewest, 0, kUnlimitedCredit, 100, 10);
  take("12345");
  take("123456");
  take("1234", "k");
  grant(10, 0);
  EXPECT_EQ(left(), (Story{"12345", "resync dropped 1", "1234"}));
}

TEST_F(SubscriptionPolicy, WhatIsLargerThanAllThatIsKeptIsDroppedAndCounted) {
  for (const Policy policy : {Policy::kDropOldest, Policy::kDropNewest}) {
    make(policy, 0, kUnlimitedCredit, 100, 10);
    take("12345678901");
    grant(10, 0);
    EXPECT_EQ(left(), Story{"resync dropped 1"});
    take("12345678901");
    EXPECT_EQ(left(), Story{"12345678901"}) << "with credit nothing has to be kept";
  }
}

TEST_F(SubscriptionPolicy, WhatCannotBeKeptPushesNothingOut) {
  for (const Policy policy : {Policy::kDropOldest, Policy::kDropNewest}) {
    make(policy, 0, kUnlimitedCredit, 100, 10);
    for (const char* message : {"1", "2", "12345678901", "3"}) take(message);
    grant(10, 0);
    EXPECT_EQ(left(), (Story{"1", "2", "resync dropped 1", "3"}));
  }
}

// ---- Against a model ------------------------------------------------------------------------

// The same in the simplest way: one list of lines.
class Model {
 public:
  Model(const SubscriptionOptions& options) : options_(options) {
    messages_ = static_cast<std::int64_t>(options.credit_messages);
    bytes_ = static_cast<std::int64_t>(options.credit_bytes);
  }
  void take(const std::string& message) {
    if (kept_.empty() && messages_ > 0 && bytes_ > 0) {
      leave({message, 0, 0});
      return;
    }
    if (options_.policy == Policy::kDropOldest && message.size() <= options_.max_bytes) {
      while (!fits(message) && messages() > 0) drop(first_message());
    }
    if (fits(message)) {
      kept_.push_back({message, 0, 0});
    } else {
      mark(ResyncReason::kDropped, 1);
    }
    release();
  }
  void resync(ResyncReason reason, std::uint64_t lost) {
    mark(reason, lost);
    release();
  }
  void grant(std::int64_t messages, std::int64_t bytes) {
    messages_ += messages;
    bytes_ += bytes;
    release();
  }
  const Story& left() const { return left_; }
  std::size_t messages() const {
    std::size_t count = 0;
    for (const Line& line : kept_) count += line.reason == 0;
    return count;
  }

 private:
  struct Line {
    std::string message;
    std::uint32_t reason;  // 0: a message
    std::uint64_t lost;
  };
  bool fits(const std::string& message) const {
    std::size_t size = message.size();
    for (const Line& line : kept_) size += line.message.size();
    return messages() < options_.max_messages && size <= options_.max_bytes;
  }
  std::size_t first_message() const {
    std::size_t at = 0;
    while (kept_[at].reason != 0) ++at;
    return at;
  }
  // It becomes a mark, one with those around it.
  void drop(std::size_t at) {
    kept_[at] = {{}, static_cast<std::uint32_t>(ResyncReason::kDropped), 1};
    for (std::size_t i = 0; i + 1 < kept_.size();) {
      Line& line = kept_[i];
      const Line& next = kept_[i + 1];
      if (line.reason == 0 || next.reason == 0) {
        ++i;
        continue;
      }
      line.reason = std::max(line.reason, next.reason);
      line.lost += next.lost;
      kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
  }
  void mark(ResyncReason reason, std::uint64_t lost) {
    if (kept_.empty() || kept_.back().reason == 0) kept_.push_back({{}, 0, 0});
    kept_.back().reason = std::max(kept_.back().reason, static_cast<std::uint32_t>(reason));
    kept_.back().lost += lost;
  }
  void release() {
    while (!kept_.empty() && messages_ > 0 && bytes_ > 0) {
      leave(kept_.front());
      kept_.pop_front();
    }
  }
  void leave(const Line& line) {
    --messages_;
    bytes_ -= static_cast<std::int64_t>(line.message.size());
    Event event(line.reason == 0 ? EventKind::kMessage : EventKind::kResync);
    event.flags = line.reason;
    event.number = static_cast<std::int64_t>(line.lost);
    left_.push_back(line.reason == 0 ? line.message : line_of(event));
  }

  SubscriptionOptions options_;
  std::int64_t messages_;
  std::int64_t bytes_;
  std::deque<Line> kept_;
  Story left_;
};

TEST_F(SubscriptionPolicy, WhateverHappensTheSameLeavesAsInTheModel) {
  const std::uint64_t seed = random_seed();
  SCOPED_TRACE(seed_text(seed));
  std::mt19937_64 random(seed);
  const auto below = [&random](std::uint64_t bound) { return random() % bound; };
  for (int round = 0; round < 2000 && !HasFailure(); ++round) {
    const auto policy = below(2) == 0 ? Policy::kDropOldest : Policy::kDropNewest;
    make(policy, below(4), below(40), below(6), below(60));
    Model model(subscription->options());
    Story seen;
    for (int step = 0; step < 60; ++step) {
      switch (below(4)) {
        case 0: {
          const std::uint64_t messages = below(4);
          const std::uint64_t bytes = below(30);
          grant(messages, bytes);
          model.grant(static_cast<std::int64_t>(messages), static_cast<std::int64_t>(bytes));
          break;
        }
        case 1:
          if (below(3) == 0) {
            const auto reason = static_cast<ResyncReason>(1 + below(5));
            const std::uint64_t lost = below(3);
            resync(reason, lost);
            model.resync(reason, lost);
            break;
          }
          [[fallthrough]];
        default: {
          std::string message = std::to_string(step);
          message.resize(2 + below(20), '.');
          take(message);
          model.take(message);
        }
      }
      for (std::string& line : left()) seen.push_back(std::move(line));
      ASSERT_EQ(seen, model.left()) << "round " << round << ", step " << step;
    }
  }
}

}  // namespace
}  // namespace gcs::test
