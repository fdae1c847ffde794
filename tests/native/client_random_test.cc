// SPDX-License-Identifier: Apache-2.0
//
// Random schedules of everything that can happen to a client, against a model of what may come of
// each call: it ends exactly once, never after its deadline, runs no more often than its method
// allows, and is not forgotten once the server is well again. A call that was made for one release
// of Ray runs on no other.
#include <algorithm>
#include <map>
#include <protozero/pbf_reader.hpp>
#include <random>

#include "client/process.h"
#include "client/ray_version.h"
#include "client_fixture.h"
#include "random_seed.h"

namespace gcs::test {
namespace {

using transport::CallResult;
using transport::Origin;
using Kind = ConnectionError::Kind;

// What was asked, and what came of it.
struct Expected {
  std::string key;
  bool repeatable = false;
  std::uint32_t version = 0;
  transport::TimePoint submitted = 0;
  transport::TimePoint deadline = transport::kNever;
  bool ended = false;
  Status status = Status::kOk;
  std::uint32_t flags = 0;
};

class ClientRandom : public ClientTest, public ::testing::WithParamInterface<int> {
 protected:
  ClientRandom() : random(seed) {}

  std::uint64_t below(std::uint64_t bound) { return random() % bound; }
  bool chance(unsigned percent) { return below(100) < percent; }

  void watch() {
    sink.on_event = [this](const Event& event) {
      const auto found = model.find(event.id);
      if (found == model.end()) return;
      Expected& expected = found->second;
      EXPECT_FALSE(expected.ended) << expected.key << " ended twice";
      expected.ended = true;
      expected.status = event.status;
      expected.flags = event.flags;
      if (loop().now() > expected.deadline && loop().now() != expected.submitted) {
        ADD_FAILURE() << expected.key << " ended after its deadline";
      }
      if (event.status == Status::kDeadline && loop().now() < expected.deadline) {
        ADD_FAILURE() << expected.key << " expired before its deadline";
      }
      if (event.kind == EventKind::kKvGet && event.status == Status::kOk) {
        EXPECT_EQ(text_of(event.body()), expected.key) << "the reply of another call";
      }
    };
  }

  std::unique_ptr<Call> random_call(std::string_view key, Expected& expected) {
    switch (below(3)) {
      case 0:
        expected.repeatable = true;
        return get_call(key);
      case 1:
        return put_call(key);
      default: {
        auto call = Call::make_by_path("/ray.rpc.Later/Method");
        call->copy_request(
            bytes_of("\x0a" + std::string(1, static_cast<char>(key.size())) + std::string(key)));
        return call;
      }
    }
  }

