// SPDX-License-Identifier: Apache-2.0
//
// Random schedules of everything that can happen to subscriptions, against a server that keeps for
// each subscriber what it has not acknowledged, as a GCS does. Of what is published while it is
// subscribed each one is told all that is of its topic, once and in order, or a resync where some
// is missing; and when everything is well again it hears what is published.
#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "random_seed.h"
#include "subscription_fixture.h"

namespace gcs::test {
namespace {

constexpr std::int64_t kServerPatience = 20 * kSecond;

class ClientSubscriptionRandom : public SubscriptionTest,
                                 public ::testing::WithParamInterface<int> {
 protected:
  using Topic = std::pair<std::uint32_t, std::string>;

  struct Subscriber {
    std::set<Topic> topics;
    std::deque<Published> mailbox;
    std::optional<ServedPoll> poll;
    transport::TimePoint polled = 0;
  };
  struct Expected {
    SubscriptionOptions options;
    bool subscribed = false;
    bool ended = false;
    bool resynced = false;
    std::int64_t last = 0;
    std::deque<std::int64_t> due;  // published since, and not told yet
  };

  ClientSubscriptionRandom() : random_(seed_) {}

  void SetUp() override {
    SubscriptionTest::SetUp();
    server.config = R"({"subscriber_timeout_ms": 20000})";
    options.on_cluster_change = OnClusterChange::kAdopt;
    serve_rest_ = connector().on_call;
    connector().on_call = [this](VirtualPeer& at, VirtualStream& stream) { serve(at, stream); };
    told.on_event = [this](const Event& event) { hear(event); };
    make_client();
  }

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  bool chance(unsigned percent) { return below(100) < percent; }

  // ---- The server

  void serve(VirtualPeer& at, VirtualStream& stream) {
    if (stream.path.ends_with("/GcsSubscriberCommandBatch")) {
      for (const ServedCommand& command : commands_in(stream)) {
        Subscriber& subscriber = subscribers_[command.subscriber];
        subscriber.polled = loop().now();
        const Topic topic{command.channel, command.key};
        if (command.subscribe) {
          subscriber.topics.insert(topic);
        } else {
          subscriber.topics.erase(topic);
        }
      }
      if (unwell_ && chance(20)) {
        at.refuse(stream, StatusCode::kUnavailable, "not now");
      } else if (unwell_ && chance(50)) {
        slow_.emplace_back(&at, &stream);
      } else if (!unwell_ || chance(80)) {
        at.reply(stream, "");
      }
    } else if (stream.path.ends_with("/GcsSubscriberPoll")) {
      take_poll(poll_in(at, stream));
    } else {
      serve_rest_(at, stream);
    }
  }

  void take_poll(const ServedPoll& poll) {
    Subscriber& subscriber = subscribers_[poll.subscriber];
    if (subscriber.poll && subscriber.poll->stream->is_open())
      subscriber.poll->peer->reply(*subscriber.poll->stream, reply_to_poll({}));
    subscriber.poll = poll;
    subscriber.polled = loop().now();
    if (poll.publisher == server.publisher) {
      std::erase_if(subscriber.mailbox, [&poll](const Published& message) {
        return message.sequence_id <= poll.acknowledged;
      });
    }
    send(subscriber);
  }

  void send(Subscriber& subscriber) {
    if (!subscriber.poll || subscriber.mailbox.empty()) return;
    const ServedPoll poll = *std::exchange(subscriber.poll, std::nullopt);
    if (!poll.stream->is_open()) return;
    const std::size_t count = std::min<std::size_t>(1 + below(4), subscriber.mailbox.size());
    const auto end = subscriber.mailbox.begin() + static_cast<std::ptrdiff_t>(count);
    subscriber.polled = loop().now();
    if (unwell_ && chance(3)) {
      poll.peer->finish(*poll.stream, {StatusCode::kResourceExhausted,
                                       transport::Origin::kLocal,
                                       Fate::kMayHaveRun,
                                       "over the limit",
                                       {}});
      poll.peer->tell();
      return;
    }
    poll.peer->reply(*poll.stream, reply_to_poll({subscriber.mailbox.begin(), end}));
  }

  // What it does by itself as time passes.
  void age() {
    std::erase_if(slow_, [this](const std::pair<VirtualPeer*, VirtualStream*>& command) {
      // It is not so slow that it has forgotten the subscriber when it answers.
      const bool is_late = loop().now() - command.second->started > kServerPatience / 2;
      if (!command.second->is_open() || is_late) return true;
      const bool answers = !unwell_ || chance(30);
      if (answers) command.first->reply(*command.second, "");
      return answers;
    });
    for (auto at = subscribers_.begin(); at != subscribers_.end();) {
      Subscriber& subscriber = at->second;
      const bool polls = subscriber.poll && subscriber.poll->stream->is_open();
      if (loop().now() - subscriber.polled <= kServerPatience) {
        ++at;
      } else if (polls) {
        subscriber.polled = loop().now();
        const ServedPoll poll = *std::exchange(subscriber.poll, std::nullopt);
        poll.peer->reply(*poll.stream, reply_to_poll({}));
        ++at;
      } else {
        at = subscribers_.erase(at);
      }
    }
    loop().run();
  }

  void publish_one(const char* channel, const std::string& key) {
    const std::uint32_t its_number = channel == std::string_view(kErrors)   ? 6
                                     : channel == std::string_view(kActors) ? 2
                                                                            : 7;
    const std::int64_t global = ++published_;
    const Published message{++sequence_id_, channel, key, std::to_string(global), false};
    for (auto& [id, expected] : model_) {
      const bool is_its = expected.options.channel == channel &&
                          (expected.options.key.empty() || expected.options.key == key);
      if (is_its && expected.subscribed && !expected.ended) expected.due.push_back(global);
    }
    for (auto& [id, subscriber] : subscribers_) {
      if (!subscriber.topics.contains({its_number, {}}) &&
          !subscriber.topics.contains({its_number, key}))
        continue;
      subscriber.mailbox.push_back(message);
      send(subscriber);
    }
    if (chance(70)) loop().run();
  }

  void restart() {
    server.publisher = std::string(28, static_cast<char>('A' + below(50)));
    server.publisher.replace(0, 8, std::to_string(10'000'000 + restarts_++));
    sequence_id_ = static_cast<std::int64_t>(below(3) * 50);
    subscribers_.clear();
    if (chance(20)) server.cluster = server.cluster == kClusterA ? kClusterB : kClusterA;
    peer().lose();
  }

  // ---- The consumers

  void hear(const Event& event) {
    const auto found = model_.find(event.id);
    if (found == model_.end()) {
      // It may begin before subscribe() has returned.
      early_.push_back({event.id, event.kind});
      EXPECT_NE(event.kind, EventKind::kMessage);
      return;
    }
    Expected& expected = found->second;
    EXPECT_FALSE(expected.ended && event.kind != EventKind::kRelease) << "it has ended already";
    switch (event.kind) {
      case EventKind::kSubscribed:
        expected.subscribed = true;
        break;
      case EventKind::kResync:
        expected.resynced = true;
        break;
      case EventKind::kSubscriptionEnd:
        expected.ended = true;
        break;
      case EventKind::kMessage:
        hear_message(expected, event);
        break;
      default:
        break;
    }
  }

  void hear_message(Expected& expected, const Event& event) {
    const std::int64_t global = std::stoll(text_of(event.body()));
    EXPECT_GT(global, expected.last) << "told twice, or out of order";
    const std::string& key = expected.options.key;
    EXPECT_TRUE(key.empty() || text_of(event.key()) == key);
    while (!expected.due.empty() && expected.due.front() <= global) {
      const std::int64_t due = expected.due.front();
      expected.due.pop_front();
      EXPECT_TRUE(due == global || expected.resynced) << due << " is missing before " << global;
    }
    expected.last = global;
    expected.resynced = false;
  }

  void subscribe_to_some() {
    static constexpr const char* kChannels[] = {kErrors, kLogs, kActors};
    const std::string key = chance(40) ? std::string(16, static_cast<char>('a' + below(2))) : "";
    SubscriptionOptions wanted = shared(kChannels[below(3)], key);
    if (chance(40)) {
      wanted.policy = Policy::kWait;
    } else if (chance(50)) {
      wanted.policy = Policy::kDropNewest;
    }
    if (chance(70)) wanted.credit_messages = below(5);
    wanted.max_messages = 1 + below(6);
    const std::uint64_t id = subscribe(wanted, 1000 * kSecond);
    Expected& expected = model_[id];
    expected.options = wanted;
    for (const auto& [early, kind] : early_) {
      if (early != id) continue;
      expected.subscribed = expected.subscribed || kind == EventKind::kSubscribed;
      expected.resynced = expected.resynced || kind == EventKind::kResync;
    }
    early_.clear();
  }

  template <typename Action>
  void with_some(Action action) {
    if (model_.empty()) return;
    auto at = model_.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(below(model_.size())));
    if (!at->second.ended) action(at->first);
  }

