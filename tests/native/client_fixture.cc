// SPDX-License-Identifier: Apache-2.0
#include "client_fixture.h"

#include <algorithm>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <stdexcept>

#include "client/log.h"
#include "client/process.h"

namespace gcs::test {

std::string identity_reply(const std::string& hex) {
  std::string id;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    id.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  std::string reply;
  protozero::pbf_writer writer(reply);
  writer.add_string(1, "");
  writer.add_bytes(2, id);
  return reply;
}

std::string alive_reply(std::string_view ray_version) {
  std::string reply;
  protozero::pbf_writer writer(reply);
  writer.add_string(1, "");
  writer.add_string(2, ray_version.data(), ray_version.size());
  return reply;
}

std::string status_reply(std::int32_t code, std::string_view message) {
  std::string status;
  protozero::pbf_writer status_writer(status);
  status_writer.add_int32(1, code);
  status_writer.add_string(2, message.data(), message.size());
  std::string reply;
  protozero::pbf_writer(reply).add_message(1, status);
  return reply;
}

std::string value_reply(std::string_view value) {
  std::string reply;
  protozero::pbf_writer writer(reply);
  writer.add_string(1, "");
  writer.add_bytes(2, value.data(), value.size());
  return reply;
}

std::string number_reply(std::uint64_t number) {
  std::string reply;
  protozero::pbf_writer(reply).add_uint64(2, number);
  return reply;
}

void RecordingSink::deliver(EventList events) {
  while (auto event = events.pop_front()) {
    EXPECT_FALSE(event->sink) << "a delivered event still holds its sink";
    const Event& seen = *event;
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    if (on_event) on_event(seen);
  }
}

std::size_t RecordingSink::count(std::uint64_t id) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(
      events_.begin(), events_.end(), [id](const auto& event) { return event->id == id; }));
}

std::size_t RecordingSink::size() const {
  const std::lock_guard lock(mutex_);
  return events_.size();
}

bool RecordingSink::give_up() noexcept {
  release();
  return disposed_;
}

ClientTest::ClientTest() {
  environment.set("HOME", folder.path());
  environment.set("RAY_TMPDIR", folder.path());
  options.address = kAddress;
  options.token = "";
  options.event_sink = SinkReference(&sink);
}

ClientTest::~ClientTest() = default;

void ClientTest::make_client() {
  client = GcsClient::create(options, kClientId, &refusal, runtime_);
  ASSERT_NE(client, nullptr) << refusal.message;
}

void ClientTest::make_ready() {
  make_client();
  const std::uint64_t id = connect();
  loop().run();
  accept();
  ASSERT_EQ(ended(id).status, Status::kOk);
}

void ClientTest::accept(const std::string& cluster_id, std::size_t stream_limit) {
  peer().send_settings(stream_limit);
  loop().run();
  if (!peer().streams().empty() && peer().streams().front().path == kGetClusterIdPath) {
    answer_identity(cluster_id);
  }
}

void ClientTest::answer_identity(const std::string& cluster_id) {
  for (VirtualStream* stream : peer().open_streams()) {
    if (stream->path != kGetClusterIdPath) continue;
    peer().reply(*stream, identity_reply(cluster_id));
    loop().run();
    return;
  }
  FAIL() << "nobody asks for the cluster's id";
}

VirtualPeer& ClientTest::peer() {
  if (connector().peers().empty()) throw std::logic_error("no connection was attempted");
  return *connector().peers().back();
}

VirtualStream* ClientTest::question() {
  for (VirtualStream* stream : peer().open_streams()) {
    if (stream->path == kGetClusterIdPath) return stream;
  }
  return nullptr;
}

void ClientTest::refuse_from_now_on() {
  connector().script = [](VirtualPeer& at) {
    at.lose(ConnectionError::Kind::kConnect, "connection refused");
  };
}

void ClientTest::answer_from_now_on(std::string cluster_id) {
  connector().script = [](VirtualPeer& at) { at.send_settings(); };
  connector().on_call = [cluster_id = std::move(cluster_id)](VirtualPeer& at,
                                                             VirtualStream& stream) {
    at.reply(stream,
             stream.path == kGetClusterIdPath ? identity_reply(cluster_id) : value_reply("v"));
  };
}

