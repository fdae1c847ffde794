// SPDX-License-Identifier: Apache-2.0
//
// Memory that cannot be had in the life of a subscription: the k-th allocation of the client's
// threads fails, for k = 1, 2, ... until none is left to fail. Then each accepted subscription ends
// exactly once, is dropped once after that, has told each message once and in order, and has told a
// resync where one is missing; and unless it has ended it hears what is published afterwards.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <thread>

#include "client_fixture.h"
#include "failing_allocator.h"
#include "gcs_capi.h"
#include "gcs_peer.h"
#include "request_bytes.h"
#include "scripted_peer.h"

namespace gcs::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 15s;
constexpr std::int64_t kTimeout = 10 * kSecond;
constexpr long kNeverFails = 1L << 40;
constexpr std::int64_t kFirstPart = 5;
constexpr std::int64_t kSecondPart = 9;
constexpr std::int64_t kLast = 10;

// A GCS of Ray 2.60 that publishes errors 1, 2, ... Those up to 5 are there from the beginning,
// asking for the key "drop" brings those up to 9 and resets the connection, asking for "publish"
// brings the last.
class PublishingPeer {
 public:
  PublishingPeer() : peer_([this](PeerConnection& self) { serve(self); }) {}
  std::string address() const { return "127.0.0.1:" + std::to_string(peer_.port()); }

 private:
  using Pending = std::map<std::string, std::pair<std::uint32_t, std::int64_t>>;

  void serve(PeerConnection& self) {
    Pending pending;
    if (!self.greet()) return;
    while (const auto request = self.next_request()) {
      const std::string path = request->header(":path");
      std::string reply;
      if (path == kGetClusterIdPath) {
        reply = identity_reply(kClusterA);
      } else if (path == kCheckAlivePath) {
        reply = alive_reply(GcsPeer::kRayVersion);
      } else if (path.ends_with("InternalKVGet")) {
        const std::string key = key_in(request->message());
        if (key == "drop" && !has_dropped_.exchange(true)) {
          published_ = kSecondPart;
          self.reset();
          return;
        }
        if (key == "publish") publish_last(self, pending);
        reply = value_reply("value");
      } else if (path.ends_with("/GcsSubscriberPoll")) {
        if (!poll(self, *request, pending)) return;
        continue;
      } else if (path.ends_with("/ServerReflectionInfo")) {
        if (!self.reply(request->stream, "", {{"grpc-status", "12"}})) return;
        continue;
      }
      if (!self.reply(request->stream, reply)) return;
    }
  }

  static std::string key_in(const std::string& message) {
    protozero::pbf_reader reader(message);
    return reader.next(1) ? reader.get_string() : std::string();
  }

  bool poll(PeerConnection& self, const Request& request, Pending& pending) {
    std::string subscriber;
    std::int64_t acknowledged = 0;
    const std::string message = request.message();
    protozero::pbf_reader reader(message);
    while (reader.next()) {
      if (reader.tag() == 1) {
        subscriber = reader.get_bytes();
      } else if (reader.tag() == 2) {
        acknowledged = reader.get_int64();
      } else {
        reader.skip();
      }
    }
    if (const auto before = pending.find(subscriber); before != pending.end()) {
      if (!self.reply(before->second.first, messages(0, 0))) return false;
      pending.erase(before);
    }
    if (acknowledged < published_)
      return self.reply(request.stream, messages(acknowledged + 1, published_));
    pending[subscriber] = {request.stream, acknowledged};
    return true;
  }

  void publish_last(PeerConnection& self, Pending& pending) {
    published_ = kLast;
    for (const auto& [subscriber, poll] : pending)
      self.reply(poll.first, messages(poll.second + 1, kLast));
    pending.clear();
  }

  // Some of them are larger than what an event has room for.
  static std::string messages(std::int64_t first, std::int64_t last) {
    std::string reply;
    for (std::int64_t i = first; i <= last && i > 0; ++i) {
      const auto size = static_cast<std::size_t>(i % 2 == 0 ? 500 : 10);
      reply += bytes(1, number(1, 6) + bytes(2, "key") + bytes(10, std::string(size, 'x')) +
                            number(14, static_cast<std::uint64_t>(i)));
    }
    return reply + bytes(2, std::string(28, 'p'));
  }

  std::atomic<std::int64_t> published_{kFirstPart};
  std::atomic<bool> has_dropped_{false};
  ScriptedPeer peer_;
};

// What one subscription was told. Allocates nothing.
class Listener {
 public:
  struct Line {
    std::int32_t kind;
    std::int64_t number;
    gcs_status status;
  };