  void submit_some() {
    for (std::uint64_t count = 1 + below(4); count-- > 0;) {
      const std::uint64_t id = reserve_ids(1);
      Expected expected;
      expected.key = "k" + std::to_string(id);
      auto call = random_call(expected.key, expected);
      call->id = id;
      if (chance(20)) call->retry = chance(50) ? Retry::kNever : Retry::kAlways;
      if (call->retry == Retry::kNever) expected.repeatable = false;
      if (call->retry == Retry::kAlways) expected.repeatable = true;
      if (chance(20)) call->ray_version = ray_version_number(kVersions[below(2)]);
      expected.version = call->ray_version;
      call->wait_for_ready = static_cast<std::int8_t>(chance(15) ? 0 : 1);
      call->timeout = chance(20)  ? kTimeoutNone
                      : chance(5) ? 0
                                  : static_cast<std::int64_t>(below(20'000)) * kMillisecond;
      expected.submitted = loop().now();
      if (call->timeout != kTimeoutNone) expected.deadline = loop().now() + call->timeout;
      model.emplace(id, expected);
      ids.push_back(id);
      queue(std::move(call));
    }
  }

  CallResult random_failure() {
    CallResult result;
    result.message = "at random";
    switch (below(8)) {
      case 0:
        return {StatusCode::kUnavailable, Origin::kServer, Fate::kMayHaveRun, "unavailable", {}};
      case 1:
        return {StatusCode::kUnauthenticated,
                Origin::kServer,
                Fate::kMayHaveRun,
                "WrongClusterID: other",
                {}};
      case 2:
        return {StatusCode::kAborted, Origin::kServer, Fate::kMayHaveRun, "AuthError", {}};
      case 3:
        return {StatusCode::kUnauthenticated,
                Origin::kServer,
                Fate::kMayHaveRun,
                "InvalidAuthToken",
                {}};
      case 4:
        return {StatusCode::kUnavailable, Origin::kPeer, Fate::kNeverRan, "refused stream", {}};
      case 5:
        return {StatusCode::kUnavailable, Origin::kPeer, Fate::kMayHaveRun, "reset", {}};
      case 6:
        return {StatusCode::kInternal, Origin::kLocal, Fate::kMayHaveRun, "odd reply", {}};
      default:
        return {StatusCode::kInternal, Origin::kServer, Fate::kMayHaveRun, "internal", {}};
    }
  }

  // Each connection is one to a server of another release than the one before.
  std::string_view version_of(const VirtualPeer& at) {
    const auto& peers = connector().peers();
    const auto found = std::find_if(peers.begin(), peers.end(),
                                    [&at](const auto& other) { return other.get() == &at; });
    return kVersions[(found - peers.begin()) % 2];
  }

  std::string good_reply(const VirtualPeer& at, const VirtualStream& stream) {
    if (stream.path == kGetClusterIdPath) return identity_reply(cluster);
    if (stream.path == kCheckAlivePath) return alive_reply(version_of(at));
    protozero::pbf_reader reader(stream.message);
    while (reader.next(1)) {
      const std::string key = reader.get_string();
      return stream.path.ends_with("Get") ? value_reply(key) : number_reply(1);
    }
    return {};
  }

  void peer_acts() {
    if (attempts() == 0) return;
    // Mostly the latest connections.
    const std::size_t back = std::min<std::size_t>(below(3), attempts() - 1);
    VirtualPeer& at = peer(attempts() - 1 - back);
    if (!at.is_held()) return;
    if (chance(3)) {
      at.lose(static_cast<Kind>(below(7)), "lost at random");
    } else if (at.streams().empty() && chance(70)) {
      at.send_settings(below(16));
    } else if (chance(8)) {
      at.set_stream_limit(below(16));
    } else if (chance(8)) {
      at.set_writable(chance(75));
    } else if (chance(4)) {
      at.go_away("at random", below(4));
    } else {
      for (VirtualStream* stream : at.open_streams()) {
        if (!stream->is_open() || chance(50)) continue;
        if (chance(stream->path == kGetClusterIdPath ? 10 : 35)) {
          at.finish(*stream, random_failure());
        } else {
          at.finish(*stream, {}, good_reply(at, *stream));
        }
        if (chance(40)) at.tell();
        if (!at.is_held()) return;
      }
      at.tell();
    }
  }

  void step() {
    switch (below(10)) {
      case 0:
      case 1:
      case 2:
        submit_some();
        break;
      case 3:
        if (!ids.empty())
          client->cancel(ids[ids.size() - 1 - below(std::min<std::size_t>(ids.size(), 20))]);
        break;
      case 4:
        loop().advance(static_cast<std::int64_t>(below(chance(10) ? 8'000 : 100)) * kMillisecond);
        break;
      case 5:
        if (chance(1)) client->cancel_calls_of(SinkReference(&sink));
        if (chance(3)) cluster = chance(50) ? kClusterA : kClusterB;
        break;
      default:
        peer_acts();
    }
    if (!chance(70)) return;
    loop().run();
    VirtualPeer* older = nullptr;
    for (const auto& at : connector().peers()) {
      if (!at->is_held() || at->is_draining() || at->is_lost()) continue;
      EXPECT_TRUE(older == nullptr || !older->open_streams().empty())
          << "a connection that got a successor is kept for its calls alone";
      older = at.get();
    }
  }

  // From now on the server is well.
  void heal() {
    connector().script = [](VirtualPeer& at) { at.send_settings(); };
    const auto answer = [this](VirtualPeer& at, VirtualStream& stream) {
      at.reply(stream, good_reply(at, stream));
    };
    connector().on_call = answer;
    for (std::size_t i = 0; i < attempts(); ++i) {
      VirtualPeer& at = peer(i);
      if (!at.is_held()) continue;
      at.on_call = answer;
      at.send_settings();
      if (at.is_held()) at.set_writable(true);
      for (VirtualStream* stream : at.open_streams()) {
        if (stream->is_open()) at.reply(*stream, good_reply(at, *stream));
      }
    }
    loop().advance(30 * kSecond);
  }

  bool is_made_for(const std::string& key, std::string_view version) const {
    const auto found = model.find(std::stoull(key.substr(1)));
    return found == model.end() || found->second.version == 0 ||
           found->second.version == ray_version_number(version);
  }

  void check_executions() {
    std::map<std::string, int> may_have_run, started;
    std::map<std::string, bool> on_other_release;
    for (const auto& at : connector().peers()) {
      for (const VirtualStream& stream : at->streams()) {
        if (stream.path == kGetClusterIdPath || stream.path == kCheckAlivePath) continue;
        protozero::pbf_reader reader(stream.message);
        ASSERT_TRUE(reader.next(1));
        const std::string key = reader.get_string();
        const bool rejected = stream.ended && stream.result.origin == Origin::kServer &&
                              (stream.result.code == StatusCode::kUnauthenticated ||
                               stream.result.code == StatusCode::kAborted);
        ++started[key];
        on_other_release[key] |= !is_made_for(key, version_of(*at));
        may_have_run[key] +=
            stream.sent && !rejected && !(stream.ended && stream.result.fate == Fate::kNeverRan);
      }
    }
    for (const auto& [id, expected] : model) {
      SCOPED_TRACE(expected.key + " ended as " + status_name(expected.status));
      EXPECT_TRUE(expected.ended);
      EXPECT_FALSE(on_other_release[expected.key]);
      EXPECT_TRUE(expected.status != Status::kUnsupported || expected.version != 0);
      EXPECT_LE(may_have_run[expected.key], expected.repeatable ? 3 : 1);
      const bool local = static_cast<std::int32_t>(expected.status) < 0;
      const bool says_maybe = (expected.flags & kFlagMaybeExecuted) != 0;
      EXPECT_TRUE(!local || may_have_run[expected.key] == 0 || says_maybe);
      EXPECT_TRUE(started[expected.key] > 0 || !says_maybe);
      EXPECT_TRUE(expected.status != Status::kOk || may_have_run[expected.key] > 0);
    }
  }

  const std::uint64_t seed = random_seed() + static_cast<std::uint64_t>(GetParam());
  std::mt19937_64 random;
  std::map<std::uint64_t, Expected> model;
  std::vector<std::uint64_t> ids;
  std::string cluster = kClusterA;
  static constexpr std::string_view kVersions[] = {"2.40.0", "2.52.1"};
};

TEST_P(ClientRandom, EveryCallEndsOnceAndInTimeAndNoneIsForgotten) {
  SCOPED_TRACE(seed_text(seed - static_cast<std::uint64_t>(GetParam())));
  options.on_cluster_change =
      GetParam() % 4 == 0 ? OnClusterChange::kError : OnClusterChange::kAdopt;
  if (GetParam() % 3 == 0) options.cluster_id = kClusterA;
  make_client();
  watch();
  for (int i = 0; i < 1'000 && !HasFailure(); ++i) step();
  if (GetParam() % 2 == 0) {
    heal();
    std::size_t forgotten = 0;
    for (const auto& [id, expected] : model) forgotten += !expected.ended;
    EXPECT_EQ(forgotten, 0u) << "calls that a healthy server did not get";
  }
  client->close();
  loop().run();
  for (const auto& at : connector().peers()) EXPECT_FALSE(at->is_held());
  EXPECT_EQ(loop().next_timer(), transport::kNever);
  check_executions();
}

INSTANTIATE_TEST_SUITE_P(Schedules, ClientRandom, ::testing::Range(0, 100));

}  // namespace
}  // namespace gcs::test