std::unique_ptr<Call> ClientTest::get_call(std::string_view key) {
  return std::move(kv::get(bytes_of("ns"), bytes_of(key)).call);
}

std::unique_ptr<Call> ClientTest::put_call(std::string_view key) {
  return std::move(kv::put(bytes_of("ns"), bytes_of(key), bytes_of("value"), true).call);
}

std::uint64_t ClientTest::queue(std::unique_ptr<Call> call) {
  if (call->id == 0) call->id = reserve_ids(1);
  if (!call->sink) call->sink = SinkReference(&sink);
  const std::uint64_t id = call->id;
  if (call->sink.get() == &sink) ++submitted_[id];
  EXPECT_FALSE(client->admit(*call)) << "over the client's limits";
  EventList calls;
  calls.push_back(std::move(call));
  client->submit(std::move(calls));
  return id;
}

std::uint64_t ClientTest::submit(std::unique_ptr<Call> call) {
  const std::uint64_t id = queue(std::move(call));
  loop().run();
  return id;
}

std::uint64_t ClientTest::get(std::string_view key, std::int64_t timeout) {
  auto call = get_call(key);
  call->timeout = timeout;
  return queue(std::move(call));
}

std::uint64_t ClientTest::put(std::string_view key, std::int64_t timeout) {
  auto call = put_call(key);
  call->timeout = timeout;
  return queue(std::move(call));
}

std::uint64_t ClientTest::connect(std::int64_t timeout) {
  auto call = Call::make(EventKind::kConnect, *find_method(method::kGetClusterId));
  call->timeout = timeout;
  return queue(std::move(call));
}

const Event& ClientTest::ended(std::uint64_t id) {
  static const Event kNone(EventKind::kCall);
  EXPECT_EQ(sink.count(id), 1u) << "call " << id;
  for (const auto& event : sink.events()) {
    if (event->id == id) return *event;
  }
  return kNone;
}

std::vector<State> ClientTest::states() const {
  std::vector<State> states;
  for (const auto& event : sink.events()) {
    if (event->kind == EventKind::kState) states.push_back(static_cast<State>(event->number));
  }
  return states;
}

std::vector<std::string> ClientTest::keys_in_flight(VirtualPeer& at) {
  std::vector<std::string> keys;
  for (VirtualStream* stream : at.open_streams()) {
    if (stream->path == kGetClusterIdPath) continue;
    protozero::pbf_reader reader(stream->message);
    while (reader.next(1)) keys.push_back(reader.get_string());
  }
  return keys;
}

VirtualStream& ClientTest::stream_of(VirtualPeer& at, std::string_view key) {
  for (VirtualStream* stream : at.open_streams()) {
    if (stream->path == kGetClusterIdPath) continue;
    protozero::pbf_reader reader(stream->message);
    while (reader.next(1)) {
      if (reader.get_string() == key) return *stream;
    }
  }
  throw std::logic_error("no call with the key " + std::string(key) + " is in flight");
}

void ClientTest::TearDown() {
  // It may look at what is gone with the test's body.
  sink.on_event = nullptr;
  log::set_target({}, nullptr, nullptr);
  log::set_level(log::Level::kWarning);
  log::take(SIZE_MAX);
  if (client) {
    client->close();
    loop().run();
    EXPECT_TRUE(client->wait_closed(0));
    std::size_t terminals = 0;
    for (const auto& event : sink.events()) terminals += event->kind == EventKind::kClientClosed;
    EXPECT_EQ(terminals, options.event_sink ? 1u : 0u);
    std::map<std::uint64_t, std::size_t> completed;
    for (const auto& event : sink.events()) {
      if (submitted_.contains(event->id)) ++completed[event->id];
    }
    EXPECT_EQ(completed, submitted_) << "completions by id";
    const ClientStats stats = client->stats();
    EXPECT_EQ(stats.pending, 0u);
    EXPECT_EQ(stats.started, stats.completed + stats.failed);
    const std::weak_ptr<GcsClient> gone = client;
    client.reset();
    EXPECT_TRUE(gone.expired()) << "somebody still holds the closed client";
  }
  options.event_sink = {};
  EXPECT_TRUE(sink.give_up()) << "somebody still holds the sink";
}

}  // namespace gcs::test