  static void receive(void* user, gcs_event* event) {
    Listener& self = *static_cast<Listener*>(user);
    {
      const std::lock_guard lock(self.mutex_);
      if (self.count_ < self.lines_.size())
        self.lines_[self.count_] = {gcs_event_kind(event), gcs_event_number(event),
                                    gcs_event_status(event)};
      ++self.count_;
      self.came_.notify_all();
    }
    gcs_event_free(event);
  }
  static void drop(void* user, const void*, size_t) {
    Listener& self = *static_cast<Listener*>(user);
    const std::lock_guard lock(self.mutex_);
    ++self.drops_;
    self.count_at_drop_ = self.count_;
    self.came_.notify_all();
  }

  // So many events may be on their way when it is dropped.
  void expect_in_hand(std::size_t most) { in_hand_ = most; }
  // Until this message has come, or the end.
  bool wait_for(std::int64_t message, std::chrono::milliseconds patience = kPatience) {
    std::unique_lock lock(mutex_);
    return came_.wait_for(lock, patience, [&] {
      return std::any_of(lines_.begin(), lines_.begin() + size(), [&](const Line& line) {
        return line.kind == GCS_EVENT_SUBSCRIPTION_END ||
               (line.kind == GCS_EVENT_MESSAGE && line.number >= message);
      });
    });
  }
  bool wait_for_drop() {
    std::unique_lock lock(mutex_);
    return came_.wait_for(lock, kPatience, [&] { return drops_ > 0; });
  }

  void expect_right(bool accepted) {
    const std::lock_guard lock(mutex_);
    ASSERT_LE(count_, lines_.size()) << "it was told more than there is room for";
    EXPECT_EQ(drops_, accepted ? 1u : 0u);
    if (!accepted) {
      EXPECT_EQ(count_, 0u);
      return;
    }
    // What a drain has given to the reader may be read after what it has released.
    EXPECT_LE(count_, count_at_drop_ + in_hand_) << "something was told after it was dropped";
    ASSERT_GT(count_, 0u);
    const Line& last = lines_[count_ - 1];
    EXPECT_EQ(last.kind, GCS_EVENT_SUBSCRIPTION_END);
    EXPECT_TRUE(last.status == GCS_CANCELLED || last.status == GCS_NO_MEMORY)
        << gcs_status_name(last.status);
    std::int64_t before = 0;
    bool resynced = false;
    for (std::size_t i = 0; i + 1 < count_; ++i) {
      const Line& line = lines_[i];
      EXPECT_EQ(line.kind == GCS_EVENT_SUBSCRIBED, i == 0) << "event " << i;
      EXPECT_NE(line.kind, GCS_EVENT_SUBSCRIPTION_END) << "event " << i;
      if (line.kind == GCS_EVENT_RESYNC) resynced = true;
      if (line.kind != GCS_EVENT_MESSAGE) continue;
      EXPECT_GT(line.number, before);
      EXPECT_TRUE(line.number == before + 1 || resynced)
          << line.number << " follows " << before << " without a word";
      before = line.number;
      resynced = false;
    }
  }

 private:
  std::ptrdiff_t size() const {
    return static_cast<std::ptrdiff_t>(std::min(count_, lines_.size()));
  }

  std::mutex mutex_;
  std::condition_variable came_;
  std::array<Line, 64> lines_{};
  std::size_t count_ = 0;
  std::size_t count_at_drop_ = 0;
  std::size_t in_hand_ = 0;
  std::size_t drops_ = 0;
};

// Has a listener told what comes to a queue, a few at a time: runs of messages are taken apart.
class QueueReader {
 public:
  explicit QueueReader(Listener& listener) {
    EXPECT_EQ(gcs_queue_create(nullptr, &queue_, nullptr), GCS_OK);
    listener.expect_in_hand(kMost);
    thread_ = std::thread([this, &listener] { read(listener); });
  }
  QueueReader(const QueueReader&) = delete;
  QueueReader& operator=(const QueueReader&) = delete;
  ~QueueReader() {
    EXPECT_EQ(gcs_queue_close(queue_), GCS_OK);
    thread_.join();
  }
  void* user() const noexcept { return reinterpret_cast<void*>(static_cast<uintptr_t>(queue_)); }

 private:
  static constexpr std::size_t kMost = 3;

  void read(Listener& listener) {
    while (gcs_queue_wait(queue_, GCS_TIMEOUT_NONE) == GCS_OK) {
      std::array<gcs_event*, kMost> events{};
      std::size_t count = 0;
      gcs_status status = GCS_OK;
      {
        const InLibrary counts;
        status = gcs_queue_drain(queue_, events.data(), events.size(), &count);
      }
      EXPECT_TRUE(status == GCS_OK || (status == GCS_NO_MEMORY && count == 0) ||
                  status == GCS_CLOSED || status == GCS_BAD_HANDLE)
          << gcs_status_name(status);
      for (std::size_t i = 0; i < count; ++i) Listener::receive(&listener, events[i]);
    }
  }

  gcs_queue queue_ = 0;
  std::thread thread_;
};

