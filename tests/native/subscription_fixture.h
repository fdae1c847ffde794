// SPDX-License-Identifier: Apache-2.0
//
// A client over the virtual transport whose peer answers what a subscription asks of a GCS, and
// what the subscriptions of a test were told. Polls are answered by the test, but for the first of
// two of the same subscriber, which the server answers at once with nothing. A test that ends with
// a subscription that did not end exactly once, as the last it was told, fails.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/subscription.h"
#include "client_fixture.h"

namespace gcs::test {

inline const std::string kPublisher(28, 'p');
inline const std::string kOtherPublisher(28, 'q');
inline constexpr char kErrors[] = "RAY_ERROR_INFO_CHANNEL";
inline constexpr char kLogs[] = "RAY_LOG_CHANNEL";
inline constexpr char kActors[] = "GCS_ACTOR_CHANNEL";
inline constexpr char kNodes[] = "GCS_NODE_INFO_CHANNEL";

// What one subscription was told, a line for each event: "subscribed", the bytes of a message,
// "resync <reason>" with the number of messages if there is one, "end <status>".
using Story = std::vector<std::string>;
std::string line_of(const Event& event);

struct ServedCommand {
  std::string path;
  std::string subscriber;
  std::uint32_t channel = 0;
  std::string key;
  bool subscribe = false;

  // "+7" subscribes to channel 7; "-7 key" unsubscribes from one key.
  std::string text() const;
};

struct ServedPoll {
  VirtualPeer* peer = nullptr;
  VirtualStream* stream = nullptr;
  std::string subscriber;
  std::int64_t acknowledged = 0;
  std::string publisher;
};

struct Published {
  std::int64_t sequence_id = 0;
  std::string_view channel;
  std::string key;
  std::string payload;
  bool is_failure = false;
};

class SubscriptionTest : public ClientTest {
 protected:
  struct Server {
    std::string ray_version = "2.60.0";
    std::string cluster = kClusterA;
    std::string publisher = kPublisher;
    // Of both reflection questions; empty: it does not know the service.
    std::string services, files;
    std::string config = "{}";
    // False: the test does it by hand.
    bool answers_commands = true;
    bool answers_version = true;
    StatusCode refuses_commands = StatusCode::kOk;
  };

  void SetUp() override;
  void TearDown() override;

  // It runs the loop.
  std::uint64_t subscribe(SubscriptionOptions wanted, std::int64_t timeout = kTimeoutDefault,
                          int wait_for_ready = -1);
  // Shared, with credit for everything.
  static SubscriptionOptions shared(std::string channel, std::string key = {});
  // With a subscriber of its own.
  static SubscriptionOptions waiting(std::string channel, std::uint64_t credit_messages,
                                     std::uint64_t credit_bytes = kUnlimitedCredit);
  void grant(std::uint64_t id, std::uint64_t messages);
  void unsubscribe(std::uint64_t id);
  // Of two polls that were sent the second is left: what a subscription is like that has begun.
  std::uint64_t begin(SubscriptionOptions wanted);

  Story story(std::uint64_t id) const;
  const Event& last(std::uint64_t id) const;
  void expect_end(std::uint64_t id, Status status, std::string_view says = {});

  // Those that are open, the oldest first, on every connection.
  std::vector<ServedPoll> polls();
  // The one that is open; of a subscriber.
  ServedPoll poll();
  ServedPoll poll_of(std::string_view subscriber);
  void answer(const ServedPoll& at, const std::vector<Published>& messages);
  void publish(const std::vector<Published>& messages) { answer(poll(), messages); }
  static Published error(std::int64_t sequence_id, std::string payload, std::string key = "k") {
    return {sequence_id, kErrors, std::move(key), std::move(payload), false};
  }
  void answer_commands();
  // Texts of the commands since the last time.
  Story commands();
  std::size_t questions(std::string_view path_end);

  // The connection goes, and there is another one at once.
  void reconnect();
  // The GCS has restarted: it knows nobody, and its polls hang.
  void restart_server(const std::string& publisher = kOtherPublisher);

  Server server;
  RecordingSink told;
  std::vector<ServedCommand> served_commands;
  std::vector<std::uint64_t> subscriptions;

 private:
  void serve(VirtualPeer& at, VirtualStream& stream);
  void serve_commands(VirtualPeer& at, VirtualStream& stream);
  void serve_poll(const ServedPoll& poll);
  std::string reply_to_poll(const std::vector<Published>& messages) const;

  std::size_t seen_commands_ = 0;
};

}  // namespace gcs::test
