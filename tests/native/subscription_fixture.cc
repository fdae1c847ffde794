// SPDX-License-Identifier: Apache-2.0
#include "subscription_fixture.h"

#include <algorithm>
#include <protozero/pbf_reader.hpp>
#include <stdexcept>
#include <utility>

#include "client/process.h"
#include "client/pubsub_layout.h"
#include "client/ray_version.h"
#include "request_bytes.h"

namespace gcs::test {
namespace {

constexpr std::string_view kCommandsEnd = "/GcsSubscriberCommandBatch";
constexpr std::string_view kPollEnd = "/GcsSubscriberPoll";
constexpr std::string_view kConfigEnd = "/GetInternalConfig";
constexpr std::string_view kReflectionEnd = "/ServerReflectionInfo";

const char* name_of(ResyncReason reason) {
  switch (reason) {
    case ResyncReason::kNone:
      return "none";
    case ResyncReason::kDropped:
      return "dropped";
    case ResyncReason::kReconnected:
      return "reconnected";
    case ResyncReason::kTooLarge:
      return "too large";
    case ResyncReason::kExpired:
      return "expired";
    case ResyncReason::kRestarted:
      return "restarted";
  }
  return "?";
}

std::vector<ServedCommand> commands_of(const VirtualStream& stream) {
  std::vector<ServedCommand> commands;
  std::string subscriber;
  protozero::pbf_reader request(stream.message);
  while (request.next()) {
    if (request.tag() == 1) {
      subscriber = request.get_bytes();
    } else if (request.tag() == 2) {
      ServedCommand& command = commands.emplace_back();
      command.path = stream.path;
      command.subscriber = subscriber;
      protozero::pbf_reader fields = request.get_message();
      while (fields.next()) {
        if (fields.tag() == 1) {
          command.channel = fields.get_uint32();
        } else if (fields.tag() == 2) {
          command.key = fields.get_bytes();
        } else {
          command.subscribe = fields.tag() == 4;
          fields.skip();
        }
      }
    } else {
      request.skip();
    }
  }
  return commands;
}

ServedPoll poll_in(VirtualPeer& at, VirtualStream& stream) {
  ServedPoll poll{&at, &stream, {}, 0, {}};
  protozero::pbf_reader request(stream.message);
  while (request.next()) {
    if (request.tag() == 1) {
      poll.subscriber = request.get_bytes();
    } else if (request.tag() == 2) {
      poll.acknowledged = request.get_int64();
    } else if (request.tag() == 3) {
      poll.publisher = request.get_bytes();
    } else {
      request.skip();
    }
  }
  return poll;
}

}  // namespace

std::string line_of(const Event& event) {
  switch (event.kind) {
    case EventKind::kSubscribed:
      return "subscribed";
    case EventKind::kMessage:
      return text_of(event.body());
    case EventKind::kResync:
      return std::string("resync ") + name_of(static_cast<ResyncReason>(event.flags)) +
             (event.number == 0 ? "" : " " + std::to_string(event.number));
    case EventKind::kSubscriptionEnd:
      return std::string("end ") + status_name(event.status);
    default:
      return "something else";
  }
}

std::string ServedCommand::text() const {
  return (subscribe ? "+" : "-") + std::to_string(channel) + (key.empty() ? "" : " " + key);
}

void SubscriptionTest::SetUp() {
  connector().script = [](VirtualPeer& at) { at.send_settings(); };
  connector().on_call = [this](VirtualPeer& at, VirtualStream& stream) { serve(at, stream); };
}

void SubscriptionTest::TearDown() {
  told.on_event = nullptr;
  ClientTest::TearDown();
  for (const std::uint64_t id : subscriptions) {
    std::vector<EventKind> kinds;
    for (const auto& event : told.events()) {
      if (event->id == id) kinds.push_back(event->kind);
    }
    ASSERT_FALSE(kinds.empty()) << "a subscription did not end";
    EXPECT_EQ(kinds.back(), EventKind::kSubscriptionEnd);
    EXPECT_EQ(std::ranges::count(kinds, EventKind::kSubscriptionEnd), 1);
    EXPECT_LE(std::ranges::count(kinds, EventKind::kSubscribed), 1);
    EXPECT_TRUE(kinds.size() == 1 || kinds.front() == EventKind::kSubscribed);
  }
  EXPECT_TRUE(told.give_up()) << "somebody still holds the subscriptions' sink";
}

// ---- The client -----------------------------------------------------------------------------

SubscriptionOptions SubscriptionTest::shared(std::string channel, std::string key) {
  SubscriptionOptions wanted;
  wanted.channel = std::move(channel);
  wanted.key = std::move(key);
  wanted.policy = Policy::kDropOldest;
  wanted.credit_messages = wanted.credit_bytes = kUnlimitedCredit;
  wanted.max_messages = 100;
  wanted.max_bytes = 1 << 20;
  return wanted;
}

SubscriptionOptions SubscriptionTest::waiting(std::string channel, std::uint64_t credit_messages,
                                              std::uint64_t credit_bytes) {
  SubscriptionOptions wanted;
  wanted.channel = std::move(channel);
  wanted.credit_messages = credit_messages;
  wanted.credit_bytes = credit_bytes;
  return wanted;
}

std::uint64_t SubscriptionTest::subscribe(SubscriptionOptions wanted, std::int64_t timeout,
                                          int wait_for_ready) {
  auto call = Call::make(EventKind::kSubscriptionEnd,
                         *find_method(method::kControlPlanePubSubGcsSubscriberPoll));
  call->subscription = std::make_unique<Subscription>(std::move(wanted));
  call->sink = SinkReference(&told);
  call->timeout = timeout;
  call->wait_for_ready = static_cast<std::int8_t>(wait_for_ready);
  subscriptions.push_back(queue(std::move(call)));
  loop().run();
  return subscriptions.back();
}

std::uint64_t SubscriptionTest::begin(SubscriptionOptions wanted) {
  if (!client) make_client();
  const std::uint64_t id = subscribe(std::move(wanted));
  EXPECT_EQ(story(id), Story{"subscribed"});
  EXPECT_FALSE(polls().empty());
  commands();
  return id;
}

void SubscriptionTest::grant(std::uint64_t id, std::uint64_t messages) {
  client->grant(id, messages, 0);
  loop().run();
}

void SubscriptionTest::unsubscribe(std::uint64_t id) {
  client->cancel(id);
  loop().run();
}

Story SubscriptionTest::story(std::uint64_t id) const {
  Story lines;
  for (const auto& event : told.events()) {
    if (event->id == id) lines.push_back(line_of(*event));
  }
  return lines;
}

const Event& SubscriptionTest::last(std::uint64_t id) const {
  for (auto event = told.events().rbegin(); event != told.events().rend(); ++event) {
    if ((*event)->id == id) return **event;
  }
  throw std::logic_error("the subscription was told nothing");
}

void SubscriptionTest::expect_end(std::uint64_t id, Status status, std::string_view says) {
  ASSERT_NE(told.count(id), 0u) << "the subscription was told nothing";
  EXPECT_EQ(last(id).kind, EventKind::kSubscriptionEnd);
  EXPECT_STREQ(status_name(last(id).status), status_name(status)) << last(id).message();
  EXPECT_NE(last(id).message().find(says), std::string_view::npos) << last(id).message();
}

// ---- The server -----------------------------------------------------------------------------

void SubscriptionTest::serve(VirtualPeer& at, VirtualStream& stream) {
  const std::string& path = stream.path;
  if (path == kGetClusterIdPath) {
    at.reply(stream, identity_reply(server.cluster));
  } else if (path == kCheckAlivePath) {
    if (server.answers_version) at.reply(stream, alive_reply(server.ray_version));
  } else if (path.ends_with(kReflectionEnd)) {
    const bool lists = protozero::pbf_reader(stream.message).next(7);
    const std::string& reply = lists ? server.services : server.files;
    if (reply.empty()) {
      at.refuse(stream, StatusCode::kUnimplemented, "");
    } else {
      at.reply(stream, reply);
    }
  } else if (path.ends_with(kConfigEnd)) {
    at.reply(stream, bytes(1, "") + bytes(2, server.config));
  } else if (path.ends_with(kCommandsEnd)) {
    serve_commands(at, stream);
  } else if (path.ends_with(kPollEnd)) {
    serve_poll(poll_in(at, stream));
  }
}

void SubscriptionTest::serve_commands(VirtualPeer& at, VirtualStream& stream) {
  for (ServedCommand& command : commands_of(stream)) served_commands.push_back(std::move(command));
  if (server.refuses_commands != StatusCode::kOk) {
    at.refuse(stream, server.refuses_commands, "the server does not want to");
  } else if (server.answers_commands) {
    at.reply(stream, "");
  }
}

void SubscriptionTest::serve_poll(const ServedPoll& poll) {
  for (const ServedPoll& other : polls()) {
    if (other.stream == poll.stream || other.peer != poll.peer) continue;
    if (other.subscriber == poll.subscriber) other.peer->reply(*other.stream, reply_to_poll({}));
  }
}

std::string SubscriptionTest::reply_to_poll(const std::vector<Published>& messages) const {
  const auto layout = PubsubLayout::of_release(ray_version_number(server.ray_version));
  std::string reply;
  for (const Published& message : messages) {
    const std::uint32_t inner = layout->failure_message() + (message.is_failure ? 0 : 1);
    reply += bytes(
        1, number(1, layout->find(message.channel)->number) + bytes(2, message.key) +
               bytes(inner, message.payload) +
               number(layout->sequence_id(), static_cast<std::uint64_t>(message.sequence_id)));
  }
  return reply + bytes(2, server.publisher);
}

std::vector<ServedPoll> SubscriptionTest::polls() {
  std::vector<ServedPoll> open;
  for (const auto& each : connector().peers()) {
    for (VirtualStream* stream : each->open_streams()) {
      if (stream->path.ends_with(kPollEnd)) open.push_back(poll_in(*each, *stream));
    }
  }
  return open;
}

ServedPoll SubscriptionTest::poll() {
  const std::vector<ServedPoll> open = polls();
  if (open.size() != 1) throw std::logic_error(std::to_string(open.size()) + " polls are open");
  return open.front();
}

ServedPoll SubscriptionTest::poll_of(std::string_view subscriber) {
  for (const ServedPoll& each : polls()) {
    if (each.subscriber == subscriber) return each;
  }
  throw std::logic_error("the subscriber does not poll");
}

void SubscriptionTest::answer(const ServedPoll& at, const std::vector<Published>& messages) {
  at.peer->reply(*at.stream, reply_to_poll(messages));
  loop().run();
}

void SubscriptionTest::answer_commands() {
  for (const auto& each : connector().peers()) {
    for (VirtualStream* stream : each->open_streams()) {
      if (stream->path.ends_with(kCommandsEnd)) each->reply(*stream, "");
    }
  }
  loop().run();
}

Story SubscriptionTest::commands() {
  Story texts;
  for (; seen_commands_ < served_commands.size(); ++seen_commands_)
    texts.push_back(served_commands[seen_commands_].text());
  return texts;
}

std::size_t SubscriptionTest::questions(std::string_view path_end) {
  std::size_t count = 0;
  for (const auto& each : connector().peers()) {
    for (const VirtualStream& stream : each->streams()) count += stream.path.ends_with(path_end);
  }
  return count;
}

void SubscriptionTest::reconnect() {
  peer().lose();
  loop().advance(kSecond);
}

void SubscriptionTest::restart_server(const std::string& publisher) {
  server.publisher = publisher;
  reconnect();
}

}  // namespace gcs::test