class Life {
 public:
  // Lives, while the k-th allocation fails. False if there were not so many.
  bool run(long k) {
    create();
    waiting_.function = gcs_queue_push;
    waiting_.user = reader_->user();
    countdown = k;
    for (Subscribed* each : {&shared_, &waiting_}) subscribe(*each);
    for (Subscribed* each : {&shared_, &waiting_}) await(*each, kFirstPart);
    get("drop");
    for (Subscribed* each : {&shared_, &waiting_}) await(*each, kSecondPart);
    const bool failed = countdown.exchange(0) <= 0;
    get("publish");
    for (Subscribed* each : {&shared_, &waiting_}) {
      if (each->accepted != GCS_OK) continue;
      EXPECT_TRUE(each->listener.wait_for(kLast)) << "it is deaf";
      EXPECT_EQ(gcs_unsubscribe(client_, each->id), GCS_OK);
      EXPECT_TRUE(each->listener.wait_for_drop());
    }
    reader_.reset();
    EXPECT_EQ(gcs_client_destroy(client_, kTimeout), GCS_OK);
    EXPECT_EQ(gcs_shutdown(kTimeout), GCS_OK);
    for (Subscribed* each : {&shared_, &waiting_})
      each->listener.expect_right(each->accepted == GCS_OK);
    return failed;
  }

 private:
  struct Subscribed {
    std::int32_t policy;
    gcs_status accepted = GCS_CLOSED;
    std::uint64_t id = 0;
    Listener listener{};
    gcs_completion_fn function = Listener::receive;
    void* user = &listener;
  };

  void create() {
    const std::string address = peer_.address();
    gcs_client_options options;
    gcs_client_options_init(&options, sizeof options);
    options.address = address.c_str();
    options.token = "";
    const InLibrary counts;
    ASSERT_EQ(gcs_client_create(&options, &client_, nullptr), GCS_OK);
  }

  void subscribe(Subscribed& wanted) {
    gcs_subscribe_options options;
    gcs_subscribe_options_init(&options, sizeof options);
    options.policy = wanted.policy;
    options.credit_messages = 4;
    options.drop = Listener::drop;
    options.drop_user = &wanted.listener;
    {
      const InLibrary counts;
      wanted.accepted = gcs_subscribe(client_, "errors", {nullptr, 0}, &options, &wanted.id,
                                      wanted.function, wanted.user, nullptr);
    }
    EXPECT_TRUE(wanted.accepted == GCS_OK || wanted.accepted == GCS_NO_MEMORY);
  }

  // A message that was lost for want of memory does not come: it is not waited for long.
  void await(Subscribed& wanted, std::int64_t message) {
    if (wanted.accepted != GCS_OK) return;
    wanted.listener.wait_for(1, 2s);
    gcs_status granted = GCS_NO_MEMORY;
    for (int i = 0; i < 2 && granted == GCS_NO_MEMORY; ++i) {
      const InLibrary counts;
      granted = gcs_subscription_credit(client_, wanted.id, 20, 0);
    }
    EXPECT_EQ(granted, GCS_OK);
    wanted.listener.wait_for(message, 300ms);
  }

  void get(std::string_view key) {
    Ending ending;
    gcs_call_options options;
    gcs_call_options_init(&options, sizeof options);
    options.timeout = kTimeout;
    gcs_status accepted = GCS_OK;
    {
      const InLibrary counts;
      accepted = gcs_kv_get(client_, {"n", 1}, {key.data(), key.size()}, &options, nullptr,
                            Ending::receive, &ending, nullptr);
    }
    const bool ended = accepted != GCS_OK || ending.wait(kPatience);
    EXPECT_TRUE(ended) << "a call does not end";
  }

  PublishingPeer peer_;
  gcs_client client_ = 0;
  Subscribed shared_{GCS_POLICY_DROP_OLDEST};
  Subscribed waiting_{GCS_POLICY_WAIT};
  std::optional<QueueReader> reader_{std::in_place, waiting_.listener};
};

TEST(ClientSubscriptionNoMemory, EveryAllocationMayFail) {
  const ScopedEnvironment environment;
  gcs_log_set_level(GCS_LOG_OFF);
  const auto live = [](long k) {
    SCOPED_TRACE("allocation " + std::to_string(k));
    return std::make_unique<Life>()->run(k);
  };
  live(kNeverFails);
  const std::size_t descriptors = open_descriptors();
  long k = 1;
  long lives = 0;
  // Threads make the number vary a little.
  for (int without = 0; without < 3 && !testing::Test::HasFailure(); ++k, ++lives)
    without = live(k) ? 0 : without + 1;
  std::printf("%ld allocations\n", lives);
  live(kNeverFails);
  EXPECT_EQ(open_descriptors(), descriptors);
}

}  // namespace
}  // namespace gcs::test