  void step() {
    const std::uint64_t what = below(100);
    if (what < 45) {
      static constexpr const char* kChannels[] = {kErrors, kLogs, kActors};
      publish_one(kChannels[below(3)], std::string(16, static_cast<char>('a' + below(3))));
    } else if (what < 65) {
      with_some([this](std::uint64_t id) { grant(id, 1 + below(5)); });
    } else if (what < 70) {
      if (model_.size() < 12) subscribe_to_some();
    } else if (what < 72) {
      with_some([this](std::uint64_t id) { unsubscribe(id); });
    } else if (what < 90) {
      loop().advance(static_cast<std::int64_t>(below(3000)) * kMillisecond);
    } else if (what < 93) {
      loop().stall(static_cast<std::int64_t>(below(40)) * kSecond);
    } else if (what < 95) {
      if (peer().is_held() && !peer().is_lost()) peer().lose();
    } else if (what < 96) {
      if (peer().is_held() && !peer().is_lost() && !peer().is_draining()) peer().go_away("rest");
    } else if (what < 98) {
      if (peer().is_held() && !peer().is_lost()) restart();
    } else {
      unwell_ = !unwell_;
    }
    age();
  }

  void make_well() {
    unwell_ = false;
    for (const auto& [id, expected] : model_) {
      if (!expected.ended) client->grant(id, kUnlimitedCredit, kUnlimitedCredit);
    }
    for (int i = 0; i < 60; ++i) {
      loop().advance(kSecond);
      age();
    }
    for (const char* channel : {kErrors, kLogs, kActors}) {
      for (const char key : {'a', 'b', 'c'}) publish_one(channel, std::string(16, key));
    }
    loop().run();
    for (const auto& [id, expected] : model_) {
      if (expected.ended) continue;
      EXPECT_TRUE(expected.subscribed) << expected.options.channel;
      EXPECT_TRUE(expected.due.empty())
          << expected.due.size() << " messages of " << expected.options.channel
          << " were not told, policy " << static_cast<int>(expected.options.policy);
    }
  }

  const std::uint64_t seed_ = random_seed() + static_cast<std::uint64_t>(GetParam());

 private:
  std::mt19937_64 random_;
  std::function<void(VirtualPeer&, VirtualStream&)> serve_rest_;
  std::map<std::string, Subscriber> subscribers_;
  std::vector<std::pair<VirtualPeer*, VirtualStream*>> slow_;  // commands to be answered later
  std::map<std::uint64_t, Expected> model_;
  std::vector<std::pair<std::uint64_t, EventKind>> early_;
  bool unwell_ = false;
  std::int64_t published_ = 0;
  std::int64_t sequence_id_ = 0;
  int restarts_ = 0;
};

TEST_P(ClientSubscriptionRandom, AllIsToldOnceAndInOrderOrAResync) {
  SCOPED_TRACE(seed_text(seed_ - static_cast<std::uint64_t>(GetParam())));
  subscribe_to_some();
  for (int part = 0; part < 4 && !HasFailure(); ++part) {
    for (int i = 0; i < 250 && !HasFailure(); ++i) step();
    make_well();
  }
}

INSTANTIATE_TEST_SUITE_P(Schedules, ClientSubscriptionRandom, ::testing::Range(0, 50));

}  // namespace
}  // namespace gcs::test
