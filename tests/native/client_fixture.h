// SPDX-License-Identifier: Apache-2.0
//
// A client over the virtual transport, a sink that keeps what it gets, and the few replies of a GCS
// that tests need. A test that ends with a call that did not complete exactly once, or with a sink
// that is still held, fails.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/gcs_client.h"
#include "client/kv.h"
#include "environment.h"
#include "virtual_runtime.h"

namespace gcs::test {

using transport::ConnectionError;
using transport::Fate;
using transport::StatusCode;

inline const std::string kClusterA(56, 'a');
inline const std::string kClusterB(56, 'b');
inline constexpr char kAddress[] = "10.1.2.3:6379";
inline constexpr char kGetClusterIdPath[] = "/ray.rpc.NodeInfoGcsService/GetClusterId";
inline constexpr char kCheckAlivePath[] = "/ray.rpc.NodeInfoGcsService/CheckAlive";

inline std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Replies, serialized. `hex` is a cluster id.
std::string identity_reply(const std::string& hex);
// Of CheckAlive.
std::string alive_reply(std::string_view ray_version);
std::string status_reply(std::int32_t code, std::string_view message);
std::string value_reply(std::string_view value);
std::string number_reply(std::uint64_t number);

// Keeps what it gets. Threads: any; events() and the hook are for one.
class RecordingSink final : public CompletionSink {
 public:
  RecordingSink() = default;
  ~RecordingSink() = default;

  void deliver(EventList events) override;
  const std::vector<std::unique_ptr<Event>>& events() const noexcept { return events_; }
  std::size_t count(std::uint64_t id) const;
  std::size_t size() const;
  // Drops the sink's own reference: true if it was the last one.
  bool give_up() noexcept;
  void clear() { events_.clear(); }

  // Runs inside deliver(), for each event.
  std::function<void(const Event&)> on_event;

 private:
  void dispose() noexcept override { disposed_ = true; }

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Event>> events_;
  bool disposed_ = false;
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest();
  ~ClientTest() override;
  // Closes the client, and checks that everything ended exactly once.
  void TearDown() override;

  VirtualLoop& loop() { return runtime_->loop(); }
  VirtualConnector& connector() { return runtime_->connector(); }
  // The latest attempt, and how many there were.
  VirtualPeer& peer();
  VirtualPeer& peer(std::size_t index) { return *connector().peers().at(index); }
  std::size_t attempts() { return connector().peers().size(); }

  void make_client();
  // Makes the client, and connects it to a peer of cluster A.
  void make_ready();
  // Lets the latest attempt succeed: SETTINGS and the answer about the cluster.
  void accept(const std::string& cluster_id = kClusterA, std::size_t stream_limit = 100);
  void answer_identity(const std::string& cluster_id);
  // GetClusterId, as long as it is open; else nullptr.
  VirtualStream* question();

  // Every later attempt fails.
  void refuse_from_now_on();
  // Every later attempt succeeds, and every call on it is answered.
  void answer_from_now_on(std::string cluster_id = kClusterA);

  // They return the call's id and do not run the loop, submit() alone excepted.
  std::uint64_t queue(std::unique_ptr<Call> call);
  std::uint64_t submit(std::unique_ptr<Call> call);
  std::uint64_t get(std::string_view key, std::int64_t timeout = kTimeoutDefault);
  std::uint64_t put(std::string_view key, std::int64_t timeout = kTimeoutDefault);
  std::uint64_t connect(std::int64_t timeout = kTimeoutDefault);
  static std::unique_ptr<Call> get_call(std::string_view key);
  static std::unique_ptr<Call> put_call(std::string_view key);

  // The one event of this id: fails the test if there is none, or more than one.
  const Event& ended(std::uint64_t id);
  bool has_ended(std::uint64_t id) const { return sink.count(id) != 0; }
  std::vector<State> states() const;
  // The keys that the peer has in flight, in the order in which they came.
  std::vector<std::string> keys_in_flight(VirtualPeer& at);
  VirtualStream& stream_of(VirtualPeer& at, std::string_view key);

  static constexpr std::uint64_t kClientId = std::uint64_t{1} << 60;  // no call's id

  ScopedEnvironment environment;
  TemporaryFolder folder;
  ClientOptions options;
  RecordingSink sink;
  std::shared_ptr<GcsClient> client;
  Refusal refusal;

 private:
  std::shared_ptr<VirtualRuntime> runtime_ = std::make_shared<VirtualRuntime>();
  std::map<std::uint64_t, std::size_t> submitted_;
};

}  // namespace gcs::test
